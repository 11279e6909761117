# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""
The sums of each day as they are kept: bundles of sessions in one table, what follows what in another.

Rule 1: an answer from sums is the answer from the sessions. Days that were written of since their sums were made
    (``dirty``) are read session by session, and so are days of which a question means only a part.
Rule 2: sums are made off the path of whoever writes: looked up, made, and kept only if the day was not written of
    meanwhile.
Rule 3: days are those of UTC, of the start of a session.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any

from ..filters import UNCONFIRMED
from ..filters.sql import Dialect, Part, Postgres
from ..filters.tree import And, Node, Not
from .bundles import LISTS, MERGED, SUMS, Bundle, bundles, merged
from .calendar import DAY_MS, EPOCH
from .stretches import Fetch, Stretch
from .trails import flow_of

COLUMNS = (
    "day", "type", "prompt_version", "channel", "unconfirmed", "first_started_ms", "last_started_ms", "first_last_ms",
    "last_last_ms", *SUMS, *LISTS,
)  # fmt: skip
FLOW = ("day", "unconfirmed", "step", "previous", "action", "sessions")
_FIXED = len(COLUMNS) - len(LISTS)
# Of all sessions of the day that are confirmed, or that are not, in one row of theirs: how many users, and lists.
ALL = ("different", *(f"all_{name}" for name in MERGED))
Key = tuple["str | None", "str | None", "str | None", bool]  # type, prompt version, channel, unconfirmed
_LARGEST = 2**63 - 1
MOST_DAYS = 4_000  # that are looked at to make their sums


class TooLargeError(Exception):
    """A sum that no column can hold: the day is read session by session."""


@dataclass(frozen=True, slots=True)
class Sums:
    """
    What is kept of one day.

    Attributes:
        day: Days of UTC since the epoch.
        daily: Cells of ``COLUMNS`` and ``ALL``.
        flows: Cells of ``FLOW``.
    """

    day: int
    daily: list[Sequence[Any]]
    flows: list[Sequence[Any]]


def make(day: int, fetch: Fetch, dialect: Dialect) -> Sums:
    """
    Make the sums of a day from its sessions.

    Raises:
        TooLargeError: They cannot be kept.
    """
    source = _of_day(And(()), day, fetch, dialect)
    made = bundles(source.rows(), lambda _: day, source.gaps())
    if any(value > _LARGEST for bundle in made for value in bundle.sums):
        raise TooLargeError
    return Sums(day, list(_rows(made)), list(_flows(day, fetch, dialect)))


def _rows(made: Sequence[Bundle]) -> Iterable[Sequence[Any]]:
    for flag in (False, True):
        some = [bundle for bundle in made if bundle.unconfirmed is flag]
        all_ = _cells_of_all(merged(some)) if some else []
        for bundle in some:
            yield [*_cells(bundle), *all_]
            all_ = [None] * len(ALL)


def _of_day(tree: Node, day: int, fetch: Fetch, dialect: Dialect) -> Stretch:
    return Stretch(fetch, dialect, tree, day * DAY_MS, (day + 1) * DAY_MS)


def _flows(day: int, fetch: Fetch, dialect: Dialect) -> Iterable[Sequence[Any]]:
    for unconfirmed, tree in ((False, Not(UNCONFIRMED)), (True, UNCONFIRMED)):
        found: Counter[tuple[int, str | None, str | None]] = Counter()
        for trail in _of_day(tree, day, fetch, dialect).trails():
            for flow in flow_of(trail.actions):
                found[flow] += trail.sessions
        for flow, sessions in found.items():
            yield day, unconfirmed, *flow, sessions


def _cells(bundle: Bundle) -> list[Any]:
    key = [bundle.day, bundle.type, bundle.prompt_version, bundle.channel, bundle.unconfirmed]
    lists = [_packed(getattr(bundle, name)) for name in LISTS]
    return [*key, *bundle.started_ms, *bundle.last_ms, *map(int, bundle.sums), *lists]


def _cells_of_all(bundle: Bundle) -> list[Any]:
    return [bundle.different, *(_packed(getattr(bundle, name)) for name in MERGED)]


def _packed(values: array[int]) -> bytes:
    """Return values in four bytes each, or in eight if need be; the first byte says which. They are in rising order."""
    small = not values or (values[0] >= 0 and values[-1] < 2**32)
    return _little(array("I", values) if small else values)


def _little(values: array[int]) -> bytes:
    code = values.typecode.encode()
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return code + values.tobytes()


def unpacked(data: bytes) -> array[int]:
    """Return values as they were packed."""
    values = array(chr(data[0]))
    values.frombytes(data[1:])
    if sys.byteorder == "big":
        values.byteswap()
    return values


