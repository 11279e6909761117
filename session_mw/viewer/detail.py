"""One session: its head, and four ways to look at its turns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.responses import Response

from ..exceptions import FilterError
from ..ledger import SessionRow, TurnRow, UsageRow
from ..ledger.calls import by_turn
from ..ledger.documents import moment, usd, whole_document
from ..ledger.listing import cursor_of
from ..ledger.shown import many, shown_ms, shown_number, shown_usd
from . import conversation, lanes, live, metrics, waterfall
from .content import captured, permitted
from .links import links
from .list import dash, status, user_link
from .pages import Verbatim, page
from .turn import turn_link
from .visits import Query, Visit
from .zones import day_time

VIEWS = ("timeline", "conversation", "metrics", "raw")
SHOWN = 50  # turns of a page
MOST_MEASURED = 500  # turns whose calls are added up
MOST_RAW = 256 * 1024  # characters of JSON on a page


def session_page(visit: Visit) -> Response | None:
    """Return a session, None when it is not known, or not to this actor."""
    row = visit.session()
    if row is None:
        return None
    query = Query.of(visit.params)
    view = visit.params.get("view", "")
    view = view if view in VIEWS else VIEWS[0]
    turns = visit.ledger.turns(row.session_id, row.generation)
    calls = _all_calls(visit, row, turns[-MOST_MEASURED:])
    values = {**_head(visit, query, row, turns, calls), **_bodies[view](visit, query, row, turns), "view": view}
    return page(f"{view}.html", visit, query, **values)


def _here(visit: Visit, query: Query, row: SessionRow, **params: str) -> str:
    """Return a link to this session, seen otherwise."""
    return visit.link("s", query, **_which(visit, row), **params)


def _which(visit: Visit, row: SessionRow) -> dict[str, str]:
    generation = {"generation": str(row.generation)} if "generation" in visit.params else {}
    return {"id": row.session_id, **generation}


def _live(visit: Visit, query: Query, row: SessionRow) -> dict[str, str] | None:
    """Return what the page needs to be live, None for a session that has ended."""
    seen = {name: visit.params[name] for name in ("view", "only") if name in visit.params}
    return live.links(visit, query, [row], "s", **_which(visit, row), **seen) if row.status == "active" else None


def _head(
    visit: Visit, query: Query, row: SessionRow, turns: Sequence[TurnRow], calls: Sequence[UsageRow]
) -> dict[str, Any]:
    newer, older = _beside(visit, query, row)
    return {
        "row": row,
        "labels": [label for label in (row.type, row.prompt_version, row.name, row.channel) if label],
        "user_link": user_link(visit, query, row),
        "started": day_time(row.started_ms, visit.zone),
        "last": day_time(row.last_ms, visit.zone),
        "iso": [moment(row.started_ms) or "", moment(row.last_ms) or ""],
        "state": status(row) if row.failed else "",
        "end": "still active" if row.status == "active" else f"ended: {row.end_reason or row.status}".replace("_", " "),
        "figures": _figures(row, turns, calls),
        "outside": links(visit.traces, row),
        "live": _live(visit, query, row),
        "back": visit.link("", query),
        "newer": newer,
        "older": older,
        "tabs": [(name, _here(visit, query, row, view=name)) for name in VIEWS],
        "json": visit.link("api/session", id=row.session_id, generation=str(row.generation)),
        "family": [
            (word, visit.link("s", query, id=other))
            for word, other in (("continues", row.previous_id), ("continued by", row.next_id))
            if other
        ],
        "kept": len(turns),
        "finished": row.completed + row.failed,
    }


def _figures(row: SessionRow, turns: Sequence[TurnRow], calls: Sequence[UsageRow]) -> list[tuple[str, str, str]]:
    """Return names, values and remarks, in the order in which people ask for them."""
    tokens = f"{dash(shown_number(row.input_tokens))} in · {dash(shown_number(row.output_tokens))} out"
    cached = sum(call.cache_read_tokens or 0 for call in calls)
    tokens += f" · {shown_number(cached)} cached" if cached else ""
    peak = metrics.peak_context(turns, calls)
    found = [
        ("Duration", shown_ms(row.duration_ms), f"busy {shown_ms(metrics.busy_ms(turns))}" if turns else ""),
        ("Turns", shown_number(row.turns), many(row.failed, "error") if row.failed else "no errors"),
        ("Tokens", dash(shown_number(row.total_tokens)), tokens if row.total_tokens is not None else "unknown"),
        (
            "Cost",
            dash(shown_usd(usd(row.cost_microusd))),
            _unpriced(turns, calls),
        ),
        ("Mean latency", dash(shown_ms(row.avg_turn_latency_ms)), "a turn"),
    ]
    return [*found, ("Peak context", shown_number(peak), "tokens")] if peak is not None else found


def _unpriced(turns: Sequence[TurnRow], calls: Sequence[UsageRow]) -> str:
    """Return how much has no price: calls, or turns where calls are not known."""
    if without := waterfall.unpriced(calls):
        return f"{many(without, 'call')} without a price"
    told = {call.turn_pk for call in calls}
    without = sum(turn.cost_microusd is None and turn.input_tokens is not None for turn in turns if turn.pk not in told)
    return f"{many(without, 'turn')} without a price" if without else ""


def _beside(visit: Visit, query: Query, row: SessionRow) -> tuple[str, str]:
    """Return links to the sessions before and behind this one in the list that it was reached from."""
    try:
        listing, _ = visit.listing(replace(query, n=25, c=""))
    except FilterError:
        return "", ""
    found = []
    for back in (True, False):
        rows = visit.ledger.find(replace(listing, limit=1, cursor=cursor_of(listing, row, back), seconds=0.5)).rows
        one = rows[0] if rows and rows[0].pk != row.pk else None
        more = {"generation": str(one.generation)} if one and one.generation > 1 else {}
        found.append(visit.link("s", query, id=one.session_id, **more) if one else "")
    return found[0], found[1]


def _some(
    visit: Visit, query: Query, row: SessionRow, turns: list[TurnRow], view: str
) -> tuple[list[TurnRow], dict[str, str]]:
    """Return the turns of a page, the newest unless told which, and links to those before and behind them."""
    pages = max(1, -(-len(turns) // SHOWN))
    said = visit.params.get("p", "")
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 7 else pages
    number = max(1, min(number, pages))
    end = len(turns) - (pages - number) * SHOWN
    around = {
        "earlier": _here(visit, query, row, view=view, p=str(number - 1)) if number > 1 else "",
        "later": _here(visit, query, row, view=view, p=str(number + 1)) if number < pages else "",
        "span": f"{max(0, end - SHOWN) + 1:,}\N{EN DASH}{end:,} of {len(turns):,}" if pages > 1 else "",
    }
    return turns[max(0, end - SHOWN) : end], around


def _all_calls(visit: Visit, row: SessionRow, turns: Sequence[TurnRow]) -> list[UsageRow]:
    return visit.ledger.usages(row.session_id, row.generation, only=[turn.pk for turn in turns])


def _calls(visit: Visit, row: SessionRow, turns: Sequence[TurnRow]) -> dict[int, list[UsageRow]]:
    return by_turn(_all_calls(visit, row, turns))


def _timeline(visit: Visit, query: Query, row: SessionRow, turns: list[TurnRow]) -> dict[str, Any]:
    some, around = _some(visit, query, row, turns, "timeline")
    whole = partial(turn_link, visit, query, row)
    parts = lanes.parts(row, some, _calls(visit, row, some), visit.zone, partial(links, visit.traces, row), whole)
    return {**around, "parts": parts, "ticks": lanes.ticks(row, some)}


def _conversation(visit: Visit, query: Query, row: SessionRow, turns: list[TurnRow]) -> dict[str, Any]:
    some, around = _some(visit, query, row, turns, "conversation")
    only = visit.params.get("only") == "messages"
    shown, whole = permitted(visit, row, some), partial(turn_link, visit, query, row)
    exchanges = conversation.exchanges(shown, _calls(visit, row, some), only, visit.zone, whole)
    switch = _here(visit, query, row, view="conversation", **({} if only else {"only": "messages"}))
    return {**around, "exchanges": exchanges, "only": only, "switch": switch, "captured": captured(some)}


def _metrics(visit: Visit, query: Query, row: SessionRow, turns: list[TurnRow]) -> dict[str, Any]:
    return metrics.of(turns) | metrics.of_calls(_all_calls(visit, row, turns[-MOST_MEASURED:]))


def _raw(visit: Visit, query: Query, row: SessionRow, turns: list[TurnRow]) -> dict[str, Any]:
    some, around = _some(visit, query, row, turns, "raw")
    document = whole_document(row, permitted(visit, row, some), _all_calls(visit, row, some))
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return {**around, "text": Verbatim(text[:MOST_RAW]), "cut": len(text) > MOST_RAW}


_bodies = {"timeline": _timeline, "conversation": _conversation, "metrics": _metrics, "raw": _raw}
