"""Flask-Login: who is resolved there is the session's user; who is not is never loaded by us."""

from __future__ import annotations

from typing import Any

import flask
import flask_login
import pytest

from session_mw import current_session, hash_user_id
from session_mw.integrations.flask import SessionTracking
from tests.integrations.orders import instrument_flask
from tests.integrations.support import Client, Site, World


class User(flask_login.UserMixin):  # type: ignore[misc]
    """A user with an id."""

    def __init__(self, name: str) -> None:
        self.id = name


class Shop:
    """An application with logins, and how often its user loader was called."""

    def __init__(self, world: World, *, instrumented: bool = False, tracked: bool = True) -> None:
        self.loaded: list[str] = []
        self.app = app = flask.Flask("shop")
        app.secret_key = "flask's own"
        if tracked:
            SessionTracking(app, **world.options())
        if instrumented:
            instrument_flask(world, app)
        manager = flask_login.LoginManager(app)
        manager.user_loader(self.load)

        @app.post("/login/<name>")
        def login(name: str) -> Any:
            flask_login.login_user(User(name))
            return world.look()

        @app.post("/logout")
        def logout() -> Any:
            flask_login.logout_user()
            return "bye"

        @app.post("/me")
        def me() -> Any:
            return {**world.look(), "known": flask_login.current_user.is_authenticated}

        app.post("/chat")(world.look)
        app.post("/quiet")(lambda: "quiet")

    def load(self, name: str) -> User:
        self.loaded.append(name)
        return User(name)


@pytest.fixture(params=[False, True], ids=["ours", "instrumented"])
def shop(world: World, request: pytest.FixtureRequest) -> Shop:
    return Shop(world, instrumented=request.param)


@pytest.fixture
def client(shop: Shop) -> Client:
    return Client(Site(shop.app, asgi=False))


def test_login_keeps_the_session_and_names_its_user(world: World, shop: Shop, client: Client) -> None:
    """The turns before the login belong to who logs in; the raw id leaves the process nowhere."""
    before, login, after = client.seen(), client.seen(path="/login/lovelace"), client.seen()

    assert before["id"] == login["id"] == after["id"]
    assert [None, hash_user_id("lovelace"), hash_user_id("lovelace")] == [s["user"] for s in (before, login, after)]
    ours = [span for span in world.spans() if span.name in ("session", "turn", "work")]
    assert "lovelace" not in repr([dict(span.attributes or {}) for span in ours])
    assert hash_user_id("lovelace") == world.spans("turn")[2].attributes["user.id"]


def test_unresolved_user_is_never_loaded(world: World, shop: Shop, client: Client) -> None:
    """A view that does not ask who the user is loads none, and its answer is what it would be without us."""
    without_us = Shop(world, tracked=False)
    replies = []
    for someone in (client, Client(Site(without_us.app, asgi=False))):
        someone.ask(path="/login/ada")
        replies.append(someone.ask(path="/quiet"))

    assert [] == shop.loaded
    ours, plain = (dict(reply.headers) for reply in replies)
    assert plain == ours


def test_resolved_user_is_taken(world: World, shop: Shop) -> None:
    """Who came by Flask's own cookie alone is the session's user once a view has asked; loaded once, by the view."""
    old, new = Client(Site(shop.app, asgi=False)), Client(Site(shop.app, asgi=False))
    old.ask(path="/login/ada")
    new.cookies.set("session", old.cookies["session"])  # no cookie of ours: it came later than the login
    first, asked, after = new.seen(), new.seen(path="/me"), new.seen()

    assert [None, None, hash_user_id("ada")] == [s["user"] for s in (first, asked, after)]
    assert asked["known"]
    assert first["id"] == after["id"]
    assert ["ada"] == shop.loaded
    assert hash_user_id("ada") == world.spans("turn")[2].attributes["user.id"]


def test_anonymous_visitor_stays_unidentified(client: Client) -> None:
    """Flask-Login's anonymous user is nobody."""
    assert [None, None] == [client.seen(path="/me")["user"] for _ in range(2)]


def test_logout_ends_the_session(world: World, client: Client) -> None:
    """Logging out is the end; what follows is a new session that knows no user."""
    login = client.seen(path="/login/ada")
    client.ask(path="/logout")
    after = client.seen()

    assert login["id"] != after["id"]
    assert after["user"] is None
    (end,) = world.named("session.end")
    assert ("user_exit", 2) == (end.attributes["session.end_reason"], end.attributes["session.total_turns"])
    assert hash_user_id("ada") == end.attributes["user.id"]


def test_another_login_begins_another_session(world: World, client: Client) -> None:
    """A second user on the same client gets the next session, from the next request on."""
    ada, bob, after = client.seen(path="/login/ada"), client.seen(path="/login/bob"), client.seen()

    assert ada["id"] == bob["id"] != after["id"]
    assert ada["id"] == after["previous"]
    assert hash_user_id("bob") == after["user"]
    assert "replaced" == world.named("session.end")[0].attributes["session.end_reason"]


def test_user_setting_wins(world: World) -> None:
    """Where the application names users itself, Flask-Login's ids are not looked at: they would be other users."""
    world.overrides["user"] = lambda request: request.header("X-User")
    client = Client(Site(Shop(world).app, asgi=False))
    headers = {"x-user": "ada@shop.example"}
    seen = [client.seen(path=path, headers=headers) for path in ("/chat", "/login/ada", "/me", "/chat")]

    assert 1 == len({s["id"] for s in seen})
    assert {hash_user_id("ada@shop.example")} == {s["user"] for s in seen}


def test_login_outside_of_requests(shop: Shop) -> None:
    """A login in a test's request context has no session to name a user of, and does not fail."""
    with shop.app.test_request_context("/"):
        flask_login.login_user(User("ada"))
        flask_login.logout_user()
        assert current_session() is None
