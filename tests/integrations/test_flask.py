"""Flask: installation, streams, errors, and what the application's own hooks see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from opentelemetry.trace import StatusCode

from session_mw import CallableSink, current_session, current_turn, turn_endpoint
from session_mw.exceptions import SettingsError
from session_mw.integrations.flask import SessionTracking
from tests.integrations import apps
from tests.integrations.orders import instrument_flask
from tests.integrations.support import (
    BASE,
    BROWSER,
    COOKIE,
    SECRET,
    Client,
    Site,
    World,
    ancestors,
    current_id,
    only,
    session_ids,
)


def client_of(app: Any) -> Client:
    return Client(Site(app, asgi=False))


@pytest.fixture(params=["ours", "instrumented first", "instrumented last"])
def app(world: World, request: pytest.FixtureRequest) -> flask.Flask:
    """An application whose server span is made by us, or by FlaskInstrumentor in either order."""
    app = flask.Flask("shop")
    if request.param == "instrumented first":
        instrument_flask(world, app)
    SessionTracking(app, **world.options())
    if request.param == "instrumented last":
        instrument_flask(world, app)
    return app


# -- installation


def test_settings_from_the_config(world: World) -> None:
    """Keys of ``app.config`` that begin with SESSION_MW_ are settings; Flask's own SESSION_COOKIE_* are not."""
    app = apps.flask_app(world)
    app.config.update(
        SESSION_MW_SECRET_KEY=SECRET,
        SESSION_MW_COOKIE_NAME="__Host-shop",
        SESSION_MW_SWEEP="request",
        SESSION_MW_EVENT_SINK=CallableSink(world.events.extend),
        SESSION_COOKIE_NAME="flask",
    )
    SessionTracking(app, **world.wiring)
    reply = client_of(app).ask()

    assert reply.headers["set-cookie"].startswith("__Host-shop=")
    assert 1 == len(world.named("session.start"))


def test_options_win_over_the_config(world: World) -> None:
    """A setting given by name is nearer than the configuration."""
    app = apps.flask_app(world)
    app.config["SESSION_MW_COOKIE_NAME"] = "__Host-config"
    SessionTracking(app, **world.options(cookie_name="__Host-option"))

    assert client_of(app).ask().headers["set-cookie"].startswith("__Host-option=")


def test_unknown_config_key_raises(world: World) -> None:
    """A misspelt key raises when the extension is installed, and names its neighbour."""
    app = flask.Flask("shop")
    app.config.update(SESSION_MW_SECRET_KEY=SECRET, SESSION_MW_IDLE_TIMEOUTT="30m")

    with pytest.raises(SettingsError, match="idle_timeout"):
        SessionTracking(app)


def test_one_extension_many_applications(world: World) -> None:
    """``init_app`` serves a factory: several applications, each its own; twice on one does nothing."""
    tracking = SessionTracking(**world.options())
    first, second = apps.flask_app(world), apps.flask_app(world)
    for app in (first, second, first):
        tracking.init_app(app)

    assert client_of(first).seen()["id"] != client_of(second).seen()["id"]
    assert 2 == len(world.spans("turn"))
    assert first.extensions["session_mw"] is not second.extensions["session_mw"]


def test_blueprints_and_marks(world: World) -> None:
    """``@turn_endpoint`` decides for its view, in blueprints in blueprints and with path parameters."""
    app, outer, inner = flask.Flask("shop"), flask.Blueprint("outer", "outer"), flask.Blueprint("inner", "inner")
    SessionTracking(app, **world.options())

    @inner.get("/ask/<int:number>")
    @turn_endpoint
    def ask(number: int) -> Any:
        return world.look()

    @inner.post("/draft/<name>")
    @turn_endpoint(False)
    def draft(name: str) -> Any:
        return world.look()

    @inner.get("/page")
    def page() -> Any:
        return world.look()

    outer.register_blueprint(inner, url_prefix="/in")
    app.register_blueprint(outer, url_prefix="/out")
    client = client_of(app)
    asks = [("GET", "/out/in/ask/7"), ("POST", "/out/in/draft/x"), ("GET", "/out/in/page"), ("POST", "/out/in/page")]
    statuses = [client.ask(*ask, headers=BROWSER).status_code for ask in asks]

    assert [200, 200, 200, 405] == statuses
    assert 4 == len(world.spans("session"))
    assert 2 == len(world.spans("turn"))  # the marked GET, and the POST that no view takes
    assert 1 == world.spans("work")[0].attributes["turn.number"]


# -- the session in the application


