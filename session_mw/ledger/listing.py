"""
A list of sessions, page by page: in which order, which part of it, and how one page leads to the next.

Rule 1: pages are cut by the value that they are sorted by and the row's ``pk``, never by a number of rows to leave out:
    the thousandth page costs what the first one does, and sessions that come meanwhile move nothing.
Rule 2: what a session does not have stands last, whichever the direction.
Rule 3: a cursor belongs to one filter and one sort. With another one, or damaged, it means the first page.
Rule 4: nobody waits longer than ``seconds``. When the time is up, a page holds what was found until then.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from typing import Any

from ..exceptions import FilterError, StoreUnavailable
from .filters import Filter, counted
from .filters.sql import Dialect, Part, where
from .filters.tree import Node
from .rows import SessionRow

COUNTED = 10_001  # nobody needs to know how many more there are, and counting them all takes long
LARGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class Sort:
    """
    What sessions can be sorted by.

    Attributes:
        column: Where it stands; integers.
        optional: Not every session has it.
    """

    column: str
    optional: bool = False


SORTS: Mapping[str, Sort] = {
    "started": Sort("started_ms"),
    "last": Sort("last_ms"),
    "duration": Sort("duration_ms"),
    "turns": Sort("turns"),
    "tokens": Sort("total_tokens", optional=True),
    "cost": Sort("cost_microusd", optional=True),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """
    What is asked for.

    Attributes:
        where: Only those that fit it.
        sort: One of ``SORTS``; with ``-`` in front from the largest to the smallest.
        limit: Rows of a page, 1 to 500.
        cursor: ``Page.older`` or ``Page.newer`` of another page; None is the first one.
        include_unconfirmed: Also those that nobody confirmed: bots, webhooks.
        seconds: How long it may take.

    Raises:
        FilterError: There is no such sort.
    """

    where: Filter | None = None
    sort: str = "-started"
    limit: int = 50
    cursor: str | None = None
    include_unconfirmed: bool = False
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.sort.removeprefix("-") not in SORTS:
            hint = f"Sort by one of {', '.join(SORTS)}; with a - in front the largest come first."
            raise FilterError(f"nothing is sorted by {self.sort!r}", self.sort, 0, len(self.sort), hint)

    @property
    def by(self) -> Sort:
        """What it is sorted by."""
        return SORTS[self.sort.removeprefix("-")]

    @property
    def falling(self) -> bool:
        """Whether the largest come first."""
        return self.sort.startswith("-")

    @property
    def size(self) -> int:
        """Rows of a page."""
        return max(1, min(self.limit, LARGEST_PAGE))

    @property
    def tree(self) -> Node:
        """Which sessions are meant."""
        return counted(self.where, self.include_unconfirmed)


@dataclass(frozen=True, slots=True)
class Page:
    """
    A part of a list.

    Attributes:
        rows: In order.
        older: Cursor of the page behind it; None when there is none.
        newer: Cursor of the page before it; None when there is none.
        count: How many sessions the whole list has.
        capped: There are more than *count*, or may be: at 10,001 it is not counted further.
        stopped: The time was up: *rows* need not be all.
    """

    rows: list[SessionRow]
    older: str | None = None
    newer: str | None = None
    count: int = 0
    capped: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """
    A row in an order, and which way to go from it.

    Attributes:
        value: What it is sorted by; None when it does not have that.
        pk: Its row.
        back: Towards the beginning.
    """

    value: int | None
    pk: int
    back: bool = False


def place_of(listing: Listing) -> Place | None:
    """Return where the page of *listing* begins, None for the beginning of the list."""
    try:
        text = (listing.cursor or "").encode("ascii")
        back, value, pk, mark = json.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        return None
    sound = isinstance(back, bool) and _is_int64(pk) and (_is_int64(value) or (value is None and listing.by.optional))
    return Place(value, pk, back) if sound and mark == _mark(listing) else None


def _is_int64(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def cursor_of(listing: Listing, row: SessionRow, back: bool) -> str:
    """Return the cursor of what stands behind *row* in a list; with *back*, before it."""
    said = json.dumps([back, getattr(row, listing.by.column), row.pk, _mark(listing)], separators=(",", ":"))
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def _mark(listing: Listing) -> str:
    """Return what tells the lists of one filter and sort from others; a filter's own words, since its times move."""
    text = "" if listing.where is None else listing.where.text
    said = "\0".join((listing.sort, str(listing.include_unconfirmed), text))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Found:
    """
    What was found in time.

    Attributes:
        rows: Sessions.
        stopped: There may be more.
    """

    rows: Sequence[Any]
    stopped: bool = False