def bundles_between(
    first: int, last: int, lists: Sequence[str], meant: Callable[[Key], bool], fetch: Fetch, dialect: Dialect
) -> Iterable[Bundle]:
    """
    Yield what is kept of the days from *first* to *last*.

    Args:
        first: Days of UTC since the epoch.
        last: As well.
        lists: The lists that are needed.
        meant: Says which keys are.
        fetch: Returns the rows of a statement.
        dialect: Of the database.
    """
    columns = [*COLUMNS[:_FIXED], *lists]
    within = f"day BETWEEN {dialect.mark} AND {dialect.mark}"
    for row in fetch((f"SELECT {', '.join(columns)} FROM {dialect.daily} WHERE {within}", [first, last])):
        day, kind, version, channel, unconfirmed, a, b, c, d = row[:9]
        if not meant((kind, version, channel, unconfirmed)):
            continue
        found = Bundle(day + EPOCH, kind, version, channel, bool(unconfirmed), (a, b), (c, d), list(row[9:_FIXED]))
        for name, data in zip(lists, row[_FIXED:], strict=True):
            setattr(found, name, unpacked(data))
        yield found


def days_between(
    first: int, last: int, lists: Sequence[str], meant: Callable[[Key], bool], fetch: Fetch, dialect: Dialect
) -> Iterable[Bundle]:
    """Yield what is kept of the days from *first* to *last*, a bundle for a whole day. As ``bundles_between``."""
    found: dict[tuple[int, bool], Bundle] = {}
    columns = ", ".join([*COLUMNS[:_FIXED], "different", *(f"all_{name}" for name in lists)])
    within = f"day BETWEEN {dialect.mark} AND {dialect.mark}"
    for row in fetch((f"SELECT {columns} FROM {dialect.daily} WHERE {within}", [first, last])):
        day, _, _, _, unconfirmed, a, b, c, d = row[:9]
        if not meant((None, None, None, bool(unconfirmed))):
            continue
        one = Bundle(day + EPOCH, None, None, None, bool(unconfirmed), (a, b), (c, d), list(row[9:_FIXED]))
        whole = found.setdefault((day, one.unconfirmed), one)
        if whole is not one:
            whole.sums = list(map(add, whole.sums, one.sums))
        if row[_FIXED] is not None:
            whole.different = row[_FIXED]
            for name, data in zip(lists, row[_FIXED + 1 :], strict=True):
                setattr(whole, name, unpacked(data))
    lacking = {day for (day, _), whole in found.items() if whole.different is None}
    yield from (whole for (day, _), whole in found.items() if day not in lacking)
    for day in lacking:  # a release before V5 made its sums
        yield from bundles_between(day, day, lists, meant, fetch, dialect)


def flows_between(first: int, last: int, all_: bool, fetch: Fetch, dialect: Dialect) -> Sequence[Any]:
    """Return what followed what on the days from *first* to *last*: step, previous, action, sessions."""
    which = "" if all_ else " AND NOT unconfirmed"
    mark = dialect.mark
    total = "CAST(sum(sessions) AS bigint)" if isinstance(dialect, Postgres) else "sum(sessions)"
    text = f"SELECT step, previous, action, {total} FROM {dialect.flows} WHERE day BETWEEN {mark} AND {mark}{which}"
    return fetch((f"{text} GROUP BY step, previous, action", [first, last]))


def edges_between(first: int, last: int, fetch: Fetch, dialect: Dialect) -> Sequence[Any]:
    """Return for each kept day from *first* to *last*: day, first and last start, first and last end of activity."""
    edges = "min(first_started_ms), max(last_started_ms), min(first_last_ms), max(last_last_ms)"
    within = f"day BETWEEN {dialect.mark} AND {dialect.mark}"
    return fetch((f"SELECT day, {edges} FROM {dialect.daily} WHERE {within} GROUP BY day", [first, last]))


def dirty_between(first: int, last: int, fetch: Fetch, dialect: Dialect) -> set[int]:
    """Return the days from *first* to *last* that were written of since their sums were made."""
    within = f"day BETWEEN {dialect.mark} AND {dialect.mark}"
    return {day for (day,) in fetch((f"SELECT DISTINCT day FROM {dialect.dirty} WHERE {within}", [first, last]))}


def inserting(table: str, columns: Sequence[str], dialect: Dialect) -> str:
    """Return the statement that keeps a row."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join([dialect.mark] * len(columns))})"


def forgetting(day: int, dialect: Dialect) -> list[Part]:
    """Return the statements that forget the sums of a day."""
    return [(f"DELETE FROM {table} WHERE day = {dialect.mark}", [day]) for table in (dialect.daily, dialect.flows)]
