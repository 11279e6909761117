"""Settings ``input_text`` and ``output_text``: lengths of what was written and answered, in both worlds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from session_mw.asgi.listening import Listener as ASGIListener
from session_mw.telemetry import notices
from session_mw.wsgi.listening import Listener as WSGIListener
from tests.shells.bodies import Plan, say, send, world_of
from tests.shells.test_websocket import Wire
from tests.shells.worlds import World, make_world


@pytest.fixture(autouse=True)
def _say_again() -> None:
    notices.reset()


ASK = [b'{"message": "h\xc3', b'\xa9llo"}']
PATHS = {"input_text": "message", "output_text": "choices.0.delta.content"}
STREAM = [
    b'data: {"choices": [{"delta": {"content": "go "}}]}\n\ndata: {"choi',
    b'ces": [{"delta": {"content": "left"}}]}\n\n',
    b"data: [DONE]\n\n",
]
SSE = "text/event-stream"


def turn(world: World) -> dict[str, Any]:
    return dict(world.spans("turn")[-1].attributes)


def lengths(world: World) -> tuple[Any, Any]:
    found = turn(world)
    return found.get("turn.input_length"), found.get("turn.output_length")


def test_lengths_of_question_and_streamed_answer(kind: str) -> None:
    """Characters, not bytes; bodies arrive and leave as they came."""
    plan = Plan(STREAM, SSE)
    world = world_of(kind, plan, **PATHS)

    assert STREAM == send(world, ASK)
    assert b"".join(ASK) == plan.seen
    assert (5, 7) == lengths(world)


def test_chunks_pass_one_by_one() -> None:
    """The second chunk of a request is asked for only when the application asks, an answer's leaves at once."""
    plan = Plan(STREAM, SSE)
    world = world_of("asgi", plan, **PATHS)

    send(world, ASK)

    assert ["got", "got", "sent", "sent", "sent"] == plan.log


WAYS: list[Callable[[Any], bytes]] = [
    lambda s: bytes(s.read()),
    lambda s: b"".join(iter(lambda: s.read(3), b"")),
    lambda s: b"".join(iter(s.readline, b"")),
    lambda s: b"".join(iter(lambda: s.readline(4), b"")),
    lambda s: b"".join(s.readlines()),
    lambda s: b"".join(s),
    lambda s: bytes(next(s)) + bytes(s.read()),
    lambda s: (buffer := bytearray(100), s.readinto(buffer))[0].rstrip(b"\0"),
]


@pytest.mark.parametrize("read", WAYS)
def test_every_way_of_reading_wsgi_input_is_heard(read: Callable[[Any], bytes]) -> None:
    """PEP 3333: read, readline, readlines and iteration; and what servers offer besides."""
    plan = Plan(read=read)
    body = json.dumps({"message": "two\nlines"}, indent=1).encode()
    world = world_of("wsgi", plan, input_text="message")

    send(world, [body])

    assert body == plan.seen
    assert (9, None) == lengths(world)


def test_wsgi_input_keeps_the_servers_other_methods() -> None:
    """What a server's input can do besides reading, it still can."""
    plan = Plan(read=lambda s: (bytes(s.read()), s.seek(0))[0])

    send(world_of("wsgi", plan, input_text="message"), ASK)

    assert b"".join(ASK) == plan.seen


def test_wsgi_write_is_heard() -> None:
    """The old way to answer, by the callable that start_response returns."""

    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"old ")
        return [b"way"]

    world = make_world("wsgi", app, output_text="$")
    send(world, [b""])

    assert (None, 7) == lengths(world)


def test_wsgi_body_is_closed_once() -> None:
    """The application's body is closed, as PEP 3333 asks."""
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Any:
            return iter([b'{"a": "x"}'])

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "application/json")])
        return Body()

    world = make_world("wsgi", app, output_text="a")
    send(world, [b""])

    assert [True] == closed
    assert (None, 1) == lengths(world)


def test_what_the_application_says_wins(kind: str) -> None:
    """A length that was set stays."""
    world = world_of(kind, Plan(STREAM, SSE, work=say(input_length=77)), **PATHS)

    send(world, ASK)

    assert (77, 7) == lengths(world)


