"""
What all pages of analytics have in common: the filter box, the window, what happens when something is wrong or slow.

Rule 1: a page and its JSON twin say the same: both are made from one answer.
Rule 2: an answer that does not come in time is told as one that did not, with 200; half a sum is none.
Rule 3: what takes seconds is kept for a minute, for whoever may see the same and asks the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from starlette.responses import JSONResponse, Response

from ...exceptions import FilterError, StoreUnavailable
from ...ledger import Filter, read_filter
from ..box import Spot, box, is_wrong, known_zone, mended, narrowed, problem
from ..pages import page
from ..refusals import refusal
from ..visits import WINDOW_DAYS, Asked, Query, Visit
from ..zones import day_time

SECONDS = 5.0  # how long a question may take
LONGEST = 2_000  # characters of a filter

Own: TypeAlias = Mapping[str, str | tuple[str, ...]]
Found = TypeVar("Found")

TABS = (
    ("analytics", "Overview"),
    ("analytics/engagement", "Engagement"),
    ("analytics/journeys", "Journeys"),
    ("analytics/funnel", "Funnel"),
    ("analytics/retention", "Retention"),
    ("groups", "Groups"),
)


@dataclass(frozen=True, slots=True)
class Asking:
    """
    One question: who asks, which sessions are meant, and what else.

    Attributes:
        visit: Who asks.
        query: What was asked for.
        asked: Which sessions it means.
        own: What only this page is asked.
        name: Of the page.
    """

    visit: Visit
    query: Query
    asked: Asked
    own: Own
    name: str

    @property
    def where(self) -> Filter:
        """The sessions that are meant."""
        return self.asked.where

    def key(self, aside: tuple[str, ...]) -> object:
        """
        Return what tells questions apart: who asks the same, and may see the same, may be told the same.

        Filters count from now: it is their words that are compared.

        Args:
            aside: What of the page's own is no part of the question.
        """
        query = self.query
        own = tuple(pair for pair in self.own.items() if pair[0] not in aside)
        return self.name, query.q, query.all_time, query.unconfirmed, query.tz, own, self.visit.limit

    def here(self, **own: str | tuple[str, ...]) -> str:
        """Return a link to this page, asked otherwise."""
        return self.visit.link(self.name, self.query, **{**self.own, **own})

    def listed(self, condition: str) -> str:
        """Return a link to the list of the sessions meant that fit a condition too; empty when no filter can say it."""
        q = narrowed(self.query.q, condition)
        try:
            read_filter(q, self.visit.now_ms)
        except FilterError:
            return ""
        return self.visit.link("", Query(q, all_time=self.query.all_time, unconfirmed=self.query.unconfirmed,
            tz=self.query.tz)) if len(q) <= LONGEST else ""  # fmt: skip


def _nothing(visit: Visit) -> Own:
    return {}


def _anything(own: Own) -> None:
    return


@dataclass(frozen=True, slots=True)
class Sight(Generic[Found]):
    """
    One page.

    Attributes:
        name: Where it is.
        title: For people.
        template: Shows ``values``.
        find: Asks the history.
        values: Makes what the template shows of an answer.
        document: Makes what programs get of it.
        own: What only this page is asked.
        check: Raises FilterError when that cannot be.
        fields: Template of its own part of the filter box.
        visible: What has a field there.
        slow: Answers are kept for a while.
        aside: What of the page's own changes how an answer is shown, and not the answer.
        more: What its template needs besides.
        days: Of its usual window.
    """

    name: str
    title: str
    template: str
    find: Callable[[Asking], Found]
    values: Callable[[Asking, Found], dict[str, Any]]
    document: Callable[[Asking, Found], dict[str, Any]]
    own: Callable[[Visit], Own] = _nothing
    check: Callable[[Own], None] = _anything
    fields: str = ""
    visible: tuple[str, ...] = ()
    slow: bool = False
    aside: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    days: int = WINDOW_DAYS

    def page(self, visit: Visit) -> Response:
        """Return the page; of a filter that cannot be read it says what is wrong instead."""
        query, spot = Query.of(visit.params), self._spot(visit)
        try:
            asking = self._asking(visit, query, spot.own)
        except FilterError as error:
            kept = mended(query)
            wrong = problem(visit, kept, error, spot, in_filter=is_wrong(visit, kept))
            return self._shown(visit, kept, spot, 400, **box(visit, kept, spot), error=wrong)
        found, since_ms = self._found(asking)
        values: dict[str, Any] = {"stopped": found is None} if found is None else self.values(asking, found)
        values = {
            "stopped": False,
            "part": False,
            **values,
            **box(visit, query, spot, asked=asking.asked),
            "error": None,
        }
        since = day_time(since_ms, visit.zone)[11:] if since_ms != visit.now_ms else ""
        return self._shown(visit, query, spot, 200, **values, since=since)

    def json(self, visit: Visit) -> Response:
        """Return the same for programs."""
        try:
            asking = self._asking(visit, Query.of(visit.params), self.own(visit))
        except FilterError as error:
            return JSONResponse(refusal(error), 400)
        found, _ = self._found(asking)
        return JSONResponse({"stopped": True} if found is None else self.document(asking, found))

    def _spot(self, visit: Visit) -> Spot:
        return Spot(self.name, self.own(visit), self.fields, self.visible, self.days)

    def _asking(self, visit: Visit, query: Query, own: Own) -> Asking:
        known_zone(query)
        asked = visit.ask(query)
        self.check(own)
        return Asking(visit, query, asked, own, self.name)

    def _found(self, asking: Asking) -> tuple[Found | None, int]:
        """Return an answer and since when it has been known; None when it did not come in time."""
        try:
            if not self.slow:
                return self.find(asking), asking.visit.now_ms
            return asking.visit.kept.get(
                asking.key(self.aside), asking.visit.now_ms, lambda: self.find(asking), _is_whole
            )
        except StoreUnavailable as error:
            if error.reason != "store_timeout":
                raise
            return None, asking.visit.now_ms

    def _shown(self, visit: Visit, query: Query, spot: Spot, status: int, **values: Any) -> Response:
        tabs = [(title, visit.link(name, query), name == self.name) for name, title in TABS]
        common = {"title": self.title, "tabs": tabs, "own": spot.own, "seconds": SECONDS, **self.more}
        twin = visit.link(f"api/{self.name}", query, **spot.own)
        return page(self.template, visit, query, status, **common, twin=twin, **values)


def _is_whole(found: object) -> bool:
    """Return whether an answer is worth to be kept: half of one may be whole the next time."""
    return not getattr(found, "stopped", False)