def whole(found: Found, seconds: float) -> Sequence[Any]:
    """
    Return all rows of a question that has no answer in parts.

    Raises:
        StoreUnavailable: They did not come in time.
    """
    if found.stopped:
        text = f"cannot sum up the history: it takes longer than {seconds:g} s. Ask for less, a shorter time above all."
        raise StoreUnavailable(text, reason="store_timeout")
    return found.rows


def page(listing: Listing, place: Place | None, found: Found, matches: Found) -> Page:
    """
    Return a page.

    Args:
        listing: What was asked.
        place: Where it begins.
        found: One more than fits, if there are so many; the nearest to *place* first.
        matches: All that are meant, as far as they were counted.
    """
    rows, stopped = found.rows, found.stopped
    kept, more = list(rows[: listing.size]), len(rows) > listing.size or (stopped and bool(rows))
    back = place is not None and place.back
    if back:
        kept.reverse()
    behind, before = (True, more) if back else (more, place is not None)
    return Page(
        kept,
        older=cursor_of(listing, kept[-1], False) if kept and behind else None,
        newer=cursor_of(listing, kept[0], True) if kept and before else None,
        count=len(matches.rows),
        capped=matches.stopped or len(matches.rows) >= COUNTED,
        stopped=stopped,
    )


# -- all that are meant, sorted here


def _key(listing: Listing, value: int | None, pk: int) -> tuple[bool, int, int]:
    sign = -1 if listing.falling else 1
    return value is None, sign * (value or 0), sign * pk


def nearest(listing: Listing, place: Place | None, pairs: Iterable[tuple[int, int | None]]) -> list[int]:
    """
    Return the rows of a page and one more, if there are so many, the nearest to *place* first.

    Args:
        listing: What is asked.
        place: Where the page begins.
        pairs: ``pk``, and what is sorted by, of all that are meant.
    """
    keys = ((_key(listing, value, pk), pk) for pk, value in pairs)
    if place is None:
        return [pk for _, pk in nsmallest(listing.size + 1, keys)]
    here = _key(listing, place.value, place.pk)
    if place.back:
        return [pk for _, pk in nlargest(listing.size + 1, (one for one in keys if one[0] < here))]
    return [pk for _, pk in nsmallest(listing.size + 1, (one for one in keys if one[0] > here))]


def page_of(listing: Listing, found: Sequence[SessionRow]) -> Page:
    """Return the page of *listing* out of all sessions that it means, in any order."""
    rows, column = {row.pk: row for row in found}, listing.by.column
    pairs = [(row.pk, getattr(row, column)) for row in found]
    matches = Found(pairs[:COUNTED])
    return _page(listing, matches, lambda place: Found([rows[pk] for pk in nearest(listing, place, pairs)]))


def _page(listing: Listing, matches: Found, read: Callable[[Place | None], Found]) -> Page:
    place = place_of(listing)
    found = read(place)
    if not found.rows and place is not None and place.back and not found.stopped:
        place = None  # nothing is left before it: the first page
        found = read(place)
    return page(listing, place, found, matches)


