"""A history in which something is done: twelve sessions whose sums can be told by heart."""

from __future__ import annotations

from typing import Any

from session_mw._core import names
from session_mw.ledger import Ledger, RingLedger
from tests.ledger.support import end, start, turn
from tests.viewer.support import DAY, HOUR, NOW_MS

BUYING = ("search", "answer", "buy")
# Actions, outcome, user, type, version, days ago.
SESSIONS: tuple[tuple[tuple[str | None, ...], str | None, str | None, str, str | None, int], ...] = (
    (BUYING, "resolved", "ada", "chat", "v9", 20),
    (BUYING, "resolved", "ada", "chat", "v10", 13),
    (("search", "clarify", "answer"), "resolved", "ada", "chat", "v10", 2),
    (("search", "answer"), "abandoned", "bob", "chat", "v9", 20),
    (("search",), "abandoned", "bob", "chat", "v10", 2),
    (("search",), "abandoned", "cy", "chat", "v10", 2),
    (("greet",), "abandoned", "cy", "chat", "v10", 1),
    (("greet", "search", "clarify", "buy"), "escalated", "dee", "chat", "v9", 1),
    (("review", "review"), None, "dee", "review", None, 1),
    (("review",), None, None, "review", None, 1),
    ((None,), None, None, "batch", None, 1),
    (("review",), "resolved", "eve", "review", "v9", 1),
)


def acted() -> RingLedger:
    """Return it in memory."""
    ledger = RingLedger()
    act(ledger)
    return ledger


def act(ledger: Ledger) -> None:
    """Tell of it; a thirteenth session goes on, and a fourteenth was a bot's."""
    for number, (actions, outcome, user, kind, version, days) in enumerate(SESSIONS):
        began = NOW_MS - days * DAY - number * 60_000
        _turns(ledger, f"s{number}", began, actions)
        said = {names.SESSION_TYPE: kind, "metadata.number": number, "metadata.beta": number % 2 == 0}
        said |= {names.SESSION_PROMPT_VERSION: version} if version else {}
        said |= {names.SESSION_OUTCOME: outcome} if outcome else {}
        ledger.emit([_end(f"s{number}", began, actions, user, said)])
    _turns(ledger, "open", NOW_MS - HOUR, ("search",))
    ledger.emit([start("open", started_ms=NOW_MS - HOUR, user_id="ada", attributes={names.SESSION_TYPE: "chat"})])
    times = {"started_ms": NOW_MS - DAY, "last_ms": NOW_MS - DAY, "ended_ms": NOW_MS - DAY}
    ledger.emit([end("bot", confirmed=False, user_id=None, attributes={names.SESSION_TYPE: "bots"}, **times)])


def _turns(ledger: Ledger, session_id: str, began: int, actions: tuple[str | None, ...]) -> None:
    ledger.write_turns(
        [
            turn(session_id, at + 1, started_ms=began + at * 60_000, latency_ms=1_000,
                 trace=f"{session_id:0>16}{at:016x}-{at + 1:016x}-01".replace("s", "a").replace("open", "aaaa"),
                 attributes={names.TURN_ACTION: action} if action else {})
            for at, action in enumerate(actions)
        ]
    )  # fmt: skip


def _end(session_id: str, began: int, actions: Any, user: str | None, said: dict[str, Any]) -> Any:
    count = len(actions)
    last = began + (count - 1) * 60_000 + 1_000
    facts = {"turns": count, "completed": count, "failed": 0, "latency_ms": count * 1_000, "reason": "user_exit"}
    times = {"started_ms": began, "last_ms": last, "ended_ms": last}
    cost = None if user is None else 100_000 * count
    return end(session_id, user_id=user, cost_microusd=cost, attributes=said, **facts, **times)
