"""
Who may look at a viewer that has no host application: names and passwords, by a page or by HTTP Basic.

Rule 1: a browser gets a cookie for a password, a program (curl) sends HTTP Basic; neither is asked for the other.
Rule 2: who guesses waits: after a few wrong passwords of one address, or for one name, each further one waits twice as
    long. Whoever is logged in is not kept waiting by it.
Rule 3: a form of another site logs nobody in, and a cookie is of one port of one host.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .gate import dressed
from .pages import login_page
from .places import place_of

LASTS_S = 12 * 3_600.0  # a login; the browser forgets it earlier when it is closed
FREE = {"peer": 5, "name": 20}  # wrong passwords before anybody waits; a name's can be used up by anybody
LONGEST_WAIT_S = 60.0
REMEMBERED = 10_000  # addresses and names; logins
AT_ONCE = 2  # passwords that are checked; each takes 32 MiB
LARGEST_FORM = 8 * 1024


class Known(Protocol):
    """Who is known."""

    def known(self) -> Mapping[str, object]:
        """Return the names, and what changes with their passwords."""

    def check(self, name: str, password: str) -> bool:
        """Return whether the password is theirs."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class Member(str):
    """Somebody who has logged in here, and can log out."""

    signs_out = True


@dataclass(frozen=True, slots=True)
class _In:
    name: str
    proof: object
    until: float


class Throttle:
    """
    How long who guesses has to wait.

    Args:
        clock: Seconds, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, keys: Iterable[tuple[str, str]]) -> float:
        """Return how long it is until the next try, 0 for none."""
        with self._lock:
            now = self._clock()
            return max(0.0, *(self._failures[key].until - now for key in keys if key in self._failures), 0.0)

    def failed(self, keys: Iterable[tuple[str, str]]) -> None:
        """Count a wrong password."""
        with self._lock:
            for key in keys:
                one = self._failures.setdefault(key, _Failures())
                one.count += 1
                more = one.count - FREE[key[0]]
                one.until = self._clock() + (min(2.0 ** min(more, 10), LONGEST_WAIT_S) if more >= 0 else 0.0)
                self._failures.move_to_end(key)
            while len(self._failures) > REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, keys: Iterable[tuple[str, str]]) -> None:
        """Forget the wrong ones."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)


