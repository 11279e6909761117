"""
One log line per cause and process, for operators: what was found, and what to do.

The logger is ``session_mw``. A mistake made once a request must not fill a disk, so each cause is said once, or once
in a while when it may heal and come back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from .._core.privacy import hide_all

_MAX_CAUSES = 1000  # causes are few and fixed; this bounds a mistake of ours
_lock = threading.Lock()
_said: dict[str, float] = {}
_pid = os.getpid()


def once(
    key: str,
    log: Callable[..., Any],
    message: str,
    *args: object,
    every: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """
    Log *message* unless this cause was logged before in this process.

    Args:
        key: The cause.
        log: ``logger.warning`` or another method of a logger.
        message: With ``%`` placeholders for *args*.
        args: Values for them; never secrets, never what a client sent. Addresses in them (errors of the application's
            own code are quoted) are left out.
        every: Seconds after which the cause may be logged again. None means never.
        clock: Monotonic seconds.

    Returns:
        Whether it was logged.
    """
    now = clock()
    with _lock:
        _forget_parent()
        before = _said.get(key)
        if before is not None and (every is None or now - before < every):
            return False
        if before is None and len(_said) >= _MAX_CAUSES:
            return False
        _said[key] = now
    log(message, *(arg if isinstance(arg, (int, float)) else hide_all(text_of(arg)) for arg in args))
    return True


def text_of(value: object) -> str:
    """Return *value* as text, also where its own ``__str__`` fails: an error may be anybody's."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def reset() -> None:
    """Forget what was said, so that a test can hear it again."""
    with _lock:
        _said.clear()


def _forget_parent() -> None:
    """A forked worker speaks for itself."""
    global _pid
    pid = os.getpid()
    if pid != _pid:
        _pid = pid
        _said.clear()
