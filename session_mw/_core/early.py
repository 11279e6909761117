"""
A request, looked at before the middleware has it.

OpenTelemetry's instrumentations begin the server's span around the middleware, and a span's sampler has to know the
session by then. Whoever reads the request's headers for them looks here: who is this, and whose trace is it.

Rule 1: nothing is read or verified before somebody asks, and nothing of it twice: the middleware gets what was found.
Rule 2: an id that was minted here goes to one request, once. A context that leaks into the next request on a thread
    must not make two visitors one session.
Rule 3: only requests are looked at, by what their servers hand on: a WSGI environ, an ASGI scope, or a scope's headers.
    What else OpenTelemetry reads headers of (messages of a queue, an environment) has no clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import names
from .admission import Presented, admit
from .facts import RequestFacts

if TYPE_CHECKING:
    from .policy import Policy

Reader = Callable[[Any], RequestFacts]


class Desk:
    """
    Where requests are looked at early, for one middleware.

    Args:
        policy: Its settings, compiled.
        clock: Its wall clock, milliseconds since the epoch.

    Attributes:
        readers: How it reads requests: ``asgi`` and ``wsgi``, as far as it serves them.
    """

    def __init__(self, policy: Policy, clock: Callable[[], int]) -> None:
        self.policy = policy
        self.clock = clock
        self.readers: dict[str, Reader] = {}

    def look(self, carrier: Any) -> Early | None:
        """Return the request that *carrier* is of; None when it is none, or of another world than the middleware's."""
        if isinstance(carrier, dict):
            kind = "wsgi" if "REQUEST_METHOD" in carrier else "asgi" if _is_scope(carrier) else ""
            reader = self.readers.get(kind)
            return None if reader is None else Early(self, reader, carrier)
        raw = getattr(carrier, "raw", None)  # Starlette's Headers, which FastAPI's own telemetry hands on
        if isinstance(raw, list) and "asgi" in self.readers:
            return Early(self, self.readers["asgi"], {"type": "http", "path": "", "headers": raw})
        return None


def _is_scope(carrier: dict[Any, Any]) -> bool:
    return carrier.get("type") in ("http", "websocket") and "headers" in carrier


class Early:
    """
    One request, looked at early.

    Args:
        desk: Where.
        reader: Reads *carrier*.
        carrier: Of its headers.

    Attributes:
        taken: The middleware has had it.
    """

    __slots__ = ("_carrier", "_decided", "_desk", "_facts", "_found", "_reader", "_seen", "taken")

    def __init__(self, desk: Desk, reader: Reader, carrier: Any) -> None:
        self._desk = desk
        self._reader = reader
        self._carrier = carrier
        self._facts: RequestFacts | None = None
        self._seen: object = None
        self._found: Presented | None = None
        self._decided: str | None = None
        self.taken = False

    @property
    def facts(self) -> RequestFacts:
        """What the request says."""
        if self._facts is None:
            self._seen = _looks_of(self._carrier)
            self._facts = self._reader(self._carrier)
        return self._facts

    def facts_of(self, carrier: Any) -> RequestFacts | None:
        """Return what was read off a scope or environ, if it was this very one, and nobody has changed it since."""
        same = self._carrier is carrier and self._facts is not None and self._seen == _looks_of(carrier)
        return self._facts if same else None

    @property
    def found(self) -> Presented:
        """What of it is verified."""
        if self._found is None:
            self._found = admit(self.facts, self._desk.policy, self._desk.clock())
        return self._found

    @property
    def session_id(self) -> str:
        """
        The session that the request presents, else the id that one it begins will have.

        The session that it gets in the end may be another one, a successor; its sampling key is the same.
        """
        if self._decided is None:
            found = self.found
            self._decided = _presented_by(found)
            if self._decided is None:
                self._decided = found.minted = self._desk.policy.new_id(None)
            found.decided = self._decided
        return self._decided

    def hand_over(self, facts: RequestFacts, policy: Policy, now_ms: int) -> Presented:
        """
        Return what a request presents, verified, to the middleware that serves it.

        Args:
            facts: The request as the middleware has it. Where others have changed it on the way, it is looked at anew.
            policy: Of the middleware.
            now_ms: Its clock.
        """
        found, seen = self._found, self._facts
        if self.taken or found is None or seen is None:
            self.taken = True
            return admit(facts, policy, now_ms)
        self.taken = True
        if policy is self._desk.policy and (facts is seen or _alike(facts, seen)):
            return found
        anew = admit(facts, policy, now_ms)
        anew.decided = found.decided
        if found.minted is not None:  # with the middleware's own prefix, and the key that was sampled by
            anew.minted = policy.new_id(found.minted)
        return anew


def _presented_by(found: Presented) -> str | None:
    """Return the session that a request presents."""
    if found.claim is not None:
        return found.claim.session_id
    return found.bare_id if found.remote is None else found.remote[names.SESSION_ID]


def _looks_of(carrier: dict[str, Any]) -> object:
    """Return a copy of what a scope or environ is read for: others may change it in place on its way."""
    get = carrier.get
    headers = get("headers")
    if headers is None:
        return dict(carrier)
    return (get("path"), get("method"), get("scheme"), get("client"), *headers)


def _alike(a: RequestFacts, b: RequestFacts) -> bool:
    """Return whether two requests present the same."""
    return (
        a.cookies == b.cookies
        and a.tokens == b.tokens
        and a.baggage == b.baggage
        and a.bare_id == b.bare_id
        and a.browser == b.browser
        and (_vouched(a) == _vouched(b) or not (a.baggage or a.bare_id))  # the peer counts for what it vouches for
    )


def _vouched(facts: RequestFacts) -> object:
    """Return all that tells who the peer is."""
    return facts.peer, facts.lines("x-forwarded-for"), facts.lines("forwarded")
