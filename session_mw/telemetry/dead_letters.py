"""Ends that are reported no more: the store keeps them, and an operator has to know."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .._core.lifecycle import MAX_ATTEMPTS
from .._core.records import SessionRecord
from .metrics import Metrics
from .notices import once

logger = logging.getLogger("session_mw")


def mourn(refused: Iterable[SessionRecord], metrics: Metrics) -> None:
    """Say and count which ends were *refused* for the last time; the line comes once a minute at most."""
    dead = sum(record.attempts > MAX_ATTEMPTS for record in refused)
    if dead:
        metrics.dropped("dead_letter", dead)
        once(
            "dead-letter",
            logger.error,
            "a sink refused the ends of sessions %d times: %d of them are set aside, kept in the store, tried no more. "
            "When it works again, run session-mw store revive; session-mw store stats tells how many there are.",
            MAX_ATTEMPTS + 1,
            dead,
            every=60,
        )
