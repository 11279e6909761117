"""A history for tests of the commands that look at it."""

from __future__ import annotations

import json
import time
from typing import Any

from click.testing import CliRunner, Result

from session_mw._core import names
from session_mw.cli.app import command
from session_mw.ledger import Ledger, open_ledger
from tests.ledger.support import end, start, turn

HOUR = 3_600_000
JANE = "u_" + "1" * 32


def tell(ledger: Ledger, now_ms: int) -> None:
    """Tell of a chat with an idle hour and an error, a review, one that goes on, one of last year, and a bot's."""
    began = now_ms - 5 * HOUR
    said: dict[str, Any] = {
        names.SESSION_TYPE: "chat",
        names.SESSION_PROMPT_VERSION: "v2",
        names.SESSION_NAME: "async-refactor",
        names.SESSION_OUTCOME: "resolved",
        "metadata.source": "web",
        "metadata.beta": True,
        "user.tier": "pro",
    }
    ledger.write_turns(
        [
            _turn(1, began, trace=f"{1:032x}-{1:016x}-01", attributes={names.TURN_ACTION: "greet"}),
            _turn(2, began + 10_000, trace=f"{2:032x}-{2:016x}-01", attributes={names.TURN_ACTION: "search"}),
            _turn(3, began + HOUR, status="error", error_type="TimeoutError", latency_ms=30_000, attributes={}),
        ]
    )
    times = {"started_ms": began, "last_ms": began + HOUR + 30_000, "ended_ms": now_ms - 3 * HOUR}
    ledger.emit([end("chat-1", user_id=JANE, cost_microusd=1_250_000, attributes=said, **times)])
    times = {"started_ms": now_ms - 2 * HOUR, "last_ms": now_ms - 2 * HOUR + 1, "ended_ms": now_ms - HOUR}
    quiet: dict[str, Any] = {"turns": 1, "completed": 1, "failed": 0, "latency_ms": 200, "cost_microusd": None}
    review = {names.SESSION_TYPE: "review", names.SESSION_PROMPT_VERSION: "v10"}
    ledger.emit([end("review-1", user_id=None, attributes=review, reason="user_exit", **quiet, **times)])
    ledger.emit([start("open-1", started_ms=now_ms - 60_000, user_id="u_2", attributes={})])
    old = {
        "started_ms": now_ms - 400 * 24 * HOUR,
        "last_ms": now_ms - 399 * 24 * HOUR,
        "ended_ms": now_ms - 399 * 24 * HOUR,
    }
    ledger.emit([end("old-1", attributes={names.SESSION_TYPE: "chat"}, **old), end("bot-1", confirmed=False, **times)])


def made(url: str) -> None:
    """Tell the history at *url*, as of now."""
    ledger = open_ledger(url)
    tell(ledger, int(time.time() * 1000))
    ledger.close()


def run(*words: str, **more: Any) -> Result:
    """Run the command."""
    return CliRunner().invoke(command, list(words), prog_name="session-mw", **more)


def ids(result: Result) -> list[str]:
    """Return the ids of the sessions that were printed as JSON."""
    assert 0 == result.exit_code, result.output
    return [row["session_id"] for row in json.loads(result.stdout)]


def fill(url: str) -> None:
    """Tell the history at *url*, and of a session of each of two versions."""
    made(url)
    ledger = open_ledger(url)
    now_ms = int(time.time() * 1000)
    times = {"started_ms": now_ms - HOUR, "last_ms": now_ms - HOUR, "ended_ms": now_ms}
    of_type = {names.SESSION_TYPE: "code-review"}
    ledger.emit(
        [end(f"of-{v}", attributes={**of_type, names.SESSION_PROMPT_VERSION: v}, **times) for v in ("v1", "v2")]
    )
    ledger.close()


def _turn(number: int, started_ms: int, **more: Any) -> Any:
    facts = {"latency_ms": 2_000, "input_tokens": 100, "output_tokens": 20, "cost_microusd": 30_000, **more}
    return turn("chat-1", number, started_ms=started_ms, **facts)
