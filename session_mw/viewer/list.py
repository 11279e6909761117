"""The list of sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from starlette.responses import Response

from ..exceptions import FilterError, StoreError
from ..ledger import Group, Page, SessionRow, Summing
from ..ledger.documents import moment, usd
from ..ledger.filters.fields import find
from ..ledger.listing import COUNTED, Listing
from ..ledger.shown import many, shown_ms, shown_number, shown_usd
from . import live
from .box import Spot, box, known_zone, mended, problem
from .box import quoted as quoted
from .pages import page
from .sparks import sparks
from .visits import SIZES, Asked, Query, Visit
from .zones import day_time, short_time

# Title, class, and what a click on it sorts by.
COLUMNS: Sequence[tuple[str, str, str]] = (
    ("Session", "id", ""),
    ("Type · version", "labels", ""),
    ("User", "user", ""),
    ("Started", "time", "started"),
    ("Duration", "number", "duration"),
    ("Turns", "turns", "turns"),
    ("Tokens", "number", "tokens"),
    ("Cost", "number", "cost"),
    ("Status", "status", ""),
)
OPTIONAL = (
    *("name", "channel", "active", "last", "end_reason", "outcome"),
    *("trace_count", "input_tokens", "output_tokens"),
)
SPOT = Spot(visible=("n", "tz", "col"))
NOTHING = "\N{EN DASH}"  # what is not known
EXPORTS = (("CSV", "csv"), ("JSONL", "jsonl"), ("OTLP", "otlp.jsonl"))
SUM_S = 5.0  # for those who asked; the sums of a list that was counted are there in a tenth of one


@dataclass(frozen=True, slots=True)
class Line:
    """A session as the list shows it."""

    row: SessionRow
    link: str
    short_id: str
    labels: str
    user: str
    user_link: str
    started: str
    when: str
    ago: str
    iso: str
    duration: str
    active: str
    turns: str
    tokens: str
    cost: str
    status: str
    mood: str
    more: Sequence[str]


def list_page(visit: Visit) -> Response:
    """Return the list; of a filter that cannot be read it says what is wrong instead."""
    query = Query.of(visit.params)
    try:
        listing, asked = visit.listing(query)
        _known(query)
    except FilterError as error:
        kept = mended(query)
        return page("list.html", visit, kept, 400, **_empty(visit, kept), error=problem(visit, kept, error, SPOT))
    found = visit.ledger.find(listing)
    return page("list.html", visit, query, **_found(visit, query, listing, asked, found), error=None)


def _known(query: Query) -> None:
    known_zone(query)
    for name in query.col:
        if find(name) is None:
            hint = f"Columns are {', '.join(OPTIONAL)}, and attributes, such as metadata.source."
            raise FilterError(f"there is no column {name!r}", name, 0, len(name), hint)


def _empty(visit: Visit, query: Query) -> dict[str, Any]:
    return {**_frame(visit, query, []), "lines": [], "total": "", "facts": [],
        "sums_link": "", "newer": "", "older": "", "empty": "",
            "elsewhere": "", "stopped": False}  # fmt: skip


def _found(visit: Visit, query: Query, listing: Listing, asked: Asked, found: Page) -> dict[str, Any]:
    return {
        **_frame(visit, query, found.rows, asked),
        "lines": [line(visit, query, row) for row in found.rows],
        "live": live.links(visit, query, found.rows),
        "saved": visit.link("", replace(query, c="", live=0)),
        "sparks": sparks(visit.ledger, found.rows),
        "total": _total(found),
        "facts": _facts(visit, query, listing, found),
        "sums_link": visit.link("", replace(query, sums=True)) if found.capped and not query.sums else "",
        "newer": visit.link("", replace(query, c=found.newer)) if found.newer else "",
        "older": visit.link("", replace(query, c=found.older)) if found.older else "",
        "empty": "" if found.rows or found.stopped else ("match" if query.q or asked.unbounded is None else "store"),
        "elsewhere": "" if found.rows or found.stopped else _elsewhere(visit, listing, asked),
        "stopped": found.stopped,
    }


def _frame(visit: Visit, query: Query, rows: Sequence[SessionRow], asked: Asked | None = None) -> dict[str, Any]:
    first = replace(query, c="")
    return {
        **box(visit, query, SPOT, rows, asked),
        "columns": [heading(query, *column) for column in COLUMNS],
        "optional": [(name, name in query.col) for name in dict.fromkeys((*OPTIONAL, *query.col))],
        "sizes": SIZES,
        "exports": [(name, visit.link(f"export.{kind}", first)) for name, kind in EXPORTS],
    }


def heading(query: Query, title: str, kind: str, sort: str) -> dict[str, str]:
    """Return the head of a column."""
    falling = query.sort == f"-{sort}"
    state = "descending" if falling else "ascending" if query.sort == sort else ""
    return {
        "title": title,
        "kind": kind,
        "sort": sort,
        "state": state if sort else "",
        "next": sort if falling else f"-{sort}",
    }


def _total(found: Page) -> str:
    if found.capped:
        return f"{COUNTED - 1:,}+ sessions" if found.count >= COUNTED else f"at least {many(found.count, 'session')}"
    return many(found.count, "session")


def _facts(visit: Visit, query: Query, listing: Listing, found: Page) -> list[str]:
    """Return sums over the whole list. With a million sessions they take seconds: then only for who asks."""
    if found.stopped or not found.count or (found.capped and not query.sums):
        return []
    summing = Summing(listing.where, include_unconfirmed=listing.include_unconfirmed, seconds=SUM_S)
    try:
        return [fact for sums in visit.ledger.summary(summing) if sums.sessions for fact in _told(sums)]
    except StoreError:
        return [f"the sums take longer than {SUM_S:.0f} s: narrow the time"]


def _told(sums: Group) -> list[str]:
    facts = [many(sums.users, "user")] if sums.users else []
    facts += [many(sums.turns, "turn")]
    if sums.priced:
        missing = sums.sessions - sums.priced
        facts += [shown_usd(usd(sums.cost_microusd)) + (f" ({missing:,} without a price)" if missing else "")]
    return [*facts, f"{100 * sums.with_errors / sums.sessions:.1f} % with errors"]


def _elsewhere(visit: Visit, listing: Listing, asked: Asked) -> str:
    """Say how many sessions there are outside the window."""
    if asked.unbounded is None:
        return ""
    older = visit.ledger.find(replace(listing, where=asked.unbounded, limit=1, cursor=None))
    return _total(older) if older.count else ""


def line(visit: Visit, query: Query, row: SessionRow) -> Line:
    """Return a session as the list shows it."""
    more = {"generation": str(row.generation)} if row.generation > 1 else {}
    cost = shown_usd(usd(row.cost_microusd))
    return Line(
        row,
        link=visit.link("s", replace(query, c=""), id=row.session_id, **more),
        short_id=middle(row.session_id, 22) + (f" ({row.generation})" if row.generation > 1 else ""),
        labels=" · ".join(label for label in (row.type, row.prompt_version) if label) or NOTHING,
        user=middle(row.user_id, 12) if row.user_id else NOTHING,
        user_link=user_link(visit, query, row),
        started=short_time(row.started_ms, visit.now_ms, visit.zone),
        when=f"{day_time(row.started_ms, visit.zone)} {visit.zone_name}",
        ago=ago(visit.now_ms - row.started_ms),
        iso=moment(row.started_ms) or "",
        duration=shown_ms(row.duration_ms),
        active="" if row.latency_ms is None else f"active {shown_ms(row.latency_ms)}",
        turns=shown_number(row.turns),
        tokens=dash(shown_number(row.total_tokens)),
        cost=dash(cost),
        status=status(row),
        mood="error" if row.failed else row.status,
        more=[_cell(row, name, visit.zone) for name in query.col],
    )


def user_link(visit: Visit, query: Query, row: SessionRow) -> str:
    """Return the page of a session's user, empty when there is none."""
    return visit.link("user", Query(all_time=True, tz=query.tz), id=row.user_id) if row.user_id else ""


