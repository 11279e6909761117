"""A history as an application of some weeks has it, the same each time: for pictures of the viewer."""

from __future__ import annotations

import json
import random
from typing import Any

from session_mw._core import names
from session_mw._core.records import UsageRecord
from session_mw.ledger import Ledger
from tests.ledger.support import end, start, turn
from tests.viewer.support import DAY, HOUR, NOW_MS

COUNT = 400
STAR = "chat-9f2c41e081a7d3"  # the session that pictures of one show
ACTIONS = ("ask_question", "search_docs", "clarify", "answer", "create_ticket", "refund")
INTENTS = ("billing", "how_to", "bug_report", "cancel")
TYPES = ("chat", "chat", "chat", "code-review", "batch")
NAMES = (None, "onboarding", "async-refactor", "refund request", None, None)
ERRORS = ("TimeoutError", "RateLimitError", "ToolError")
PRICE = (0.0000025, 0.00001)  # US dollars a token, in and out


def tell(ledger: Ledger, count: int = COUNT) -> None:
    """Tell of *count* sessions of the last three weeks, two that go on, and one that is worth a look."""
    chance = random.Random(7)
    for number in range(count):
        _session(ledger, chance, number, count)
    for number in (1, 2):
        _active(ledger, number)
    _star(ledger)


def _session(ledger: Ledger, chance: random.Random, number: int, count: int) -> None:
    session_id = f"{TYPES[number % 5]}-{chance.getrandbits(56):014x}"
    age = 21 * DAY * (count - number) // count
    began = NOW_MS - 2 * HOUR - age + chance.randrange(HOUR)
    version = "v2" if chance.random() < 0.25 + 0.6 * number / count else "v1"
    turns, at = [], began
    for n in range(1, 2 + min(30, int(chance.expovariate(0.22)))):
        took = int(chance.lognormvariate(7.6, 0.5))
        turns.append(_turn(chance, session_id, n, at, took, version, priced=number % 11 > 0))
        at += took + int(chance.lognormvariate(9.8, 1.2))
    ledger.write_turns(turns)
    last = turns[-1].started_ms + turns[-1].latency_ms
    failed = sum(one.status == "error" for one in turns)
    resolved = chance.random() < (0.72 if version == "v2" else 0.61)
    said = {
        names.SESSION_TYPE: TYPES[number % 5],
        names.SESSION_PROMPT_VERSION: version,
        names.SESSION_CHANNEL: ("web", "web", "api")[number % 3],
        names.SESSION_OUTCOME: "resolved" if resolved else ("escalated", "abandoned", "none")[number % 3],
        "metadata.source": ("web", "email", "slack")[number % 3],
        "user.tier": ("free", "pro")[number % 2],
    }
    if NAMES[number % 6]:
        said[names.SESSION_NAME] = NAMES[number % 6]
    ledger.emit(
        [
            end(
                session_id,
                user_id=None if number % 9 == 0 else f"u_{chance.randrange(60) * 7919 + 17:032x}",
                started_ms=began,
                last_ms=last,
                ended_ms=last + HOUR // 2,
                turns=len(turns),
                completed=len(turns) - failed,
                failed=failed,
                latency_ms=sum(one.latency_ms for one in turns),
                input_tokens=sum(one.input_tokens or 0 for one in turns),
                output_tokens=sum(one.output_tokens or 0 for one in turns),
                cost_microusd=sum(one.cost_microusd or 0 for one in turns) if number % 11 else None,
                reason="user_exit" if resolved else "idle_timeout",
                attributes=said,
            )
        ]
    )


def _turn(chance: random.Random, session_id: str, n: int, at: int, took: int, version: str, priced: bool) -> Any:
    failed = chance.random() < 0.03
    tokens = 300 + 240 * n + chance.randrange(400), 60 + chance.randrange(300)
    cost = round(1_000_000 * sum(many * price for many, price in zip(tokens, PRICE, strict=True)))
    attributes = {
        names.TURN_ACTION: ACTIONS[0] if n == 1 else ACTIONS[chance.randrange(1, 6)],
        names.TURN_INTENT: INTENTS[chance.randrange(4)],
        names.SESSION_PROMPT_VERSION: version,
        names.TURN_INPUT_LENGTH: 20 + chance.randrange(300),
        names.TURN_OUTPUT_LENGTH: 80 + chance.randrange(900),
    }
    return turn(
        session_id,
        n,
        started_ms=at,
        latency_ms=took,
        status="error" if failed else "ok",
        error_type=ERRORS[chance.randrange(3)] if failed else None,
        first_chunk_ms=int(took * (0.1 + 0.3 * chance.random())),
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cost_microusd=cost if priced else None,
        trace=f"{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01",
        attributes=attributes,
    )


def _active(ledger: Ledger, number: int) -> None:
    session_id, began = f"chat-5e1f0a77c3b{number:03x}", NOW_MS - number * 240_000
    said = {names.SESSION_TYPE: "chat", names.SESSION_PROMPT_VERSION: "v2", names.SESSION_CHANNEL: "web"}
    ledger.emit([start(session_id, started_ms=began, user_id=f"u_{number * 31:032x}", attributes=said)])
    chance = random.Random(number)
    ledger.write_turns([_turn(chance, session_id, n, began + 40_000 * n, 2_400, "v2", True) for n in (1, 2, 3)])


