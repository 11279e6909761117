"""Durations and sizes: what people write is what is kept."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._durations import (
    MAX_DURATION,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from tests.settings.support import unhurried


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (1800, 1800.0),
        (0.25, 0.25),
        (timedelta(minutes=30), 1800.0),
        (timedelta(microseconds=1500), 0.0015),
        ("30m", 1800.0),
        ("24h", 86400.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        (" 1 h 30 m ", 5400.0),
        ("500ms", 0.5),
        ("5m500ms", 300.5),
        ("7d", 604800.0),
        ("2w1d", 1296000.0),
        ("1.5h", 5400.0),
        ("0.1s", 0.1),
        ("1800", 1800.0),
        ("0.5", 0.5),
        ("0", 0.0),
    ],
)
def test_parse_duration_reads_what_people_write(written: object, seconds: float) -> None:
    """A duration is seconds, a timedelta, or numbers with units."""
    assert seconds == parse_duration(written)


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            " ",
            "30M",
            "30 minutes",
            "m",
            "30m1h",
            "1h1h",
            "-5",
            "-5m",
            "1e3",
            "1,5h",
            "٣m",
            "1h-1m",
            "ms",
            "nan",
            "inf",
        ),
        *("9" * 400, "1h" * 4000, -1, -0.001, math.nan, math.inf, -math.inf, 10**400, True, False, None, b"30m", [30]),
        *(timedelta(seconds=-1), timedelta(days=40000), MAX_DURATION + 1),
    ],
    ids=lambda written: repr(written)[:20],
)
def test_parse_duration_refuses_what_has_no_one_meaning(written: object) -> None:
    """Nothing is guessed: other units, signs, orders and types are errors."""
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.5, "500ms"),
        (60.0, "1m"),
        (1800.0, "30m"),
        (5400.0, "1h30m"),
        (86400.0, "24h"),
        (129600.0, "36h"),
        (172800.0, "2d"),
        (2592000.0, "30d"),
        (0.0005, "0.0005s"),
    ],
)
def test_format_duration_writes_the_usual_form(seconds: float, text: str) -> None:
    """Hours up to two days, then days; milliseconds where seconds do not divide."""
    assert text == format_duration(seconds)


@unhurried
@given(st.integers(min_value=0, max_value=int(MAX_DURATION * 1000)))
def test_duration_round_trip_in_milliseconds(milliseconds: int) -> None:
    """Every whole number of milliseconds is read again as it was written."""
    assert milliseconds / 1000 == parse_duration(format_duration(milliseconds / 1000))


@unhurried
@given(st.floats(min_value=1e-9, max_value=MAX_DURATION))
def test_duration_round_trip_of_any_float(seconds: float) -> None:
    """No float in range loses a bit."""
    assert seconds == parse_duration(format_duration(seconds))


@unhurried
@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36525)))
def test_parse_duration_of_a_timedelta_is_its_seconds(delta: timedelta) -> None:
    """A timedelta counts as its total seconds."""
    assert delta.total_seconds() == parse_duration(delta)


@unhurried
@given(st.text(max_size=60))
def test_parse_duration_of_any_text_gives_seconds_or_value_error(text: str) -> None:
    """No text makes it raise anything else."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return

    assert 0 <= seconds <= MAX_DURATION


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (65536, 65536),
        ("65536", 65536),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("1MiB", 1_048_576),
        ("500kB", 500_000),
        ("7B", 7),
    ],
)
def test_parse_size_reads_what_people_write(written: object, size: int) -> None:
    """A size is bytes or a number with a unit."""
    assert size == parse_size(written)


@pytest.mark.parametrize(
    "written", ["", "64K", "64M", "64 kilobytes", "-1", "1.5KiB", "KiB", "64kib", -1, 1.5, True, None]
)
def test_parse_size_refuses_what_has_no_one_meaning(written: object) -> None:
    """ "64K" is 64000 to some and 65536 to others, so it is an error."""
    with pytest.raises(ValueError, match="a size"):
        parse_size(written)


@unhurried
@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_size_round_trip(size: int) -> None:
    """Every size is read again as it was written."""
    assert size == parse_size(format_size(size))
