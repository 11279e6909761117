"""
The hand-written floor: what a session middleware cannot do without, written for speed and nothing else.

Find the cookie, look its token up among those verified before, count the turn in a dict, put two entries of baggage
into a context, record two spans (6 and 5 attributes, and the status). It issues no session, bounds nothing, ends
nothing, and trusts its input: a bound to measure against, no design. Baggage and span are put into the context by
OpenTelemetry's private keys, because that is fastest.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from typing import Any

from opentelemetry.baggage import _BAGGAGE_KEY
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation import _SPAN_KEY

KEY = b"a key for the floor of the benchmark"
NAME = b"floor="


class Record:
    """One session."""

    __slots__ = ("last_ms", "session_id", "started", "turns", "user_id")

    def __init__(self, session_id: str, user_id: str, started: str) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.started = started
        self.turns = self.last_ms = 0


class Floor:
    """
    What both protocols share.

    Args:
        app: The application.
        tracer: Makes the spans; one of the API's own without an SDK.
    """

    def __init__(self, app: Any, tracer: Tracer) -> None:
        self.app = app
        self.tracer = tracer
        self.verified: dict[bytes, Record] = {}
        self.live: OrderedDict[str, Record] = OrderedDict()

    def issue(self, session_id: str, user_id: str) -> str:
        """Return ``name=value`` of a cookie for a session."""
        token = f"{session_id}.{user_id}"
        return f"floor={token}.{hmac.digest(KEY, token.encode(), 'sha256').hex()}"

    def load(self, raw: bytes) -> Record | None:
        """Verify a token that was not seen before."""
        body, _, mac = raw.rpartition(b".")
        if not hmac.compare_digest(hmac.digest(KEY, body, "sha256").hex().encode(), mac):
            return None
        session_id, _, user_id = body.decode().partition(".")
        record = self.verified[raw] = Record(session_id, user_id, "2025-11-01T14:30:22.000Z")
        self.live[session_id] = record
        return record

    def enter(self, cookies: bytes) -> tuple[Any, Any, Any]:
        """Begin a request: its session span, its turn span, and the token of the attached context."""
        at = cookies.find(NAME)
        end = cookies.find(b";", at)
        raw = cookies[at + len(NAME) : end if end >= 0 else None]
        record = self.verified.get(raw) or self.load(raw)
        assert record is not None
        record.last_ms = time.time_ns() // 1_000_000
        record.turns += 1
        self.live.move_to_end(record.session_id)
        session_id, user_id = record.session_id, record.user_id
        entries = {"session.id": session_id, "user.id": user_id}
        session = self.tracer.start_span(
            "session",
            Context({_BAGGAGE_KEY: entries}),
            attributes={
                "session.id": session_id,
                "user.id": user_id,
                "gen_ai.conversation.id": session_id,
                "session.type": "chat",
                "session.channel": "web",
                "session.start_time": record.started,
            },
        )
        turn = self.tracer.start_span(
            "turn",
            Context({_BAGGAGE_KEY: entries, _SPAN_KEY: session}),
            attributes={
                "session.id": session_id,
                "user.id": user_id,
                "gen_ai.conversation.id": session_id,
                "turn.number": record.turns,
                "turn.role": "user",
            },
        )
        return session, turn, attach(Context({_BAGGAGE_KEY: entries, _SPAN_KEY: turn}))


class ASGIFloor(Floor):
    """The floor in ASGI."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        cookies = b""
        for name, value in scope["headers"]:
            if name == b"cookie":
                cookies = value
                break
        session, turn, token = self.enter(cookies)

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                turn.set_attribute("http.response.status_code", message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            detach(token)
            turn.end()
            session.end()


class WSGIFloor(Floor):
    """The floor in WSGI; it ends its spans when the application returns, streaming or not."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Serve one request."""
        session, turn, token = self.enter(environ["HTTP_COOKIE"].encode("latin-1"))

        def watched(status: str, headers: Any, exc_info: Any = None) -> Any:
            turn.set_attribute("http.response.status_code", int(status[:3]))
            return start_response(status, headers, exc_info)

        try:
            return self.app(environ, watched)
        finally:
            detach(token)
            turn.end()
            session.end()