# -- in SQL


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    A part of a list that one index gives in order.

    Attributes:
        test: What holds of its rows, beside the filter.
        asked: Bound to the marks in *test*.
        order: For ``ORDER BY``.
    """

    test: str
    asked: list[object]
    order: str


def stretches(listing: Listing, place: Place | None, dialect: Dialect) -> list[Stretch]:
    """Return the parts of a list from *place* on, in the order in which they are read."""
    back = place is not None and place.back
    down = listing.falling != back
    column, way, beyond = f"s.{listing.by.column}", "DESC" if down else "ASC", "<" if down else ">"
    known = Stretch(f"{column} IS NOT NULL" if listing.by.optional else "1 = 1", [], f"{column} {way}, s.pk {way}")
    unknown = Stretch(f"{column} IS NULL", [], f"s.pk {way}")
    parts = [known, unknown] if listing.by.optional else [known]
    if place is None:
        return parts
    if place.value is None:
        here = Stretch(f"{unknown.test} AND s.pk {beyond} {dialect.mark}", [place.pk], unknown.order)
        return [here, known] if back else [here]
    test = f"{known.test} AND ({column}, s.pk) {beyond} ({dialect.mark}, {dialect.mark})"
    here = Stretch(test, [place.value, place.pk], known.order)
    return [here] if back else [here, *parts[1:]]


def counting(listing: Listing, dialect: Dialect) -> Part:
    """Return the statement that finds all that are meant, as far as they are counted: ``pk``, and what is sorted by."""
    test, asked = where(listing.tree, dialect)
    columns = f"s.pk, s.{listing.by.column}"
    return f"SELECT {columns} FROM {dialect.sessions} AS s WHERE {test} LIMIT {COUNTED}", asked  # noqa: S608


def following(listing: Listing, stretch: Stretch, columns: str, limit: int, dialect: Dialect) -> Part:
    """Return the statement that follows the sort's index through a part of a list, until there are enough."""
    test, asked = where(listing.tree, dialect)
    source, end = (
        dialect.sorted_by(listing.sort.removeprefix("-"), listing.tree),
        f"{stretch.test} ORDER BY {stretch.order} LIMIT {int(limit)}",
    )
    return f"SELECT {columns} FROM {source} WHERE {test} AND {end}", [*asked, *stretch.asked]  # noqa: S608


def picking(pks: Sequence[int], columns: str, dialect: Dialect) -> Part:
    """Return the statement that reads some rows."""
    marks = ", ".join([dialect.mark] * len(pks))
    return f"SELECT {columns} FROM {dialect.sessions} AS s WHERE s.pk IN ({marks})", list(pks)  # noqa: S608


Read = Callable[[Part, float], Found]


def read_page(
    listing: Listing,
    columns: str,
    read: Read,
    dialect: Dialect,
    sessions: Callable[[Sequence[Any]], list[SessionRow]],
) -> Page:
    """
    Return a page, read from a database.

    Where all that are meant were counted, they are sorted here. Otherwise the index of the sort is followed until there
    are enough. The other way round each takes seconds with a million sessions: few that are far apart in the index, or
    very many to sort.

    Args:
        listing: What is asked.
        columns: What is read of each session, ``pk`` first.
        read: Gives the rows of a statement, as far as they come within a share of the time.
        dialect: Of the database.
        sessions: Makes sessions of what was read.
    """
    matches = read(counting(listing, dialect), 0.5)

    def few(place: Place | None) -> Found:
        pks = nearest(listing, place, matches.rows)
        found = read(picking(pks, columns, dialect), 1.0) if pks else Found([])
        rows = {row.pk: row for row in sessions(found.rows)}
        return Found([rows[pk] for pk in pks if pk in rows], found.stopped)

    def many(place: Place | None) -> Found:
        found = _follow(listing, place, columns, read, dialect)
        return Found(sessions(found.rows), found.stopped)

    return _page(listing, matches, many if matches.stopped or len(matches.rows) >= COUNTED else few)


def _follow(listing: Listing, place: Place | None, columns: str, read: Read, dialect: Dialect) -> Found:
    rows: list[Any] = []
    for stretch in stretches(listing, place, dialect):
        if (left := listing.size + 1 - len(rows)) > 0:
            more = read(following(listing, stretch, columns, left, dialect), 1.0)
            rows += more.rows
            if more.stopped:
                return Found(rows, stopped=True)
    return Found(rows)