class Login:
    """
    An ASGI application in front of a viewer; its ``auth`` is the viewer's.

    Args:
        users: Who is known.
        cookie_name: Has to be another one on each port: cookies ignore ports.
        secure: The server speaks TLS: the cookie is for it alone.
        clock: Seconds, never backwards.
    """

    def __init__(
        self, users: Known, cookie_name: str, *, secure: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._users = users
        self._cookie = cookie_name
        self._secure = secure
        self._clock = clock
        self._throttle = Throttle(clock)
        self._key = secrets.token_bytes(32)
        self._logins: OrderedDict[bytes, _In] = OrderedDict()
        self._lock = threading.Lock()
        self._checks = threading.BoundedSemaphore(AT_ONCE)
        self.viewer: ASGIApp | None = None

    def guard(self, viewer: ASGIApp) -> Login:
        """Stand in front of *viewer*."""
        self.viewer = viewer
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the forms; everything else is the viewer's."""
        forms = {"login": self._posted, "logout": self._let_out}
        form = forms.get(place_of(scope).path) if scope["type"] == "http" and scope["method"] == "POST" else None
        if form is not None:
            request = Request(scope, receive)
            foreign = PlainTextResponse("This form is of another site.\n", 403)
            response = dressed(await form(request) if _same_origin(request) else foreign)
            await response(scope, receive, send)
        elif self.viewer is not None:
            await self.viewer(scope, receive, send)

    def auth(self, request: Request) -> Any:
        """Return who asks, or how to log in."""
        name = self._recalled(f"cookie:{request.cookies.get(self._cookie, '')}")
        if name is not None:
            return Member(name)
        given = _basic(request)
        if given is not None:
            return self._by_basic(request, *given)
        if "text/html" not in request.headers.get("accept", ""):
            return _asked_for_basic()
        return login_page(place_of(request.scope).up, target=_target(request), status=403)

    def _recalled(self, secret: str) -> str | None:
        """Return who came with *secret* before, None when it was nobody, too long ago, or with another password."""
        one = self._logins.get(self._mark(secret))
        if one is None or one.until <= self._clock():
            return None
        return one.name if self._users.known().get(one.name) == one.proof else None

    def _mark(self, secret: str) -> bytes:
        """Return what is kept of a secret: a lookup by it tells nobody how much of a guess was right."""
        return hmac.digest(self._key, secret.encode("utf-8", "replace"), hashlib.sha256)

    def _remember(self, secret: str, name: str) -> None:
        with self._lock:
            self._logins[self._mark(secret)] = _In(name, self._users.known().get(name), self._clock() + LASTS_S)
            while len(self._logins) > REMEMBERED:
                self._logins.popitem(last=False)

    # -- by the page

    async def _posted(self, request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return PlainTextResponse("This is no login.\n", 400)
        name, password, target = form
        wait, right = await run_in_threadpool(self._try, request, name, password)
        if right:
            return self._let_in(name, target)
        text = f"Too many attempts. Try again in {wait:.0f} s." if wait else "Name or password is wrong."
        answer = login_page(place_of(request.scope).up, target, 429 if wait else 403, name, text)
        if wait:
            answer.headers["retry-after"] = f"{wait:.0f}"
        return answer

    def _let_in(self, name: str, target: str) -> Response:
        secret = secrets.token_urlsafe(32)
        self._remember(f"cookie:{secret}", name)
        answer = RedirectResponse(f"./{target}", 303)
        answer.set_cookie(self._cookie, secret, httponly=True, samesite="lax", secure=self._secure, path="/")
        return answer

    async def _let_out(self, request: Request) -> Response:
        with self._lock:
            self._logins.pop(self._mark(f"cookie:{request.cookies.get(self._cookie, '')}"), None)
        answer = RedirectResponse("./", 303)
        answer.delete_cookie(self._cookie, path="/")
        return answer

    # -- by HTTP Basic

    def _by_basic(self, request: Request, name: str, password: str) -> Any:
        secret = f"basic:{name}:{password}"  # a program sends it each time: it is checked once
        if self._recalled(secret) == name:
            return name
        wait, right = self._try(request, name, password)
        if right:
            self._remember(secret, name)
            return name
        if wait:
            return PlainTextResponse("Too many attempts.\n", 429, {"retry-after": f"{wait:.0f}"})
        return _asked_for_basic()

    def _try(self, request: Request, name: str, password: str) -> tuple[float, bool]:
        """Return how many seconds to wait, and whether the password is right."""
        keys = (("peer", request.client.host if request.client else ""), ("name", name[:100]))
        wait = self._throttle.wait_s(keys)
        if wait > 0:
            return max(1.0, wait), False
        if not self._checks.acquire(timeout=1):
            return 1.0, False
        try:
            right = self._users.check(name, password)
        finally:
            self._checks.release()
        (self._throttle.succeeded if right else self._throttle.failed)(keys)
        return 0.0, right


def _asked_for_basic() -> Response:
    return PlainTextResponse("Who are you?\n", 401, {"www-authenticate": 'Basic realm="session-mw", charset="UTF-8"'})


def _basic(request: Request) -> tuple[str, str] | None:
    """Return the name and the password of an ``Authorization`` header (RFC 7617), None when there are none."""
    kind, _, said = request.headers.get("authorization", "").partition(" ")
    try:
        name, mark, password = base64.b64decode(said.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return None
    return (name, password) if kind.lower() == "basic" and mark else None


def _same_origin(request: Request) -> bool:
    """Return whether a form was of this server's own page; programs say neither and have no cookie to misuse."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _form(request: Request) -> tuple[str, str, str] | None:
    """Return the name, the password and where to go then; None when it is no such form."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_FORM:
            return None
    try:
        said = {name: found[-1] for name, found in parse_qs(body.decode("latin-1"), max_num_fields=10).items()}
    except ValueError:
        return None
    if "name" not in said or "password" not in said:
        return None
    return said["name"], said["password"], _safe(said.get("to", ""))


def _target(request: Request) -> str:
    """Return the page that was asked for, as a link from the viewer's own folder."""
    string = request.scope["query_string"].decode("latin-1")
    return _safe(quote(place_of(request.scope).path) + (f"?{string}" if string else ""))


def _safe(target: str) -> str:
    """Return *target* when it can only lead to a page of this viewer, else nothing."""
    path = target.partition("?")[0]
    plain = path == "" or all(part.isascii() and part.isalnum() for part in path.replace(".", "/").split("/"))
    visible = target.isascii() and target.isprintable() and "\\" not in target and "#" not in target
    return target if plain and visible else ""
