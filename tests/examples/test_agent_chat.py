"""
The agent's chat in process: 500 random conversations, whose sessions say what the model's own books say.

Visitors come interleaved, some hold several conversations at a time, some leave in the middle of an answer, some
model calls fail, some go on after the answer, and some after the session's end.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from starlette.requests import ClientDisconnect

from session_mw._engine.parts import latest_engine
from session_mw.testing import FakeClock, RecordingSink

pytest.register_assert_rewrite("tests.examples.bills", "tests.examples.visitors")

from tests.examples.bills import Reported, check  # noqa: E402
from tests.examples.visitors import Ask, Visitor, visit, visitors  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent_chat"
CONVERSATIONS, AT_A_TIME, LATE = 500, 12, 40
APPLICATION = ("app.py", "agent.py", "tools.py", "journey.py")


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """Import the example without a provider of its own: those are global, and set once a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SESSION_MW_SECRET_KEY", "only for these tests, and long enough for a key")
        patch.setenv("SESSION_MW_STORE", "memory://")
        patch.setenv("OTEL_SDK_DISABLED", "true")
        module = importlib.import_module("examples.agent_chat.app")
        patch.delenv("OTEL_SDK_DISABLED")
        yield module


class Naive(SpanProcessor):
    """Adds up what all spans say, as one should not."""

    def __init__(self) -> None:
        self.tokens = 0

    def on_end(self, span: ReadableSpan) -> None:
        said: Any = span.attributes or {}
        self.tokens += said.get("gen_ai.usage.input_tokens", 0) + said.get("gen_ai.usage.output_tokens", 0)


class House:
    """
    The example's application, with time by hand.

    Attributes:
        gate: While it is shut, no note is written.
        running: Requests that the application has not done with, answered or not.
        disconnects: Requests that the application gave up.
    """

    def __init__(self, example: ModuleType) -> None:
        from examples.agent_chat.brain import NOTES

        self.naive, self.sink, self.clock = Naive(), RecordingSink(), FakeClock()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self.naive)
        self.gate = asyncio.Event()
        self.gate.set()
        self.running: list[asyncio.Task[None]] = []
        self.disconnects = 0

        async def pause(model: str) -> None:
            await asyncio.sleep(0)
            if model == NOTES:
                await self.gate.wait()

        self.client = example.Client(tracer=provider.get_tracer("model"), pause=pause)
        self.app = example.make_app(
            self.client,
            tracer_provider=provider,
            clock=self.clock,
            event_sink=self.sink,
            cookie_secure=False,
            cookie_name="sid",
        )
        self.app.middleware_stack = self.app.build_middleware_stack()
        engine = latest_engine()
        assert engine is not None
        self.engine = engine
        self.engine.background.hold()

    async def serve(self, *connection: Any) -> None:
        """Serve one request as servers do: what the application raises is not kept, nor are the frames it holds."""
        try:
            await self.app(*connection)
        except ClientDisconnect:
            self.disconnects += 1

    async def settle(self) -> None:
        """Let generators that somebody left be closed, as their garbage collection does."""
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)

    def step(self, minutes: float = 0) -> None:
        self.clock.advance(seconds=minutes * 60)
        self.engine.background.step()

    def reported(self) -> Reported:
        ends = [event.attributes for event in self.sink.named("session.end")]
        late = [event.attributes for event in self.sink.named("session.usage_late")]
        history: Any = self.engine.history
        return Reported(ends, late, {end["session.id"]: history.turns(end["session.id"]) for end in ends})