def test_hooks_see_the_session(world: World, app: flask.Flask) -> None:
    """before_request, after_request and teardown functions see it; what they do is within the turn."""
    seen: dict[str, Any] = {}
    app.before_request(lambda: seen.update(before=world.look()))

    @app.after_request
    def after(response: Any) -> Any:
        seen["after"] = world.look()
        return response

    @app.teardown_request
    def teardown(error: Any) -> None:
        seen["teardown"] = world.look()

    app.post("/chat")(world.look)
    found = client_of(app).seen()["id"]

    assert {"before": found, "after": found, "teardown": found} == {name: look["id"] for name, look in seen.items()}
    spans = world.spans()
    assert 4 == len(world.spans("work"))
    assert all("turn" in ancestors(work, spans) for work in world.spans("work"))
    assert {found} == session_ids(spans)


def test_hooks_installed_before_ours_see_the_session(world: World) -> None:
    """A hook that stands even before FlaskInstrumentor's runs outside of all spans; what it does has the session."""
    app = flask.Flask("shop")
    app.before_request(lambda: (world.look(), None)[1])
    SessionTracking(app, **world.options())
    instrument_flask(world, app)
    app.post("/chat")(world.look)
    found = client_of(app).seen()

    assert {found["id"]} == session_ids(world.spans())
    assert [[], ["turn", "session", "POST /chat"]] == [ancestors(work, world.spans()) for work in world.spans("work")]


def test_test_request_context_has_no_session(app: flask.Flask) -> None:
    """Without a request there is no session, and nothing fails."""
    with app.test_request_context("/chat"):
        assert current_session() is None
        assert current_turn() is None


def test_client_that_keeps_the_context(world: World, app: flask.Flask) -> None:
    """Flask's test client in a ``with`` block keeps the request's context; afterwards nothing is left."""
    app.post("/chat")(world.look)
    with app.test_client() as client:
        first = client.post("/chat", base_url="https://shop.example")
        assert "/chat" == flask.request.path
        second = client.post("/chat", base_url="https://shop.example")

    assert [1, 2] == [first.get_json()["turn"], second.get_json()["turn"]]
    assert 2 == len(world.spans("turn"))


# -- streams


@pytest.mark.parametrize("with_context", [False, True], ids=["plain", "stream_with_context"])
def test_stream(world: World, app: flask.Flask, with_context: bool) -> None:
    """Each chunk sees the session, its spans lie in the turn, and the turn lasts until the last byte."""

    def chunks() -> Iterator[str]:
        for _ in range(3):
            yield json.dumps({**world.look(), "path": flask.request.path if with_context else None}) + "\n"

    @app.post("/stream")
    def stream() -> Any:
        return flask.Response(flask.stream_with_context(chunks()) if with_context else chunks())

    client = client_of(app)
    for number in (1, 2):
        world.clear()
        reply = client.ask(path="/stream")
        seen = [json.loads(line) for line in reply.text.splitlines()]
        spans = world.spans()
        turn = only(spans, "turn")

        assert {(seen[0]["id"], number)} == {(s["id"], s["turn"]) for s in seen}
        assert 3 == len(world.spans("work"))
        assert all("turn" in ancestors(work, spans) for work in world.spans("work"))
        assert all(work.end_time <= turn.end_time for work in world.spans("work"))
        assert {seen[0]["id"]} == session_ids(spans) == {r.attributes["session.id"] for r in world.records()}


@pytest.mark.parametrize("pulled", [0, 1], ids=["never pulled", "closed in the middle"])
def test_stream_that_the_server_closes(world: World, app: flask.Flask, pulled: int) -> None:
    """A client that leaves ends the turn once, not as an error, and the stream's own span; the thread is clean."""
    ended: list[Any] = []

    def chunks() -> Iterator[str]:
        try:
            with world.tracer.start_as_current_span("model"):
                while True:
                    yield "word "
        finally:
            ended.append(current_id())

    app.post("/stream")(lambda: flask.Response(chunks()))
    app.post("/chat")(world.look)
    environ = flask.testing.EnvironBuilder(app, "/stream", method="POST").get_environ()
    start_response: Any = lambda *_: None  # noqa: E731
    body = app(environ, start_response)  # as a WSGI server does it
    for _ in range(pulled):
        next(iter(body))
    body.close()  # type: ignore[attr-defined]
    turn = only(world.spans(), "turn")

    assert StatusCode.UNSET is turn.status.status_code
    assert pulled == len(world.spans("model")) == len(ended)
    assert client_of(app).seen()["id"] != turn.attributes["session.id"]


def open_body(app: flask.Flask, path: str, cookies: str = "") -> Any:
    """Return the body of an answer, as a WSGI server has it before it asks for the first chunk."""
    environ = flask.testing.EnvironBuilder(app, path, base_url=BASE, method="POST", headers={"cookie": cookies})
    start_response: Any = lambda *_: None  # noqa: E731
    return app(environ.get_environ(), start_response)


