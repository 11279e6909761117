# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""
Conditions for a WHERE over the sessions of a ledger, which the statement calls ``s``.

Every value is bound; the names of columns come from the table of fields, never from a filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import TypeAlias

from .tree import And, Contains, Equals, Field, Leaf, Matches, Missing, Node, Not, Or, Prefix, Range

Part: TypeAlias = tuple[str, list[object]]


class Sqlite:
    """SQLite's dialect. Attributes are rows of their own: ``ledger_session_attrs``."""

    mark = "?"
    false = "0"
    sessions = "ledger_sessions"
    turns = "ledger_turns"
    daily = "ledger_daily"
    flows = "ledger_flows"
    dirty = "ledger_dirty"
    mixed = "s.mixed"  # whether turns of a session name another prompt version than it does
    merged = True  # sums of days have lists of whole days

    def __init__(self, lacks: frozenset[str] = frozenset(), *, before_v5: bool = False) -> None:
        self._lacks = lacks  # sorts without an index
        if before_v5:
            other = "t.session_pk = s.pk AND t.prompt_version <> s.prompt_version"
            self.mixed, self.merged = f"EXISTS (SELECT 1 FROM ledger_turns AS t WHERE {other})", False

    _ATTRIBUTE = "ledger_session_attrs AS a WHERE a.session_pk = s.pk AND a.key = ?"

    def sorted_by(self, sort: str, tree: Node) -> str:
        """Return the sessions as an index gives them: without statistics, SQLite would rather sort a million rows."""
        if sort in self._lacks:
            return f"{self.sessions} AS s"
        index = "version" if sort == "started" and _of_one_version(tree) else sort
        return f"{self.sessions} AS s INDEXED BY ledger_ix_sessions_{index}"

    def word(self, field: Field) -> Part:
        """Return what a session has of a field, as text."""
        if not field.attribute:
            column = f"s.{field.column}"
            return column if field.kind == "text" else f"CAST({column} AS TEXT)", []
        flag = "CASE a.value WHEN 1 THEN 'true' ELSE 'false' END"
        text = f"CASE WHEN a.is_bool = 1 THEN {flag} ELSE CAST(a.value AS TEXT) END"
        return f"(SELECT {text} FROM {self._ATTRIBUTE})", [field.column]

    def raw(self, field: Field) -> Part:
        """Return what a session has of a field, a number if it is an attribute."""
        if not field.attribute:
            return f"s.{field.column}", []
        number = "a.is_bool = 0 AND typeof(a.value) IN ('integer', 'real')"
        return f"(SELECT a.value FROM {self._ATTRIBUTE} AND {number})", [field.column]

    def column(self, leaf: Leaf) -> Part:
        """Return a condition on a column."""
        return self._value(f"s.{leaf.field.column}", leaf)

    def attribute(self, leaf: Leaf) -> Part:
        """Return a condition on an attribute."""
        rows = f"SELECT 1 FROM {self._ATTRIBUTE}"
        if isinstance(leaf, Missing):
            return f"NOT EXISTS ({rows})", [leaf.field.column]
        if isinstance(leaf, Equals) and isinstance(leaf.value, bool):
            return f"EXISTS ({rows} AND a.is_bool = 1 AND a.value = ?)", [leaf.field.column, int(leaf.value)]
        number = "a.is_bool = 0 AND typeof(a.value) IN ('integer', 'real')"
        typed = number if isinstance(leaf, Range) else "typeof(a.value) = 'text'"
        test, asked = self._value("a.value", leaf)
        return f"EXISTS ({rows} AND {typed} AND {test})", [leaf.field.column, *asked]

    def somebody_has(self, key: str) -> list[Part]:
        """Return what is asked once for all sessions: an attribute that nobody has is often a typing error."""
        return [("EXISTS (SELECT 1 FROM ledger_session_attrs AS b WHERE b.key = ?)", [key])]

    def _value(self, value: str, leaf: Leaf) -> Part:
        if isinstance(leaf, Matches):
            return f"{value} GLOB ?", ["*".join(map(_glob, leaf.parts))]
        if isinstance(leaf, Contains):
            return f"instr(lower({value}), lower(?)) > 0", [leaf.value]
        if isinstance(leaf, Prefix):  # a range: an index serves it
            above = _above(leaf.value)
            if above is None:
                return f"{value} >= ?", [leaf.value]
            return f"({value} >= ? AND {value} < ?)", [leaf.value, above]
        return _plain(value, leaf, self.mark)


