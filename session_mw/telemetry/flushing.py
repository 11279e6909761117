"""Have the application's providers send what they hold, before a server ends the process by a signal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._worker import Budget, begin
from .notices import once

logger = logging.getLogger("session_mw")


def flush(providers: Sequence[Any], timeout: float) -> None:
    """
    Flush *providers* side by side, and wait for them, at most *timeout* seconds.

    Args:
        providers: Of any SDK; those that cannot flush are left alone, and so is None.
        timeout: Seconds. Back ends that do not answer in time are left behind: the SDK's own limits are longer.
    """
    budget = Budget(timeout)
    flushes = [getattr(provider, "force_flush", None) for provider in providers]
    begun = [begin(partial(_flush, each, timeout), "session-mw-flush") for each in flushes if callable(each)]
    for thread in begun:
        if thread is not None:
            thread.join(budget.left())


def _flush(force_flush: Callable[[int], object], timeout: float) -> None:
    try:
        force_flush(round(timeout * 1000))
    except Exception as error:
        kind = type(error).__name__
        once(f"flush:{kind}", logger.error, "cannot flush a provider: %s: %s", kind, error, every=60)