def test_stream_is_not_held_back(world: World, app: flask.Flask) -> None:
    """A view that changed the session streams like any other: each chunk leaves before the next is made."""
    made: list[int] = []

    def chunks() -> Iterator[str]:
        for number in range(2):
            made.append(number)
            yield "word "
        raise RuntimeError("the model failed")

    @app.post("/stream")
    def stream() -> Any:
        current_session().set(name="changed")  # type: ignore[union-attr]
        return flask.Response(chunks())

    body = open_body(app, "/stream")
    pulled = [(next(body), list(made)) for _ in range(2)]
    with pytest.raises(RuntimeError, match="the model failed"):
        next(body)
    body.close()

    assert [(b"word ", [0]), (b"word ", [0, 1])] == pulled


@pytest.mark.parametrize("fails", [False, True], ids=["well", "with an error"])
def test_last_byte_of_a_known_length(world: World, app: flask.Flask, fails: bool) -> None:
    """A client that knows the length may ask again once it has the last byte: the end is written by then."""

    def chunks() -> Iterator[str]:
        yield "bye"
        if fails:
            raise RuntimeError("too late to matter")

    @app.post("/logout")
    def logout() -> Any:
        current_session().end()  # type: ignore[union-attr]
        return flask.Response(chunks(), headers={"content-length": "3"})

    app.post("/chat")(world.look)
    client = client_of(app)
    first = client.seen()
    body = open_body(app, "/logout", "; ".join(f"{k}={v}" for k, v in client.cookies.items()))
    assert b"bye" == next(body)
    after = client.seen()
    if fails:
        with pytest.raises(RuntimeError, match="too late to matter"):
            next(body)
    body.close()

    assert first["id"] != after["id"]


# -- errors


def failing(app: flask.Flask) -> None:
    """Add views that fail in each way."""

    @app.post("/unhandled")
    def unhandled() -> Any:
        raise RuntimeError("nobody handles this")

    @app.post("/handled")
    def handled() -> Any:
        raise LookupError("somebody handles this")

    @app.post("/teapot")
    def teapot() -> Any:
        flask.abort(418)

    @app.post("/down")
    def down() -> Any:
        flask.abort(503)

    @app.errorhandler(LookupError)
    def on_lookup(error: Exception) -> Any:
        return {"id": current_id()}, 404


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/unhandled", 500, "500"),
        ("/handled", 404, None),
        ("/teapot", 418, None),
        ("/down", 503, "503"),
        ("/nowhere", 404, None),
    ],
)
def test_errors(world: World, app: flask.Flask, path: str, status: int, error: str | None) -> None:
    """Flask answers errors itself, inside of us: cookie and all. A turn fails from status 500 up."""
    failing(app)
    reply = client_of(app).ask(path=path)

    assert status == reply.status_code
    assert COOKIE in reply.headers["set-cookie"]
    turn = only(world.spans(), "turn")
    assert error == (turn.attributes or {}).get("error.type")
    assert (StatusCode.ERROR if error else StatusCode.UNSET) is turn.status.status_code
    assert 1 == len(session_ids(world.spans()))
    assert 1 == len(world.spans("session"))


def test_errors_that_propagate(world: World, app: flask.Flask) -> None:
    """With PROPAGATE_EXCEPTIONS the error passes through us: the turn names it, and the next request is untouched."""
    failing(app)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.post("/chat")(world.look)
    client = client_of(app)
    first = client.seen()
    with pytest.raises(RuntimeError, match="nobody handles this"):
        app.test_client().post("/unhandled")
    after = client.seen()

    failed = world.spans("turn")[1]
    assert "RuntimeError" == failed.attributes["error.type"]
    assert StatusCode.ERROR is failed.status.status_code
    assert (first["id"], 2) == (after["id"], after["turn"])


def test_flask_session_is_left_alone(world: World, app: flask.Flask) -> None:
    """Flask's own session cookie and ours stand side by side; we never touch ``flask.session``."""
    app.secret_key = "flask's own"
    app.post("/chat")(world.look)

    @app.post("/keep")
    def keep() -> Any:
        flask.session["colour"] = "blue"
        return {}

    client = client_of(app)
    names = [line.partition("=")[0] for line in client.ask(path="/keep").headers.get_list("set-cookie")]
    quiet = client.ask(path="/chat")

    assert {"session", COOKIE} == set(names)
    assert 2 == quiet.json()["turn"]
    assert "set-cookie" not in quiet.headers
