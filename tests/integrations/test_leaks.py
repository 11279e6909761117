"""Nobody's session shows in anybody else's request: threads, pools, tasks and streams, many at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import flask
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from opentelemetry import context as otel_context

from session_mw import copy_context, current_session, hash_user_id
from session_mw._core.scope import current_scope
from session_mw.integrations.fastapi import SessionTracking
from session_mw.integrations.flask import SessionTracking as FlaskTracking
from session_mw.wsgi import SessionTrackingMiddleware as WSGIOurs
from tests.integrations import apps, django_project, orders
from tests.integrations.support import BASE, Client, Site, World, ancestors, is_clean

USERS = 50


def named_by_header(world: World) -> None:
    world.overrides["user"] = lambda request: request.header("X-User")


def check_spans(world: World, users: int, requests: int) -> None:
    """Each span carries the user of the request that made it, and only that one, in each trace of its own."""
    found: Counter[Any] = Counter()
    owners: dict[int, set[Any]] = {}
    for span in world.spans():
        attributes = span.attributes or {}
        owners.setdefault(span.context.trace_id, set()).add((attributes["session.id"], attributes["user.id"]))
        if span.name == "turn":
            found[attributes["user.id"]] += 1
    assert {1} == {len(owner) for owner in owners.values()}
    assert {hash_user_id(f"user-{number}"): requests for number in range(users)} == dict(found)


# -- tasks


@pytest.mark.parametrize(
    ("kind", "requests"),
    [pytest.param("ours", 20, marks=pytest.mark.landing), ("ours", 3), ("instrumented", 3), ("own telemetry", 3)],
)
def test_interleaved_requests_of_many_users(world: World, kind: str, requests: int) -> None:
    """A thousand requests of fifty users, fifty at a time in one event loop: each sees its own session all the way."""
    named_by_header(world)
    app = FastAPI(**(orders.native(world) if kind == "own telemetry" else {}))

    @app.post("/chat")
    async def chat(request: Request) -> Any:
        seen = [world.look()]
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(world.look())
        seen.append(await asyncio.to_thread(world.look))
        seen += await asyncio.gather(*(asyncio.create_task(later()) for _ in range(2)))
        return seen

    async def later() -> Any:
        await asyncio.sleep(0)
        return world.look()

    SessionTracking(app, **world.options())
    if kind == "instrumented":
        orders.instrument_fastapi(world, app, exclude_spans=["send", "receive"])

    async def everybody() -> list[list[Any]]:
        clients = [Client(Site(app, asgi=True)) for _ in range(USERS)]
        rounds = []
        for _ in range(requests):
            asks = (c.ask_async(headers={"x-user": f"user-{n}"}) for n, c in enumerate(clients))
            rounds.append([reply.json() for reply in await asyncio.gather(*asks)])
        assert is_clean(otel_context.get_current())
        assert current_scope.get() is None
        return rounds

    rounds = asyncio.run(everybody())
    sessions: dict[int, set[str]] = {}
    for turn, replies in enumerate(rounds, 1):
        for number, seen in enumerate(replies):
            assert {(hash_user_id(f"user-{number}"), turn)} == {(s["user"], s["turn"]) for s in seen}
            sessions.setdefault(number, set()).update(s["id"] for s in seen)
    assert {1} == {len(ids) for ids in sessions.values()}
    assert USERS == len({next(iter(ids)) for ids in sessions.values()})
    check_spans(world, USERS, requests)


# -- threads


@pytest.mark.parametrize(
    "build", [orders.flask_ours, orders.flask_ours_then_instrument_app, orders.django_ours, orders.wsgi_ours]
)
def test_threads_of_a_server(world: World, build: Any) -> None:
    """Eight threads that serve one request after the other, of changing users: each request sees its own."""
    named_by_header(world)
    site = build(world)
    clients = {number: Client(site) for number in range(24)}
    wrong: list[Any] = []

    def serve(thread: int) -> None:
        for turn in range(1, 6):
            for number in range(thread, 24, 8):
                seen = clients[number].seen(headers={"x-user": f"user-{number}"})
                if (hash_user_id(f"user-{number}"), turn) != (seen["user"], seen["turn"]):
                    wrong.append((number, turn, seen))
        if current_scope.get() is not None or not is_clean(otel_context.get_current()):
            wrong.append(f"thread {thread} is left with a session")

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong
    check_spans(world, users=24, requests=5)


@pytest.mark.parametrize("kind", ["fastapi", "flask", "django"])
def test_executor(world: World, kind: str) -> None:
    """Work handed to a pool carries its session with ``copy_context``, and none without; its thread keeps none."""
    pool = world.stack.enter_context(ThreadPoolExecutor(1))
    results: list[tuple[str, Future[Any], Future[Any]]] = []

    def hand_over() -> Any:
        session = current_session()
        assert session is not None
        results.append((session.id, pool.submit(copy_context(world.look)), pool.submit(world.look)))
        return {"id": session.id}

    site = {"fastapi": in_fastapi, "flask": in_flask, "django": in_django}[kind](world, hand_over)
    for _ in range(3):
        assert Client(site).ask().status_code < 300

    assert 3 == len({found for found, _, _ in results})
    for found, carried, bare in results:
        assert (found, None) == (carried.result()["id"], bare.result()["id"])
    carried_spans = [span for span in world.spans("work") if ancestors(span, world.spans())[:1] == ["turn"]]
    assert [found for found, _, _ in results] == [span.attributes["session.id"] for span in carried_spans]


def in_fastapi(world: World, handler: Any) -> Site:
    app = FastAPI()
    app.post("/chat")(lambda: handler())
    SessionTracking(app, **world.options())
    return Site(app, asgi=True)


def in_flask(world: World, handler: Any) -> Site:
    app = flask.Flask("shop")
    app.post("/chat")(lambda: handler())
    FlaskTracking(app, **world.options())
    return Site(app, asgi=False)


def in_django(world: World, handler: Any) -> Site:
    django_project.configure(world)

    def chunks() -> Iterator[bytes]:
        handler()
        yield b"done"

    world.stack.enter_context(pytest.MonkeyPatch.context()).setattr(django_project, "chunks", chunks)
    site = django_project.site(asgi=False)
    return Site(lambda environ, start: site.target({**environ, "PATH_INFO": "/stream"}, start), asgi=False)


# -- streams


@pytest.mark.parametrize("kind", ["flask", "flask instrumented", "django", "bare"])
def test_streams_pulled_in_turns(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread that pulls two bodies by turns gets chunks of two sessions, and is left with neither."""

    def chunks() -> Iterator[bytes]:
        with world.tracer.start_as_current_span("model"):
            for _ in range(3):
                yield json.dumps(world.look()).encode()

    if kind == "django":
        monkeypatch.setattr(django_project, "chunks", chunks)
        target: Any = orders.django_ours(world).target
    elif kind == "bare":
        target = WSGIOurs(lambda environ, start: (start("200 OK", []), chunks())[1], **world.options())
    else:
        target = flask.Flask("shop")
        target.post("/stream")(lambda: flask.Response(chunks()))
        FlaskTracking(target, **world.options())
        if kind == "flask instrumented":
            orders.instrument_flask(world, target)
    environ = flask.testing.EnvironBuilder(flask.Flask("x"), "/stream", base_url=BASE, method="POST")
    bodies = [target(environ.get_environ(), lambda *_: None) for _ in range(2)]
    pulled: list[list[Any]] = [[], []]
    iterators = [iter(body) for body in bodies]
    for _ in range(3):
        for seen, iterator in zip(pulled, iterators, strict=True):
            seen.append(json.loads(next(iterator)))
            assert current_session() is None
            assert is_clean(otel_context.get_current())
    for iterator, body in zip(iterators, bodies, strict=True):
        assert [] == list(iterator)
        body.close()

    assert [1, 1] == [len({look["id"] for look in seen}) for seen in pulled]
    assert pulled[0][0]["id"] != pulled[1][0]["id"]
    spans = world.spans()
    assert [["model", "turn", "session"]] * 6 == [ancestors(work, spans)[:3] for work in world.spans("work")]


def test_interleaved_streams_in_one_loop(world: World) -> None:
    """Fifty streams at once, each chunk after a pause: every chunk is its own session's."""
    named_by_header(world)
    app = FastAPI()

    async def chunks() -> Any:
        for _ in range(5):
            await asyncio.sleep(0)
            yield json.dumps(world.look()) + "\n"

    app.post("/stream")(lambda: StreamingResponse(chunks()))
    apps.fastapi_app(world, app)
    SessionTracking(app, **world.options())

    async def everybody() -> list[list[Any]]:
        site = Site(app, asgi=True)
        asks = (Client(site).ask_async(path="/stream", headers={"x-user": f"user-{n}"}) for n in range(USERS))
        return [[json.loads(line) for line in reply.text.splitlines()] for reply in await asyncio.gather(*asks)]

    for number, seen in enumerate(asyncio.run(everybody())):
        assert 5 == len(seen)
        assert {(hash_user_id(f"user-{number}"), 1)} == {(s["user"], s["turn"]) for s in seen}
    check_spans(world, USERS, requests=1)
