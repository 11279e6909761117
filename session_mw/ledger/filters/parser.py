"""
The filter language: from its text to a tree.

    query       = [ or_expr ]
    or_expr     = and_expr { "OR" and_expr }
    and_expr    = unary { [ "AND" ] unary }                  side by side, or on a new line, is AND
    unary       = ( "NOT" | "-" | "!" ) unary | primary
    primary     = "(" or_expr ")" | condition
    condition   = field ":" ( list | range | [ cmp ] value )  no space before the colon
                | field ( cmp | "CONTAINS" ) value
                | field [ "NOT" ] "IN" list
                | field "IS" [ "NOT" ] ( "NULL" | "NONE" )
                | ( "last" | "past" ) [ integer ] unit | "today" | "yesterday"
                | value                                      an id's begin, or part of a name
    cmp         = ">" | ">=" | "<" | "<=" | "=" | "==" | "!="
    list        = ( "[" | "(" ) value { "," value } ( "]" | ")" )
    range       = [ bare | "*" ] ".." [ bare | "*" ]
    field       = name { "." name } | ( "metadata" | "attributes" ) "[" string "]"
    value       = string | bare
    comment     = "#" to the end of the line, where a word could begin

Keywords may be written in small letters. NOT binds closer than AND, AND closer than OR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...exceptions import FilterError
from . import literals
from .conditions import Meaning, Refused, Value
from .fields import ROOTS, attribute, find, near
from .source import BARE, NAME, WORD, Source
from .tree import And, Field, Missing, Node, Not, Or

MAX_LENGTH = 2_000
MAX_CONDITIONS = 50
MAX_DEPTH = 20

COMPARE = re.compile(r"==|!=|>=|<=|=|>|<")
DIGITS = re.compile(r"\d{1,6}(?!\d)")
NEGATED = re.compile(r"[-!](?=[^\s)\],;])")
CLOSING = {"(": ")", "[": "]"}


def parse(text: str, meaning: Meaning) -> Node:
    """
    Return what *text* means.

    Args:
        text: A filter. Empty, it is all sessions.
        meaning: What its times and users mean.

    Raises:
        FilterError: It cannot be read; nothing else is ever raised.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(f"a filter has {MAX_LENGTH:,} characters at most", text, MAX_LENGTH, len(text))
    return _Parser(Source(text), meaning).query()


