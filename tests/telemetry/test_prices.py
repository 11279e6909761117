"""What a model call costs: the callable, the price list, or unknown; and that nobody waits for the list to load."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any

import pytest

from session_mw import TokenUsage
from session_mw.telemetry import prices
from session_mw.telemetry.prices import PriceList, ask_price

USAGE = TokenUsage(1_000, 100, 200)
needs_list = pytest.mark.skipif(sys.version_info < (3, 11), reason="genai-prices needs Python 3.11")


def asked(
    own: Any, usage: TokenUsage = USAGE, provider: str | None = "openai", model: str = "gpt-4o-mini"
) -> int | None:
    """Return the answer of ``ask_price``, waiting for it."""
    answers: list[int | None] = []
    ask_price(own, model, provider, usage, answers.append)
    prices.settle()
    (answer,) = answers
    return answer


@needs_list
@pytest.mark.parametrize(
    ("usage", "provider", "model", "expected"),
    [
        (TokenUsage(1_000, 100), "openai", "gpt-4o-mini", 210),  # 0.15 and 0.60 USD a million
        (TokenUsage(1_000, 100, 200), "openai", "gpt-4o-mini-2024-07-18", 195),  # 0.075 for cached input
        (TokenUsage(1_000, 100), None, "gpt-4o-mini", 210),
        (TokenUsage(1_000, 100), "langchain", "gpt-4o-mini", 210),
        (TokenUsage(1_000, 100), "azure.ai.openai", "gpt-4o-mini", 210),
        (TokenUsage(1_000), "openai", "text-embedding-3-small", 20),
        (TokenUsage(1_000, 100), "openai", "no-such-model", None),
        (TokenUsage(1_000, 100), "ollama", "gpt-4o-mini", None),  # the same name elsewhere has another price
        (TokenUsage(10, 1, 200), "openai", "gpt-4o-mini", None),  # more cached than all
    ],
)
def test_price_of_the_list(usage: TokenUsage, provider: str | None, model: str, expected: int | None) -> None:
    """The real genai-prices answers in millionths of a US dollar; what it does not know is unknown."""
    assert expected == asked(None, usage, provider, model)


@needs_list
def test_price_list_is_loaded_by_a_thread_and_answers_what_was_asked_meanwhile() -> None:
    """The first to ask does not wait: all are answered when the list is there, from another thread, each once."""
    fresh = PriceList()
    threads: list[threading.Thread] = []
    answers: list[int | None] = []

    def answer(price: int | None) -> None:
        threads.append(threading.current_thread())
        answers.append(price)

    for _ in range(3):
        fresh.ask("gpt-4o-mini", "openai", USAGE, answer)
    fresh.settle(30)
    fresh.ask("gpt-4o-mini", "openai", USAGE, answer)

    assert [195] * 4 == answers
    assert threading.current_thread() is not threads[0]
    assert threading.current_thread() is threads[-1]


def test_price_list_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra every price is unknown, and nothing is said: it is optional."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    fresh = PriceList()
    answers: list[int | None] = []

    fresh.ask("gpt-4o-mini", "openai", USAGE, answers.append)
    fresh.settle(30)
    fresh.ask("gpt-4o-mini", "openai", USAGE, answers.append)

    assert [None, None] == answers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, 500_000),
        (Decimal("0.0000015"), 2),
        (0, 0),
        (None, None),
        (-1.0, None),
        ("0.5", None),
        (float("nan"), None),
    ],
)
def test_price_of_the_callable(given: Any, expected: int | None) -> None:
    """The callable returns US dollars as float or Decimal, or None; anything else is unknown."""
    assert expected == asked(lambda model, provider, usage: given)


def test_price_of_the_callable_decides_alone() -> None:
    """A callable that knows no price is not overruled by the list: its prices may be contracts."""
    assert asked(lambda model, provider, usage: None) is None


def test_price_callable_returning_no_amount_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """A callable that returns text is told so once."""
    with caplog.at_level(logging.ERROR, "session_mw"):
        for _ in range(3):
            asked(lambda model, provider, usage: "0.5")

    expected = "price_for returned 'str': not an amount in US dollars. The cost of such calls is unknown."
    assert [expected] == caplog.messages


def test_import_loads_no_price_list() -> None:
    """Neither importing the package nor making the middleware imports genai-prices."""
    code = (
        "import sys, session_mw\n"
        "from session_mw.asgi import SessionTrackingMiddleware\n"
        "SessionTrackingMiddleware(lambda *a: None, secret_key='0123456789abcdef-for-tests-only-0123456789')\n"
        "print('genai_prices' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )

    assert "False" == done.stdout.strip()
