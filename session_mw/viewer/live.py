"""
What is new since a page was shown: asked for every few seconds by a page that somebody wants to be live.

Rule 1: a page remembers what it showed in the question itself, a few bytes a row. Nothing is kept here, no clock is
    compared, and what a background thread writes late is noticed all the same.
Rule 2: the same filter, scope, order and page: exactly what a reload would show is counted.
Rule 3: nothing moves by itself. The page says how much there is, and its reader decides.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from starlette.responses import JSONResponse, Response

from ..exceptions import FilterError
from ..ledger import SessionRow
from ..ledger.shown import many
from .refusals import refusal
from .visits import Query, Visit

USUAL_S = 5
_PK, _STATE = 4, 3  # bytes of a row; two states look alike once in 16 million
_ROW = _PK + _STATE
_SEEN = ("status", "turns", "failed", "last_ms", "ended_ms", "started_ms", "total_tokens", "cost_microusd", "user_id",
         "type", "name", "prompt_version", "channel", "outcome", "end_reason", "traces")  # fmt: skip


def changes(visit: Visit) -> Response | None:
    """Say how many sessions of a page, or whether one session, are new or changed since ``since``."""
    query = Query.of(visit.params)
    before = _read(visit.params.get("since", ""))
    if before is None:
        return JSONResponse({"error": {"message": "since is not what a page gave"}}, 400)
    if "id" in visit.params:
        one = visit.session()
        return None if one is None else _answer(visit, before, [one], "This session has gone on")
    try:
        listing, _ = visit.listing(query)
    except FilterError as error:
        return JSONResponse(refusal(error), 400)
    return _answer(visit, before, visit.ledger.find(listing).rows, "")


def _answer(visit: Visit, before: Mapping[bytes, bytes], rows: Sequence[SessionRow], text: str) -> Response:
    now = [_packed(row) for row in rows]
    new = sum(one[:_PK] not in before for one in now)
    changed = sum(before.get(one[:_PK], one[_PK:]) != one[_PK:] for one in now)
    told = text or f"{many(new + changed, 'new or changed session')}"
    body = {"new": new, "changed": changed, "text": told if new + changed else ""}
    tag = f'"{_mark(now)}"'
    if visit.known == tag:
        return Response(status_code=304, headers={"etag": tag})
    return JSONResponse(body, headers={"etag": tag})


def links(visit: Visit, query: Query, rows: Iterable[SessionRow], page: str = "", **params: str) -> dict[str, str]:
    """
    Return what a page needs to be live.

    Args:
        visit: The request for it.
        query: What it was asked for.
        rows: What it shows.
        page: Its place.
        params: What else is in its address.
    """
    since = base64.urlsafe_b64encode(b"".join(_packed(row) for row in rows)).decode()
    return {
        "again": visit.link(page, query, **params),
        "changes": visit.link("changes", query, since=since, **params) if query.live else "",
        "switch": visit.link(page, replace(query, live=0 if query.live else USUAL_S), **params),
    }


def _packed(row: SessionRow) -> bytes:
    said = repr(([getattr(row, name) for name in _SEEN], sorted(row.attributes.items())))
    state = hashlib.blake2b(said.encode("utf-8", "backslashreplace"), digest_size=_STATE).digest()
    short_pk: int = row.pk % 256**_PK
    return short_pk.to_bytes(_PK, "big") + state


def _mark(packed: Iterable[bytes]) -> str:
    return hashlib.blake2b(b"".join(packed), digest_size=9).hexdigest()


def _read(since: str) -> dict[bytes, bytes] | None:
    try:
        said = base64.b64decode(since.encode("ascii"), b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    rows = [said[at : at + _ROW] for at in range(0, len(said), _ROW)]
    return {row[:_PK]: row[_PK:] for row in rows} if len(said) % _ROW == 0 else None
