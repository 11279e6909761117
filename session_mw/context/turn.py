"""Handles on the current turn and conversation."""

from __future__ import annotations

from collections.abc import Mapping

from .._core import names
from .._core.records import AttributeValue
from .._core.scope import SessionScope, line_of
from .._core.turn_state import TurnState
from ..telemetry.tally import told_of
from .values import cleaned, cleaned_all


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
        said = cleaned_all(given, self._scope.rules.hide)
        self._turn.attributes = {**self._turn.attributes, **said}

    def fail(self, error: BaseException | str) -> None:
        """
        Say that the turn failed, where nothing is raised: a stream that has begun, an apology in place of an answer.

        Args:
            error: What failed: an exception, or its name. Its message is not kept.
        """
        if isinstance(error, BaseException):
            self._turn.error = type(error).__name__
        else:
            self._turn.error = str(cleaned(error, self._scope.rules.hide))

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
            model: The model's name: the history keeps the call under it.
        """
        cost_microusd = None if cost_usd is None else round(cost_usd * 1_000_000)
        told_of(self._turn, model, (input_tokens, output_tokens, cost_microusd))


class Conversation:
    """The current conversation (thread). See ``current_conversation``."""

    __slots__ = ("_given", "_scope")

    def __init__(self, scope: SessionScope, given: str | None = None) -> None:
        self._scope = scope
        self._given = given

    @property
    def id(self) -> str:
        """The application's or client's id, else the session's."""
        return self._given or self._scope.conversation_id or self._scope.session_id

    @property
    def _line(self) -> SessionScope:
        """The line of work that calls, where it is in this conversation."""
        line = line_of(self._scope)
        return line if (line.conversation_id or line.session_id) == self.id else self._scope

    @property
    def topic(self) -> str | None:
        """What it is about."""
        return self._scope.topic

    def set(self, *, topic: str) -> None:
        """
        Say what the conversation is about.

        Args:
            topic: A word or two; shown on the turn's span.
        """
        self._scope.topic = str(cleaned(topic, self._scope.rules.hide))
        self._tell({names.CONVERSATION_TOPIC: self._scope.topic})

    def context(
        self,
        *,
        current_tokens: int | None = None,
        new_tokens: int | None = None,
        limit: int | None = None,
        messages: int | None = None,
        pruned: bool | int | None = None,
    ) -> None:
        """
        Say how full the model's context window is; what is not given stays unknown.

        Args:
            current_tokens: Tokens of the history.
            new_tokens: Tokens of the new message.
            limit: Tokens that the model takes.
            messages: Messages in the context.
            pruned: Whether history was taken out, or how many messages.
        """
        self._tell(window_attributes(current_tokens, new_tokens, limit, messages, pruned))

    def _tell(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Keep what is said with the turn: it stands on its span and in its line of the history."""
        turn = self._line.turn
        if turn is not None:
            turn.attributes = {**turn.attributes, **attributes}

    @property
    def turn_number(self) -> int | None:
        """Number of the current turn within the conversation, from 1; None when not known."""
        line = self._line
        if line.turn is None or line.conversation_turn is not None:
            return line.conversation_turn
        return line.turn.conversation_turn or (line.turn.number if line.conversation_id is None else None)

    @property
    def total_turns(self) -> int | None:
        """Turns so far, this one included; None when not known."""
        return self.turn_number


def window_attributes(
    current_tokens: int | None,
    new_tokens: int | None,
    limit: int | None,
    messages: int | None,
    pruned: bool | int | None,
) -> dict[str, AttributeValue]:
    """
    Return the attributes of a context window by wire name; what is not known is absent.

    ``context.tokens`` and ``conversation.context_tokens`` are history and new message together;
    ``conversation.context_window_pct`` is their share of the limit, a fraction.
    """
    known = [tokens for tokens in (current_tokens, new_tokens) if tokens is not None]
    tokens = sum(known) if known else None
    found: dict[str, AttributeValue | None] = {
        names.CONTEXT_CURRENT_TOKENS: current_tokens,
        names.CONTEXT_NEW_TOKENS: new_tokens,
        names.CONTEXT_LIMIT: limit,
        names.CONTEXT_TOKENS: tokens,
        names.CONTEXT_PRUNED: None if pruned is None else bool(pruned),
        names.CONTEXT_MESSAGES_PRUNED: pruned if pruned is not None and not isinstance(pruned, bool) else None,
        names.CONVERSATION_CONTEXT_TOKENS: tokens,
        names.CONVERSATION_MESSAGES_IN_CONTEXT: messages,
        names.CONVERSATION_CONTEXT_WINDOW_PCT: tokens / limit if tokens is not None and limit else None,
    }
    return {key: value for key, value in found.items() if value is not None}
