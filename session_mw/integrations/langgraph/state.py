"""
A graph's state that knows its session: ``ConversationState``, and what fills it.

The names are those of the attributes, so a node can set what it reads. In a tracked run the fields that the session
knows are filled where the input leaves them out, for any state that has them, whoever wrote its type; a thread that is
resumed tomorrow finds tomorrow's session in it, and its own conversation and turn number. How many tokens the context
holds the application knows alone: ``session_state(state, count=...)``, as a node of the graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from langgraph.types import Command

from ...context import current_conversation, current_session

FIELDS = ("session_id", "conversation_id", "turn_number")


class ConversationState(TypedDict, total=False):
    """
    State of a graph that knows its session. Take it as it is, or add to it in a subclass.

    Attributes:
        session_id: Of the session that the current run belongs to.
        conversation_id: The thread's, as long as it lives.
        turn_number: Of the current run within the conversation, from 1.
        messages: Of the conversation; what nodes return is added.
        context_tokens: Tokens that the model is sent, as far as the application counts them.
    """

    session_id: str
    conversation_id: str
    turn_number: int
    messages: Annotated[list[AnyMessage], add_messages]
    context_tokens: int


def session_state(
    state: Mapping[str, Any] | None = None, *, count: Callable[[Sequence[Any]], int] | None = None
) -> dict[str, Any]:
    """
    Return the fields of ``ConversationState`` that are known of the current session: an update of a graph's state.

    Works as a node (``builder.add_node("session", session_state)``), and where a run's input is made. What is not
    known is left out, as outside of a session everything is.

    Args:
        state: Of the graph; its ``messages`` are counted.
        count: Tokens of a list of messages, as ``count_tokens_approximately`` of langchain-core counts them. What it
            finds is ``context_tokens``, and stands on the turn's span: ``context.tokens`` and
            ``conversation.messages_in_context``.
    """
    session, conversation = current_session(), current_conversation()
    if session is None or conversation is None:
        return {}
    known: dict[str, Any] = {
        "session_id": session.id,
        "conversation_id": conversation.id,
        "turn_number": conversation.turn_number,
    }
    messages = (state or {}).get("messages")
    if count is not None and isinstance(messages, Sequence):
        known["context_tokens"] = count(messages)
        conversation.context(current_tokens=known["context_tokens"], messages=len(messages))
    return {name: value for name, value in known.items() if value is not None}


def filled(graph: Any, given: Any) -> Any:
    """
    Return a run's input with the fields that the graph's state has and *given* leaves out; anything else as it is.

    Args:
        graph: That runs.
        given: Its input: a mapping, or a ``Command`` that resumes.
    """
    channels = getattr(graph, "channels", {})
    if not all(name in channels for name in FIELDS):
        return given
    if isinstance(given, Command):
        update = given.update
        if given.graph is not None or not (update is None or isinstance(update, Mapping)):
            return given
        return dataclasses.replace(given, update={**session_state(), **(update or {})})
    return {**session_state(), **given} if isinstance(given, Mapping) else given
