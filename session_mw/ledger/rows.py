"""What the history knows of a session, of a turn and of a call in it, as it is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .._core.records import Attributes, UsageKind

# Fields of a turn that are no columns of its own table.
NOT_OF_TURNS = ("pk", "session_id", "generation", "attributes", "captured", "content")
Status = Literal["active", "ended", "timed_out"]
Only: TypeAlias = Sequence[int] | None  # turns by their ``pk``; None is all of a session
TurnStatus = Literal["ok", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """
    One session in the history. Times are milliseconds since the epoch; None means unknown, never zero.

    While it is active its numbers are counted from its turns; once its ``session.end`` is in, they are the event's.

    Attributes:
        pk: Rises with each session that the ledger learns of; pages are cut by it. 0 is not stored yet.
        session_id: Its id.
        generation: 1, and one more each time the application used an ended id again.
        started_ms: Its first turn.
        last_ms: Its last activity.
        user_id: Pseudonym of its user.
        type: ``chat``, ``api``, ``batch`` or the application's own.
        name: A label for people.
        prompt_version: The last one it used.
        channel: ``web``, ``api`` ...
        status: ``timed_out`` when nobody came back or it grew too old, ``ended`` for every other reason.
        end_reason: Why it ended.
        outcome: ``resolved``, ``escalated``, ``abandoned`` or ``none``, said or implied; None when unknown.
        confirmed: Whether any later request presented its token; False for bots and webhooks, None while active.
        ended_ms: When it ended: its deadline, not the moment somebody noticed.
        duration_ms: From its start to its last activity.
        turns: Turns begun.
        traces: Traces that its turns belong to, as far as their spans are known.
        completed: Turns that ended well, or whose client left.
        failed: Turns that ended with an error.
        latency_ms: Sum over the turns that ended.
        input_tokens: Sum.
        output_tokens: Sum.
        total_tokens: Both.
        cost_microusd: Sum in millionths of a US dollar.
        previous_id: The session it continues.
        next_id: The session that continues it.
        attributes: Everything else that its events said, by wire name.
    """

    pk: int
    session_id: str
    generation: int
    started_ms: int
    last_ms: int
    user_id: str | None = None
    type: str | None = None
    name: str | None = None
    prompt_version: str | None = None
    channel: str | None = None
    status: Status = "active"
    end_reason: str | None = None
    outcome: str | None = None
    confirmed: bool | None = None
    ended_ms: int | None = None
    duration_ms: int = 0
    turns: int = 0
    traces: int = 0
    completed: int = 0
    failed: int = 0
    latency_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost_microusd: int | None = None
    previous_id: str | None = None
    next_id: str | None = None
    attributes: Attributes = field(default_factory=dict)

    @property
    def avg_turn_latency_ms(self) -> int | None:
        """Mean over the turns that ended, None while none has."""
        finished = self.completed + self.failed
        return None if self.latency_ms is None or not finished else round(self.latency_ms / finished)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """
    One finished turn in the history.

    Attributes:
        pk: Its row. 0 is not stored yet.
        session_id: Its session.
        generation: Of the session's id.
        number: From 1; None when no store could count it.
        started_ms: Its begin, milliseconds since the epoch.
        latency_ms: Until its last byte.
        status: ``ok``, ``error`` or ``cancelled`` (the client left).
        conversation_id: Its conversation.
        trace_id: Of its span; None when there was none.
        span_id: Of its span.
        sampled: Whether its trace was recorded, so that a link to it leads somewhere.
        error_type: What failed: an exception's name, or a status code.
        first_chunk_ms: Time to the first body chunk.
        action: What the agent did last.
        intent: What the user wanted.
        prompt_version: In use at the time.
        input_tokens: None when unknown.
        output_tokens: None when unknown.
        cost_microusd: None when unknown.
        attributes: Everything that was said about it, by wire name.
        captured: Whether what was said in it is kept.
        content: What was said in it, by wire name: ``turn.messages`` (JSON), ``input.value``, ``output.value``. Empty
            unless it was asked for.
    """

    pk: int
    session_id: str
    generation: int
    number: int | None
    started_ms: int
    latency_ms: int
    status: TurnStatus
    conversation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    sampled: bool | None = None
    error_type: str | None = None
    first_chunk_ms: int | None = None
    action: str | None = None
    intent: str | None = None
    prompt_version: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_microusd: int | None = None
    attributes: Attributes = field(default_factory=dict)
    captured: bool = False
    content: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """
    One call of a turn in the history: of a model or a tool, or an agent's run. See ``UsageRecord``.

    The sums over a turn's calls are the turn's tokens and cost, as far as its calls were recorded.

    Attributes:
        turn_pk: The row of its turn.
        place: From 0, in the order in which the calls of a turn began.
        turn_number: Of its turn.
        kind: What it was.
        started_ms: Its begin, milliseconds since the epoch.
        latency_ms: Until its end.
        name: Of the tool or agent, else the span's.
        model: The model that answered, else the one that was asked.
        provider: Whose model.
        span_id: Of its span.
        parent_id: The span of the nearest call that it was made in.
        status: ``ok`` or ``error``.
        error_type: What failed.
        first_token_ms: From its begin to the first that was answered.
        input_tokens: All that went in, cached ones included.
        output_tokens: All that came out, reasoning included.
        cache_read_tokens: Of the input.
        cache_write_tokens: Of the input.
        reasoning_tokens: Of the output.
        cost_microusd: None when nobody knows a price.
    """

    turn_pk: int
    place: int
    turn_number: int | None
    kind: UsageKind
    started_ms: int
    latency_ms: int
    name: str = ""
    model: str | None = None
    provider: str | None = None
    span_id: str | None = None
    parent_id: str | None = None
    status: Literal["ok", "error"] = "ok"
    error_type: str | None = None
    first_token_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_microusd: int | None = None
