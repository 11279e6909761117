"""What no database can hold never reaches one, and stops nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from session_mw._core import names
from session_mw._core.records import TurnRecord
from session_mw.ledger import Ledger, values
from tests.ledger.support import T0, end, only, turn


class Word(str):
    """Text of a class of its own, as an enumeration's member is."""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text", "text"),
        ("", ""),
        ("line\nline\x7f", "line\nline\x7f"),
        ("nul\x00", "nul\ufffd"),
        ("lone \ud800", "lone ?"),
        ("日本 🙂", "日本 🙂"),
        (Word("word"), "word"),
        (True, True),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, None),
        pytest.param(10**5_000, None, id="more digits than Python prints"),
        (1.0, 1.0),
        (-0.0, -0.0),
        (1e308, 1e308),
        (math.nan, None),
        (math.inf, None),
        (None, None),
        (["a"], "['a']"),
    ],
)
def test_attribute_is_kept_with_its_type_or_left_out(ledger: Ledger, given: Any, kept: object) -> None:
    """Text, flags, integers and numbers come back as what they were, of a session and of a turn."""
    ledger.emit([end(attributes={"app.value": given})])
    ledger.write_turns([turn(attributes={"app.value": given})])

    for said in (only(ledger.sessions()).attributes, ledger.turns("s1")[0].attributes):
        assert kept == said.get("app.value")
        assert type(kept) is type(said.get("app.value"))


@pytest.mark.parametrize("number", [math.nan, math.inf, 2**53 + 1, -(2**70), "12", True, None])
def test_number_that_is_none_is_unknown(ledger: Ledger, number: Any) -> None:
    """A count that is no count is not counted; the record is kept."""
    wrong = (names.SESSION_TOTAL_TURNS, names.SESSION_TOTAL_INPUT_TOKENS, names.SESSION_TOTAL_COST_USD)
    event = end(output_tokens=None)
    ledger.emit([replace(event, attributes={**event.attributes, **dict.fromkeys(wrong, number)})])
    ledger.write_turns([turn("t", number=None, latency_ms=number, input_tokens=number)])

    row, other = ledger.session("s1"), ledger.session("t")
    assert row is not None
    assert other is not None
    assert (0, None, None) == (row.turns, row.input_tokens, row.cost_microusd)
    assert (1, 0, None) == (other.turns, other.latency_ms, other.input_tokens)


def test_sums_stay_within_what_a_database_counts(ledger: Ledger) -> None:
    """Nobody overflows a column."""
    big = values.LARGEST
    for n in range(1, 6):
        ledger.write_turns([turn(number=n, latency_ms=big, input_tokens=big, cost_microusd=big)])
    assert big == only(ledger.sessions()).cost_microusd

    ledger.emit([end(turns=big, completed=big, failed=0, latency_ms=big * big)])
    assert big == only(ledger.sessions()).latency_ms


def test_identifiers_of_any_text_are_found_again(ledger: Ledger) -> None:
    """An application's own ids may be anything; who asks with the same text finds them."""
    for odd in ("a'b", "x\x00y", "lone \ud800", "ü", "%", "s" * 200):
        ledger.emit([end(odd, user_id=odd)])
        ledger.write_turns([turn(odd, conversation_id=odd, error_type=odd)])

        assert ledger.session(odd) is not None
        assert 1 == len(ledger.turns(odd))
        assert 1 == len(ledger.sessions(user_id=odd))
        assert 1 == ledger.user_totals(odd)[names.USER_SESSIONS_TOTAL]


@pytest.mark.parametrize(
    ("trace", "parts"),
    [
        ("", (None, None, None)),
        (f"{'a' * 32}-{'b' * 16}-01", ("a" * 32, "b" * 16, True)),
        (f"{'a' * 32}-{'b' * 16}-00", ("a" * 32, "b" * 16, False)),
        (f"{'a' * 32}-{'b' * 16}-03", ("a" * 32, "b" * 16, True)),
        (f"{'a' * 32}-{'b' * 16}", ("a" * 32, "b" * 16, False)),
        ("nonsense", ("nonsense", None, None)),
        ("-", (None, None, None)),
    ],
)
def test_trace_is_taken_apart(ledger: Ledger, trace: str, parts: tuple[object, ...]) -> None:
    """A link to a trace needs its id, and to know whether it was recorded."""
    ledger.write_turns([turn(trace=trace)])

    one = ledger.turns("s1")[0]
    assert parts == (one.trace_id, one.span_id, one.sampled)


def test_internal_attributes_are_not_kept(ledger: Ledger) -> None:
    """Names that begin with an underscore are the core's own business."""
    ledger.emit([end(attributes={names.LAST_TRACE: "x", "shown": 1})])
    ledger.write_turns([TurnRecord("s1", 1, 1, T0, 5, "ok", attributes={"_internal": "x", "shown": 1})])

    assert not [name for name in only(ledger.sessions()).attributes if name.startswith("_")]
    assert {"shown": 1} == ledger.turns("s1")[0].attributes
