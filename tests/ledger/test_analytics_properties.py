"""Whatever a history holds: databases answer as memory does, from daily sums or without."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw._core import names
from session_mw._core.records import TurnRecord
from session_mw.ledger import Analyzing, Ledger, RingLedger, Summing, open_ledger, read_filter
from tests.ledger.support import DAY, T0, end, make, turn

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
MIDNIGHT = T0 - T0 % DAY
moments = st.integers(0, 12 * DAY).map(lambda ms: ms - ms % 7_200_000) | st.integers(0, 12 * DAY)
actions = st.sampled_from([None, "ask", "search", "answer", "a,b", '"\\'])
kinds = st.sampled_from([None, "chat", "review"])


@st.composite
def told(draw: st.DrawFn) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Draw a session's end, None of one that goes on, and its turns; several may begin at the same moment."""
    started = MIDNIGHT + draw(moments)
    user, version = (
        draw(st.none() | st.sampled_from(["u_1", "u_2", "u_3"])),
        draw(st.none() | st.sampled_from(["v1", "v2"])),
    )
    count = draw(st.integers(0, 9))
    said = {names.SESSION_TYPE: draw(kinds), names.SESSION_PROMPT_VERSION: version, names.SESSION_CHANNEL: draw(kinds)}
    turns = []
    at = started
    for number in range(1, count + 1):
        facts = {"started_ms": at, "latency_ms": draw(st.integers(0, 90_000)), "user_id": user}
        attributes = {names.TURN_ACTION: draw(actions), **said}
        known = {key: value for key, value in attributes.items() if value is not None}
        numbered = draw(st.booleans()) or number > 2
        trace = f"{'a' * 32}-{number:016x}-01" if numbered else ""
        turns.append({"number": number if numbered else None, "attributes": known, "trace": trace, **facts})
        at += draw(st.sampled_from([0, 1_000, 60_000, DAY]))
    if draw(st.integers(0, 3)) == 0:
        return None, turns or [{"number": 1, "started_ms": started, "latency_ms": 5, "user_id": user}]
    failed = draw(st.integers(0, count))
    said[names.SESSION_OUTCOME] = draw(st.sampled_from([None, "resolved", "escalated", "abandoned", "none"]))
    return {
        "attributes": {key: value for key, value in said.items() if value is not None},
        "started_ms": started,
        "last_ms": at,
        "ended_ms": at + 1_800_000,
        "turns": draw(st.sampled_from([count, count, 60])),
        "completed": count - failed,
        "failed": failed,
        "latency_ms": draw(st.integers(0, 10**6)),
        "user_id": user,
        "cost_microusd": draw(st.none() | st.integers(0, 10**6)),
        "input_tokens": draw(st.none() | st.integers(0, 10**6)),
        "confirmed": draw(st.sampled_from([True, True, False])),
        "reason": "user_exit",
    }, turns


def write(ledger: Ledger, sessions: list[Any], first: int) -> None:
    """Tell of sessions, as they were drawn."""
    for place, (ended, turns) in enumerate(sessions, first):
        records: list[TurnRecord] = [turn(f"s{place}", **{"status": "ok", **facts}) for facts in turns]
        ledger.write_turns(records)
        if ended is not None:
            ledger.emit([end(f"s{place}", **ended)])


FILTERS = [
    "",
    "type:chat",
    "version:v1 channel:[chat, review]",
    "type IS NULL",
    "user:u_1",
    "cost:>0.5",
    "-type:review",
]
TIMES = ["", "last 5 days", "date:2025-10-12", "last:>2025-10-14"]


@st.composite
def asking(draw: st.DrawFn) -> Analyzing:
    """Draw which sessions are meant."""
    where = read_filter(f"{draw(st.sampled_from(FILTERS))} {draw(st.sampled_from(TIMES))}", MIDNIGHT + 12 * DAY)
    edge = st.none() | st.integers(-1, 13).map(lambda day: MIDNIGHT + day * DAY) | moments.map(MIDNIGHT.__add__)
    zone = draw(st.sampled_from([timezone.utc, timezone.utc, timezone(timedelta(hours=-7, minutes=-30))]))
    return Analyzing(where, draw(st.booleans()), zone, draw(edge), draw(edge), seconds=60)


def answers(ledger: Ledger, asked: Analyzing) -> Iterator[tuple[str, object]]:
    """Yield all answers."""
    for name in ("overview", "engagement", "first_actions", "flows", "paths", "resolution", "dropoff"):
        yield name, getattr(ledger, name)(asked)
    yield "funnel", ledger.funnel(asked, ("ask", "answer", "ask"))
    yield "retention", ledger.retention(asked, weeks=3)
    for by in ((), ("type",), ("version", "channel"), ("user",)):
        yield "summary", ledger.summary(Summing(asked.where, by, asked.include_unconfirmed))


def check_alike(opened: Callable[[], Ledger], sessions: list[Any], questions: list[Analyzing]) -> None:
    """Fail unless a ledger answers as memory does."""
    memory, ledger = RingLedger(), opened()
    half = len(sessions) // 2
    for some, rolled in ((slice(half), DAY * 8), (slice(half, None), DAY * 6)):
        for one in (memory, ledger):
            write(one, sessions[some], some.start or 0)
        ledger.roll_up(MIDNIGHT + rolled, 60)
        for asked in questions:
            assert list(answers(memory, asked)) == list(answers(ledger, asked))
    ledger.close()


@settings(unhurried, max_examples=8)
@given(sessions=st.lists(told(), max_size=8), questions=st.lists(asking(), min_size=4, max_size=4))
def test_sqlite_answers_as_memory_does(sessions: list[Any], questions: list[Analyzing]) -> None:
    """Every question, every filter, every window and zone."""
    with tempfile.TemporaryDirectory() as folder:
        check_alike(lambda: make("sqlite", folder), sessions, questions)


@pytest.mark.landing
@settings(unhurried, max_examples=150)
@given(sessions=st.lists(told(), max_size=25), questions=st.lists(asking(), min_size=4, max_size=4))
def test_sqlite_answers_many_histories_as_memory_does(sessions: list[Any], questions: list[Analyzing]) -> None:
    """The same, more of it."""
    with tempfile.TemporaryDirectory() as folder:
        check_alike(lambda: make("sqlite", folder), sessions, questions)


@pytest.mark.landing
@settings(unhurried, max_examples=60)
@given(sessions=st.lists(told(), max_size=25), questions=st.lists(asking(), min_size=4, max_size=4))
def test_postgresql_answers_as_memory_does(sessions: list[Any], questions: list[Analyzing], pg_emptied: str) -> None:
    """The same for the server."""

    def opened() -> Ledger:
        ledger = open_ledger(pg_emptied)
        ledger.forget_older_than(2**60, 1_000)
        return ledger

    check_alike(opened, sessions, questions)
