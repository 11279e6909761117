"""
No raw user id leaves the process or stays on disk: an address is planted into every input, and everything searched.

Searched are spans (names, attributes, events, status, links, resource), log records and log lines of ours, events at
sinks, metrics, headers and cookies that we write, the store's and the history's file with its log, and the messages of
errors that we raise. What is not ours is not: attributes that the application sets on spans of its own, lines that it
logs itself, baggage of others, and the URL that OpenTelemetry's server instrumentation writes down. A session or
conversation id given by the application is kept as given; an address cannot be one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind
from starlette.authentication import SimpleUser
from starlette.testclient import TestClient
from werkzeug.test import Client

from session_mw import configure, conversation, current_session, observe, session_context, turn
from session_mw._core.identity import derive_key, hash_user_id
from session_mw._core.privacy import MARK
from session_mw._hierarchy.hosts import known_engine
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware
from tests.hierarchy.conftest import _outside

from . import planting
from .planting import ADDRESS, CUSTOMER, FORMS, PHONE, SECRET, Outlets

__all__ = ["_outside"]

PATHS = ("/say", "/calls", "/fail")
HEADERS = {
    "X-User": ADDRESS,
    "X-Session-Token": f"{ADDRESS}.{ADDRESS}",
    "X-Session-ID": ADDRESS,
    "X-Conversation-ID": ADDRESS,
    "X-Client-Version": f"1.0 ({ADDRESS})",
    "Accept-Language": ADDRESS,
    "Baggage": f"session.id=s-1,user.id={ADDRESS},session.name={ADDRESS}",
    "Cookie": f"sid={ADDRESS}; other={ADDRESS}",
}


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Outlets]:
    """Everything that leaves, in a folder of its own."""
    outlets = Outlets(tmp_path)
    with outlets.listening():
        yield outlets


Handler = Callable[[str], Any]


def asgi_app(handler: Handler) -> Any:
    """Serve with *handler*."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in handler(scope["path"]):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def wsgi_app(handler: Handler) -> Any:
    """Serve with *handler*."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return handler(environ["PATH_INFO"])

    return app


class Site:
    """
    The application behind the middleware, in ASGI or WSGI.

    Args:
        out: Takes what leaves.
        kind: asgi or wsgi.
        handler: From a path to the body.
        resolved: The user whom a middleware around, or the server, has found out.
        more: Settings.
    """

    def __init__(self, out: Outlets, kind: str, handler: Handler, resolved: str | None = None, **more: Any) -> None:
        self._out = out
        self._kind = kind
        settings = out.settings(**more)
        if kind == "asgi":
            inner: Any = ASGIMiddleware(asgi_app(handler), **settings)
            self.engine = inner.engine

            async def around(scope: Any, receive: Any, send: Any) -> None:
                given = {"user": SimpleUser(resolved)} if resolved is not None else {}
                await inner({**scope, **given}, receive, send)

            self._client: Any = TestClient(around, raise_server_exceptions=False, client=("127.0.0.1", 1))
        else:
            inner = WSGIMiddleware(wsgi_app(handler), **settings)
            self.engine = inner.engine
            self._environ = {} if resolved is None else {"REMOTE_USER": resolved}
            self._client = Client(inner)
        self.engine.background.hold()

    def post(self, path: str = "/", **headers: str) -> None:
        """Ask once, and keep the headers of the answer."""
        if self._kind == "asgi":
            answer = self._client.post(path, headers=headers)
        else:
            try:
                answer = self._client.post(path, headers=headers, environ_overrides=self._environ, buffered=True)
            except RuntimeError:  # a server would close the connection
                return
        self._out.sent.append(list(answer.headers.items()))


def act(out: Outlets) -> Handler:
    """Return what the application does, by path; it says *FORMS* everywhere."""

    def handler(path: str) -> Iterator[bytes]:
        session = current_session()
        assert session is not None
        if path == "/say":
            for text in FORMS:
                planting.say_of_session(out, text)
                planting.say_in_steps(text)
        elif path == "/calls":
            planting.say_by_calls()
        out.sent.append(planting.sent_from_here())
        yield b"begun"
        if path == "/fail":
            planting.fails(ADDRESS)
        yield b"done"

    return handler


both_worlds = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@both_worlds
@pytest.mark.parametrize("mode", ["hash", "none"])
def test_S48_addresses_in_every_input_of_a_request(out: Outlets, kind: str, mode: str) -> None:
    """Whatever the application says, and whatever headers the client sends: no address is anywhere afterwards."""
    site = Site(out, kind, act(out), user=lambda request: request.header("X-User"), user_id_mode=mode)
    for path in PATHS:
        site.post(path, **HEADERS)
        site.post(path)
    out.finish(site.engine)

    assert [] == out.leaks()
    attributes = str([dict(span.attributes or {}) for span in out.spans.get_finished_spans()])
    pseudonym = known_pseudonym(ADDRESS)
    assert ("hash" == mode, "none" == mode) == (pseudonym in attributes, MARK in attributes)


@both_worlds
def test_S48_users_that_a_server_or_framework_names(out: Outlets, kind: str) -> None:
    """REMOTE_USER and the resolved user of a Starlette are pseudonyms from the first moment on."""
    for number, user in enumerate((ADDRESS, CUSTOMER, str(PHONE))):
        site = Site(out, kind, act(out), user=None, resolved=user, cookie_name=f"sid{number}")
        site.post()
        site.post()
        out.finish(site.engine)
        assert f"'user.id': '{known_pseudonym(user)}'" in str(out.everything())

    assert [] == out.leaks()


def test_S48_addresses_in_every_input_of_a_script(out: Outlets) -> None:
    """The same without a middleware: sessions by block, by call and by hand, and errors in each."""
    configure(**out.settings())
    engine = known_engine()
    assert engine is not None
    engine.background.hold()
    planting.say_by_calls()
    for number, text in enumerate(FORMS):
        with session_context(f"say-{number}"), turn():
            planting.say_of_session(out, text)
            out.sent.append(planting.sent_from_here())
        planting.say_in_steps(text)
    for block in (session_context("fail-1"), conversation(), turn(), observe("outside")):
        with pytest.raises(RuntimeError, match=ADDRESS), block:
            planting.fails(ADDRESS)
    with pytest.raises(RuntimeError):
        planting.fails(ADDRESS)
    out.finish(engine)

    assert [] == out.leaks()
    assert 4 * 4 + 3 == len([span for span in out.spans.get_finished_spans() if span.events])


@both_worlds
def test_S48_search_finds_what_is_there(out: Outlets, kind: str) -> None:
    """With user_id_mode="plain" raw ids do leave, everywhere: the search above looks where they would be."""
    site = Site(out, kind, act(out), user=lambda request: request.header("X-User"), user_id_mode="plain")
    for path in PATHS:
        site.post(path, **HEADERS)
    out.finish(site.engine)

    found = {leak.split()[0] for leak in out.leaks()}
    assert {"span", "log", "event", "file", "sent", "handles"} <= found
    files = {leak.split()[1] for leak in out.leaks() if leak.startswith("file")}
    assert {"sessions.db:", "sessions.db-wal:"} & files


@pytest.mark.parametrize("mode", ["hash", "plain", "none"])
def test_S48_a_trusted_caller_that_names_users_plainly(out: Outlets, mode: str) -> None:
    """What a service says of a user is shown as this service's own mode has it, and handed on so."""
    site = Site(out, "asgi", act(out), user_id_mode=mode, trusted_peers=["127.0.0.1/32"], sign_baggage=False)
    site.post("/", Baggage=f"session.id=s-1,user.id={ADDRESS.replace('@', '%40')},session.name=of%20{ADDRESS}")
    out.finish(site.engine)

    user = {"hash": known_pseudonym(ADDRESS), "plain": ADDRESS, "none": None}[mode]
    (server,) = (span for span in out.spans.get_finished_spans() if span.name == "POST")
    assert user == (server.attributes or {}).get("user.id")
    assert (mode == "plain") == bool(out.leaks())


