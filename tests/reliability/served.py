"""
What workers serve that are going to be killed, with everything written down that they did: gunicorn's hooks too.

``wsgi`` and ``asgi`` are the real middleware over the store that the environment names. Files of the folder
``PROCESSES_FOLDER`` have a line for each thing that happened, whoever did it: ``born`` the workers, ``calls`` the
requests that reached the application, ``events`` what the sink was given, ``deaths`` who died at which failpoint.

A failpoint is a file ``armed-<point>``: the worker that gets there first removes it, says what it had in its hands, and
is gone, without any ``finally`` or exit hook.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from session_mw import CallableSink, current_session, current_turn, sweeper
from session_mw._postgres import database
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware

FOLDER = os.environ["PROCESSES_FOLDER"]
POINTS = ("after_claim", "after_close", "after_emit", "before_ack")
WORK = 0.03  # seconds that an answer takes at most
SEND = 0.03  # seconds that the sink takes at most, as if it sent its batch to another machine
CHANCE = random.SystemRandom()  # the global generator is the same in every forked worker
ATTEMPT = "session.emit_attempt"

# A short run cannot wait for the half minute that a dead worker's lease takes.
sweeper.LEASE_MS = int(os.environ.get("KILLS_LEASE_MS", sweeper.LEASE_MS))
# What is shown here is no question of 50 ms; the other stores are told in their URLs, or wait longer anyway.
database.REQUEST_MS = 5_000


def note(name: str, *lines: str) -> None:
    """Append *lines* to a file; a line of somebody who was killed while writing it ends where this one begins."""
    descriptor = os.open(os.path.join(FOLDER, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, ("\n" + "\n".join(lines) + "\n").encode())
    finally:
        os.close(descriptor)


def post_worker_init(worker: Any) -> None:
    """Say that a worker is about to take requests; gunicorn calls this."""
    note("born", str(worker.pid))


# -- the sink, and the ways to die

_batches = 0


def report(events: Sequence[Any]) -> None:
    """Take events, as the application's sink: they are delivered when they stand in the file."""
    global _batches
    _batches += 1
    time.sleep(SEND * CHANCE.random())
    note("events", *[_line(event) for event in events])
    time.sleep(SEND * CHANCE.random())
    ends = [event.key for event in events if event.event_name == "session.end"]
    if ends:
        fail("after_emit", ends)


def _line(event: Any) -> str:
    said = dict(event.attributes)
    attempt = said.pop(ATTEMPT, 0)
    same = json.dumps([event.timestamp_ms, event.trace, said])  # in the order in which they came: byte by byte
    return json.dumps([event.event_name, said["log.record.uid"], attempt, same, os.getpid(), _batches, time.time()])


def fail(point: str, keys: Sequence[tuple[str, int]]) -> None:
    """Die here, if it was asked for, with the ends of *keys* in hands."""
    try:
        os.unlink(os.path.join(FOLDER, f"armed-{point}"))
    except FileNotFoundError:
        return
    note("deaths", json.dumps([os.getpid(), point, [f"{name}/{number}/session.end" for name, number in keys]]))
    os._exit(70)


def _before(point: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(keys: Any, *rest: Any) -> Any:
        fail(point, keys)
        return call(keys, *rest)

    return wrapped


def _after(point: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*asked: Any) -> Any:
        found = call(*asked)
        records = getattr(found, "records", found)
        if records:
            fail(point, [(record.session_id, record.generation) for record in records])
        return found

    return wrapped


def _mine(engine: Any) -> None:
    """Put the failpoints into what an engine's sweeper works with."""
    plan = engine.background._plan
    plan.store.claim = _after("after_claim", plan.store.claim)
    plan.settle = _after("after_close", plan.settle)
    plan.store.ack = _before("before_ack", plan.store.ack)


# -- the application


def answer(request_id: str, over: bool) -> bytes:
    """Say where we are, and end the session if that was asked for."""
    session, turn = current_session(), current_turn()
    assert session is not None
    number = turn and turn.number
    note("calls", json.dumps([request_id, session.id, number]))
    if over:
        session.end("completed")
    return json.dumps({"id": session.id, "turn": number, "pid": os.getpid()}).encode()


def plain_wsgi(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """The application in WSGI."""
    body = b"{}"
    if environ["PATH_INFO"] != "/health":
        body = answer(environ["HTTP_X_REQUEST"], "HTTP_X_OVER" in environ)
        time.sleep(WORK * CHANCE.random())
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return iter([body])


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    """The application in ASGI."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    body = b"{}"
    if scope["path"] != "/health":
        given = dict(scope["headers"])
        body = answer(given[b"x-request"].decode(), b"x-over" in given)
        await asyncio.sleep(WORK * CHANCE.random())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _made(middleware: Any, app: Any) -> Any:
    made = middleware(app, event_sink=CallableSink(report), user=lambda facts: facts.header("x-user"))
    _mine(made.engine)
    return made


wsgi: Any = None
asgi: Any = None
if os.environ["PROCESSES_KIND"] == "wsgi":
    wsgi = _made(WSGIMiddleware, plain_wsgi)
else:
    asgi = _made(ASGIMiddleware, plain_asgi)
