"""
What a model call costs: the application's callable, else genai-prices if it is installed, else unknown.

Importing genai-prices takes a seventh of a second, so it is not done where a model call ended, which is often an event
loop: a thread loads it when the first price is asked for, and answers what was asked meanwhile. From then on an answer
takes a tenth of a millisecond and is given at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final

from .._core.usage import TokenUsage, microusd
from .notices import once

logger = logging.getLogger("session_mw")

Answer = Callable[["int | None"], None]

# What OpenTelemetry and OpenInference call providers that the list calls otherwise.
PROVIDERS: Final = {
    "x_ai": "x-ai",
    "gcp.gen_ai": "google",
    "azure.ai.inference": "azure",
    "moonshot": "moonshotai",
}
# No providers: frameworks that write their own name there. The model's name alone has to tell.
FRAMEWORKS: Final = frozenset({"langchain", "langgraph", "litellm", "llama_index", "llamaindex", "crewai", "haystack"})


class PriceList:
    """genai-prices, loaded by a thread when somebody asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, str | None, TokenUsage, Answer]] | None = None
        self._thread: threading.Thread | None = None
        self._loaded = False
        self._module: Any = None

    def ask(self, model: str, provider: str | None, usage: TokenUsage, answer: Answer) -> None:
        """Give *answer* the price in millionths of a US dollar, None if it is unknown; now or soon."""
        if not self._loaded and self._wait((model, provider, usage, answer)):
            return
        answer(self.price(model, provider, usage))

    def _wait(self, question: tuple[str, str | None, TokenUsage, Answer]) -> bool:
        """Put a question aside until the list is loaded; False when it is, or when no thread can load it."""
        with self._lock:
            if self._loaded:
                return False
            if self._waiting is not None:
                self._waiting.append(question)
                return True
            self._waiting = [question]
            thread = self._thread = threading.Thread(target=self._load, name="session-mw-prices", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # interpreter shutdown
                self._waiting = None
                return False
        return True

    def _load(self) -> None:
        try:
            import genai_prices

            self._module = genai_prices
            self.price("gpt-4o", "openai", TokenUsage(1, 1))  # makes it read its data
        except ImportError:
            pass  # an optional extra: without it prices are unknown
        except Exception as error:
            _failed("load genai-prices", error)
        with self._lock:
            waiting, self._waiting, self._loaded = self._waiting or [], None, True
        for model, provider, usage, answer in waiting:
            try:
                answer(self.price(model, provider, usage))
            except Exception as error:
                _failed("count a price", error)

    def settle(self, timeout: float) -> None:
        """Wait until what was asked is answered."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def price(self, model: str, provider: str | None, usage: TokenUsage) -> int | None:
        """Return millionths of a US dollar; None for a model that is not in the list."""
        if self._module is None:
            return None
        name = None if provider is None or provider.lower() in FRAMEWORKS else provider
        try:
            tokens = self._module.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens or 0,
                cache_read_tokens=usage.cache_read_tokens or 0,
                cache_write_tokens=usage.cache_write_tokens or 0,
            )
            found = self._module.calc_price(tokens, model, provider_id=PROVIDERS.get(name, name) if name else None)
            return microusd(found.total_price)
        except (LookupError, ValueError):  # not in the list; more cached tokens than tokens
            return None
        except Exception as error:
            _failed("price a model call with genai-prices", error)
            return None


_list = PriceList()


def ask_price(
    own: Callable[..., Any] | None, model: str, provider: str | None, usage: TokenUsage, answer: Answer
) -> None:
    """
    Find the price of a model call.

    Args:
        own: The setting ``price_for``: called with model, provider and usage, returns US dollars or None. What it
            does not know is unknown: the list is not asked then.
        model: As the span says.
        provider: As the span says.
        usage: Of the call.
        answer: Given millionths of a US dollar, or None; at once, or from another thread.
    """
    if own is None:
        _list.ask(model, provider, usage, answer)
    else:
        answer(_asked(own, model, provider, usage))


def _asked(own: Callable[..., Any], model: str, provider: str | None, usage: TokenUsage) -> int | None:
    try:
        price = own(model, provider, usage)
    except Exception as error:
        _failed("price a model call with price_for", error)
        return None
    found = microusd(price)
    if found is None and price is not None:
        text = "price_for returned %r: not an amount in US dollars. The cost of such calls is unknown."
        once("price:value", logger.error, text, type(price).__name__, every=60)
    return found


def settle(timeout: float = 10.0) -> None:
    """Wait until every price that was asked for is answered, at most *timeout* seconds: before a process ends."""
    _list.settle(timeout)


def _failed(what: str, error: Exception) -> None:
    kind = type(error).__name__
    text = "cannot %s: %s: %s. The cost of the call is unknown."
    once(f"{what}:{kind}", logger.error, text, what, kind, error, every=60)


def _after_fork() -> None:
    """A child that was forked while its parent loaded the list has no thread that would go on."""
    global _list
    if not _list._loaded:
        _list = PriceList()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