class _Parser:
    def __init__(self, source: Source, meaning: Meaning) -> None:
        self._source = source
        self._meaning = meaning
        self._conditions = 0
        self._depth = 0

    def query(self) -> Node:
        if self._source.ended():
            return And(())
        node = self._any()
        if not self._source.ended():
            closing = self._source.peek(")", "]")
            raise self._source.here("this closes nothing" if closing else "this does not belong here")
        return node

    def _any(self) -> Node:
        parts = [self._all()]
        while self._keyword("OR"):
            self._expect_condition("OR")
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Node:
        parts = [self._unary()]
        while not self._at_end():
            if self._keyword("AND"):
                self._expect_condition("AND")
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _at_end(self) -> bool:
        """Return whether no further condition follows within this group."""
        return self._source.ended() or self._source.peek(")", "]", ",", ";") or self._ahead(lambda: self._keyword("OR"))

    def _expect_condition(self, word: str) -> None:
        place = self._source.last(f"{word} needs a condition after it")
        if self._source.ended() or self._source.peek(")") or self._ahead(lambda: self._keyword("AND", "OR")):
            raise place

    def _unary(self) -> Node:
        self._source.skip()
        if word := self._source.keyword("AND", "OR"):
            raise self._source.last(f"{word} needs a condition before it")
        if self._source.keyword("NOT"):
            self._expect_condition("NOT")
        elif not self._source.take(NEGATED):
            return self._primary()
        with self._deeper():
            return Not(self._unary())

    def _primary(self) -> Node:
        start = self._source.at
        if not self._source.take("("):
            return self._condition()
        unclosed = self._source.last("this parenthesis is not closed")
        with self._deeper():
            if self._source.ended():
                raise unclosed
            if self._source.peek(")"):
                raise self._source.error("there is no condition between these parentheses", start, self._source.at + 1)
            node = self._any()
        if not self._source.take(")"):
            raise unclosed
        return node

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._source.here(f"this is nested more than {MAX_DEPTH} deep")
        yield
        self._depth -= 1

    def _count(self) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise self._source.here(f"a filter has {MAX_CONDITIONS} conditions at most")

    # -- conditions

    def _condition(self) -> Node:
        self._count()
        found = self._time_phrase() or self._named()
        return found or self._meaning.words(self._value("a condition").text)

    def _time_phrase(self) -> Node | None:
        """Read ``last 24 hours``, ``today`` ..., if that stands here."""
        start = self._source.at
        if day := self._source.keyword("TODAY", "YESTERDAY"):
            return self._meaning.active(*literals.day(self._meaning.now, literals.DAYS[day.lower()]))
        if not self._source.keyword("LAST", "PAST"):
            return None
        self._source.skip()
        count = self._source.take(DIGITS)
        self._source.skip()
        unit = self._source.take(WORD)
        known = literals.UNITS.get(unit[0].lower()) if unit else None
        if known is not None:
            return self._meaning.active(self._meaning.now.ms - int(count[0] if count else 1) * known, None)
        if count is not None:
            raise self._no_unit(unit)
        self._source.at = start  # it was a word, or a field
        return None

    def _no_unit(self, unit: re.Match[str] | None) -> FilterError:
        needed = "this needs a unit of time: minutes, hours, days, weeks or months"
        return self._source.last(f"{needed}, not {unit[0]!r}" if unit else needed)

    def _named(self) -> Node | None:
        """Read a condition that begins with a field, if one stands here."""
        start = self._source.at
        name = self._source.take(NAME)
        key = self._key() if name and name[0].lower() in ROOTS and self._source.peek("[") else None
        if name is not None:
            place = (name[0], key, start, self._source.at)
            if self._source.take(":"):
                return self._qualified(self._field(*place))
            if found := self._compared(*place):
                return found
        if key is not None:
            raise self._source.here("a comparison has to follow")
        self._source.at = start
        return None

    def _key(self) -> str:
        """Read ``["key"]``."""
        self._source.take("[")
        self._source.skip()
        key = self._source.string()
        self._source.skip()
        if key is None or not self._source.take("]"):
            raise self._source.here('a key is written ["in quotes"]')
        return key

    def _field(self, name: str, key: str | None, start: int, end: int) -> Field:
        if key is not None:
            return attribute(f"metadata.{key}" if name.lower() == "metadata" else key)
        field = find(name)
        if field is None:
            meant = near(name)
            hint = f"Did you mean {meant!r}?" if meant else f'Your own are written metadata["{name}"]'
            raise self._source.error(f"there is no field {name!r}", start, end, hint)
        return field

    def _qualified(self, field: Field) -> Node:
        """Read what follows ``field:``."""
        if self._source.peek("[", "("):
            return self._one_of(field)
        compared = self._source.take(COMPARE)
        start = self._source.at
        value = self._value(f"{field.name!r} needs a value here", after_operator=True)
        if compared is None and value.bare and ".." in value.text and self._meaning.ranges(field):
            low, _, high = value.text.partition("..")
            return self._meant(start, lambda: self._meaning.between(field, low, high))
        operator = _plain(compared[0]) if compared else "="
        return self._meant(start, lambda: self._meaning.compare(field, operator, value))

    def _compared(self, *place: str | int | None) -> Node | None:
        """Read an operator behind a field and what follows, if one stands here."""
        self._source.skip()
        if compared := self._source.take(COMPARE):
            return self._with_value(self._field(*place), _plain(compared[0]))  # type: ignore[arg-type]
        for read in (self._contains, self._in, self._is):
            before = self._source.at
            if found := read(lambda: self._field(*place)):  # type: ignore[arg-type]
                return found
            self._source.at = before
        return None

    def _with_value(self, field: Field, operator: str) -> Node:
        self._source.skip()
        start = self._source.at
        value = self._value(f"{field.name!r} needs a value here", after_operator=True)
        return self._meant(start, lambda: self._meaning.compare(field, operator, value))

    def _contains(self, field: Callable[[], Field]) -> Node | None:
        if not self._source.keyword("CONTAINS"):
            return None
        return None if self._source.ended() else self._with_value(field(), "contains")

    def _in(self, field: Callable[[], Field]) -> Node | None:
        without = self._source.keyword("NOT")
        self._source.skip()
        if not self._source.keyword("IN"):
            return None
        self._source.skip()
        if not self._source.peek("(", "["):
            return None
        found = self._one_of(field())
        return Not(found) if without else found

    def _is(self, field: Callable[[], Field]) -> Node | None:
        if not self._source.keyword("IS"):
            return None
        self._source.skip()
        without = self._source.keyword("NOT")
        self._source.skip()
        if not self._source.keyword("NULL", "NONE"):
            return None
        missing = Missing(field())
        return Not(missing) if without else missing

    def _one_of(self, field: Field) -> Node:
        """Read a list of values: any of them."""
        opening = self._source.take(re.compile(r"[(\[]"))
        assert opening is not None
        unclosed = self._source.last("this list is not closed")
        parts: list[Node] = []
        while True:
            self._source.skip()
            parts.append(self._with_value(field, "="))
            self._source.skip()
            if self._source.take(CLOSING[opening[0]]):
                return parts[0] if len(parts) == 1 else Or(tuple(parts))
            if not self._source.take(","):
                raise unclosed
            self._count()

    # -- small parts

    def _value(self, needed: str, after_operator: bool = False) -> Value:
        """Read a value."""
        text = self._source.string()
        if text is not None:
            return Value(text, bare=False)
        start = self._source.at
        found = self._source.take(BARE)
        if found is None or (after_operator and COMPARE.match(found[0])):
            self._source.at = start
            raise self._source.here(needed if after_operator else f"{needed} is missing here")
        return Value(found[0], bare=True)

    def _meant(self, start: int, mean: Callable[[], Node]) -> Node:
        """Return what *mean* makes of what was read since *start*, or say what is wrong with it."""
        try:
            return mean()
        except Refused as wrong:
            raise self._source.error(str(wrong), start, self._source.at, wrong.hint) from None

    def _keyword(self, *words: str) -> str | None:
        self._source.skip()
        return self._source.keyword(*words)

    def _ahead(self, read: Callable[[], object]) -> bool:
        """Return whether *read* finds something here; nothing counts as read afterwards."""
        before = self._source.at
        found = bool(read())
        self._source.at = before
        return found


def _plain(operator: str) -> str:
    return "=" if operator == "==" else operator
