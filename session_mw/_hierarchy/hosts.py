"""
Whose store and telemetry code outside of a request uses.

Asked in this order: the engine of the session that is current; the one that ``configure`` made; the middleware that was
made last in this process; else one is made from ``SESSION_MW_*``, as late as something needs it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from .._core.scope import SessionScope, present
from .._engine import Engine
from .._engine.compiled import resolve
from .._engine.parts import drain_at_exit, latest_engine
from .._settings.dev_secret import dev_secret
from .._settings.sources import text_names
from ..context.users import use_maker
from ..settings import SessionSettings
from ..telemetry.notices import once

logger = logging.getLogger("session_mw")

_lock = threading.Lock()
_own: list[Engine] = []
_said: list[tuple[Any, ...]] = []  # what configure was last called with


def configure(
    settings: SessionSettings | None = None,
    *,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    logger_provider: Any = None,
    clock: Callable[[], int] | None = None,
    **overrides: Any,
) -> None:
    """
    Say where code without a middleware keeps its sessions: scripts, workers, notebooks, cron.

    Without a call, a process with a middleware uses that one's store, and any other ``SESSION_MW_*`` from environment
    and ``.env``. A second call replaces the first for what is opened from then on; one that says the same (a page
    whose script is run again, a notebook's cell) changes nothing.

    Args:
        settings: None reads ``SESSION_MW_*``.
        tracer_provider: OpenTelemetry; None takes the global one, whenever it is set.
        meter_provider: The same for metrics.
        logger_provider: The same for logs and events.
        clock: Wall clock in milliseconds since the epoch, for tests.
        overrides: Settings by name.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another.
    """
    telemetry = (tracer_provider, meter_provider, logger_provider, clock)
    wanted = resolve(settings, overrides)
    with _lock:
        if _own and _said == [(wanted, *telemetry)]:
            return
        engine = Engine(
            wanted,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            logger_provider=logger_provider,
            clock=clock,
        )
        drain_at_exit(engine)
        _own[:], _said[:] = [engine], [(wanted, *telemetry)]


def engine_of(scope: SessionScope | None = None) -> Engine:
    """Return the engine of *scope*, of the current session, or of this process."""
    scope = scope or present()
    if scope is not None and isinstance(scope.extra, Engine):
        return scope.extra
    return known_engine() or _make()


def known_engine() -> Engine | None:
    """Return the engine of this process, None while nobody needed one."""
    if _own:
        return _own[0]
    latest = latest_engine()
    return latest if isinstance(latest, Engine) else None


def serving() -> bool:
    """Return whether the engine made last in this process is a middleware's: it serves, and not one person."""
    latest = latest_engine()
    return latest is not None and latest not in _own


def _make() -> Engine:
    """Make one from the environment. No secret there is no error: a script has no client that could forge anything."""
    with _lock:
        if not _own:
            given = {} if "secret_key" in text_names(SessionSettings) else {"secret_key": _machine_key()}
            engine = Engine(SessionSettings(**given))  # type: ignore[arg-type]  # one setting, by name
            drain_at_exit(engine)
            _own.append(engine)
            _said.clear()
        return _own[0]


def _machine_key() -> object:
    once(
        "machine-key",
        logger.warning,
        "no SESSION_MW_SECRET_KEY: pseudonyms of users are made with a key of this machine, so other machines make "
        "other ones. Set it (session-mw secret prints one), or call session_mw.configure(secret_key=...).",
    )
    return dev_secret()


def _hasher() -> Callable[[object], str | None]:
    return engine_of().hash_user


use_maker(_hasher)
