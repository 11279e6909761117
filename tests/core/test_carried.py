"""A session that came with a message: for how long its signature is good, and what else is refused."""

from __future__ import annotations

import pytest

from session_mw._core.admission import BAGGAGE_MAX_AGE_MS
from session_mw._core.baggage import render
from session_mw._core.carried import admit_carried
from tests.telemetry.support import SIGNER, make_policy

POLICY = make_policy()
DAY, SKEW, NOW = POLICY.limits.absolute_ms, POLICY.limits.skew_ms, 1_790_000_000_000
OURS = {"session.id": "sess-123", "turn.number": "3"}


def message(age_ms: int = 0, ours: dict[str, str] = OURS) -> str:
    """Return the baggage of a message that was sent so long ago."""
    return render({**ours, "session.sig": SIGNER.sign(ours, NOW - age_ms)}, "tenant=t1")


@pytest.mark.parametrize(
    ("age_ms", "reason"),
    [
        (0, None),
        (2 * BAGGAGE_MAX_AGE_MS, None),
        (DAY + SKEW, None),
        (DAY + SKEW + 1000, "expired"),
        (-SKEW, None),
        (-SKEW - 1000, "from_future"),
    ],
)
def test_S13_message_is_good_for_as_long_as_a_session_can_last(age_ms: int, reason: str | None) -> None:
    """A message waits, and is tried again; a header that is a request's is good for an hour."""
    remote, why = admit_carried(message(age_ms), POLICY, NOW, trusted=False)

    assert (reason, reason is None) == (why, remote is not None)


@pytest.mark.parametrize(
    ("header", "trusted", "reason"),
    [
        ("", False, None),
        ("tenant=t1", False, None),
        ("session.id=sess-123", False, "untrusted"),
        ("session.id=sess-123", True, None),
        ("user.id=u", True, "untrusted"),
        ("session.id=a%20b", True, "malformed"),
        (message(ours={**OURS, "session.id": "a b"}), False, "malformed"),
        (message().replace("123", "124"), False, "bad_signature"),
        (message().replace("session.sig=1.", "session.sig=2."), False, "malformed"),
    ],
)
def test_message_is_believed_as_a_request_is(header: str, trusted: bool, reason: str | None) -> None:
    """Signed with a key of ours, or from where the application says that nobody else writes."""
    assert reason == admit_carried(header, POLICY, NOW, trusted=trusted)[1]
