"""One turn: all of its calls, and all that was said in it as far as a page can hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from .._core import names
from ..ledger import SessionRow, TurnRow, UsageRow
from ..ledger.documents import moment, usd
from ..ledger.shown import many, shown_ms, shown_number, shown_usd
from . import conversation, waterfall
from .content import permitted
from .lanes import facts_of, tokens_of
from .links import links
from .list import NOTHING, dash
from .pages import page
from .visits import Query, Visit
from .zones import day_time

MOST_CALLS = 1_000


def turn_page(visit: Visit) -> Response | None:
    """Return a turn, None when it is not known, or its session not to this actor."""
    row = visit.session()
    if row is None:
        return None
    turns = visit.ledger.turns(row.session_id, row.generation)
    place = _place(visit, turns)
    if place is None:
        return None
    query = Query.of(visit.params)
    (turn,) = permitted(visit, row, [turns[place]]) or [turns[place]]
    calls = visit.ledger.usages(row.session_id, row.generation, only=[turn.pk])
    sides, cut = conversation.whole(turn, calls, visit.zone)
    values: dict[str, Any] = {
        "row": row,
        "turn": turn,
        "number": str(turn.number or NOTHING),
        "started": day_time(turn.started_ms, visit.zone),
        "iso": moment(turn.started_ms) or "",
        "trouble": {"error": f"error {turn.error_type or ''}".strip(), "cancelled": "client left"}.get(turn.status, ""),
        "outside": links(visit.traces, row, turn),
        "back": visit.link("s", query, **_session(visit, row)),
        "earlier": turn_link(visit, query, row, turns[place - 1]) if place else "",
        "later": turn_link(visit, query, row, turns[place + 1]) if place + 1 < len(turns) else "",
        "figures": _figures(turn, calls),
        "steps": waterfall.steps(turn, calls, MOST_CALLS),
        "rest": max(0, len(calls) - MOST_CALLS),
        "dropped": _dropped(turn),
        "sides": sides,
        "cut": cut,
        "facts": facts_of(turn, visit.zone),
        "json": visit.link("api/session", id=row.session_id, generation=str(row.generation)),
    }
    return page("turn.html", visit, query, **values)


def turn_link(visit: Visit, query: Query, row: SessionRow, turn: TurnRow) -> str:
    """Return a link to a turn: by its number, and by its row where several have the same or none."""
    number = {} if turn.number is None else {"n": str(turn.number)}
    return visit.link("turn", query, **_session(visit, row), **number, t=str(turn.pk))


def _session(visit: Visit, row: SessionRow) -> dict[str, str]:
    generation = {"generation": str(row.generation)} if "generation" in visit.params else {}
    return {"id": row.session_id, **generation}


def _place(visit: Visit, turns: Sequence[TurnRow]) -> int | None:
    """Return which turn is meant: that of the row, else the first of the number."""
    for name, column in (("t", "pk"), ("n", "number")):
        said = visit.params.get(name, "")
        if said.isascii() and said.isdigit() and len(said) < 19:
            found = [place for place, turn in enumerate(turns) if getattr(turn, column) == int(said)]
            if found:
                return found[0]
    return None


def _dropped(turn: TurnRow) -> str:
    count = turn.attributes.get(names.TURN_CALLS_DROPPED)
    return f"{many(count, 'more call')}" if type(count) is int else ""


def _figures(turn: TurnRow, calls: Sequence[UsageRow]) -> list[tuple[str, str, str]]:
    without = waterfall.unpriced(calls)
    tokens = f"{dash(shown_number(turn.input_tokens))} in · {dash(shown_number(turn.output_tokens))} out"
    return [
        ("Latency", shown_ms(turn.latency_ms), "" if turn.status == "ok" else turn.status),
        ("First chunk", dash(shown_ms(turn.first_chunk_ms)), ""),
        ("Tokens", dash(shown_number(tokens_of(turn))), tokens if tokens_of(turn) is not None else "unknown"),
        (
            "Cost",
            dash(shown_usd(usd(turn.cost_microusd))),
            f"{many(without, 'call')} without a price" if without else "",
        ),
        ("Calls", shown_number(len(calls)), waterfall.counted(calls)),
    ]
