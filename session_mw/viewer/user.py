"""
One user: what the history has of all their sessions together, and the list of them.

Rule 1: the figures are of all sessions of the user that the actor may see, whenever they were; filter and window are
    for the list below them. They agree with ``Ledger.user_totals``, which knows no actors.
Rule 2: a user without a session within the actor's scope is one that there is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

from starlette.responses import JSONResponse, Response

from ..exceptions import FilterError, StoreUnavailable
from ..ledger import Analyzing, Filter, Group, Listing, Overview, SessionRow, Summing, read_filter
from ..ledger.documents import group_document, moment, session_document, usd
from ..ledger.filters.tree import And
from ..ledger.shown import many, shown_ms, shown_number, shown_usd
from .box import Spot, box, is_wrong, known_zone, mended, problem, quoted
from .charts import Chart, columns
from .list import COLUMNS, SUM_S, ago, dash, heading, line
from .pages import page
from .refusals import refusal
from .sparks import sparks
from .visits import Asked, Query, Visit
from .zones import day_time

WEEKS = 26  # of the strip
WEEK_MS = 7 * 86_400_000
STRIP = 40  # pixels


@dataclass(frozen=True, slots=True)
class User:
    """
    What is known of a user.

    Attributes:
        user_id: As the history has it.
        first: The session that started first.
        newest: The session that started last.
        last_ms: Last activity, milliseconds since the epoch.
        sums: Over all sessions.
        ended: Over those that ended; None when none has.
        weeks: Mondays and sessions that started in the week, up to this one; None when they could not be had in time.
    """

    user_id: str
    first: SessionRow
    newest: SessionRow
    last_ms: int
    sums: Group
    ended: Group | None
    weeks: list[tuple[date, int]] | None

    @property
    def totals(self) -> dict[str, float]:
        """What ``Ledger.user_totals`` says, under the same names without ``user.``."""
        found: dict[str, float] = {"sessions_total": self.ended.sessions if self.ended else 0}
        if self.ended:
            found["avg_session_length"] = self.ended.turns / self.ended.sessions
        return {**found, "retention_days": (self.newest.started_ms - self.first.started_ms) // 86_400_000}


def of(visit: Visit, query: Query) -> User | None:
    """Return a user, None when they have no session that the actor may see."""
    mine = _mine(visit)
    if mine is None:
        return None

    def one(sort: str) -> SessionRow | None:
        rows = visit.ledger.find(Listing(mine, sort, 1, None, query.unconfirmed)).rows
        return rows[0] if rows else None

    first, newest, last = one("started"), one("-started"), one("-last")
    if first is None or newest is None or last is None or first.user_id is None:
        return None
    groups = visit.ledger.summary(Summing(mine, ("status",), query.unconfirmed, SUM_S))
    ended = [group for group in groups if group.key != ("active",)]
    sums = _together(groups)
    return User(
        first.user_id,
        first,
        newest,
        last.last_ms,
        sums,
        _together(ended) if ended else None,
        _weeks(visit, mine, query),
    )


def _mine(visit: Visit) -> Filter | None:
    """Return the sessions of the user as far as the actor may see them, None when there can be no such user."""
    user_id = visit.params.get("id", "")
    try:
        meant = read_filter(f"user_id:{quoted(user_id)}", visit.now_ms, pseudonym=visit.pseudonym)
    except FilterError:
        return None
    return meant if visit.limit is None else Filter(meant.text, And((meant.tree, visit.limit)))


def _together(groups: Sequence[Group]) -> Group:
    sums = {one.name: sum(getattr(group, one.name) for group in groups) for one in fields(Group) if one.name != "key"}
    return replace(Group((), **sums), users=1)


def _weeks(visit: Visit, mine: Filter, query: Query) -> list[tuple[date, int]] | None:
    since = visit.now_ms - WEEKS * WEEK_MS
    try:
        found = visit.ledger.overview(Analyzing(mine, query.unconfirmed, visit.zone, since, None, 1.0))
    except StoreUnavailable as error:
        if error.reason != "store_timeout":
            raise
        return None
    return None if found.stopped else _counted(found, visit)


def _counted(found: Overview, visit: Visit) -> list[tuple[date, int]]:
    today = date.fromisoformat(day_time(visit.now_ms, visit.zone)[:10])
    this = today - timedelta(days=today.weekday())
    counts = {this - timedelta(weeks=back): 0 for back in reversed(range(WEEKS))}
    for day in found.days:
        monday = day.day - timedelta(days=day.day.weekday())
        if monday in counts:
            counts[monday] += day.totals.sessions
    return list(counts.items())


# -- the page


def user_page(visit: Visit) -> Response | None:
    """Return a user's page, None when there is none."""
    query = Query.of(visit.params)
    user = of(visit, query)
    if user is None:
        return None
    spot = Spot("user", {"id": user.user_id})
    try:
        known_zone(query)
        listing, asked = visit.listing(query)
    except FilterError as error:
        kept = mended(query)
        wrong = problem(visit, kept, error, spot, in_filter=is_wrong(visit, kept))
        return page("user.html", visit, kept, 400, **_head(visit, user), **box(visit, kept, spot), error=wrong)
    values = {**_head(visit, user), **_list(visit, query, spot, listing, asked)}
    return page("user.html", visit, query, **values, error=None)


