"""``manage_context``: what it finds and does stands on its span, on the turn's, and in what it returns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw import conversation, manage_context, session_context

from .support import Script, id_of, parent_of

SPAN = "conversation.manage_context"


def words(text: Any) -> int:
    """Count tokens: words of a message, or of all messages."""
    return len(text.split()) if isinstance(text, str) else sum(len(one.split()) for one in text)


class Chat:
    """Conversations by id, pruned two messages at a time."""

    def __init__(self, *messages: str) -> None:
        self.messages = {"c-1": list(messages)}

    def history(self, conversation_id: str) -> list[str]:
        return self.messages[conversation_id]

    def prune(self, conversation_id: str) -> int:
        del self.messages[conversation_id][:2]
        return 2


def window_of(script: Script, name: str = SPAN) -> dict[str, Any]:
    return {key: value for key, value in script.shown(name).items() if key.startswith(("context.", "conversation."))}


def test_window_with_room_prunes_nothing(script: Script) -> None:
    """Below the threshold the span says what there is, and that nothing was taken out."""
    chat = Chat("one two", "three four")
    manage = manage_context(count=words, limit=10, prune=chat.prune, history=chat.history)
    with session_context("s-1"), conversation("c-1"):
        window = manage("c-1", "five six")

    assert (4, 2, False, None, 6) == (
        window.current_tokens,
        window.new_tokens,
        window.pruned,
        window.messages_pruned,
        window.tokens,
    )
    expected = {
        "context.current_tokens": 4,
        "context.new_tokens": 2,
        "context.limit": 10,
        "context.tokens": 6,
        "context.pruned": False,
        "conversation.context_tokens": 6,
        "conversation.context_window_pct": 0.6,
        "conversation.messages_in_context": 2,
    }
    own = {key: value for key, value in window_of(script).items() if key != "conversation.id"}
    assert expected == own
    assert expected == {key: script.shown("turn")[key] for key in expected}
    assert id_of(script.only("turn")) == parent_of(script.only(SPAN))


def test_window_over_the_threshold_prunes(script: Script) -> None:
    """Above it the prune function takes messages out; tokens before and after are told apart."""
    chat = Chat("one two", "three four", "five six", "seven")
    manage = manage_context(count=words, limit=10, prune=chat.prune, history=chat.history)
    window = manage("c-1", "eight nine")

    assert ["five six", "seven"] == window.history == chat.messages["c-1"]
    shown = window_of(script)
    assert (7, 2, True, 2) == tuple(
        shown[f"context.{key}"] for key in ("current_tokens", "new_tokens", "pruned", "messages_pruned")
    )
    assert (5, 0.5, 2) == (
        shown["context.tokens"],
        shown["conversation.context_window_pct"],
        shown["conversation.messages_in_context"],
    )


def test_window_takes_a_history_itself(script: Script) -> None:
    """Without a function to find messages, conversations are given as their messages; pruning may return the rest."""
    manage = manage_context(count=words, limit=4, prune=lambda messages: messages[1:])
    window = manage(["one two", "three"], "four")

    assert (["three"], 1, 2) == (window.history, window.messages_pruned, window.tokens)


def test_window_prune_that_says_nothing(script: Script) -> None:
    """A function that prunes in place and returns nothing: what is gone is counted where it can be."""
    messages = ["one two", "three", "four"]
    manage = manage_context(count=words, limit=4, prune=lambda history: history.clear())
    window = manage(messages, "five")

    assert (3, 1) == (window.messages_pruned, window.tokens)


@pytest.mark.parametrize("which", ["count", "prune", "history"])
def test_window_with_async_functions(script: Script, which: str) -> None:
    """Where any of them is async, so is the call."""
    chat = Chat("one two", "three four", "five")
    plain: dict[str, Any] = {"count": words, "prune": chat.prune, "history": chat.history}

    async def wrapped(*args: Any) -> Any:
        await asyncio.sleep(0)
        return plain[which](*args)

    manage = manage_context(limit=6, **{**plain, which: wrapped})
    window = asyncio.run(manage("c-1", "six"))

    assert (5, 1, 2, 2) == (window.current_tokens, window.new_tokens, window.messages_pruned, window.tokens)
    assert window_of(script)["context.pruned"] is True


def test_window_function_that_fails(script: Script) -> None:
    """Its error goes to the caller, and the span says so."""

    def broken(history: Any) -> int:
        raise LookupError("no such conversation")

    manage = manage_context(count=broken, limit=6, prune=len)
    with pytest.raises(LookupError):
        manage([], "x")

    assert "ERROR" == script.only(SPAN).status.status_code.name


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": -1}, {"threshold": 0}, {"threshold": 1.5}], ids=str)
def test_window_that_makes_no_sense_raises(wrong: dict[str, Any]) -> None:
    """At construction, by name."""
    with pytest.raises(ValueError, match="cannot manage a context"):
        manage_context(**{"count": len, "limit": 10, "prune": len, **wrong})


@given(
    st.lists(st.text("ab ", max_size=8), max_size=8),
    st.text("ab ", max_size=8),
    st.integers(1, 40),
    st.floats(0.05, 1.0),
)
def test_window_prunes_exactly_above_the_threshold(history: list[str], new: str, limit: int, threshold: float) -> None:
    """The rule of the seed: pruned if and only if history and message exceed the threshold."""
    manage = manage_context(count=words, limit=limit, prune=lambda messages: messages[1:], threshold=threshold)
    window = manage(history, new)

    before = words(history) + words(new)
    assert (before > limit * threshold) is window.pruned
    assert before - (words(history[0]) if window.pruned and history else 0) == window.tokens