SAID = (
    ("How do I get the refund for order 4471?", "I can help with that. Let me look the order up.", "search_docs"),
    (
        "It was charged twice, see the invoice.",
        "Both are there: 12 May, $48.00 each. One is a duplicate.",
        "lookup",
    ),
    ("So will I get it back?", "", "refund"),
    ("Hello? Are you still there?", "Sorry, that took too long. The refund is on its way.", "refund"),
    ("Great. How long does it take?", "Three to five working days, to the card that was charged.", "answer"),
    ("Thanks!", "You are welcome. Anything else?", "answer"),
)


def _star(ledger: Ledger) -> None:
    """Tell of a refund: a tool, an error, an idle spell, six turns."""
    began = NOW_MS - 26 * 60_000
    ats, tooks = (0, 34_000, 61_000, 760_000, 790_000, 822_000), (2_100, 4_800, 30_000, 3_900, 1_900, 1_200)
    turns = [_said(n, began + at, took, *said) for n, at, took, said in zip(range(1, 7), ats, tooks, SAID, strict=True)]
    ledger.write_turns(turns)
    last = began + ats[-1] + tooks[-1]
    said = {
        names.SESSION_TYPE: "chat",
        names.SESSION_PROMPT_VERSION: "v2",
        names.SESSION_NAME: "refund request",
        names.SESSION_CHANNEL: "web",
        names.SESSION_OUTCOME: "resolved",
        "metadata.source": "web",
        "user.tier": "pro",
    }
    totals = {
        "input_tokens": sum(one.input_tokens for one in turns),
        "output_tokens": sum(one.output_tokens for one in turns),
        "cost_microusd": sum(one.cost_microusd for one in turns),
    }
    times = {"started_ms": began, "last_ms": last, "ended_ms": last, "latency_ms": sum(tooks)}
    counts = {"turns": 6, "completed": 5, "failed": 1}
    user = f"u_{17 * 7919:032x}"
    ledger.emit([end(STAR, user_id=user, reason="user_exit", attributes=said, **times, **counts, **totals)])


def _said(n: int, at: int, took: int, asked: str, answered: str, action: str) -> Any:
    messages: list[dict[str, Any]] = [{"role": "user", "type": "text", "text": asked}]
    if action in ("search_docs", "lookup", "refund"):
        messages += [
            {"role": "assistant", "type": "reasoning", "text": f"The order has to be looked at first: {action}."},
            {"role": "assistant", "type": "tool_call", "name": action, "text": '{"order": 4471}'},
            {"role": "tool", "type": "tool_result", "name": action, "text": '{"charges": 2, "amount": 48.0}'},
        ]
    messages += [{"role": "assistant", "type": "reasoning", "text": "They want to know when."}] if n == 5 else []
    messages += [{"role": "assistant", "type": "text", "text": answered}] if answered else []
    failed = not answered
    attributes = {
        names.TURN_ACTION: action,
        names.TURN_INTENT: "billing",
        names.SESSION_PROMPT_VERSION: "v2",
        names.TURN_INPUT_LENGTH: len(asked),
        names.TURN_OUTPUT_LENGTH: len(answered),
        names.TURN_MESSAGES: json.dumps(messages),
    }
    tokens = 420 + 610 * n, 0 if failed else 40 + len(answered)
    return turn(
        STAR,
        n,
        started_ms=at,
        latency_ms=took,
        status="error" if failed else "ok",
        error_type="TimeoutError" if failed else None,
        first_chunk_ms=None if failed else took // 4,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cost_microusd=1_000 + 2_900 * n,
        usages=_calls(n, at, took, action, tokens, 1_000 + 2_900 * n),
        trace=f"{n:032x}-{n:016x}-01",
        attributes=attributes,
    )


def _calls(n: int, at: int, took: int, action: str, tokens: tuple[int, int], cost: int) -> tuple[UsageRecord, ...]:
    """An agent that asks a model, runs a tool where one is needed, and asks again; its tokens are the turn's."""
    tool, failed, agent = action in ("search_docs", "lookup", "refund"), tokens[1] == 0, f"{n:08x}{1:08x}"
    found = [UsageRecord("agent", at + took // 50, took - took // 40, "support", span_id=agent)]
    spent = (tokens[0] // 3, 0 if failed else 12, cost // 3) if tool else (*tokens, cost)
    asking = {"span_id": f"{n:08x}{2:08x}", "parent_id": agent, "first_token_ms": took // 12}
    found.append(_model(at + took // 30, took // 5 if tool else took * 9 // 10, spent, asking))
    if not tool:
        return tuple(found)
    wrong = {"status": "error", "error_type": "TimeoutError"} if failed else {}
    ran = took * 7 // 10 if failed else took // 3
    found.append(UsageRecord("tool", at + took // 4, ran, action, span_id=f"{n:08x}{3:08x}", parent_id=agent, **wrong))
    rest = (tokens[0] - spent[0], tokens[1] - spent[1], cost - spent[2])
    again = {"span_id": f"{n:08x}{4:08x}", "parent_id": agent, "first_token_ms": took // 10}
    return (*found, _model(at + took // 4 + ran + took // 60, took // 60 if failed else took // 3, rest, again))


def _model(at: int, took: int, spent: tuple[int, int, int], more: dict[str, Any]) -> UsageRecord:
    into, out, cost = spent
    used = {"input_tokens": into, "output_tokens": out, "cache_read_tokens": into // 2, "reasoning_tokens": out // 4}
    return UsageRecord("model", at, took, "chat", "gpt-5-mini", "openai", cost_microusd=cost, **used, **more)
