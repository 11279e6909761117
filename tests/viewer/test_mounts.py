"""The viewer under other applications: every link leads to where it stands, whatever stands in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from session_mw.viewer import SessionViewer
from session_mw.viewer.places import place_of
from session_mw.viewer.routes import ROUTES
from tests.viewer.support import JANE, NOW_MS, ana, filled, read

Get = Callable[[str], Any]


def viewer() -> SessionViewer:
    """Return a viewer of the usual history."""
    return SessionViewer(filled(), auth=ana, clock=lambda: NOW_MS)


def asgi(app: Any, root_path: str = "") -> Get:
    """Return what asks an ASGI application."""
    client = TestClient(app, base_url="http://host.test", root_path=root_path, follow_redirects=False)
    return client.get


def wsgi(app: Any) -> Get:
    """Return what asks a WSGI application."""
    client = httpx.Client(transport=httpx.WSGITransport(app), base_url="http://host.test")
    return client.get


def starlette() -> tuple[Get, str]:
    """Mounted in Starlette."""
    return asgi(Starlette(routes=[Mount("/sessions", viewer())])), "/sessions/"


def starlette_deep() -> tuple[Get, str]:
    """Mounted in a mounted application."""
    inner = Starlette(routes=[Mount("/b", viewer())])
    return asgi(Starlette(routes=[Mount("/a", inner)])), "/a/b/"


def fastapi() -> tuple[Get, str]:
    """Mounted in FastAPI."""
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/sessions", viewer())
    return asgi(app), "/sessions/"


def prefixed() -> tuple[Get, str]:
    """In FastAPI behind a server with a root path that is in the path."""
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/sessions", viewer())
    return asgi(app, "/api"), "/api/sessions/"


def litestar() -> tuple[Get, str]:
    """Mounted in Litestar, which adds a slash to each path and says nothing of its prefix."""
    pytest.importorskip("litestar")
    from litestar import Litestar
    from litestar import asgi as handler

    app = Litestar(
        route_handlers=[handler("/sessions", is_mount=True, copy_scope=True)(_plain(viewer()))], openapi_config=None
    )
    return asgi(app), "/sessions/"


def _plain(app: Any) -> Any:
    async def sessions(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return sessions


def flask() -> tuple[Get, str]:
    """Beside Flask, by werkzeug's dispatcher."""
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = Flask("host")
    return wsgi(DispatcherMiddleware(app, {"/sessions": viewer().wsgi})), "/sessions/"


def bare() -> tuple[Get, str]:
    """On its own."""
    return asgi(viewer()), "/"


def bare_wsgi() -> tuple[Get, str]:
    """On its own, as WSGI."""
    return wsgi(viewer().wsgi), "/"


@pytest.fixture(params=[starlette, starlette_deep, fastapi, prefixed, litestar, flask, bare, bare_wsgi])
def mounted(request: pytest.FixtureRequest) -> tuple[Get, str]:
    """What asks a host, and where the viewer is there."""
    made: tuple[Get, str] = request.param()
    return made


def links_of(page: Any, address: str) -> set[str]:
    """Return where the links of a page lead, as a browser understands them."""
    found = [one.attributes.get(name, "") for one in page.all() for name in ("href", "src", "action")]
    return {urljoin(address, link) for link in found if link and not link.startswith(("data:", "#"))}


PAGES = (
    *("", "s?id=chat-1", "s?id=chat-1&view=raw", "s/?id=chat-1", "help", "help/", "not/here", "?q=nope:1"),
    *("groups", "analytics/", "analytics/funnel", "analytics/engagement/", "analytics/journeys", "analytics/retention"),
    "compare",
    f"user?id={JANE}",
)
UNLINKED = {"changes", "api/sessions", "api/check"}


def test_every_link_is_answered(mounted: tuple[Get, str]) -> None:
    """Links of all kinds of pages, also of those that say no, stay below the mount and are answered."""
    get, base = mounted
    found: dict[str, str] = {}
    for page in PAGES:
        address = f"http://host.test{base}{page}"
        for link in links_of(read(get(address).text), address):
            assert link.startswith(f"http://host.test{base}"), (page, link)
            found.setdefault(urlsplit(link).path.removeprefix(base), link)

    assert ROUTES.keys() - UNLINKED == {one for one in found if "static" not in one}
    assert {200} == {get(link).status_code for link in found.values()}
    assert 2 == len(found) - len(ROUTES.keys() - UNLINKED)


