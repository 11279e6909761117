"""``stamp_spans="turns"``: back ends that take each trace of a session for a turn are shown turns only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from session_mw import agent_run, current_session, turn
from session_mw.telemetry.processors import stamp_of
from tests.shells.test_downstream import BAGGAGE_KEY, Front
from tests.shells.test_websocket import Wire
from tests.shells.worlds import World, make_world, seen

NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": "text/html"}
OURS = ("session.id", "session.type", "user.id", "gen_ai.conversation.id")


def traces(world: World) -> dict[str, list[int]]:
    """Return the traces of each session that spans name."""
    found: dict[str, set[int]] = {}
    for span in world.spans():
        if "session.id" in span.attributes:
            found.setdefault(span.attributes["session.id"], set()).add(span.context.trace_id)
    return {name: sorted(ids) for name, ids in found.items()}


def visit(kind: str, stamp_spans: str) -> World:
    """Load the page, ask twice, read something in the background."""
    world = make_world(kind, stamp_spans=stamp_spans)
    world.request("GET", "/echo", NAVIGATION)
    world.request("POST")
    world.request("GET", "/set?type=chat", {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"})
    world.request("POST")
    return world


@pytest.mark.parametrize(("stamp_spans", "expected"), [("all", 4), ("turns", 2)])
def test_traces_of_a_session(kind: str, stamp_spans: str, expected: int) -> None:
    """A page load and a background GET are traces of the session, or are not."""
    (found,) = traces(visit(kind, stamp_spans)).values()

    assert expected == len(found)


def test_other_requests_have_spans_that_say_nothing(kind: str) -> None:
    """Their server span and what is made inside are there, without a session span, and with nothing of the session."""
    world = visit(kind, "turns")
    turns = {span.context.trace_id for span in world.spans("turn")}
    others = [span for span in world.spans() if span.context.trace_id not in turns]

    assert ["SERVER"] * 2 == [span.kind.name for span in others if span.name != "work"]
    assert 2 == len([span for span in others if span.name == "work"])
    assert not [name for span in others for name in OURS if name in span.attributes]


def test_session_is_the_same(kind: str) -> None:
    """Handlers see it, its cookie is written, what they say of it is kept, its turns are counted."""
    world = visit(kind, "turns")
    page = make_world(kind, stamp_spans="turns").request("GET", "/echo", NAVIGATION)
    world.clock.advance(seconds=1801)
    (end,) = world.ends()

    assert page.json()["id"] and page.one("set-cookie")
    assert (2, "chat") == (end.attributes["session.total_turns"], end.attributes["session.type"])


@pytest.mark.parametrize("block", [False, True], ids=["run", "turn"])
def test_blocks_inside_of_a_request_that_is_no_turn(block: bool) -> None:
    """A run of an agent says no session there; a turn that is opened by name does, and so does all inside it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if block:
            async with turn(), agent_run("inner"):
                seen()
        async with agent_run("outer"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    world = make_world("asgi", app, stamp_spans="turns")
    world.request("POST")  # so that it is stored
    world.exporter.clear()
    world.request("GET", "/echo", NAVIGATION)
    named = {span.name for span in world.spans() if "session.id" in span.attributes}

    assert named == ({"turn", "invoke_agent inner", "work"} if block else set())


def test_messages_of_a_websocket_are_its_turns() -> None:
    """The connection's own trace is none of the session, also after a turn; each message's is."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            seen()
            await send({"type": "websocket.send", "text": message["text"]})

    world = make_world("asgi", app, stamp_spans="turns")

    async def talk() -> None:
        wire = Wire(world)
        await wire.accepted()
        for text in ("one", "two", "three"):
            await wire.ask(text)
        wire.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(wire.task, 5)

    asyncio.run(talk())
    (found,) = traces(world).values()

    assert (3, 3) == (len(found), len(world.spans("turn")))
    assert 3 == len([span for span in world.spans("work") if "session.id" in span.attributes])


def test_calls_to_other_services(kind: str) -> None:
    """The session travels in either case; a service behind with the same setting shows it for turns only."""
    front = Front()
    app = front.asgi if kind == "asgi" else front.wsgi
    first = make_world(kind, app, stamp_spans="turns", baggage_key=BAGGAGE_KEY)
    behind = make_world(kind, stamp_spans="turns", baggage_key=BAGGAGE_KEY)
    seen_there = []
    for method, headers in (("GET", NAVIGATION), ("POST", {})):
        first.request(method, "/echo", headers)
        behind.exporter.clear()
        seen_there.append((behind.request("POST", "/echo", front.headers).json()["id"], len(traces(behind))))

    (session_id,) = front.ids
    assert [(session_id, 0), (session_id, 1)] == seen_there


def test_log_records_say_the_session_in_any_case(kind: str) -> None:
    """A line of a log is no trace that somebody counts."""
    found: list[Any] = []

    def note() -> None:
        session = current_session()
        assert session is not None
        found.append((session.id, stamp_of(None).get("session.id")))

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        note()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        note()
        start_response("200 OK", [])
        return [b""]

    make_world(kind, asgi if kind == "asgi" else wsgi, stamp_spans="turns").request("GET", "/echo", NAVIGATION)

    ((session_id, stamped),) = found
    assert session_id == stamped