def test_S50_log_lines_that_quote_errors(out: Outlets) -> None:
    """Operators read what failed and why, without the address that it failed for."""

    def fail(*_: Any) -> Any:
        raise ValueError(f"no such account: {ADDRESS} (code 7)")

    out.sink.emit = fail  # type: ignore[method-assign]
    site = Site(out, "asgi", act(out), user=fail, turn_when=fail, price_for=fail)
    site.post("/say")
    site.post()
    site.engine.background._plan.store.add = fail
    out.finish(site.engine)

    assert [] == out.leaks()
    quoting = [line for line in out.lines if f"ValueError: no such account: {MARK} (code 7)" in line]
    assert 4 == len({line.split(":")[0] for line in quoting}), out.lines


@both_worlds
def test_S48_errors_without_addresses_are_told_as_ever(out: Outlets, kind: str) -> None:
    """Message, type and stack trace stand on the turn's span and on the server's; only addresses are replaced."""

    def handler(path: str) -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError(f"no account{path}")

    site = Site(out, kind, handler)
    site.post("/17")
    site.post(f"/{ADDRESS}")

    said = ["no account/17", f"no account/{known_pseudonym(ADDRESS)}"]
    finished = out.spans.get_finished_spans()
    for spans in ([s for s in finished if s.name == "turn"], [s for s in finished if s.kind is SpanKind.SERVER]):
        events = [event.attributes or {} for span in spans for event in span.events]
        assert said == [event["exception.message"] for event in events]
        assert ["RuntimeError"] * 2 == [event["exception.type"] for event in events]
        assert all("in handler" in event["exception.stacktrace"] for event in events)
        assert [f"RuntimeError: {text}" for text in said] == [span.status.description for span in spans]


def known_pseudonym(user: str) -> str:
    """Return the pseudonym that the settings of these tests give *user*."""
    return hash_user_id(user, derive_key(SECRET.encode(), "user-hash"))