def test_a_slash_at_the_end_means_nothing(mounted: tuple[Get, str]) -> None:
    """A page with one is the same page, and its links lead to the same places."""
    get, base = mounted
    found = {}
    for path in ("s", "s/"):
        answer = get(f"http://host.test{base}{path}?id=chat-1")
        assert 200 == answer.status_code
        found[path] = links_of(read(answer.text), f"http://host.test{base}{path}?id=chat-1")

    assert found["s"] == found["s/"]


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ({"path": "/sessions", "root_path": "/sessions"}, ("", "", "sessions")),
        ({"path": "/a/b", "root_path": "/a/b/"}, ("", "", "b")),
        ({"path": "/sessions/", "root_path": "/sessions"}, ("", "", None)),
        ({"path": "/s", "root_path": "/sessions"}, ("s", "", None)),
        ({"path": "/sessionsx/s", "root_path": "/sessions"}, ("sessionsx/s", "../", None)),
        ({"path": "/sessions/api/x", "root_path": "/sessions"}, ("api/x", "../", None)),
        ({"path": "/s/", "root_path": "", "raw_path": b"/sessions/s"}, ("s", "", None)),
        ({"path": "/s/", "root_path": ""}, ("s", "../", None)),
        ({"path": "/", "root_path": "", "raw_path": b"/sessions"}, ("", "", "sessions")),
        ({"path": "/", "root_path": "", "raw_path": b"/sessions/?q"}, ("", "", None)),
        ({"path": "", "root_path": ""}, ("", "", "")),
    ],
)
def test_places(scope: dict[str, Any], wanted: tuple[str, str, str | None]) -> None:
    """``root_path`` is taken off where it is there; the folder's own name gets its slash."""
    place = place_of(scope)

    assert wanted == (place.path, place.up, place.bare)


def test_the_folder_without_its_slash_leads_to_the_one_with_it() -> None:
    """By a relative address: what the browser calls this host is not known here."""
    get, _ = flask()
    answer = get("/sessions?q=type:chat")

    assert (307, "sessions/?q=type:chat") == (answer.status_code, answer.headers["location"])


def test_flask_s_own_session_says_who_asks() -> None:
    """``auth`` opens the request's context from the WSGI environment: whoever logged in to the host may look."""
    from flask import Flask, session
    from werkzeug.middleware.dispatcher import DispatcherMiddleware
    from werkzeug.test import Client

    app = Flask("host")
    app.secret_key = "a-secret-of-at-least-sixteen-bytes"

    @app.get("/login")
    def login() -> str:
        session["user"] = "ana"
        return "ok"

    def auth(request: Any) -> Any:
        with app.request_context(request.scope["wsgi_environ"]):
            return session.get("user")

    found = SessionViewer(filled(), auth=auth, clock=lambda: NOW_MS)
    visitor = Client(DispatcherMiddleware(app, {"/sessions": found.wsgi}))

    assert 403 == visitor.get("/sessions/").status_code
    visitor.get("/login")
    assert (200, True) == ((page := visitor.get("/sessions/")).status_code, "signed in as ana" in read(page.text).text)


def test_wsgi_hosts_may_hand_over_what_is_no_text() -> None:
    """Bytes that are no UTF-8 in a path are a bad request, not the host's failure."""
    said = []
    answer = viewer().wsgi(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/\xff", "SCRIPT_NAME": "", "QUERY_STRING": ""},
        lambda status, headers, exc_info=None: said.append(status),  # type: ignore[arg-type,return-value]
    )

    assert (["400 Bad Request"], []) == (said, list(answer))


def test_the_host_s_own_user_can_be_read_below_wsgi() -> None:
    """``auth`` finds the WSGI environment in the request."""
    seen = []

    def auth(request: Any) -> Any:
        seen.append(request.scope["wsgi_environ"]["REQUEST_METHOD"])
        return "ana"

    wsgi(SessionViewer(filled(), auth=auth, clock=lambda: NOW_MS).wsgi)("/")

    assert ["GET"] == seen
