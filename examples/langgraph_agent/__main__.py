"""
A customer with two orders, and a person who is asked before money is paid back. Prints what was said and counted.

    python -m examples.langgraph_agent
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langgraph.types import Command

from session_mw import configure, session_context
from session_mw.ledger import TurnRow, open_ledger

from ..shared import telemetry
from ..shared.settings import session_settings
from .agent import build

VISIT: tuple[tuple[str, str | Command[Any]], ...] = (
    ("order-1042", "Where is order 1042?"),
    ("order-1050", "And where is order 1050?"),
    ("order-1042", "I want my money back"),
    ("order-1042", Command(resume="yes")),
    ("order-1050", "Thanks! Where is it now?"),
)


def say(graph: Any, thread: str, what: str | Command[Any]) -> str:
    """Run the agent once, and return what it says, or asks a person."""
    given = what if isinstance(what, Command) else {"messages": [("user", what)]}
    result = graph.invoke(given, {"configurable": {"thread_id": thread}})
    if "__interrupt__" in result:
        return f"(to a person) {result['__interrupt__'][0].value['question']}"
    return str(result["messages"][-1].content)


def main() -> None:
    """Be the customer, and tell what came of it."""
    stop = telemetry.setup("langgraph-agent")
    settings = session_settings()
    configure(settings)
    graph = build()
    with session_context(user_id="jane", type="chat", name="orders") as session:
        for thread, what in VISIT:
            print(f"{thread}  > {what.resume if isinstance(what, Command) else what}")
            print(f"{thread}  < {say(graph, thread, what)}")
    print(f"\nsession {session.id}")
    for turn in turns_of(session.id, settings.ledger or settings.store):
        print(line(turn))
    print(f"look at it in a browser: session-mw view --ledger {settings.ledger or settings.store}")
    stop()


def turns_of(session_id: str, url: str, patience: float = 10.0) -> Sequence[TurnRow]:
    """Return the session's turns from the history, which is written in the background."""
    ledger, limit = open_ledger(url, read_only=True), time.monotonic() + patience
    try:
        while len(found := ledger.turns(session_id)) < len(VISIT) and time.monotonic() < limit:
            time.sleep(0.05)
        return found
    finally:
        ledger.close()


def line(turn: TurnRow) -> str:
    """Say in a line what is known of a turn."""
    said = turn.attributes
    tokens = (turn.input_tokens or 0) + (turn.output_tokens or 0)
    runs, tools = said.get("turn.agent_runs", 0), said.get("turn.tool_calls", 0)
    how = " ".join(str(said[name]) for name in ("turn.input_type", "turn.output_type") if name in said)
    counts = f"{runs} agent runs, {tools} tool calls, {tokens:>3} tokens"
    return f"  turn {turn.number}  {turn.conversation_id}  {counts}  {turn.status}  {how}".rstrip()


if __name__ == "__main__":
    main()
