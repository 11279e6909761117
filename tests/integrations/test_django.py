"""Django, sync and async: installation, streams, errors, turns, and the server's span that is made here."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.http import StreamingHttpResponse
from django.test import AsyncClient as DjangoAsyncClient
from django.test import Client as DjangoClient
from django.test import RequestFactory
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from session_mw.exceptions import SettingsError
from tests.integrations import django_project
from tests.integrations.orders import instrument_all
from tests.integrations.support import (
    BROWSER,
    COOKIE,
    FORGED,
    Client,
    World,
    ancestors,
    current_id,
    only,
    server_spans,
    session_ids,
)

BEHIND = ("django.middleware.common.CommonMiddleware", "django.middleware.http.ConditionalGetMiddleware")


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def asgi(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[False, True], ids=["ours", "instrumented"])
def instrumented(world: World, request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def make(world: World, *, asgi: bool, instrumented: bool = False, **options: Any) -> Client:
    """Return a client of the project."""
    django_project.configure(world, **options)
    if instrumented:
        instrument_all(world, DjangoInstrumentor())
    return Client(django_project.site(asgi=asgi))


def attributes(span: ReadableSpan) -> Any:
    return span.attributes or {}


# -- installation


def test_mistakes_in_the_settings_raise_at_start(world: World) -> None:
    """An unknown key in SESSION_MW raises when the project is loaded, and names its neighbour."""
    django_project.configure(world, idle_timeoutt="30m")

    with pytest.raises(SettingsError, match="idle_timeout"):
        django_project.site(asgi=False)


@pytest.mark.parametrize("path", ["/chat", "/chat-async"])
def test_views_of_both_kinds_in_projects_of_both_kinds(world: World, asgi: bool, path: str) -> None:
    """Sync and async views see the session in sync and async projects, behind other middleware of both kinds."""
    client = make(world, asgi=asgi, behind=BEHIND)
    seen = [client.seen(path=path) for _ in range(2)]

    assert [1, 2] == [s["turn"] for s in seen]
    assert {seen[0]["id"]} == {seen[1]["id"]} == session_ids(world.spans())
    assert all("turn" in ancestors(work, world.spans()) for work in world.spans("work"))


def test_installed_twice_works_once(world: World, asgi: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A second entry in MIDDLEWARE does nothing, and says so once."""
    client = make(world, asgi=asgi, behind=(django_project.TRACKING,))
    replies = [client.ask() for _ in range(2)]

    assert 1 == len(replies[0].headers.get_list("set-cookie"))
    assert 2 == len(world.spans("turn"))
    assert 1 == len([r for r in caplog.records if "installed twice" in r.message])


def test_requests_sweep_when_the_client_has_the_response(world: World, asgi: bool) -> None:
    """With ``sweep="request"`` nothing is reported before the last byte is out."""
    target = make(world, asgi=asgi).site.target
    before: list[int] = []
    inbox = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return inbox.pop() if inbox else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        before.append(len(world.events))

    if asgi:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/chat",
            "query_string": b"",
            "headers": [],
            "scheme": "https",
        }
        asyncio.run(target({**scope, "scheme": "https", "server": ("testserver", 443)}, receive, send))
    else:
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/chat"}
        setup_testing_defaults(environ)
        body = target(environ, lambda *given: None)
        before += [len(world.events) for _ in body]
        body.close()

    assert {0} == set(before)
    assert 1 == len(world.named("session.start"))


def test_django_test_client_keeps_the_cookie(world: World) -> None:
    """Django's own test clients, sync and async, stay in their session."""
    django_project.configure(world)
    client = DjangoClient()
    seen = [client.post("/chat", secure=True).json() for _ in range(2)]

    async def ask() -> list[Any]:
        other = DjangoAsyncClient()
        return [(await other.post("/chat", secure=True)).json() for _ in range(2)]

    others = asyncio.run(ask())
    assert [1, 2] == [s["turn"] for s in seen] == [s["turn"] for s in others]
    assert 2 == len({s["id"] for s in seen + others})


def test_cookies_of_others_stay(world: World, asgi: bool) -> None:
    """Django's session cookie and ours stand side by side, each with its own attributes."""
    world.stack.enter_context(django_project.database())
    client = make(world, asgi=asgi, behind=django_project.USERS)
    lines = [line.strip() for line in client.ask(path="/login/ada").headers.get_list("set-cookie")]
    ours = next(line for line in lines if line.startswith(COOKIE))

    assert {COOKIE, "sessionid"} == {line.partition("=")[0] for line in lines}
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} == {part.strip() for part in ours.split(";")[1:]}


def test_partitioned_cookie(world: World, asgi: bool) -> None:
    """An attribute that Python's own cookie jar may not know arrives all the same."""
    client = make(world, asgi=asgi, cookie_partitioned=True)

    assert "Partitioned" in client.ask().headers["set-cookie"]


