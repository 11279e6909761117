"""``manage_context``: keeps a conversation's history within the model's context window, and says what it did."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any

from .._core import names
from .._core.records import AttributeValue
from ..context import current_conversation
from ..context.turn import window_attributes
from .step import Step, StepBlock

SPAN = "conversation.manage_context"


@dataclass(frozen=True, slots=True)
class Window:
    """
    What ``manage_context`` found and did.

    Attributes:
        current_tokens: Of the history, before pruning.
        new_tokens: Of the new message.
        limit: Tokens that the model takes.
        pruned: Whether the prune function was called.
        messages_pruned: How many messages it took out; None when it did not say, or was not called.
        tokens: What the model will be sent: history after pruning and new message.
        history: What is left of it, where it is known.
    """

    current_tokens: int
    new_tokens: int
    limit: int
    pruned: bool
    messages_pruned: int | None
    tokens: int
    history: Any


class ContextManager:
    """See ``manage_context``."""

    def __init__(
        self,
        count: Callable[[Any], Any],
        limit: int,
        prune: Callable[[Any], Any],
        threshold: float,
        history: Callable[[Any], Any] | None,
    ) -> None:
        self._count = count
        self._limit = limit
        self._prune = prune
        self._threshold = threshold
        self._history = history
        functions = (count, prune, history)
        self._is_async = any(inspect.iscoroutinefunction(function) for function in functions)

    def __call__(self, conversation: Any, new_message: Any) -> Any:
        """
        Make room for *new_message*.

        Args:
            conversation: The history itself, or what ``history`` finds it by.
            new_message: What is going to be added.

        Returns:
            A ``Window``; an awaitable of one, where any of the functions is async.
        """
        steps = self._steps(conversation, new_message)
        return _await_all(steps) if self._is_async else _run_all(steps)

    def _steps(self, conversation: Any, new_message: Any) -> Any:
        """Yield what each function returns, to be awaited or not, and be sent its value."""
        with StepBlock(SPAN, {}, Step) as step:
            history = conversation if self._history is None else (yield self._history(conversation))
            before = len(history) if isinstance(history, Sized) else None
            current, new = (yield self._count(history)), (yield self._count(new_message))
            pruned = current + new > self._limit * self._threshold
            taken, left = None, current
            if pruned:
                taken, history = _taken((yield self._prune(conversation)), before, history)
                if self._history is not None:
                    history = yield self._history(conversation)
                left = yield self._count(history)
            window = Window(current, new, self._limit, pruned, taken, left + new, history)
            _tell(step, window)
        return window


def _taken(answer: Any, before: int | None, history: Any) -> tuple[int | None, Any]:
    """Return how many messages were pruned and what is left: the function may say a number, or return the rest."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer, history
    if answer is not None and isinstance(answer, Sized) and not isinstance(answer, str):
        return None if before is None else max(0, before - len(answer)), answer
    after = len(history) if isinstance(history, Sized) else None
    return (before - after if before is not None and after is not None else None), history


def _tell(step: Step, window: Window) -> None:
    """Say it on the span, and with the turn that the conversation is in."""
    shown = attributes_of_window(window)
    step.set_attributes(shown)
    conversation = current_conversation()
    if conversation is not None:
        conversation._tell(shown)


def attributes_of_window(window: Window) -> dict[str, AttributeValue]:
    """Return what *window* says, by wire name: tokens before pruning, and what the model is sent."""
    messages = len(window.history) if isinstance(window.history, Sized) else None
    shown = window_attributes(window.current_tokens, window.new_tokens, window.limit, messages, window.pruned)
    if window.messages_pruned is not None:
        shown[names.CONTEXT_MESSAGES_PRUNED] = window.messages_pruned
    shown[names.CONTEXT_TOKENS] = shown[names.CONVERSATION_CONTEXT_TOKENS] = window.tokens
    shown[names.CONVERSATION_CONTEXT_WINDOW_PCT] = window.tokens / window.limit
    return shown


def _run_all(steps: Any) -> Window:
    try:
        value = next(steps)
        while True:
            value = steps.send(value)
    except StopIteration as stop:
        window: Window = stop.value
        return window


async def _await_all(steps: Any) -> Window:
    try:
        value = next(steps)
        while True:
            if inspect.isawaitable(value):
                try:
                    value = await value
                except BaseException as error:
                    value = steps.throw(error)
                    continue
            value = steps.send(value)
    except StopIteration as stop:
        window: Window = stop.value
        return window


def manage_context(
    *,
    count: Callable[[Any], Any],
    limit: int,
    prune: Callable[[Any], Any],
    threshold: float = 0.8,
    history: Callable[[Any], Any] | None = None,
) -> ContextManager:
    """
    Make a function that keeps a conversation within the model's context window.

    Call it with the conversation and the new message before the model is asked. Where history and message together
    exceed *threshold* of *limit*, it prunes. Either way a span ``conversation.manage_context`` says what was found and
    done, and the turn's span carries it: ``context.*`` and ``conversation.context_*``.

    Args:
        count: Tokens of a message or a history.
        limit: Tokens that the model takes.
        prune: Takes messages out: gets the conversation, returns how many it took out, or what is left.
        threshold: Fraction of the limit from which on there is pruning.
        history: Finds the messages of a conversation's id; without it, conversations are given as their messages.

    Raises:
        ValueError: *limit* is not positive, or *threshold* is outside of 0..1.
    """
    if limit <= 0 or not 0 < threshold <= 1:
        raise ValueError(f"cannot manage a context: found limit={limit!r}, threshold={threshold!r} (over 0; 0 to 1).")
    return ContextManager(count, limit, prune, threshold, history)
