"""FastAPI and Starlette: WebSockets, by their own test client."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import StatusCode

from session_mw import SessionRatioSampler, current_session, current_turn, hash_user_id
from session_mw._engine import compiled
from session_mw.integrations.fastapi import SessionDep, SessionTracking
from tests.integrations.orders import instrument_fastapi, native
from tests.integrations.support import BASE, COOKIE, World, id_of, parent_of, server_spans, session_ids


@pytest.fixture(params=["ours", "instrumented", "own telemetry"])
def app(world: World, request: pytest.FixtureRequest) -> FastAPI:
    """A chat over a WebSocket, whose server span is made by us, by FastAPIInstrumentor, or by FastAPI itself."""
    app = FastAPI(**(native(world) if request.param == "own telemetry" else {}))
    SessionTracking(app, **world.options())

    @app.websocket("/chat")
    async def chat(socket: WebSocket, session: SessionDep) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            turn = current_turn()
            assert turn is not None
            turn.add_usage(input_tokens=5)
            if text == "boom":
                raise RuntimeError("the handler failed")
            if text.startswith("login "):
                session.identify(text.removeprefix("login "))
            await socket.send_json(world.look())

    @app.post("/logout")
    async def logout(session: SessionDep) -> None:
        session.end()

    return instrument_fastapi(world, app) if request.param == "instrumented" else app


def talk(client: TestClient, *texts: str) -> list[Any]:
    """Connect, say each text and wait for its answer, and leave."""
    with client.websocket_connect("wss://shop.example/chat") as socket:
        cookies = [value for name, value in socket.extra_headers or () if name == b"set-cookie"]
        for line in cookies:
            name, _, value = line.decode().partition(";")[0].partition("=")
            client.cookies.set(name, value)
        answers = []
        for text in texts:
            socket.send_text(text)
            answers.append(socket.receive_json())
    return answers


def test_each_message_is_a_turn_in_a_trace_of_its_own(world: World, app: FastAPI) -> None:
    """One session, one turn a message; each a new trace, linked to the connection's span; identity everywhere."""
    answers = talk(TestClient(app, base_url=BASE), "one", "two", "three")

    assert [1, 2, 3] == [a["turn"] for a in answers]
    assert 1 == len({a["id"] for a in answers})
    (server,), (session,), turns = server_spans(world.spans()), world.spans("session"), world.spans("turn")
    assert 3 == len({turn.context.trace_id for turn in turns} - {server.context.trace_id})
    assert id_of(server) == parent_of(session)
    for turn, work in zip(turns, world.spans("work"), strict=True):
        assert turn.parent is None
        assert [session.context.span_id] == [link.context.span_id for link in turn.links]
        assert id_of(turn) == parent_of(work)
    carry_it = [span for span in world.spans() if not span.name.endswith("websocket receive")]
    assert {answers[0]["id"]} == session_ids(carry_it)


@pytest.fixture
def half(world: World, monkeypatch: pytest.MonkeyPatch) -> SessionRatioSampler:
    """Half of the sessions are kept, the same ones in every run. Asked for ahead of ``app``."""
    monkeypatch.setattr(compiled, "os", SimpleNamespace(urandom=random.Random(5).randbytes))
    sampler = SessionRatioSampler(0.5)
    world.provider.sampler = ParentBased(sampler)
    world.tracer = world.provider.get_tracer("shop")
    return sampler


def test_messages_are_sampled_with_their_session(world: World, half: SessionRatioSampler, app: FastAPI) -> None:
    """Each message's trace has no parent; it is kept or dropped as the connection is."""
    kept = set()
    for _ in range(6):
        world.clear()
        answers = talk(TestClient(app, base_url=BASE), "one", "two")
        keeps = half.keeps(answers[0]["id"])

        assert [2 * keeps, 2 * keeps, keeps] == [len(world.spans(name)) for name in ("turn", "work", "session")]
        assert keeps is bool(server_spans(world.spans()))
        kept.add(keeps)
    assert {True, False} == kept


def test_handshake_brings_the_cookie_and_the_session_goes_on(world: World, app: FastAPI) -> None:
    """The cookie of the accept continues the session, over another connection and HTTP; the end counts each turn."""
    client = TestClient(app, base_url=BASE)
    first = talk(client, "one", "two")
    assert COOKIE in client.cookies
    second = talk(client, "three")
    client.post("/logout")

    assert {(first[0]["id"])} == {a["id"] for a in first + second}
    assert 3 == second[0]["turn"]
    (end,) = world.named("session.end")
    assert (4, 4, 0) == tuple(end.attributes[f"session.{name}_turns"] for name in ("total", "completed", "failed"))
    assert 15 == end.attributes["session.total_input_tokens"]


def test_handler_that_fails(world: World, app: FastAPI) -> None:
    """An error ends the turn of its message and the session's span, once, as an error."""
    client = TestClient(app, base_url=BASE)
    with pytest.raises(RuntimeError, match="the handler failed"):
        talk(client, "fine", "boom")

    fine, boom = world.spans("turn")
    assert StatusCode.UNSET is fine.status.status_code
    assert StatusCode.ERROR is boom.status.status_code
    assert "RuntimeError" == boom.attributes["error.type"]
    assert 1 == len(world.spans("session"))


def test_login_in_a_message(world: World, app: FastAPI) -> None:
    """A user named in a message is the session's from there on, on this connection's next turns too."""
    answers = talk(TestClient(app, base_url=BASE), "hello", "login ada", "hello again")

    assert 1 == len({a["id"] for a in answers})
    assert [None, hash_user_id("ada"), hash_user_id("ada")] == [a["user"] for a in answers]
    assert hash_user_id("ada") == world.spans("work")[-1].attributes["user.id"]


def test_nothing_is_left_of_a_connection(world: World, app: FastAPI) -> None:
    """Two clients, one after the other: two sessions."""
    ids = [talk(TestClient(app, base_url=BASE), "hello")[0]["id"] for _ in range(2)]

    assert 2 == len(set(ids))
    assert current_session() is None
