"""An end that an import made has not the last word: it says when and why, the numbers stay those of the turns."""

from __future__ import annotations

from typing import Any

from session_mw._core import names
from session_mw._core.events import EventRecord
from session_mw.ledger import Ledger, SessionRow
from tests.ledger.support import T0, end, late, start, turn

IDLE = 1_800_000


def assumed(at_ms: int, **more: Any) -> EventRecord:
    """Return the end that an import makes of a session to which nobody came back."""
    said = {names.SESSION_IMPORTED: True, names.SESSION_END_REASON: "idle_timeout", names.SESSION_IDLE_TIME_MS: IDLE}
    return EventRecord(names.EVENT_END, at_ms, {**said, **more}, key=("s1", 1))


def told(number: int, **more: Any) -> Any:
    """Return a turn of 300 ms that used ten tokens."""
    return turn("s1", number, input_tokens=10, **more)


def row_of(ledger: Ledger) -> SessionRow:
    """Return the session."""
    row = ledger.session("s1")
    assert row is not None
    return row


def test_numbers_stay_those_of_the_turns(ledger: Ledger) -> None:
    """Also those that come later; the same end again, or an older one, changes nothing."""
    ledger.write_turns([told(1), told(2, status="error")])
    ledger.emit([start("s1", attributes={"user.tier": "pro"}), assumed(T0 + 2_300)])
    first = row_of(ledger)
    ledger.emit([assumed(T0 + 2_300), assumed(T0 + 100)])
    again = row_of(ledger)
    ledger.write_turns([told(3)])
    ledger.emit([assumed(T0 + 3_300)])
    grown = row_of(ledger)

    assert first == again
    assert ("timed_out", 2, 1, 1, 600, 20) == (
        first.status, first.turns, first.completed, first.failed, first.latency_ms, first.input_tokens
    )  # fmt: skip
    assert (T0 + 2_300, T0 + 2_300 + IDLE) == (first.last_ms, first.ended_ms)
    assert ("timed_out", 3, 2, 1, 900, 30) == (
        grown.status, grown.turns, grown.completed, grown.failed, grown.latency_ms, grown.input_tokens
    )  # fmt: skip
    assert (T0 + 3_300, T0 + 3_300 + IDLE) == (grown.last_ms, grown.ended_ms)
    assert {"user.tier": "pro", names.SESSION_IMPORTED: True} == grown.attributes


def test_a_real_end_has_the_last_word(ledger: Ledger) -> None:
    """Whichever comes first; an import does not open it again."""
    ledger.write_turns([told(1)])
    ledger.emit([assumed(T0 + 1_300)])
    ledger.emit([end("s1", reason="user_exit", attributes={})])
    first = row_of(ledger)
    ledger.emit([assumed(T0 + 90_000), start("s1", attributes={"a": 1})])
    ledger.write_turns([told(9)])

    assert ("ended", 3, 100, 1_234) == (first.status, first.turns, first.input_tokens, first.cost_microusd)
    assert names.SESSION_IMPORTED not in first.attributes
    assert (first.status, first.turns, first.input_tokens, first.ended_ms) == (
        row_of(ledger).status, row_of(ledger).turns, row_of(ledger).input_tokens, row_of(ledger).ended_ms
    )  # fmt: skip


def test_late_usage_is_added(ledger: Ledger) -> None:
    """Once, as to any other session."""
    ledger.write_turns([told(1)])
    ledger.emit([assumed(T0 + 1_300), late("s1", tokens_in=5), late("s1", tokens_in=5)])
    ledger.emit([assumed(T0 + 1_300)])

    assert 15 == row_of(ledger).input_tokens


def test_what_an_end_says_of_the_session_is_kept(ledger: Ledger) -> None:
    """An outcome that another SDK's event names, over what was known before; silence takes nothing away."""
    ledger.write_turns([told(1)])
    ledger.emit([start("s1", attributes={names.SESSION_TYPE: "chat"})])
    ledger.emit([assumed(T0 + 1_300, **{names.SESSION_OUTCOME: "resolved", "app.a": 1})])
    ledger.emit([assumed(T0 + 1_300)])
    row = row_of(ledger)

    assert ("chat", "resolved", 1) == (row.type, row.outcome, row.attributes["app.a"])
