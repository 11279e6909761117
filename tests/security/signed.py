"""Baggage as a service of ours sends it, for tests that replay, change and break it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from session_mw._core.baggage import render

OURS = {"session.id": "sess-of-the-front", "user.id": "u_" + "5" * 32, "turn.number": "7"}


def signed(world: Any, at_ms: int, ours: Mapping[str, str] = OURS, foreign: str = "") -> str:
    """Return the header that a service with the keys of *world* writes at *at_ms*."""
    signature = world.engine.policy.signer.sign(ours, at_ms)
    return render({**ours, "session.sig": signature}, foreign)