def model_call(tracer: Any) -> None:
    with tracer.start_as_current_span("chat m") as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.input.messages", '[{"role": "user", "content": "of the model"}]')
        span.set_attribute("gen_ai.output.messages", '[{"role": "assistant", "content": "a model answers"}]')


def test_extractors_win_over_spans(kind: str) -> None:
    """The body is what the user wrote; a model's prompt may be something else."""
    world = world_of(kind, Plan(STREAM, SSE, work=model_call), **PATHS)

    send(world, ASK)

    assert (5, 7) == lengths(world)


def test_spans_serve_where_the_body_has_no_text(kind: str) -> None:
    """Where the path leads nowhere, the model's messages tell."""
    world = world_of(kind, Plan(work=model_call), input_text="nothing", output_text="nothing")

    send(world, ASK)

    assert (12, 15) == lengths(world)


def test_bytes_are_the_last_resort(kind: str) -> None:
    """A body that was read in vain leaves its size under another name; no length is guessed from it."""
    world = world_of(kind, Plan([b'{"a"', b": 1}"]), input_text="nothing", output_text="nothing")

    send(world, ASK)

    assert (None, None) == lengths(world)
    assert (len(b"".join(ASK)), 8) == (turn(world)["turn.request_body_bytes"], turn(world)["turn.response_body_bytes"])


def test_compressed_answers_are_unknown(kind: str) -> None:
    """What somebody inside has compressed is not read."""
    world = world_of(kind, Plan([b"\x1f\x8b"], "text/plain", {"Content-Encoding": "gzip"}), output_text="$")

    send(world, ASK)

    assert not {"turn.output_length", "turn.response_body_bytes"} & turn(world).keys()


def test_function_that_fails_changes_nothing_else(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The application's own function may fail: one log line without the text, the answer as it was."""
    plan = Plan([b'{"a": "x"}'])
    world = world_of(kind, plan, input_text=lambda body: body["geheim"], output_text=lambda body: body["a"])

    assert plan.chunks == send(world, ASK)
    assert (None, 1) == lengths(world)
    assert 1 == len([r for r in caplog.records if "input_text or output_text" in r.getMessage()])
    assert "geheim" not in caplog.text


def test_nothing_is_wrapped_without_the_settings(kind: str) -> None:
    """Without extractors the application is called as it is."""
    plain, listening = world_of(kind, Plan()), world_of(kind, Plan(), input_text="a")

    assert plain.app.listened is plain.app.app
    assert isinstance(listening.app.listened, (ASGIListener, WSGIListener))


def test_requests_that_are_no_turns_pass_untouched(kind: str) -> None:
    """A page load has no turn to tell of."""
    world = world_of(kind, Plan(), turn_methods=["PUT"], **PATHS)

    assert [b"{}"] == send(world, ASK)
    assert [] == world.spans("turn")


def test_content_shows_with_capture_only(kind: str) -> None:
    """With capture_content the texts stand on server, session and turn span; without, on none."""
    for capture in (True, False):
        world = world_of(kind, Plan(STREAM, SSE), capture_content=capture, **PATHS)
        send(world, ASK)

        shown = [dict(s.attributes) for s in world.spans() if s.name in ("session", "turn") or s.kind.name == "SERVER"]
        expected = ("héllo", "go left") if capture else (None, None)
        assert 3 == len(shown)
        assert [expected] * 3 == [(s.get("input.value"), s.get("output.value")) for s in shown]


def test_websocket_messages_are_question_and_answer() -> None:
    """Each turn has its own: the text that began it, and the texts sent before the next."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": '{"delta": "you said "}'})
            await send({"type": "websocket.send", "text": json.dumps({"delta": message["text"]})})

    world = make_world("asgi", app, input_text="message", output_text="delta", capture_content=True)

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        for text in ("plain", '{"message": "deep"}'):
            await wire.ask(text)
            await asyncio.wait_for(wire._outbox.get(), 5)
        await wire.close()

    asyncio.run(scenario())
    first, second = (dict(s.attributes) for s in world.spans("turn"))
    assert ("plain", "you said plain") == (first["input.value"], first["output.value"])
    assert ("deep", 'you said {"message": "deep"}') == (second["input.value"], second["output.value"])
    assert (4, 28) == (second["turn.input_length"], second["turn.output_length"])
    (connection,) = world.spans("session")
    assert "input.value" not in connection.attributes
