"""The application: who asks is settled first, then which page it is, and nothing that fails shows how."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..exceptions import FilterError, MissingDependency, StoreError, ViewerAuthRequired
from ..ledger import Ledger, open_ledger, read_filter
from ..ledger.filters.tree import And, Node
from .assets import asset
from .gate import Auth, actor_of, dressed, is_local
from .kept import Kept
from .links import templates
from .pages import note
from .places import Place, place_of
from .routes import ROUTES
from .visits import Audit, Visit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("session_mw")

TraceLinks: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
METHODS = ("GET", "HEAD")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SessionViewer:
    """
    An ASGI application that shows a history; ``.wsgi`` is the same for WSGI. It only reads.

    Args:
        ledger: The history, or its URL (``sqlite:///sessions.db``).
        auth: ``auth(request)`` says who asks: an actor (anything; its ``str`` is shown), None for nobody, or a
            Starlette Response (a login page). Plain or async; plain ones run in a thread. The request is the host's:
            its user, session and, below WSGI, ``request.scope["wsgi_environ"]`` can be read (Flask:
            ``with app.request_context(request.scope["wsgi_environ"]): return flask.session.get("user")``).
        allow_loopback: Only requests of this machine to a name of this machine, without a proxy in between. Only then
            ``auth`` may be missing; with both, both have to hold.
        can_view_content: ``can_view_content(actor)`` says whether an actor may read what was said. None: nobody may.
        scope: ``scope(actor)`` is a filter that holds for everything the actor sees (tenants:
            ``'user.org_id = "org_1"'``); None is everything.
        trace_links: Names and URLs of other tools: ``{"Ours": "https://traces.example/{trace_id}"}``. ``phoenix``,
            ``langfuse``, ``jaeger`` and ``grafana`` are known: their address is enough; see ``viewer.links``.
        audit: ``audit(actor, what, subject)`` is told before content (``"content"``, the session's id) or an export
            (``"export"``, the filter) is shown. When it raises, nothing is shown.
        pseudonym: Makes a user's own id what the history keeps of it, so that ``user:jane`` can be asked for.
        clock: Gives the time, milliseconds since the epoch.

    Raises:
        ViewerAuthRequired: Neither ``auth`` nor ``allow_loopback`` was given.
        SettingsError: The ledger's URL or a trace link cannot be used.
    """

    def __init__(
        self,
        ledger: Ledger | str,
        *,
        auth: Auth | None = None,
        allow_loopback: bool = False,
        can_view_content: Callable[[Any], bool] | None = None,
        scope: Callable[[Any], str | None] | None = None,
        trace_links: TraceLinks = (),
        audit: Audit | None = None,
        pseudonym: Callable[[str], str] | None = None,
        clock: Callable[[], int] = _now_ms,
    ) -> None:
        if auth is None and not allow_loopback:
            raise ViewerAuthRequired()
        self._ledger = open_ledger(ledger, read_only=True) if isinstance(ledger, str) else ledger
        self._auth = auth
        self._loopback = allow_loopback
        self._can_view_content = can_view_content
        self._scope = scope
        self._traces = templates(trace_links)
        self._audit = audit
        self._pseudonym = pseudonym
        self._clock = clock
        self._kept = Kept()
        self._wsgi: tuple[int, Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            response = dressed(await self._answer(scope, receive))
            await (_headers_of(response) if scope["method"] == "HEAD" else response)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        place, request = place_of(scope), Request(scope, receive)
        if request.method not in METHODS:
            return PlainTextResponse("This is for looking only.\n", 405, {"allow": ", ".join(METHODS)})
        try:
            return await self._for(request, place)
        except HTTPException as error:  # as hosts' auth functions raise it
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        except StoreError as error:
            logger.warning("the viewer cannot read the history: %s", error)
            return note(place.up, "History unavailable", "The history cannot be read now. Try again later.", 503)
        except Exception:
            logger.exception("the viewer failed")
            return note(place.up, "Something failed", "The application's log says what it was.", 500)

    async def _for(self, request: Request, place: Place) -> Response:
        if self._loopback and not is_local(request):
            return note(place.up, "Not allowed", "This viewer is for the machine that it runs on.", 403)
        if place.bare is not None:
            query = request.scope["query_string"].decode("latin-1")
            location = f"{place.bare or '.'}/" + (f"?{query}" if query else "")
            return Response(status_code=307, headers={"location": location})
        if (found := asset(place.path, request.headers.get("accept-encoding", ""))) is not None:
            return found
        actor = True if self._auth is None else await actor_of(self._auth, request)
        if isinstance(actor, Response):
            return actor
        if actor is None:
            return note(place.up, "Not allowed", "You are not logged in, or may not look at sessions.", 403)
        return await run_in_threadpool(self._show, request, place, actor)

    def _show(self, request: Request, place: Place, actor: Any) -> Response:
        visit = self._visit(request, place, actor)
        show = ROUTES.get(place.path)
        found = None if show is None else show(visit)
        return found or note(place.up, "Not found", "There is no such page, or no such session.", 404)

    def _visit(self, request: Request, place: Place, actor: Any) -> Visit:
        now_ms = self._clock()
        return Visit(
            self._ledger,
            actor,
            now_ms,
            place.up,
            request.query_params,
            limit=self._limit(actor, now_ms),
            content=self._can_view_content is not None and self._can_view_content(actor) is True,
            audit=self._audit,
            traces=self._traces,
            pseudonym=self._pseudonym,
            head=request.method == "HEAD",
            kept=self._kept,
            known=request.headers.get("if-none-match", "").removeprefix("W/"),
        )

    def _limit(self, actor: Any, now_ms: int) -> Node | None:
        text = None if self._scope is None else self._scope(actor)
        if text is None:
            return None
        try:
            tree = read_filter(text, now_ms, pseudonym=self._pseudonym).tree
        except FilterError as error:
            raise RuntimeError(f"what scope(actor) returned is no filter: {error}") from error
        if tree == And(()):
            raise RuntimeError("scope(actor) returned an empty filter: return None where an actor may see everything")
        return tree

    @property
    def wsgi(self) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
        """The same as a WSGI application."""
        return self._call_wsgi

    def _call_wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            for name in ("SCRIPT_NAME", "PATH_INFO"):
                environ.get(name, "").encode("latin-1").decode("utf-8")
            environ.get("QUERY_STRING", "").encode("ascii")
        except UnicodeError:  # where a2wsgi would raise
            start_response("400 Bad Request", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        answer: Iterable[bytes] = self._adapter()(environ, start_response)
        return answer

    def _adapter(self) -> Any:
        """Return what runs it below WSGI: it has a thread, which a forked worker has to start for itself."""
        if self._wsgi is None or self._wsgi[0] != os.getpid():
            try:
                from a2wsgi import ASGIMiddleware
            except ModuleNotFoundError as error:
                raise MissingDependency("SessionViewer.wsgi", "a2wsgi", "viewer") from error
            self._wsgi = os.getpid(), ASGIMiddleware(self)  # type: ignore[arg-type]
        return self._wsgi[1]


def _headers_of(response: Response) -> Response:
    """Return an answer without its body."""
    bare = Response(status_code=response.status_code)
    bare.raw_headers = response.raw_headers
    return bare


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
