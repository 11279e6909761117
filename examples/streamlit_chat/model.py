"""A model that needs no key and no network: it knows the orders of a small shop, and says so word by word."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from session_mw import agent_run, current_turn, llm_call, tool_call

ORDERS = {"1042": "a desk lamp, delivered on Monday", "1043": "a floor lamp, on its way"}
MODEL = "local-small-1"
SECONDS_PER_WORD = 0.03


@tool_call("look_up_order")
def look_up(number: str) -> str:
    """Return what is known of an order."""
    return ORDERS.get(number, "no order that we know")


@agent_run("assistant")
def answer(question: str, history: list[dict[str, str]]) -> Iterator[str]:
    """
    Answer, a word at a time.

    Args:
        question: What the user wrote.
        history: The messages before, oldest first: ``role`` and ``content``.
    """
    numbers = re.findall(r"\d{3,}", question)
    found = [f"Order {number} is {look_up(number)}." for number in numbers]
    if (turn := current_turn()) is not None:
        turn.set(intent="order" if numbers else "other")
    words = " ".join(found or ["Ask me about an order: 1042, for example."]).split()
    read = sum(len(message["content"].split()) for message in history) + len(question.split())
    with llm_call(MODEL, provider="local") as call:  # where no instrumentation makes the span
        for word in words:
            time.sleep(SECONDS_PER_WORD)
            yield word + " "
        call.usage(input_tokens=read, output_tokens=len(words), cost_usd=(read + 4 * len(words)) / 1_000_000)
