"""What is stored about a session, and the values that stores and flows say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

AttributeValue = str | bool | int | float
Attributes = Mapping[str, AttributeValue]

EndReason = Literal[
    "idle_timeout",  # nobody came back within idle_timeout
    "max_lifetime",  # absolute_timeout, whatever happened
    "user_exit",  # logout, or the application said so
    "replaced",  # rotated, or another user took the seat: the successor is known
    "completed",  # the application says the job is done
    "escalated",  # handed over to a human
    "disconnected",  # the client went, and did not come back: a tab that was closed
    "shutdown",  # the process that held it in memory stopped
    "store_lost",  # a queue entry without its record
]
END_REASONS: tuple[EndReason, ...] = (
    "idle_timeout",
    "max_lifetime",
    "user_exit",
    "replaced",
    "completed",
    "escalated",
    "disconnected",
    "shutdown",
    "store_lost",
)

Outcome = Literal["extended", "started", "rotated", "moved", "recovered", "renewed", "refused", "unstored"]


@dataclass(frozen=True)
class Limits:
    """
    How long things last, in milliseconds, and how many there may be.

    Attributes:
        idle_ms: Without activity for so long, a session ends.
        absolute_ms: So long after its start it ends, whatever happens.
        turn_ms: An open turn keeps its session alive for so long after its begin.
        skew_ms: Tolerated difference between clocks, and the grace for tokens that a client has not updated.
        settle_ms: So long after an explicit end its report waits for counters that other workers have not written yet.
        max_live: While a store holds so many live sessions or more, a touch begins no other: it changes nothing and its
            outcome is ``unstored``. How exactly a store knows how many it holds is its own matter. None: no bound.
    """

    idle_ms: int
    absolute_ms: int
    turn_ms: int
    skew_ms: int
    settle_ms: int = 0
    max_live: int | None = None


@dataclass
class SessionRecord:
    """
    One session as a store keeps it. All numbers are exact integers; None means unknown, never zero.

    Attributes:
        session_id: Its id.
        generation: 1, and one more each time the application uses an ended id again.
        started_ms: Its first turn.
        origin_ms: From when ``absolute_timeout`` counts: survives rotation.
        last_ms: Its last activity.
        open_until_ms: An unfinished turn keeps the session alive until then.
        turns: Turns begun, numbered from 1.
        completed: Turns that ended well.
        failed: Turns that ended with an error.
        latency_ms: Sum over the turns that ended.
        input_tokens: Sum, None while nobody reported any.
        output_tokens: Sum, None while nobody reported any.
        cost_microusd: Sum in millionths of a US dollar, None while no price is known.
        user_id: Pseudonym of its user.
        bound_ms: When a token that names the user was first presented.
        previous_id: The session this one continues.
        next_id: The session that continues this one.
        reason: Why it ended; None while it lives.
        ended_ms: When it ended: its deadline, not the moment somebody noticed.
        lease_token: Who may report the end at present.
        lease_until_ms: Until when.
        attempts: How often somebody set out to report the end.
        start_emitted: Whether ``session.start`` reached its sink.
        confirmed: Whether any later request or frame presented the session's token.
        recovered: Whether it was made anew from its cookie after a store lost it.
        partial: Whether turns may have been counted elsewhere (several workers, each with its own memory).
        attributes: Everything else that spans and events show. Names that begin with an underscore are internal.
    """

    session_id: str
    started_ms: int
    last_ms: int
    generation: int = 1
    origin_ms: int = 0
    open_until_ms: int = 0
    turns: int = 0
    completed: int = 0
    failed: int = 0
    latency_ms: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_microusd: int | None = None
    user_id: str | None = None
    bound_ms: int | None = None
    previous_id: str | None = None
    next_id: str | None = None
    reason: EndReason | None = None
    ended_ms: int | None = None
    lease_token: str | None = None
    lease_until_ms: int = 0
    attempts: int = 0
    start_emitted: bool = False
    confirmed: bool = False
    recovered: bool = False
    partial: bool = False
    attributes: dict[str, AttributeValue] = field(default_factory=dict)

    @property
    def open_turns(self) -> int:
        """Turns that began and have not ended."""
        return max(0, self.turns - self.completed - self.failed)


@dataclass(frozen=True)
class Tombstone:
    """
    What is remembered of a session whose end was reported.

    Attributes:
        next_id: The session that continues it, if any does.
        generation: Its last generation.
        closed: Ended on purpose (logout, other user): what its token says of the user no longer holds.
    """

    next_id: str | None = None
    generation: int = 1
    closed: bool = False


UsageKind = Literal["model", "embedding", "agent", "tool", "other"]


class UsageRecord(NamedTuple):
    """
    One call inside a turn: what a span of a model call, tool call or agent run said.

    A span that repeats what another said has no tokens and no cost here, so that the sums over a turn's calls are the
    turn's. None means unknown, never zero.

    Attributes:
        kind: What it was; ``other`` is a span that told of usage and not of what it is.
        started_ms: Its begin, milliseconds since the epoch.
        latency_ms: Until its end.
        name: Of the tool or agent, else the span's.
        model: The model that answered, else the one that was asked.
        provider: Whose model.
        span_id: 16 hexadecimal digits.
        parent_id: Of the nearest call of the turn that it was made in; None where it was made by the turn itself.
        status: ``error`` when the span failed.
        error_type: What failed: an exception's name, or a status code.
        first_token_ms: From its begin to the first that was answered.
        input_tokens: All that went in, cached ones included.
        output_tokens: All that came out, reasoning included.
        cache_read_tokens: Of the input: read from a prompt cache.
        cache_write_tokens: Of the input: written to one.
        reasoning_tokens: Of the output: never shown.
        cost_microusd: In millionths of a US dollar; None when nobody knows a price.
    """

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


class TurnRecord(NamedTuple):
    """
    One finished turn, for the history. A named tuple: one is made for every turn.

    Attributes:
        session_id: Its session.
        generation: Of the session's id.
        number: From 1; None when no store could count it.
        started_ms: Its begin, milliseconds since the epoch.
        latency_ms: Until its last byte.
        status: ``ok``, ``error`` or ``cancelled`` (the client left).
        conversation_id: Its conversation.
        user_id: Pseudonym of its user.
        trace: ``<trace id>-<span id>-<flags>`` of its span, empty when there is none.
        error_type: What failed: an exception's name, or a status code.
        first_chunk_ms: Time to the first body chunk.
        input_tokens: None when unknown.
        output_tokens: None when unknown.
        cost_microusd: None when unknown.
        attributes: What the application said about the turn, the session's prompt version and, where content may be
            kept, what was said in it, by wire name.
        usages: The calls made in it, in the order in which they began.
    """

    session_id: str
    generation: int
    number: int | None
    started_ms: int
    latency_ms: int
    status: Literal["ok", "error", "cancelled"]
    conversation_id: str | None = None
    user_id: str | None = None
    trace: str = ""
    error_type: str | None = None
    first_chunk_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_microusd: int | None = None
    attributes: Attributes = MappingProxyType({})
    usages: tuple[UsageRecord, ...] = ()
