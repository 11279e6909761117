"""
Celery: the session of whoever sends a task goes on in the worker that runs it.

    app = Celery(...)
    SessionTracking(app)     # where tasks are sent, and where they run

Message headers ``traceparent``, ``tracestate`` and ``baggage`` carry it. The broker is not trusted: entries are signed,
and a worker believes them when they verify.

OpenTelemetry's instrumentation of Celery writes the same headers, maybe after us, and not knowing where the message
goes it leaves our entries out of them. So they stand in a header of ours besides.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from .._core.scope import present
from .._hierarchy.carried import FIELDS, Carried, carrier
from .._hierarchy.hosts import configure
from ..exceptions import MissingDependency
from ..settings import SessionSettings
from ..telemetry.notices import once
from ..telemetry.propagator import HEADER

try:
    from celery import Celery
    from celery.signals import celeryd_after_setup
except ImportError as error:
    raise MissingDependency("session_mw.integrations.celery", "celery", "celery") from error

logger = logging.getLogger("session_mw")

_OWN_HEADER = "session_mw"


class SessionTracking:
    """
    Carry sessions along with the tasks of an application.

    In the worker, spans and log records of a task carry the sender's session, user, conversation and turn. The turn is
    the sender's: none is counted. Tokens used by the task are added to the session, through a store that both share.
    Tasks that are retried, or send others, hand it on.

    Args:
        app: The application; a second time changes nothing.
        settings: None, and no overrides, takes those of ``session_mw.configure``, of the middleware in this process,
            or ``SESSION_MW_*``.
        trusted: Whether a worker believes messages without a signature. By default ``baggage_key`` (or ``secret_key``)
            has to be the sender's, and the message younger than ``absolute_timeout``.
        overrides: ``tracer_provider``, ``meter_provider``, ``logger_provider``, ``clock``, and settings by name.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another.
    """

    def __init__(
        self, app: Celery, settings: SessionSettings | None = None, *, trusted: bool = False, **overrides: Any
    ) -> None:
        if settings is not None or overrides:
            configure(settings, **overrides)
        self._app = app
        self._trusted = trusted
        if getattr(app, "_session_mw", None) is None:
            app._session_mw = self
            app.send_task = self._carrying(app.send_task)
            app.on_after_finalize.connect(self._cover_all, weak=False)
            celeryd_after_setup.connect(self._worker_is_set_up, weak=False)
            if app.finalized:
                self._cover_all()

    def _carrying(self, send_task: Any) -> Any:
        """Return *send_task* with our headers: every way to send a task comes by here."""

        @functools.wraps(send_task)
        def send(*args: Any, **options: Any) -> Any:
            carried = self._carried()
            if carried:
                own = {_OWN_HEADER: carried[HEADER]} if HEADER in carried else {}
                options["headers"] = {**(options.get("headers") or {}), **carried, **own}
            return send_task(*args, **options)

        return send

    def _carried(self) -> dict[str, str]:
        """Return what a task that is sent now gets: of a chain, the worker sends the next one after the one before."""
        task = None if present() is not None else self._app.current_worker_task
        block = None if task is None else self._entered(task.request)
        try:
            return carrier()
        finally:
            if block is not None:
                _left(block)

    def _worker_is_set_up(self, instance: Any = None, **_: Any) -> None:
        """Cover what was imported since: a worker looks at its tasks next."""
        if getattr(instance, "app", None) is self._app:
            self._cover_all()

    def _cover_all(self, **_: Any) -> None:
        """
        Let every task run inside its session.

        Around the function, not by the signals before and after it: those of others would be left in the order in which
        they were entered, and what one puts back is the other's.
        """
        for task in list(self._app.tasks.values()):
            if not hasattr(task.run, "_session_mw"):
                task.run = self._covered(task, task.run)

    def _covered(self, task: Any, function: Any) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            block = self._entered(task.request)
            if block is None:
                return function(*args, **options)
            try:
                return function(*args, **options)
            finally:
                _left(block)

        run._session_mw = True  # type: ignore[attr-defined]
        return run

    def _entered(self, request: Any) -> Carried | None:
        """Continue the session that came with the message; None for a task that runs where it was called."""
        if request.is_eager or request.called_directly:
            return None
        try:
            block = Carried(_received(request), trusted=self._trusted)
            block.enter()
        except Exception as error:
            _failed("begin", error)
            return None
        return block


def _left(block: Carried) -> None:
    try:
        block.leave(None)
    except Exception as error:
        _failed("end", error)


def _received(request: Any) -> Mapping[str, str]:
    """Return what came along; celery makes attributes of a message's headers."""
    found = {field: getattr(request, field, None) for field in FIELDS}
    found[HEADER] = getattr(request, _OWN_HEADER, None) or found[HEADER]
    return {field: value for field, value in found.items() if isinstance(value, str)}


def _failed(what: str, error: Exception) -> None:
    kind = type(error).__name__
    once(
        f"celery:{what}:{kind}",
        logger.error,
        "cannot %s the session of a task: %s: %s. It runs without.",
        what,
        kind,
        error,
    )
