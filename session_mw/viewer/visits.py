"""One request of somebody who may look: who it is, what it may see, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timezone, tzinfo
from typing import Any, TypeAlias
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from ..ledger import SORTS, Filter, Ledger, Listing, SessionRow, read_filter
from ..ledger.filters import bounds_time, fits, within
from ..ledger.filters.tree import And, Node
from .kept import Kept
from .links import Template
from .zones import UTC, zone_named

Audit: TypeAlias = Callable[[Any, str, str], object]

WINDOW_DAYS = 30
DAY_MS = 86_400_000
SIZES = (25, 50, 100, 200)
MOST_COLUMNS = 12
SORTED = "-started"
LIVE_S = (2, 3_600)  # how often a live page may ask, seconds


@dataclass(frozen=True, slots=True)
class Query:
    """
    What a page was asked for; every link to another page carries it on.

    Attributes:
        q: The filter, as typed.
        sort: As in ``Listing``.
        n: Rows of a page.
        c: Cursor.
        all_time: Not only the last 30 days.
        unconfirmed: Also sessions that nobody confirmed.
        sums: Also sums over a list that is too long to add up on every page.
        col: Columns beside the usual ones.
        tz: Time zone, by its IANA name.
        live: Seconds after which the page asks what is new; 0 is never.
    """

    q: str = ""
    sort: str = SORTED
    n: int = 50
    c: str = ""
    all_time: bool = False
    unconfirmed: bool = False
    sums: bool = False
    col: tuple[str, ...] = ()
    tz: str = UTC
    live: int = 0

    @classmethod
    def of(cls, params: QueryParams) -> Query:
        """Return what the query string says; what makes no sense there is left out."""
        size, live = _whole(params.get("n", "")), _whole(params.get("live", ""))
        columns = tuple(dict.fromkeys(name for name in params.getlist("col") if name))
        return cls(
            q=params.get("q", "").replace("\r\n", "\n").strip(),
            sort=params.get("sort") or SORTED,
            n=size if size in SIZES else 50,
            c=params.get("c", ""),
            all_time=params.get("window") == "all",
            unconfirmed=params.get("unconfirmed") == "1",
            sums=params.get("sums") == "1",
            col=columns[:MOST_COLUMNS],
            tz=params.get("tz") or UTC,
            live=max(LIVE_S[0], min(live, LIVE_S[1])) if live else 0,
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Return it as names and values, without what is usual."""
        pairs: list[tuple[str, str]] = [("q", self.q)] if self.q else []
        pairs += [("sort", self.sort)] if self.sort != SORTED else []
        pairs += [("n", str(self.n))] if self.n != 50 else []
        pairs += [("window", "all")] if self.all_time else []
        pairs += [("unconfirmed", "1")] if self.unconfirmed else []
        pairs += [("sums", "1")] if self.sums else []
        pairs += [("tz", self.tz)] if self.tz != UTC else []
        pairs += [("col", name) for name in self.col]
        pairs += [("live", str(self.live))] if self.live else []
        pairs += [("c", self.c)] if self.c else []
        return pairs

    def string(self, **changes: Any) -> str:
        """Return it as a query string, with changes."""
        return urlencode(replace(self, **changes).pairs(), errors="replace")


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Which sessions a filter means for somebody.

    Attributes:
        where: Within the window and the actor's scope.
        unbounded: Without the window; None when there is none.
    """

    where: Filter
    unbounded: Filter | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """
    One request.

    Attributes:
        ledger: The history.
        actor: Who asks.
        now_ms: When, milliseconds since the epoch.
        up: What links begin with.
        params: The query string.
        limit: What the actor may see at all; None is everything.
        content: Whether the actor may see what was said.
        audit: Is told of content and exports.
        traces: Links to other tools.
        pseudonym: Makes a user's own id what the history keeps.
        head: Only the headers are asked for.
        kept: Answers of a moment ago.
        known: The mark of the answer that is there already (``If-None-Match``).
    """

    ledger: Ledger
    actor: Any
    now_ms: int
    up: str
    params: QueryParams
    limit: Node | None = None
    content: bool = False
    audit: Audit | None = None
    traces: tuple[Template, ...] = ()
    pseudonym: Callable[[str], str] | None = None
    head: bool = False
    kept: Kept = field(default_factory=Kept)
    known: str = ""

    def ask(self, query: Query) -> Asked:
        """
        Read the filter of a query.

        Raises:
            FilterError: It cannot be read.
        """
        told = read_filter(query.q, self.now_ms, self.zone, pseudonym=self.pseudonym)
        mine = told if self.limit is None else Filter(told.text, And((told.tree, self.limit)))
        if query.all_time or bounds_time(told):
            return Asked(mine)
        return Asked(within(mine, self.now_ms - WINDOW_DAYS * DAY_MS), mine)

    def listing(self, query: Query) -> tuple[Listing, Asked]:
        """Return the page of the list that a query asks for. Raises as ``ask`` does."""
        asked = self.ask(query)
        listing = Listing(asked.where, query.sort, query.n, query.c or None, query.unconfirmed)
        return listing, asked

    def session(self) -> SessionRow | None:
        """Return the session that was asked for, None when it is not known or out of the actor's scope."""
        generation = self.params.get("generation", "")
        which = int(generation) if generation.isascii() and generation.isdigit() and len(generation) < 10 else None
        row = self.ledger.session(self.params.get("id", ""), which)
        return row if row is not None and (self.limit is None or fits(self.limit, row)) else None

    def tell(self, what: str, subject: str) -> None:
        """Tell the audit, before anything is shown."""
        if self.audit is not None:
            self.audit(self.actor, what, subject)

    @property
    def zone(self) -> tzinfo:
        """Of all times that are shown, and of the days in a filter; UTC when there is no such zone."""
        return zone_named(self.params.get("tz") or UTC) or timezone.utc

    @property
    def zone_name(self) -> str:
        """As every page says it."""
        return UTC if self.zone is timezone.utc else str(self.zone)

    @property
    def name(self) -> str:
        """Who asks, for people."""
        return "" if self.actor is True else str(self.actor)

    def link(self, page: str, query: Query | None = None, **params: str | tuple[str, ...]) -> str:
        """Return a link to a page, carrying on what was asked for; a parameter may have several values."""
        said = urlencode(params, doseq=True, errors="replace")
        kept = query.string() if query else ""
        string = "&".join(part for part in (said, kept) if part)
        return (f"{self.up}{page}" or "./") + (f"?{string}" if string else "")


def _whole(said: str) -> int:
    return int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0


def known_sort(sort: str) -> str:
    """Return *sort*, or the usual one when there is no such."""
    return sort if sort.removeprefix("-") in SORTS else SORTED
