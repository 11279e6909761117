"""Handles on the current turn and conversation."""

from __future__ import annotations

from typing import cast

from .._core import names
from .._core.records import AttributeValue
from .._core.scope import SessionScope, TurnState
from .values import cleaned


class Turn:
    """The current turn. See ``current_turn``."""

    __slots__ = ("_scope", "_turn")

    def __init__(self, scope: SessionScope, turn: TurnState) -> None:
        self._scope = scope
        self._turn = turn

    @property
    def id(self) -> str:
        """Its own id."""
        return self._turn.id

    @property
    def number(self) -> int | None:
        """From 1 within the session; None when no store could count it."""
        return self._turn.number

    def set(
        self,
        *,
        role: str | None = None,
        input_type: str | None = None,
        input_length: int | None = None,
        output_type: str | None = None,
        output_length: int | None = None,
        has_attachments: bool | None = None,
        intent: str | None = None,
        action: str | None = None,
    ) -> None:
        """
        Say what is known about the turn; what is not given stays as it was.

        Args:
            role: Who speaks: ``user``, ``assistant``.
            input_type: ``question``, ``command``, ``feedback`` ...
            input_length: Characters that the user wrote.
            output_type: ``answer`` ...
            output_length: Characters that were answered.
            has_attachments: Whether the user attached something.
            intent: What the user wanted.
            action: What the agent did last.
        """
        given: dict[str, AttributeValue | None] = {
            names.TURN_ROLE: role,
            names.TURN_INPUT_TYPE: input_type,
            names.TURN_INPUT_LENGTH: input_length,
            names.TURN_OUTPUT_TYPE: output_type,
            names.TURN_OUTPUT_LENGTH: output_length,
            names.TURN_HAS_ATTACHMENTS: has_attachments,
            names.TURN_INTENT: intent,
            names.TURN_ACTION: action,
        }
        said = {key: cleaned(value) for key, value in given.items() if value is not None}
        self._turn.attributes = {**self._turn.attributes, **said}

    def add_usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        model: str | None = None,
    ) -> None:
        """
        Add tokens and cost of one model call to the turn, and so to the session.

        Only what no span reports: calls that an instrumentation makes spans of are counted from these.

        Args:
            input_tokens: Tokens sent; None when unknown.
            output_tokens: Tokens received; None when unknown.
            cost_usd: US dollars; kept exactly in millionths. None when no price is known: unknown is never 0.
            model: The model's name, for your logs; totals are not kept by model.
        """
        cost_microusd = None if cost_usd is None else round(cost_usd * 1_000_000)
        self._turn.report(input_tokens, output_tokens, cost_microusd)


class Conversation:
    """The current conversation (thread). See ``current_conversation``."""

    __slots__ = ("_scope",)

    def __init__(self, scope: SessionScope) -> None:
        self._scope = scope

    @property
    def id(self) -> str:
        """The application's or client's id, else the session's."""
        return self._scope.conversation_id or self._scope.session_id

    @property
    def topic(self) -> str | None:
        """What it is about."""
        return cast("str | None", self._scope.attributes.get(names.CONVERSATION_TOPIC))

    @property
    def turn_number(self) -> int | None:
        """Number of the current turn within the conversation, from 1; None when not known."""
        turn = self._scope.turn
        if turn is None:
            return None
        return turn.conversation_turn or (turn.number if self._scope.conversation_id is None else None)

    @property
    def total_turns(self) -> int | None:
        """Turns so far, this one included; None when not known."""
        return self.turn_number
