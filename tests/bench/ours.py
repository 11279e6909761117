"""Our middleware as cases, with the settings that a user gets: ``memory://``, its history, its background work."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from session_mw import SessionSettings, current_session, current_turn
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware

from .apps import ASGIApp, WSGIApp
from .case import Case, Web, web_case
from .drivers import ASGIClient, WSGIClient
from .telemetry import Recorder

SECRET = "a-secret-for-the-benchmark-only-0123456789abcdef"
USER = "user-42"


def settings(**overrides: Any) -> SessionSettings:
    """Return default settings, but tokens are renewed rarely: a long run must not measure the writing of cookies."""
    return SessionSettings(_env_file=None, **{"secret_key": SECRET, "refresh_interval": "14m", **overrides})


def look(_: Any) -> str | None:
    """Return what a handler sees of its session; identify the user in the first turn."""
    session = current_session()
    if session is None:
        return None
    if current_turn() is not None and session.user_id is None:
        session.identify(USER)
    return session.id


def seen_by(looked: object) -> str | None:
    """Return the session's id."""
    return looked if isinstance(looked, str) else None


def read(_: Any) -> object:
    """Read the handle, as some handlers do in every request."""
    session = current_session()
    return None if session is None else session.id


class OffPath:
    """
    Does the background's work when the benchmark says so, in place of its thread.

    The thread would do it during another case's turn. Its queue is filled exactly as with the thread running, and
    worked off in the same steps.

    Args:
        engine: Whose background.
        recorder: Whose spans.
    """

    def __init__(self, engine: Any, recorder: Recorder | None) -> None:
        self._background = engine.background
        self._recorder = recorder
        # To the background this looks like a thread of this process that is busy.
        self._background._pid = os.getpid()
        self._background._thread = threading.current_thread()

    def settle(self) -> None:
        """Write counters and history, and export spans."""
        wake = self._background._wake
        while wake.is_set():
            wake.clear()
            self._background.step()
        if self._recorder is not None:
            self._recorder.settle()

    def close(self) -> None:
        """Let go of the background and the exporter's thread."""
        self._background._thread = None
        self._background.hold()
        if self._recorder is not None:
            self._recorder.close()


def asgi_case(
    name: str,
    loop: asyncio.AbstractEventLoop,
    *,
    recorder: Recorder | None = None,
    spans: int = 0,
    page: bool = False,
    reads: bool = False,
    **overrides: Any,
) -> Case:
    """
    Return our ASGI middleware as a case.

    Args:
        name: Of the case.
        loop: Runs all ASGI cases.
        recorder: Records spans; None leaves the process without an SDK.
        spans: Recorded per request.
        page: A browser loading a page, which is no turn.
        reads: The handler reads ``current_session()`` in every request.
        overrides: Settings.
    """
    inner = ASGIApp(read if reads else None)
    app = ASGIMiddleware(inner, settings(**overrides), tracer_provider=recorder.provider if recorder else None)
    web = Web(name, ASGIClient(app, inner, loop, look, page), seen_by)
    return _case(web, "bare ASGI app", app.engine, recorder, spans, page)


def wsgi_case(name: str, *, recorder: Recorder | None = None, spans: int = 0, **overrides: Any) -> Case:
    """Return our WSGI middleware as a case; arguments as for ``asgi_case``."""
    inner = WSGIApp()
    app = WSGIMiddleware(inner, settings(**overrides), tracer_provider=recorder.provider if recorder else None)
    web = Web(name, WSGIClient(app, inner, look, page=False), seen_by)
    return _case(web, "bare WSGI app", app.engine, recorder, spans)


class Books:
    """
    Finds out whether every turn was counted as finished, and written into the history.

    Args:
        engine: Whose store and history.
        web: Knows the session.
    """

    def __init__(self, engine: Any, web: Web) -> None:
        self._engine = engine
        self._web = web

    def __call__(self, ran: int) -> str | None:
        """Return what is wrong after so many turns; None when nothing is."""
        record = self._engine.store.read(self._web.session_id)
        if record is None or (record.turns, record.completed) != (ran, ran):
            counted = None if record is None else (record.turns, record.completed)
            return f"{counted} turns begun and finished are in the store, {ran} should be"
        row = self._engine.history.session(self._web.session_id)
        return None if row is not None and row.turns == ran else f"the history does not say {ran} turns: {row}"


def _case(web: Web, base: str, engine: Any, recorder: Recorder | None, spans: int, page: bool = False) -> Case:
    off = OffPath(engine, recorder)
    case = web_case(web, base=base, spans=spans, recorder=recorder, settle=off.settle, close=off.close)
    # Without a logger provider the start of a session is a span. A page load starts none: nothing is stored.
    case.once = 1 if spans > 1 else 0
    if not page:
        case.audit = Books(engine, web)
    return case