def _narrow(visit: Visit, listing: Listing) -> Listing:
    """Return the part of a list that is the user's."""
    trees = [one.tree for one in (listing.where, _mine(visit)) if one is not None]
    return replace(listing, where=Filter("", And(tuple(trees))))


def _list(visit: Visit, query: Query, spot: Spot, listing: Listing, asked: Asked) -> dict[str, Any]:
    found = visit.ledger.find(_narrow(visit, listing))

    def turned(cursor: str | None) -> str:
        return visit.link(spot.page, replace(query, c=cursor), **spot.own) if cursor else ""

    return {
        **box(visit, query, spot, found.rows, asked),
        "columns": [heading(query, *column) for column in COLUMNS],
        "lines": [line(visit, query, row) for row in found.rows],
        "sparks": sparks(visit.ledger, found.rows),
        "total": many(found.count, "session"),
        "stopped": found.stopped,
        "newer": turned(found.newer),
        "older": turned(found.older),
    }


def _head(visit: Visit, user: User) -> dict[str, Any]:
    return {
        "user": user,
        "seen": [_seen(visit, user.first.started_ms), _seen(visit, user.last_ms)],
        "figures": _figures(user),
        "strip": _strip(user.weeks) if user.weeks else None,
        "twin": visit.link("api/user", id=user.user_id),
    }


def _seen(visit: Visit, ms: int) -> tuple[str, str, str]:
    return day_time(ms, visit.zone), moment(ms) or "", ago(visit.now_ms - ms)


def _figures(user: User) -> list[tuple[str, str, str]]:
    sums, totals = user.sums, user.totals
    going_on = sums.sessions - (user.ended.sessions if user.ended else 0)
    length = totals.get("avg_session_length")
    unpriced = sums.sessions - sums.priced
    each = usd(sums.cost_microusd / sums.priced) if sums.priced else None
    rate = sums.resolution_rate
    return [
        ("Sessions", shown_number(totals["sessions_total"]), f"and {going_on:,} active" if going_on else "ended"),
        ("Session length", dash("-") if length is None else f"{length:,.1f}", "turns on average"),
        ("Retention", f"{totals['retention_days']:,.0f} d", "from the first session to the last"),
        (
            "Cost",
            dash(shown_usd(usd(sums.cost_microusd) if sums.priced else None)),
            f"{dash(shown_usd(each))} a session"
            + (f" · {unpriced:,} without a price" if unpriced and sums.priced else ""),
        ),
        ("Tokens", dash(shown_number(sums.tokens if sums.counted else None)), f"{sums.turns:,} turns"),
        ("Mean latency", dash(shown_ms(sums.avg_turn_latency_ms)), "a turn"),
        ("With errors", shown_number(sums.with_errors), "sessions"),
        (
            "Resolved",
            dash("-") if rate is None else f"{100 * rate:.0f} %",
            f"of {sums.settled:,} with a known outcome" if sums.settled else "no outcome known",
        ),
    ]


def _strip(weeks: Sequence[tuple[date, int]]) -> Chart:
    points = [(f"week of {monday.isoformat()}", float(count)) for monday, count in weeks]
    return columns("weeks", "Sessions a week", points, shown_number, first="Week", height=STRIP,
        headline=f"{sum(count > 0 for _, count in weeks)} of the last {len(weeks)} weeks")  # fmt: skip


def user_json(visit: Visit) -> Response:
    """Return the same for programs, with the first page of sessions."""
    query = Query.of(visit.params)
    try:
        known_zone(query)
        listing, _ = visit.listing(query)
    except FilterError as error:
        return JSONResponse(refusal(error), 400)
    user = of(visit, query)
    if user is None:
        return JSONResponse({"error": {"message": "there is no such user"}}, 404)
    found = visit.ledger.find(_narrow(visit, listing))
    body = {
        "user_id": user.user_id,
        "first_seen": moment(user.first.started_ms),
        "last_seen": moment(user.last_ms),
        **user.totals,
        "sums": group_document(user.sums, ()),
        "weeks": None if user.weeks is None else [[monday.isoformat(), count] for monday, count in user.weeks],
        "sessions": [session_document(row) for row in found.rows],
        "older": found.older,
        "newer": found.newer,
    }
    return JSONResponse(body)
