"""The same as JSON, for programs, behind the same gate."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ..exceptions import FilterError
from ..ledger.documents import session_document, whole_document
from .content import permitted
from .refusals import refusal
from .visits import Query, Visit


def sessions_json(visit: Visit) -> Response:
    """Return a page of the list."""
    try:
        listing, _ = visit.listing(Query.of(visit.params))
    except FilterError as error:
        return JSONResponse(refusal(error), 400)
    found = visit.ledger.find(listing)
    body = {
        "sessions": [session_document(row) for row in found.rows],
        "count": found.count,
        "count_is_exact": not found.capped,
        "stopped": found.stopped,
        "older": found.older,
        "newer": found.newer,
    }
    return JSONResponse(body)


def session_json(visit: Visit) -> Response:
    """Return one session with its turns and their calls."""
    row = visit.session()
    if row is None:
        return JSONResponse({"error": {"message": "there is no such session"}}, 404)
    turns = permitted(visit, row, visit.ledger.turns(row.session_id, row.generation))
    calls = visit.ledger.usages(row.session_id, row.generation)
    return JSONResponse(whole_document(row, turns, calls))


def check(visit: Visit) -> Response:
    """Say whether a filter can be read; nothing is looked up."""
    try:
        visit.ask(Query.of(visit.params))
    except FilterError as error:
        return JSONResponse(refusal(error), 400)
    return JSONResponse({"ok": True})
