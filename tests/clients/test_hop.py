"""Putting a header right: whatever stands in it, nothing of ours goes to a host that may not know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import baggage as wire
from session_mw._core.scope import current_scope
from session_mw.telemetry.destination import Destination, destination_host
from session_mw.telemetry.outgoing import hop
from session_mw.telemetry.propagator import SessionBaggagePropagator
from tests.telemetry.support import make_policy, make_scope

KEYS = [
    "session.id",
    "SESSION.ID",
    "%73ession.id",
    "+user.id",
    "user.id",
    "turn.number",
    "gen_ai.conversation.id",
    "session.sig",
]
OTHERS = ["a", "tenant", "gen_ai.agent.id", "sessionid", "x-session.id", "user"]
MEMBERS = st.builds("{}={}".format, st.sampled_from(KEYS + OTHERS), st.text("abc123%;=. ", max_size=12))
HEADERS = st.lists(MEMBERS | st.text(max_size=20), max_size=12).map(",".join)
HOSTS = st.sampled_from(
    ["billing.internal", "api.vendor.example", "?", "billing.internal.evil.example", "INTERNAL", "10.1.2.3"]
)


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    hop.egress.propagator = SessionBaggagePropagator(make_policy(("*.internal",)))
    current_scope.set(make_scope())
    yield
    hop.egress.propagator = None


def members(header: str | None) -> list[str]:
    return [entry.raw for entry in wire.parse([header or ""]).entries]


@given(header=HEADERS | st.none(), host=HOSTS, asked=st.booleans())
def test_corrected(header: str | None, host: str, asked: bool) -> None:
    """
    At a foreign host nothing is left that anybody could take for ours. At ours the entries are there, first and true,
    if somebody asked for them. What others wrote stays as it is.
    """
    current_scope.set(make_scope())
    to = Destination(host, asked=asked)
    token = destination_host.set(to)
    wanted = hop.corrected(header, to)
    destination_host.reset(token)
    after = header if wanted is None else wanted
    foreign = [raw for raw in members(header) if not wire.is_ours(raw.partition("=")[0].strip())]

    allowed = host == "billing.internal"
    ours = [raw for raw in members(after) if wire.is_ours(raw.partition("=")[0].strip())]
    if not allowed:
        assert [] == ours
    elif asked:
        assert "session.id=s-1" == members(after)[0] and 5 == len(ours) == len(members(after)[:5])
    assert foreign == members(after)[len(ours) :] or (allowed and not asked)


@given(header=HEADERS, host=HOSTS)
def test_corrected_outside_of_sessions_changes_nothing(header: str, host: str) -> None:
    """Nobody's message is not ours to change."""
    current_scope.set(None)

    assert hop.corrected(header, Destination(host)) is None
