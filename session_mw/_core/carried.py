"""
A session that came with a message or with the environment of a process, not with a request.

The rules are those of requests: our entries are believed when they are signed with a key of ours, or when the
application says that nobody else can write there. What differs is time. A message may wait, and be tried again, so a
signature is good for as long as a session can last; whoever can read a queue's messages for that long needs no replay.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import baggage, names
from .admission import cleaned
from .identity import valid_session_id
from .policy import Policy


def admit_carried(
    header: str, policy: Policy, now_ms: int, *, trusted: bool
) -> tuple[Mapping[str, str] | None, str | None]:
    """
    Return the session that baggage names, and why it was not believed; both None when it names none.

    Args:
        header: The baggage; "" for none.
        policy: Holds the keys.
        now_ms: Current time, milliseconds since the epoch.
        trusted: The application vouches for whoever wrote it.
    """
    ours = baggage.split([header])[0] if header else {}
    if names.SESSION_ID not in ours:
        return None, "untrusted" if ours else None
    verdict = "ok" if trusted else _verdict(ours, policy, now_ms)
    if verdict != "ok":
        return None, verdict
    if not valid_session_id(ours[names.SESSION_ID]):
        return None, "malformed"
    return cleaned(ours, policy), None


def _verdict(ours: Mapping[str, str], policy: Policy, now_ms: int) -> str:
    if policy.signer is None:
        return "untrusted"
    limits = policy.limits
    verdict = policy.signer.verify(ours, now_ms=now_ms, max_age_ms=limits.absolute_ms, skew_ms=limits.skew_ms)
    return "untrusted" if verdict == "missing" else verdict
