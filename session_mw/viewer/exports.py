"""Sessions as files: the current filter, oldest first, page by page, one export an actor at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .. import __version__
from ..exceptions import FilterError
from ..ledger import Listing, SessionRow
from ..ledger.documents import SESSION_NAMES, session_document, whole_document
from ..ledger.otlp import resource_spans
from ..ledger.tables import csv_line, csv_of
from ..ledger.walking import sessions
from .content import permitted
from .visits import Query, Visit

MOST = 100_000  # sessions of a file

_running: set[str] = set()
_lock = threading.Lock()


class _Export(StreamingResponse):
    """A file that makes room for the next one, however it ends."""

    actor = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with _lock:
                _running.discard(self.actor)


def export_csv(visit: Visit) -> Response:
    """Return a table: a line a session."""
    return _export(visit, "csv", "text/csv; charset=utf-8", _csv)


def export_jsonl(visit: Visit) -> Response:
    """Return an object a session, with its turns."""
    return _export(visit, "jsonl", "application/x-ndjson", _jsonl)


def export_otlp(visit: Visit) -> Response:
    """Return an OTLP/JSON request a session, for back ends."""
    return _export(visit, "otlp.jsonl", "application/x-ndjson", _otlp)


def _csv(visit: Visit, rows: Iterator[SessionRow]) -> Iterator[str]:
    yield csv_line(SESSION_NAMES)
    for count, row in enumerate(rows):
        if count == MOST:
            yield csv_line([f"truncated after {MOST} sessions"])
            return
        yield csv_of(session_document(row))


def _jsonl(visit: Visit, rows: Iterator[SessionRow]) -> Iterator[str]:
    for count, row in enumerate(rows):
        if count == MOST:
            yield json.dumps({"truncated": True, "sessions": MOST}) + "\n"
            return
        turns = permitted(visit, row, visit.ledger.turns(row.session_id, row.generation))
        calls = visit.ledger.usages(row.session_id, row.generation)
        yield json.dumps(whole_document(row, turns, calls), ensure_ascii=False) + "\n"


def _otlp(visit: Visit, rows: Iterator[SessionRow]) -> Iterator[str]:
    for row in islice(rows, MOST):  # a line that is no request would be refused, also one that says that there is more
        turns = permitted(visit, row, visit.ledger.turns(row.session_id, row.generation))
        if turns:
            calls = visit.ledger.usages(row.session_id, row.generation)
            yield json.dumps(resource_spans(row, turns, calls, version=__version__), ensure_ascii=False) + "\n"


Lines = Callable[[Visit, Iterator[SessionRow]], Iterator[str]]


def _export(visit: Visit, kind: str, media_type: str, lines: Lines) -> Response:
    query = Query.of(visit.params)
    try:
        listing, _ = visit.listing(replace(query, sort="started", c=""))
    except FilterError as error:
        return PlainTextResponse(f"{error}\n", 400)
    headers = {"content-disposition": f'attachment; filename="sessions.{kind}"'}
    if visit.head:
        return Response(headers=headers, media_type=media_type)
    visit.tell("export", query.q)
    with _lock:
        if visit.name in _running:
            return PlainTextResponse("Your last export is not done yet: one at a time.\n", 429, {"retry-after": "10"})
        _running.add(visit.name)
    response = _Export(_encoded(lines, visit, listing), headers=headers, media_type=media_type)
    response.actor = visit.name
    return response


def _encoded(lines: Lines, visit: Visit, listing: Listing) -> Iterator[bytes]:
    """Yield lines by the hundred: each piece goes through a thread."""
    piece: list[str] = []
    for line in lines(visit, sessions(visit.ledger, listing, MOST + 1)):
        piece.append(line)
        if len(piece) >= 100:
            yield "".join(piece).encode("utf-8", "backslashreplace")
            piece = []
    yield "".join(piece).encode("utf-8", "backslashreplace")
