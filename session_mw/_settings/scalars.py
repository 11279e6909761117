"""Settings with one plain value: switches, numbers, durations, sizes, short labels, functions and sinks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from session_mw._durations import format_size, parse_duration, parse_size
from session_mw._settings.errors import BadValue

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_DURATION_HINT = 'Write seconds (1800), a timedelta, or a text as "30m", "1h30m", "500ms", "7d"'

_WHOLE = re.compile(r"-?[0-9]{1,18}")

# Stores keep whole milliseconds.
_SHORTEST = 0.001
# The longest message a gRPC receiver takes by default is 4 MiB; one attribute must not fill it alone.
_LARGEST_CONTENT = 1_048_576
# No chain of proxies is longer; a larger number is a port or a typing error.
_MOST_PROXIES = 16
# OWASP ASVS 5.0, 16.4.1: what goes into logs is printable and of bounded length.
_LONGEST_LABEL = 128


def lower_text(value: object) -> object:
    """Lower the case of a text, so that ``Lax`` is what it says; leave anything else to the next check."""
    return value.strip().lower() if isinstance(value, str) else value


def switch(value: object) -> bool:
    """Read a boolean or one of its usual words. Nothing else counts as true."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _SWITCHES:
        raise BadValue("true or false", "Write one of true, false, 1, 0, yes, no, on, off")
    return _SWITCHES[word]


def duration(value: object) -> float:
    """Read a duration of 0 or more, in seconds."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise BadValue(str(error), _DURATION_HINT) from error


def positive_duration(value: object) -> float:
    """Read a duration of at least one millisecond, in seconds."""
    seconds = duration(value)
    if seconds < _SHORTEST:
        raise BadValue("more than zero, at least 1 ms", _DURATION_HINT)
    return seconds


def content_size(value: object) -> int:
    """Read the size that captured content is cut to, in bytes."""
    hint = 'Write bytes (65536) or a text as "64KiB"; to capture nothing use capture_content=False'
    try:
        size = parse_size(value)
    except ValueError as error:
        raise BadValue(str(error), hint) from error
    if not 1 <= size <= _LARGEST_CONTENT:
        raise BadValue(f"from 1 byte to {format_size(_LARGEST_CONTENT)}", hint)
    return size


def _whole_number(value: object, hint: str) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadValue("a whole number", hint)


def proxies(value: object) -> int:
    """Read the number of proxies in front whose forwarded headers count."""
    hint = "Count the proxies between the client and this application, or name their networks; 0 ignores the headers"
    count = _whole_number(value, hint)
    if not 0 <= count <= _MOST_PROXIES:
        raise BadValue(f"from 0 to {_MOST_PROXIES}", hint)
    return count


def live_limit(value: object) -> int:
    """Read the greatest number of live sessions."""
    hint = "Give the greatest number of live sessions to keep, or None for no limit"
    count = _whole_number(value, hint)
    if count < 1:
        raise BadValue("1 or more", hint)
    return count


def label(value: object) -> str:
    """Read a short printable text that will stand on spans."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _LONGEST_LABEL:
        raise BadValue(
            f"a printable text of 1 to {_LONGEST_LABEL} characters", "Write a short text, or None to leave it unset"
        )
    return value.strip()


def function(value: object) -> Callable[..., Any]:
    """Accept anything that can be called."""
    if not callable(value):
        raise BadValue("a function", "Pass the function itself, in code: neither text nor environment can hold it")
    return value


def json_path_or_function(value: object) -> str | Callable[..., Any]:
    """Accept a JSON path or a function."""
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value.strip()
    if not callable(value):
        raise BadValue("a JSON path or a function", 'Write a path as "messages[-1].content", or pass a function')
    return value


def sinks(value: object) -> tuple[Any, ...]:
    """
    Read where session events go.

    Args:
        value: A sink, a function that takes a list of records, or several of these in a list or tuple.

    Returns:
        All of them, at least one.
    """
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not given:
        raise BadValue("at least one sink", "Leave event_sink out for the default, or pass a sink", "an empty list")
    for sink in given:
        if isinstance(sink, type):
            raise BadValue("an object, not its class", f"Write {sink.__name__}(...)", f"the class {sink.__name__}")
        if isinstance(sink, str | bytes | int | float | Mapping | None):
            raise BadValue(
                "a sink or a function", "Pass ExporterSink(...), CallableSink(...), LoggerSink() or a function, in code"
            )
    return given