def test_shared_cache_never_keeps_a_session(world: World) -> None:
    """The answer that carries a new session's cookie is not given to the next visitor, whoever caches."""
    cache = {"CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "test"}}}
    first = make(
        world,
        asgi=False,
        ahead=("django.middleware.cache.UpdateCacheMiddleware",),
        behind=("django.middleware.cache.FetchFromCacheMiddleware",),
        more=cache,
    )
    second = Client(first.site)
    ids = [client.seen("GET", "/chat")["id"] for client in (first, second)]

    assert ids[0] != ids[1]


# -- turns and the server's span


@pytest.mark.parametrize(
    ("method", "path", "turn"),
    [
        ("GET", "/marked/7", True),
        ("POST", "/nested/unmarked/7", False),
        ("GET", "/nested/class", True),
        ("GET", "/chat", False),
        ("GET", "/nowhere", False),
        ("POST", "/nowhere", True),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/shop"], ids=["root", "under a prefix"])
def test_marks(world: World, asgi: bool, method: str, path: str, turn: bool, prefix: str) -> None:
    """``@turn_endpoint`` decides for its view: with parameters, included, by class, and under a script's prefix."""
    client = make(world, asgi=asgi, more={"FORCE_SCRIPT_NAME": prefix} if prefix else None)
    if asgi and prefix:
        path = prefix + path  # ASGI's path holds the prefix, WSGI's does not
    client.ask(method, path, headers=BROWSER)

    assert (1 if turn else 0) == len(world.spans("turn"))


@pytest.mark.parametrize(
    ("path", "name", "route", "status"),
    [
        ("/chat", "POST chat", "chat", 200),
        ("/items/7/", "POST items/<int:number>/", "items/<int:number>/", 200),
        ("/", "POST /", "/", 200),
        ("/down", "POST down", "down", 503),
        ("/nowhere", "POST", None, 404),
    ],
)
def test_server_span_of_ours(world: World, asgi: bool, path: str, name: str, route: Any, status: int) -> None:
    """Without DjangoInstrumentor the server's span is made here, named by its route, and an error from 500 up."""
    make(world, asgi=asgi).ask(path=path)
    (server,) = server_spans(world.spans())

    assert name == server.name
    assert route == attributes(server).get("http.route")
    assert status == attributes(server)["http.response.status_code"]
    assert "POST" == attributes(server)["http.request.method"]
    assert (StatusCode.ERROR if status >= 500 else StatusCode.UNSET) is server.status.status_code


def test_excluded_path_sees_no_forged_baggage(world: World, asgi: bool) -> None:
    """Where we do not track we still take forged identity out of the request."""
    client = make(world, asgi=asgi)
    found = client.seen(path="/health", headers={"baggage": FORGED})

    assert found["id"] is None
    assert [] == world.spans("session")
    assert "evil" not in repr([attributes(span) for span in world.spans()])


# -- streams


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch, world: World) -> Any:
    """Views that stream, each chunk a look at the session."""

    def plain() -> Iterator[str]:
        with world.tracer.start_as_current_span("model"):
            for _ in range(3):
                yield json.dumps(world.look()) + "\n"

    async def asynchronous() -> AsyncIterator[str]:
        with world.tracer.start_as_current_span("model"):
            for _ in range(3):
                await asyncio.sleep(0)
                yield json.dumps(world.look()) + "\n"

    def choose(kind: str) -> None:
        monkeypatch.setattr(django_project, "chunks", plain if kind == "sync" else asynchronous)

    return choose


def test_stream(world: World, asgi: bool, instrumented: bool, streaming: Any) -> None:
    """Each chunk sees the session and is within the turn, which lasts until the last byte; so in the next request."""
    streaming("async" if asgi else "sync")
    client = make(world, asgi=asgi, instrumented=instrumented)
    for number in (1, 2):
        world.clear()
        reply = client.ask(path="/stream")
        seen = [json.loads(line) for line in reply.text.splitlines()]
        spans, turn = world.spans(), only(world.spans(), "turn")

        assert {(seen[0]["id"], number)} == {(s["id"], s["turn"]) for s in seen}
        assert [["model", "turn", "session"]] * 3 == [ancestors(work, spans)[:3] for work in world.spans("work")]
        assert all(work.end_time <= turn.end_time for work in world.spans("work"))
        assert isinstance(attributes(turn)["turn.time_to_first_chunk_ms"], int)
        assert {seen[0]["id"]} == session_ids(spans) == {r.attributes["session.id"] for r in world.records()}
        assert "streaming" == attributes(turn)["session.name"]


def test_plain_generator_in_an_async_project(world: World, streaming: Any) -> None:
    """Django reads it whole, in a thread, and warns; the session is there all the same."""
    streaming("sync")
    client = make(world, asgi=True)
    with pytest.warns(Warning, match="must consume synchronous iterators"):
        reply = client.ask(path="/stream")

    seen = [json.loads(line) for line in reply.text.splitlines()]
    assert 3 == len(seen)
    assert {seen[0]["id"]} == session_ids(world.spans())


@pytest.mark.parametrize("pulled", [0, 1], ids=["never pulled", "closed in the middle"])
def test_stream_that_the_server_closes(
    world: World, monkeypatch: pytest.MonkeyPatch, instrumented: bool, pulled: int
) -> None:
    """A client that leaves ends the turn once, not as an error, and the stream's own span, within the session."""
    ended: list[Any] = []

    def chunks() -> Iterator[str]:
        try:
            with world.tracer.start_as_current_span("model"):
                while True:
                    yield "word "
        finally:
            ended.append(current_id())

    monkeypatch.setattr(django_project, "chunks", chunks)
    client = make(world, asgi=False, instrumented=instrumented)
    body = client.site.target(RequestFactory().post("/stream").environ, lambda *_: None)
    assert isinstance(body, StreamingHttpResponse)
    for _ in range(pulled):
        next(iter(body))
    body.close()
    turn = only(world.spans(), "turn")

    assert StatusCode.UNSET is turn.status.status_code
    assert pulled == len(world.spans("model")) == len(ended)
    assert 1 == len(world.spans("session")) == len(server_spans(world.spans()))
    assert client.seen()["id"] != attributes(turn)["session.id"]


@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")  # Django leaves the request's body open here
def test_stream_that_fails_in_the_middle(world: World, asgi: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after the first chunk ends the turn once, as an error."""

    def plain() -> Iterator[str]:
        yield "first"
        raise RuntimeError("the model failed")

    async def asynchronous() -> AsyncIterator[str]:
        yield "first"
        raise RuntimeError("the model failed")

    monkeypatch.setattr(django_project, "chunks", asynchronous if asgi else plain)
    client = make(world, asgi=asgi)
    with pytest.raises(RuntimeError, match="the model failed"):
        client.ask(path="/stream", raise_errors=True)
    turn = only(world.spans(), "turn")

    assert StatusCode.ERROR is turn.status.status_code
    assert "RuntimeError" == attributes(turn)["error.type"]
    assert 1 == len(world.spans("session"))
    gc.collect()


def test_file(world: World, asgi: bool) -> None:
    """A file is left to the server to send, as without us; its turn ends with it."""
    client = make(world, asgi=asgi)
    if asgi:
        with pytest.warns(Warning, match="must consume synchronous iterators"):
            reply = client.ask(path="/file")
    else:
        reply = client.ask(path="/file")

    assert Path(django_project.__file__).read_bytes() == reply.content
    assert COOKIE in reply.headers["set-cookie"]
    assert StatusCode.UNSET is only(world.spans(), "turn").status.status_code
    assert 1 == len(world.spans("session")) == len(server_spans(world.spans()))


# -- errors


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/boom", 500, "RuntimeError"),
        ("/boom-async", 500, "RuntimeError"),
        ("/down", 503, "503"),
        ("/fail/missing", 404, None),
        ("/fail/forbidden", 403, None),
        ("/fail/suspicious", 400, None),
        ("/nowhere", 404, None),
    ],
)
def test_errors(world: World, asgi: bool, instrumented: bool, path: str, status: int, error: str | None) -> None:
    """Django answers errors itself, inside of us: cookie and all. A turn fails from status 500 up."""
    reply = make(world, asgi=asgi, instrumented=instrumented).ask(path=path)

    assert status == reply.status_code
    assert COOKIE in reply.headers["set-cookie"]
    turn = only(world.spans(), "turn")
    assert error == attributes(turn).get("error.type")
    assert (StatusCode.ERROR if error else StatusCode.UNSET) is turn.status.status_code
    assert 1 == len(session_ids(world.spans()))
    assert 1 == len(world.spans("session"))


@pytest.mark.parametrize("place", ["ahead", "behind"])
def test_error_that_another_middleware_answers(world: World, asgi: bool, place: str) -> None:
    """What somebody's process_exception turned into an answer is no failure, on whichever side of us it stands."""
    other: Any = {place: ("tests.integrations.django_project.AnswersErrors",)}
    client = make(world, asgi=asgi, **other)
    reply = client.ask(path="/boom")

    assert "answered" == reply.text
    assert StatusCode.UNSET is only(world.spans(), "turn").status.status_code


@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")  # Django leaves the request's body open here
def test_errors_that_propagate(world: World, asgi: bool) -> None:
    """With DEBUG_PROPAGATE_EXCEPTIONS the error passes through us: the turn names it, and the next one is untouched."""
    client = make(world, asgi=asgi, more={"DEBUG_PROPAGATE_EXCEPTIONS": True})
    first = client.seen()
    with pytest.raises(RuntimeError, match="the handler failed"):
        client.ask(path="/boom", raise_errors=True)
    after = client.seen()

    assert (first["id"], 3) == (after["id"], after["turn"])
    assert "RuntimeError" == attributes(world.spans("turn")[1])["error.type"]
    assert 3 == len(world.spans("session")) == len(server_spans(world.spans()))
    gc.collect()
