"""What a field, an operator and a value mean together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from .. import values
from . import literals
from .fields import FIELDS
from .literals import NotSuch, Now
from .tree import And, Contains, Equals, Field, Matches, Missing, Node, Not, Or, Prefix, Range

FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
ORDERS = (">", ">=", "<", "<=")


@dataclass(frozen=True, slots=True)
class Value:
    """
    A value as it was written.

    Attributes:
        text: Without its quotes.
        bare: It had none: ``*`` stands for anything in it, and it may be a number.
    """

    text: str
    bare: bool


class Refused(ValueError):
    """The three do not go together. Its text says why, ``hint`` what may have been meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Meaning:
    """
    What values mean to whoever reads the filter.

    Attributes:
        now: Its time and zone.
        pseudonym: Makes a user's id what the history keeps of it; None when that is not known here.
    """

    now: Now
    pseudonym: Callable[[str], str] | None = None

    def compare(self, field: Field, operator: str, value: Value) -> Node:
        """
        Return ``field operator value``.

        Raises:
            Refused: The field takes no such operator or value.
        """
        if operator == "!=":
            return Not(self.compare(field, "=", value))
        if operator == "=" and value.bare and value.text == "*" and field.kind != "flag":
            return Not(Missing(field))
        if operator == "contains":
            return self._contains(field, value)
        if field.attribute:
            return _attribute(field, operator, value)
        if field.kind == "flag":
            return _flag(field, operator, value)
        if field.kind == "text":
            return self._text(field, operator, value)
        return _ordered(field, operator, self._whole(field, value.text))

    def between(self, field: Field, low: str, high: str) -> Node:
        """Return ``field:low..high``, both ends included; empty or ``*`` is no end."""
        first = None if low in ("", "*") else self._span(field, low)[0]
        last = None if high in ("", "*") else self._span(field, high)[1]
        if first is not None and last is not None and last <= first:
            raise Refused("this range ends before it begins")
        return Not(Missing(field)) if first is None and last is None else Range(field, first, last)

    def ranges(self, field: Field) -> bool:
        """Return whether ``..`` between two values of *field* means a range."""
        return field.attribute or field.kind not in ("text", "flag")

    def words(self, text: str) -> Node:
        """Return what a word by itself looks for: ids that begin with it, names with it inside."""
        kept = values.text(text)
        session, user, name = FIELDS["session_id"], FIELDS["user_id"], FIELDS["name"]
        found = (Prefix(session, kept), *self._users(user, kept, Prefix(user, kept)), Contains(name, kept))
        return Or(found)

    def active(self, since: int, until: int | None) -> Node:
        """Return the sessions that did anything from *since* on and before *until*."""
        alive = Range(FIELDS["last"], since, None)
        return alive if until is None else And((alive, Range(FIELDS["started"], None, until)))

    def _span(self, field: Field, text: str) -> tuple[float, float]:
        return _floats(field, text) if field.attribute else self._whole(field, text)

    def _whole(self, field: Field, text: str) -> tuple[int, int]:
        """Return what *text* means in the unit of *field*'s column: from the first number to before the second."""
        readers = {"number": literals.number, "money": literals.money, "duration": literals.duration}
        try:
            return literals.moment(text, self.now) if field.kind == "time" else readers[field.kind](text)
        except NotSuch as wrong:
            raise Refused(f"{field.name!r} needs {wrong}, found {text!r}") from None

    def _text(self, field: Field, operator: str, value: Value) -> Node:
        if operator != "=":
            raise Refused(f"{field.name!r} is a text: it can be compared with = and != only, not {operator}")
        if value.bare and "*" in value.text:
            return Matches(field, tuple(values.text(value.text).split("*")))
        if field.choices and value.text not in field.choices:
            raise _no_choice(field, value.text)
        one = Equals(field, values.text(value.text))
        return Or(self._users(field, value.text, one)) if field.name == "user_id" and self.pseudonym else one

    def _users(self, field: Field, text: str, one: Node) -> tuple[Node, ...]:
        """Return *one*, and the user whose own id *text* is."""
        return (one,) if self.pseudonym is None else (one, Equals(field, self.pseudonym(text)))

    def _contains(self, field: Field, value: Value) -> Node:
        if field.kind != "text":
            raise Refused(f"{field.name!r} is no text that could contain anything")
        return Contains(field, values.text(value.text))


def _flag(field: Field, operator: str, value: Value) -> Node:
    said = FLAGS.get(value.text.lower())
    if operator != "=" or said is None:
        raise Refused(f"{field.name!r} is either true or false, not {value.text!r}")
    if field.name == "has_errors":
        some = Range(field, 1, None)
        return some if said else Not(some)
    resolved = Equals(field, "resolved")  # an unknown outcome is neither
    return resolved if said else And((Not(Missing(field)), Not(resolved)))


def _no_choice(field: Field, text: str) -> Refused:
    near = get_close_matches(text.lower(), field.choices, 1, 0.5)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    return Refused(f"{field.name!r} is one of {', '.join(field.choices)}, not {text!r}", hint)


def _attribute(field: Field, operator: str, value: Value) -> Node:
    if operator in ORDERS:
        return _ordered(field, operator, _floats(field, value.text))
    if value.bare and "*" in value.text:
        return Matches(field, tuple(values.text(value.text).split("*")))
    found: list[Node] = [Equals(field, values.text(value.text))]
    if value.bare and value.text.lower() in ("true", "false"):
        found.append(Equals(field, value.text.lower() == "true"))
    elif value.bare and _is_number(value.text):
        found.append(Range(field, *_floats(field, value.text)))
    return Or(tuple(found)) if found[1:] else found[0]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _floats(field: Field, text: str) -> tuple[float, float]:
    if not _is_number(text):
        raise Refused(f"{field.name!r} can be compared with a number only, not {text!r}")
    return float(text), math.nextafter(float(text), math.inf)


def _ordered(field: Field, operator: str, span: tuple[float, float]) -> Range:
    low, high = span
    ends: dict[str, tuple[float | None, float | None]] = {
        "=": (low, high),
        ">": (high, None),
        ">=": (low, None),
        "<": (None, low),
        "<=": (None, high),
    }
    return Range(field, *ends[operator])