class Postgres:
    """PostgreSQL's dialect. Attributes are JSON in a column of text."""

    mark = "%s"
    false = "FALSE"
    mixed, merged = "s.mixed", True
    sessions = "session_mw_ledger_sessions"
    turns = "session_mw_ledger_turns"
    daily = "session_mw_ledger_daily"
    flows = "session_mw_ledger_flows"
    dirty = "session_mw_ledger_dirty"

    def sorted_by(self, sort: str, tree: Node) -> str:
        """Return the sessions; the server finds the way by itself."""
        return f"{self.sessions} AS s"

    def word(self, field: Field) -> Part:
        """Return what a session has of a field, as text."""
        if not field.attribute:
            return f"s.{field.column}::text", []
        return "(s.attributes::json ->> %s::text)", [field.column]

    def raw(self, field: Field) -> Part:
        """Return what a session has of a field, a number if it is an attribute."""
        if not field.attribute:
            return f"s.{field.column}", []
        found = "s.attributes::json -> %s::text"
        number = f"CASE WHEN json_typeof({found}) = 'number' THEN ({found})::text::float8 END"
        return number, [field.column, field.column]

    def column(self, leaf: Leaf) -> Part:
        """Return a condition on a column."""
        return self._value(f"s.{leaf.field.column}", leaf)

    def attribute(self, leaf: Leaf) -> Part:
        """Return a condition on an attribute."""
        found, key = "(s.attributes::json -> %s::text)", leaf.field.column
        if isinstance(leaf, Missing):
            return f"{found} IS NULL", [key]
        if isinstance(leaf, Equals) and isinstance(leaf.value, bool):
            return f"{found}::text = %s", [key, "true" if leaf.value else "false"]
        typed, cast = ("number", "numeric") if isinstance(leaf, Range) else ("string", "text")
        taken = f"(s.attributes::json ->> %s::text)::{cast}"
        test, asked = self._value(taken, leaf)
        bound = [part for value in asked for part in (key, Decimal(value) if isinstance(value, float) else value)]
        return f"CASE WHEN json_typeof({found}) = '{typed}' THEN {test} END", [key, *bound]

    def somebody_has(self, key: str) -> list[Part]:
        """Return nothing: no index knows."""
        return []

    def _value(self, value: str, leaf: Leaf) -> Part:
        if isinstance(leaf, Matches):
            return f"{value} LIKE %s", ["%".join(map(_like, leaf.parts))]
        if isinstance(leaf, Contains):  # by the rules of C: A to Z and nothing else, as SQLite has it
            # Not by strpos: the server takes it that a third of all sessions fit then, and reads all to find so many.
            return f'lower({value} COLLATE "C") LIKE lower(%s COLLATE "C")', [f"%{_like(leaf.value)}%"]
        if isinstance(leaf, Prefix):
            return f"starts_with({value}, %s)", [leaf.value]
        return _plain(value, leaf, self.mark)


Dialect: TypeAlias = Sqlite | Postgres
SQLITE, POSTGRES = Sqlite(), Postgres()


def where(node: Node, dialect: Dialect) -> Part:
    """
    Return *node* as a condition, and what is bound to its marks in that order.

    Args:
        node: A filter.
        dialect: Of the database it is asked in.
    """
    parts = [part for key in sorted(_necessary(node)) for part in dialect.somebody_has(key)]
    return _joined([*parts, _test(node, dialect)], True, dialect) if parts else _test(node, dialect)


def _of_one_version(node: Node) -> bool:
    """Return whether only sessions of one prompt version can fit."""
    if isinstance(node, And):
        return any(map(_of_one_version, node.parts))
    return isinstance(node, Equals) and not node.field.attribute and node.field.column == "prompt_version"


def _necessary(node: Node) -> set[str]:
    """Return the attributes without which no session can fit."""
    if isinstance(node, (And, Or)):
        found = [_necessary(part) for part in node.parts]
        return set[str]().union(*found) if isinstance(node, And) or not found else found[0].intersection(*found[1:])
    if isinstance(node, (Not, Missing)) or not node.field.attribute:
        return set()
    return {node.field.column}


def _test(node: Node, dialect: Dialect) -> Part:
    if isinstance(node, (And, Or)):
        return _joined([_test(part, dialect) for part in node.parts], isinstance(node, And), dialect)
    if isinstance(node, Not):
        test, asked = _test(node.part, dialect)
        return f"NOT COALESCE({test}, {dialect.false})", asked
    return dialect.attribute(node) if node.field.attribute else dialect.column(node)


def _joined(parts: list[Part], all_of: bool, dialect: Dialect) -> Part:
    if not parts:
        return ("1 = 1" if all_of else "1 = 0"), []
    text = (" AND " if all_of else " OR ").join(test for test, _ in parts)
    return f"({text})", [value for _, asked in parts for value in asked]


def _plain(value: str, leaf: Leaf, mark: str) -> Part:
    """Return what both dialects write alike."""
    if isinstance(leaf, Range):
        bounds = list(_bounds(leaf))
        tests = " AND ".join(f"{value} {operator} {mark}" for operator, _ in bounds)
        return f"({tests})", [bound for _, bound in bounds]
    if isinstance(leaf, Equals):
        return f"{value} = {mark}", [leaf.value]
    return f"{value} IS NULL", []


def _bounds(leaf: Range) -> Iterator[tuple[str, float]]:
    if leaf.low is not None:
        yield ">=", leaf.low
    if leaf.high is not None and (leaf.low is None or math.isfinite(leaf.high)):
        yield "<", leaf.high


def _glob(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _like(text: str) -> str:
    return "".join(f"\\{character}" if character in "%_\\" else character for character in text)


def _above(prefix: str) -> str | None:
    """Return the first text behind all that begin with *prefix*, by code points; None when there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)  # surrogates are no characters
