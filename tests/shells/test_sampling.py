"""Sessions that are dropped count as all others; two services keep the same ones; successors are sampled alike."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as ASGITheirs
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WSGITheirs
from opentelemetry.instrumentation.wsgi import wsgi_getter
from opentelemetry.sdk.trace.sampling import ParentBased

from session_mw import SessionRatioSampler, current_session
from session_mw._core.identity import sampling_key_of
from session_mw._engine import compiled
from session_mw.telemetry.early import early_in
from session_mw.testing import FakeClock
from tests.shells.worlds import World, make_world

HALF = SessionRatioSampler(0.5)


@pytest.fixture(autouse=True)
def _known_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are the same in every run: of eight sessions some are kept and some are not."""
    monkeypatch.setattr(compiled, "os", SimpleNamespace(urandom=random.Random(3).randbytes))


class Calls:
    """An application that calls another service in each turn, as an HTTP client would; ``/rotate`` rotates."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def answer(self, path: str) -> bytes:
        session = current_session()
        assert session is not None
        self.headers = {"host": "localhost:8001"}
        propagate.inject(self.headers)
        if path == "/rotate":
            session.rotate()
        return session.id.encode()

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        body = self.answer(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        body = self.answer(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [body]


def sampled_world(kind: str, app: Any, sampler: Any, *, theirs: bool = False, **settings: Any) -> World:
    """Return an application whose spans are sampled; with *theirs* OpenTelemetry's middleware stands around ours."""
    clock = FakeClock(time.time_ns() // 1_000_000)  # baggage is signed by the real clock
    world = make_world(kind, app, clock=clock, **settings)
    world.provider.sampler = sampler
    if theirs:
        middleware: Any = ASGITheirs if kind == "asgi" else WSGITheirs
        world.app = middleware(world.app, tracer_provider=world.provider)
    return world


@pytest.mark.parametrize("traces", [True, False], ids=["with traceparent", "baggage alone"])
def test_two_services_keep_the_same_sessions(kind: str, traces: bool) -> None:
    """Both keep a session or both drop it, before and after it rotates; with a trace that is handed on, and without."""
    calls, answers = Calls(), Calls()
    front = sampled_world(kind, getattr(calls, kind), ParentBased(HALF))
    behind = sampled_world(kind, getattr(answers, kind), ParentBased(HALF), theirs=True)
    decisions = set()
    for _ in range(6):
        front.jar.clear()
        ids = []
        for path in ("/chat", "/rotate", "/chat"):
            front.exporter.clear()
            behind.exporter.clear()
            ids.append(front.request(path=path).body.decode())
            sent = {name: value for name, value in calls.headers.items() if traces or name == "baggage"}
            assert ids[-1] == behind.request(headers=sent, cookies=False).body.decode()

            assert HALF.keeps(ids[-1]) is bool(front.spans("turn")) is bool(behind.spans())
        assert ids[0] == ids[1] != ids[2]
        decisions.add((HALF.keeps(ids[0]), HALF.keeps(ids[2])))
    assert {(True, True), (False, False)} == decisions


def test_service_that_keeps_fewer_keeps_a_part(kind: str) -> None:
    """Each alone with a ratio of its own: what the service behind keeps is kept in front."""
    calls, answers = Calls(), Calls()
    front = sampled_world(kind, getattr(calls, kind), SessionRatioSampler(0.6))
    behind = sampled_world(kind, getattr(answers, kind), SessionRatioSampler(0.3), theirs=True)
    kept = []
    for _ in range(12):
        front.jar.clear()
        front.exporter.clear()
        behind.exporter.clear()
        front.request()
        behind.request(headers=calls.headers, cookies=False)
        kept.append((bool(front.spans()), bool(behind.spans())))

    assert {(True, True), (True, False), (False, False)} == set(kept)


@pytest.mark.parametrize("ratio", [0, 1])
def test_dropped_sessions_count_as_others(kind: str, ratio: float) -> None:
    """Turns, usage that was told, and the end: the same whether spans are kept or not."""
    world = sampled_world(kind, None, ParentBased(SessionRatioSampler(ratio)))
    for _ in range(2):
        world.request(path="/usage")
    world.request(path="/end?reason=completed")
    (end,) = world.ends()

    assert (ratio == 1) is bool(world.spans())
    assert 1 == len(world.starts())
    assert {"turns": 3, "completed_turns": 3, "tokens": 246, "cost_usd": 0.00026} == {
        "turns": end.attributes["session.total_turns"],
        "completed_turns": end.attributes["session.completed_turns"],
        "tokens": end.attributes["session.total_tokens"],
        "cost_usd": end.attributes["session.total_cost_usd"],
    }


def _rotate(world: World) -> None:
    world.request(path="/rotate")


def _other_user(world: World) -> None:
    world.request(path="/login?user=ann")
    world.request(path="/login?user=bob")


def _idle(world: World) -> None:
    world.clock.advance(seconds=3_600)


@pytest.mark.parametrize("change", [_rotate, _other_user, _idle])
@pytest.mark.parametrize("theirs", [True, False], ids=["theirs around", "ours"])
def test_successors_are_sampled_alike(kind: str, theirs: bool, change: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever makes the next session of a client: its key is the one before's, and so the decision."""
    world = sampled_world(kind, None, ParentBased(HALF), theirs=theirs)
    decisions = set()
    for _ in range(6):
        world.jar.clear()
        first = world.request().json()
        change(world)
        world.exporter.clear()
        second = world.request().json()

        assert first["id"] == second["previous"] != second["id"]
        assert sampling_key_of(first["id"]) == sampling_key_of(second["id"])
        assert HALF.keeps(first["id"]) is bool(world.spans("turn"))
        decisions.add(HALF.keeps(first["id"]))
    assert {True, False} == decisions
    assert [] == [record.getMessage() for record in caplog.records if "SessionRatioSampler" in record.getMessage()]


def test_anonymous_session_stays_as_it_was_when_its_user_is_named(kind: str) -> None:
    """Who logs in keeps the session, and with it the decision."""
    world = sampled_world(kind, None, ParentBased(HALF), theirs=True)
    first = world.request().json()
    world.request(path="/login?user=ann")
    second = world.request().json()

    assert first["id"] == second["id"]
    assert (None, True) == (first["user"], second["user"].startswith("u_"))
    assert (3 if HALF.keeps(first["id"]) else 0) == len(world.spans("turn"))


def test_leaked_context_makes_no_two_visitors_one(kind: str) -> None:
    """
    A context that an instrumentation never detached holds what was minted for one request: the next one gets its own.

    OpenTelemetry's WSGI middleware leaves it behind where a body is closed that nobody began to read.
    """
    world = sampled_world(kind, None, ParentBased(HALF))
    scope: Any = {"type": "http", "path": "/", "method": "POST", "headers": []}
    carrier, getter = (scope, asgi_getter) if kind == "asgi" else ({"REQUEST_METHOD": "POST"}, wsgi_getter)
    leaked = propagate.extract(carrier, getter=getter)  # type: ignore[arg-type]
    early = early_in(leaked)
    assert early is not None
    minted = early.session_id  # as a sampler asks for it
    token = otel_context.attach(leaked)
    try:
        ids = [world.request(cookies=False).json()["id"] for _ in range(3)]
    finally:
        otel_context.detach(token)

    assert minted == ids[0]
    assert 3 == len(set(ids))
