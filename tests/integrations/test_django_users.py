"""Django's users: who is resolved is the session's user; nobody is loaded by us; login and logout are followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.signals import user_logged_in
from django.db import connection
from django.test.utils import CaptureQueriesContext
from opentelemetry.instrumentation.django import DjangoInstrumentor

from session_mw import hash_user_id
from tests.integrations import django_project
from tests.integrations.django_users_backend import CountingBackend
from tests.integrations.orders import instrument_all
from tests.integrations.support import Client, Site, World


@pytest.fixture(scope="module", autouse=True)
def _database() -> Iterator[None]:
    with django_project.database():
        yield


@pytest.fixture(params=["sync", "async", "sync instrumented", "async instrumented"])
def site(world: World, request: pytest.FixtureRequest) -> Site:
    """A project with Django's own users."""
    kind, _, instrumented = request.param.partition(" ")
    backends = ["tests.integrations.django_users_backend.CountingBackend"]
    django_project.configure(world, behind=django_project.USERS, more={"AUTHENTICATION_BACKENDS": backends})
    if instrumented:
        instrument_all(world, DjangoInstrumentor())
    return django_project.site(asgi=kind == "async")


def paths(site: Site) -> tuple[str, str, str, str]:
    """Return where to log in and out, to ask who one is, and to look at the session: views of the project's kind."""
    kind = "-async" if site.asgi else ""
    return f"/login{kind}/", f"/logout{kind}", f"/me{kind}", f"/chat{kind}"


def pseudonym(name: str) -> str:
    """Return how sessions show the user of that name: by primary key."""
    return hash_user_id(django_project.user_named(name).pk)


def test_login_keeps_the_session_and_names_its_user(world: World, site: Site) -> None:
    """The turns before the login belong to who logs in."""
    login, _, _, chat = paths(site)
    client = Client(site)
    before, at_login, after = client.seen(path=chat), client.seen(path=login + "ada"), client.seen(path=chat)

    assert before["id"] == at_login["id"] == after["id"]
    assert [None, pseudonym("ada"), pseudonym("ada")] == [s["user"] for s in (before, at_login, after)]
    assert pseudonym("ada") == world.spans("turn")[2].attributes["user.id"]


def test_logout_ends_the_session(world: World, site: Site) -> None:
    """Logging out is the end; what follows is a new session that knows no user."""
    login, logout, _, chat = paths(site)
    client = Client(site)
    at_login = client.seen(path=login + "ada")
    client.ask(path=logout)
    after = client.seen(path=chat)

    assert at_login["id"] != after["id"]
    assert after["user"] is None
    (end,) = world.named("session.end")
    assert ("user_exit", pseudonym("ada")) == (end.attributes["session.end_reason"], end.attributes["user.id"])


def test_another_login_begins_another_session(world: World, site: Site) -> None:
    """A second user on the same client gets the next session, from the next request on."""
    login, _, _, chat = paths(site)
    client = Client(site)
    ada, bob, after = (client.seen(path=path) for path in (login + "ada", login + "bob", chat))

    assert ada["id"] == bob["id"] != after["id"]
    assert ada["id"] == after["previous"]
    assert pseudonym("bob") == after["user"]


@pytest.mark.parametrize("path", ["/me", "/me-async"])
def test_resolved_user_is_taken(world: World, site: Site, path: str) -> None:
    """Who came by Django's cookie alone is the session's user once a view has asked, by ``user`` or by ``auser``."""
    login, _, _, chat = paths(site)
    old, new = Client(site), Client(site)
    old.ask(path=login + "ada")
    new.cookies.set("sessionid", old.cookies["sessionid"])  # no cookie of ours: it came later than the login
    first, asked, after = new.seen(path=chat), new.seen(path=path), new.seen(path=chat)

    assert asked["known"]
    assert [None, None, pseudonym("ada")] == [s["user"] for s in (first, asked, after)]
    assert first["id"] == after["id"]


def test_anonymous_visitor_stays_unidentified(site: Site) -> None:
    """Django's AnonymousUser is nobody."""
    client = Client(site)

    assert [None, None] == [client.seen(path=paths(site)[2])["user"] for _ in range(2)]


def test_nobody_is_loaded_and_nothing_varies(world: World, site: Site) -> None:
    """A view that does not ask who the user is loads none and queries nothing, and answers as it would without us."""
    client = Client(site)
    client.ask(path=paths(site)[0] + "ada")
    CountingBackend.loaded.clear()
    with CaptureQueriesContext(connection) as queries:
        quiet = client.ask(path="/quiet")

    assert [] == CountingBackend.loaded
    assert 0 == len(queries)
    assert "vary" not in quiet.headers
    assert "set-cookie" not in quiet.headers


def test_user_is_loaded_once_by_the_view(site: Site) -> None:
    """A view that asks loads its user itself, once, and nobody does so again."""
    client = Client(site)
    client.ask(path=paths(site)[0] + "ada")
    CountingBackend.loaded.clear()
    client.ask(path=paths(site)[2])

    assert [django_project.user_named("ada").pk] == [int(pk) for pk in CountingBackend.loaded]


def test_user_setting_wins(world: World) -> None:
    """Where the application names users itself, Django's ids are not looked at: they would be other users."""
    django_project.configure(world, behind=django_project.USERS, user=lambda request: request.header("X-User"))
    client = Client(django_project.site(asgi=False))
    headers = {"x-user": "ada@shop.example"}
    seen = [client.seen(path=path, headers=headers) for path in ("/chat", "/login/ada", "/me", "/chat")]

    assert 1 == len({s["id"] for s in seen})
    assert {hash_user_id("ada@shop.example")} == {s["user"] for s in seen}


def test_login_outside_of_requests() -> None:
    """A login in a script has no session to name a user of, and does not fail."""
    user: Any = django_project.user_named("ada")
    told = user_logged_in.send_robust(sender=type(user), request=None, user=user)

    assert told  # ours is among those who listen
    assert [] == [answer for _, answer in told if isinstance(answer, Exception)]