class Direct:
    """A browser that speaks ASGI to the application; leaving is sudden, in both ways that the specification knows."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._cookie = b""

    async def login(self, user: str) -> None:
        await self._post("/login", {"user": user}, {}, None)

    async def ask(self, label: str, ask: Ask, history: list[dict[str, str]]) -> str:
        self._house.clock.advance(ms=250)
        body = {"message": ask.message, "history": history}
        return await self._post("/chat/stream", body, {"x-conversation-id": label}, ask.leaves_after)

    async def _post(self, path: str, body: object, headers: dict[str, str], leaves_after: int | None) -> str:
        over, heard = asyncio.Event(), list[bytes]()
        raises = leaves_after is not None and leaves_after % 2 == 0
        messages = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert 200 == message["status"]
                self._keep_cookie(message["headers"])
                return
            if leaves_after is not None and len(heard) >= leaves_after:
                over.set()
                if raises:
                    raise OSError("gone")
                return
            heard.append(message.get("body", b""))
            if not message.get("more_body", False):
                over.set()

        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4" if raises else "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"application/json"),
                *given,
                *([(b"cookie", self._cookie)] if self._cookie else []),
            ],
            "client": ("127.0.0.1", 5000),
            "server": ("127.0.0.1", 80),
        }
        self._house.running.append(asyncio.create_task(self._house.serve(scope, receive, send)))
        await over.wait()
        return b"".join(heard).decode()

    def _keep_cookie(self, headers: list[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"set-cookie":
                self._cookie = value.split(b";")[0]


async def come_in(house: House, crowd: list[Visitor]) -> None:
    """Let visitors come, some at a time; counters are written now and then, as by the background."""
    seats = asyncio.Semaphore(AT_A_TIME)

    async def one(visitor: Visitor) -> None:
        async with seats:
            await visit(visitor, Direct(house))
            house.step()

    await asyncio.gather(*map(one, crowd))


async def day(house: House, crowd: list[Visitor]) -> None:
    """Let everybody come; the last ones' notes are written when their sessions are over."""
    await come_in(house, crowd[:-LATE])
    house.gate.clear()
    await come_in(house, crowd[-LATE:])
    await house.settle()
    house.step(31)
    house.gate.set()
    await asyncio.gather(*house.running)
    await house.settle()
    house.step()


@pytest.mark.landing
def test_sessions_end_with_what_the_model_billed(example: ModuleType) -> None:
    """500 conversations: tokens, micro-dollars, turns, tool calls of each session are those of the model's books."""
    crowd = visitors(CONVERSATIONS, seed=20250101)

    async def run() -> House:
        house = House(example)
        await day(house, crowd)
        return house

    house = asyncio.run(run())
    reported, books = house.reported(), house.client.provider.books.entries()
    check(crowd, books, reported)
    check_variety(crowd, reported, house.disconnects)
    assert sum(entry.input_tokens + entry.output_tokens for entry in books) < house.naive.tokens


def check_variety(crowd: list[Visitor], reported: Reported, disconnects: int) -> None:
    """Everything that could go wrong has happened: otherwise the comparison says little."""
    assert CONVERSATIONS == sum(len(visitor.threads) for visitor in crowd)
    rows = [row for rows in reported.turns.values() for row in rows]
    said: dict[str, Callable[[Any], bool]] = {
        "left": lambda row: row.status == "cancelled",
        "failed steps": lambda row: bool(row.attributes.get("turn.errors")),
        "pruned": lambda row: row.attributes.get("context.pruned") is True,
        "tools side by side": lambda row: row.attributes.get("turn.tool_calls", 0) > 2,
        "specialist": lambda row: row.attributes.get("turn.agent_runs", 0) > 1,
    }
    counts = {name: sum(map(is_so, rows)) for name, is_so in said.items()}
    counts["after the end"] = len(reported.late)
    counts["gave up"] = disconnects
    assert not [name for name, count in counts.items() if count < 10], counts
    assert {"resolved", "escalated", "abandoned"} <= {end.get("session.outcome") for end in reported.ends}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"message": " "}', b'{"message": "Hello", "<script>": 1}'])
def test_bad_message_is_the_clients_mistake(example: ModuleType, body: bytes) -> None:
    """It is refused with an explanation that repeats nothing."""

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(example.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/chat/stream", content=body, headers={"Content-Type": "application/json"})

    response = asyncio.run(post())

    assert 422 == response.status_code
    assert response.json()["detail"]
    assert "script" not in response.text


@pytest.mark.parametrize("module", APPLICATION)
def test_nothing_but_the_model_knows_of_tokens(module: str) -> None:
    """The example's application says what happens, and counts nothing."""
    text = (EXAMPLE / module).read_text("utf-8").lower()

    assert [] == re.findall(r"\w*(?:token|usage|cost|usd)\w*", text)


def test_every_module_of_the_example_is_looked_at() -> None:
    """Whoever adds one says whether it may count."""
    modules = {path.name for path in EXAMPLE.glob("*.py")}

    assert {*APPLICATION, "__init__.py", "brain.py", "model.py"} == modules
