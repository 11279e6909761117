"""
The bytes that the real OTLP exporter sends, held against what each back end reads (``needs``).

``python -m tests.backends.conformance`` prints the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from session_mw import current_session
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.cli.demo.otlp import Span
from session_mw.cli.demo.receiver import Receiver
from session_mw.testing import RecordingSink
from tests.backends.needs import NEEDS, SAID, Need

SECRET = "conformance-tests-only-0123456789-abcdefghij"
ASKED, ANSWERED, DEVICE = "where are the lamps?", "at the harbour", "mobile"
EVERY = ("POST", "session", "turn", "chat")  # the root first; the last is an instrumentation's


@dataclass(frozen=True)
class Sent:
    """
    What arrived.

    Attributes:
        spans: By name.
        holds: What the application knows its session, its conversation and its user by.
    """

    spans: dict[str, Span]
    holds: dict[str, str]

    def on(self, name: str, value: Any) -> tuple[str, ...]:
        """Return the spans on which *name* holds *value*."""
        return tuple(span for span in EVERY if self.spans[span].attributes.get(name) == value)


def send(dialects: Iterable[str]) -> Sent:
    """Send one turn, compressed, to a receiver on this machine, and decode what arrived."""
    provider = TracerProvider(shutdown_on_exit=False)
    holds: dict[str, str] = {}

    async def chat(request: Request) -> JSONResponse:
        await request.json()  # what nobody reads is not heard
        session = current_session()
        assert session is not None and session.conversation is not None
        session.set(**{SAID: DEVICE})
        with provider.get_tracer("an.instrumentation").start_as_current_span("chat"):
            holds.update(session=session.id, conversation=session.conversation.id, user=str(session.user_id))
        return JSONResponse({"answer": ANSWERED})

    middleware = SessionTrackingMiddleware(
        Starlette(routes=[Route("/chat", chat, methods=["POST"])]),
        secret_key=SECRET,
        tracer_provider=provider,
        dialects=set(dialects),
        capture_content=True,
        input_text="message",
        output_text="answer",
        user=lambda facts: "jane",
        lifecycle_spans="never",
        event_sink=RecordingSink(),
    )
    middleware.engine.background.hold()
    with Receiver() as receiver:
        exporter = OTLPSpanExporter(endpoint=f"{receiver.url}/v1/traces", compression=Compression.Gzip)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        asyncio.run(_ask(middleware))
        provider.shutdown()
        return Sent({span.name: span for span in receiver.spans()}, holds)


@lru_cache
def sent_for(dialects: tuple[str, ...]) -> Sent:
    """Return what was sent with these dialects, once."""
    return send(dialects)


async def _ask(app: Any) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://app.test") as browser:
        headers = {"x-conversation-id": "thread-1"}
        (await browser.post("/chat", json={"message": ASKED}, headers=headers)).raise_for_status()


def found(need: Need, sent: Sent) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return, for each thing that a back end reads, its name there and the spans that hold it, with the right value."""
    wanted: dict[str, tuple[str, Any]] = {
        "session": (need.session, sent.holds[need.holds]),
        "user": (need.user, sent.holds["user"]),
        "asked": (need.asked, need.text(ASKED)),
        "answered": (need.answered, need.text(ANSWERED)),
        "said": (need.said, need.said_text(DEVICE)),
    }
    if need.turn is not None:
        wanted["turn"] = need.turn
    return {what: (name, sent.on(name, value)) for what, (name, value) in wanted.items() if name}


def markdown() -> str:
    """Return the table of the README."""
    lines = [
        "| back end | `dialects` | sessions by | users by | input, output | said of the session | names from |",
        "|---|---|---|---|---|---|---|",
    ]
    for make in NEEDS:
        need = make()
        lines.append(_line(need, found(need, sent_for(need.dialects))))
    return "\n".join(lines)


def _line(need: Need, seen: dict[str, tuple[str, tuple[str, ...]]]) -> str:
    session = _cell(seen, "session") + (" (the conversation)" if need.holds == "conversation" else "")
    session += f"; {_cell(seen, 'turn')}" if "turn" in seen else ""
    content = _cell(seen, "asked", "answered")
    dialects = ", ".join(f"`{name}`" for name in need.dialects) or "-"
    cells = [need.backend, dialects, session, _cell(seen, "user"), content, _cell(seen, "said"), need.source]
    return f"| {' | '.join(cells)} |"


PLACES = {EVERY: "", ("POST", "session", "turn"): " ¹", ("POST",): " ²", ("turn",): " ³"}


def _cell(seen: dict[str, tuple[str, tuple[str, ...]]], *whats: str) -> str:
    """Return the names of *whats*, and a mark for the spans that they are on: the same ones."""
    known = [seen[what] for what in whats if what in seen]
    if not known:
        return "-"
    (places,) = {spans for _, spans in known}
    return ", ".join(f"`{name}`" for name, _ in known) + PLACES[places]


if __name__ == "__main__":
    print(markdown())