def _cell(row: SessionRow, name: str, zone: tzinfo) -> str:
    field = find(name)
    if field is None:
        return NOTHING
    said: Any = row.attributes.get(field.column) if field.attribute else getattr(row, field.column)
    if said is None:
        return NOTHING
    if not field.attribute and field.kind == "time":
        return day_time(said, zone)
    if not field.attribute and field.kind in _SHOWN:
        return _SHOWN[field.kind](said)
    return shown_number(said) if type(said) is int else str(said)


_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "duration": shown_ms,
    "money": lambda microusd: shown_usd(usd(microusd)),
}


def status(row: SessionRow) -> str:
    """Return how a session stands, in words."""
    word = {"active": "Active", "timed_out": "Timed out"}.get(row.status, "OK")
    return many(row.failed, "error") if row.failed else word


def dash(text: str) -> str:
    """Return what stands for nothing in print."""
    return NOTHING if text == "-" else text


def middle(text: str, longest: int) -> str:
    """Return the beginning and the end of a long text."""
    tail = longest // 3
    return text if len(text) <= longest else f"{text[: longest - tail - 1]}…{text[-tail:]}"


def ago(ms: int) -> str:
    """Return how long ago something was, roughly."""
    if ms < 0:
        return "later"
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if ms >= size:
            return f"{ms // size}{unit} ago"
    return "just now"
