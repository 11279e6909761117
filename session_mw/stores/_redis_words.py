"""What is said to the scripts of Redis, and how their answers are read. Texts are JSON, ASCII only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from .._core import names
from .._core.records import AttributeValue, SessionRecord

_LARGEST = 2**53 - 1  # what a script's numbers hold exactly
# Names that most sessions have take two bytes instead of fifteen. Stored: append, never change or use one again.
_SHORT = {
    names.SESSION_TYPE: "+t",
    names.SESSION_NAME: "+n",
    names.SESSION_PROMPT_VERSION: "+p",
    names.SESSION_CHANNEL: "+c",
    names.SESSION_CLIENT_VERSION: "+v",
    names.SESSION_LOCALE: "+l",
    names.USER_TIER: "+u",
    names.USER_ORG_ID: "+o",
    names.LAST_TRACE: "+r",
    names.LAST_INTENT: "+i",
    names.LAST_ACTION: "+a",
}


class _Long(dict[str, str]):
    """The names of short ones; any other is its own, but for the mark that was put before."""

    def __missing__(self, name: str) -> str:
        return name[1:] if name[:1] == "+" else name


_LONG = _Long((short, name) for name, short in _SHORT.items())

# JSON, ASCII only, since not every Python string is valid UTF-8. Made once: ``json.dumps`` makes one each time.
text_of = json.JSONEncoder(default=str).encode
_read = json.JSONDecoder().raw_decode  # what ``json.loads`` comes to, for a text without white space around it


def told(reply: bytes) -> list[Any]:
    """Return what a script says in JSON."""
    found: list[Any] = _read(reply.decode())[0]
    return found


def user_text(user: str | None) -> str:
    """Return a user as scripts are told, empty for none."""
    return "" if user is None else text_of(user)


def named(attributes: Mapping[str, AttributeValue | None]) -> list[object]:
    """Return names and values in turn, as JSON texts; False stands for a value to be removed."""
    pairs = ((short(name), False if value is None else text_of(value)) for name, value in attributes.items())
    return list(chain.from_iterable(pairs))


def short(name: str) -> str:
    """Return what *name* is stored under; one that begins with the mark of short names gets another."""
    known = _SHORT.get(name)
    return known if known is not None else text_of(f"+{name}" if name.startswith("+") else name)[1:-1]


def attributes_of(found: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return stored attributes under their names."""
    return {_LONG[name]: value for name, value in found.items()}


def record_of(row: list[Any]) -> SessionRecord:
    """Return the record that a script told."""
    row[-1] = attributes_of(row[-1])
    return SessionRecord(*row)


def fit(number: int | None) -> int | bool:
    """Return *number* within what a script can count; False stands for None."""
    return False if number is None else max(-_LARGEST, min(_LARGEST, number))


def or_empty(value: object) -> object:
    """Return what stands for *value*, empty for None."""
    return "" if value is None else value
