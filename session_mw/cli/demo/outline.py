"""User > session > conversation > turn > spans: the evidence put in order, for people and machines alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...ledger import SessionRow, TurnRow
from .checks import add, session_of, sums_of_turn
from .evidence import Evidence, Sums, Telemetry, spans_by_trace
from .otlp import Span


@dataclass(frozen=True, slots=True)
class SpanBranch:
    """A span and what happened inside it."""

    span: Span
    inside: tuple[SpanBranch, ...]


@dataclass(frozen=True, slots=True)
class TurnBranch:
    """A turn and its trace; no spans when they went elsewhere."""

    row: TurnRow
    spans: tuple[SpanBranch, ...]


@dataclass(frozen=True, slots=True)
class ConversationBranch:
    """What of a conversation happened in one session."""

    conversation_id: str | None
    turns: tuple[TurnBranch, ...]

    @property
    def sums(self) -> Sums:
        """Input tokens, output tokens, millionths of a US dollar."""
        return add(sums_of_turn(turn.row) for turn in self.turns)


@dataclass(frozen=True, slots=True)
class SessionBranch:
    """
    A session.

    Attributes:
        row: From the database.
        who: Who sat there, by the script.
        conversations: In the order in which they began.
        requests: Requests that were no turn, and how often.
    """

    row: SessionRow
    who: str
    conversations: tuple[ConversationBranch, ...]
    requests: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class UserBranch:
    """A user, None for sessions in which nobody logged in."""

    user_id: str | None
    login: str | None
    sessions: tuple[SessionBranch, ...]


def outline(evidence: Evidence) -> list[UserBranch]:
    """Put *evidence* in order."""
    telemetry = evidence.telemetry or Telemetry((), ())
    traces = spans_by_trace(telemetry)
    seen = {one.session_id: one for one in evidence.seen}
    by_user: dict[str | None, list[SessionBranch]] = defaultdict(list)
    logins: dict[str | None, str | None] = {}
    for row in evidence.sessions:
        told = seen.get(row.session_id)
        if told is not None:
            logins.setdefault(row.user_id, told.sitting.login)
        branch = SessionBranch(
            row,
            told.sitting.key if told is not None else "",
            tuple(_conversations(evidence.turns_of(row.session_id), traces)),
            _requests(row.session_id, evidence.turns, traces),
        )
        by_user[row.user_id].append(branch)
    return [UserBranch(user, logins.get(user), tuple(sessions)) for user, sessions in by_user.items()]


def _conversations(turns: Sequence[TurnRow], traces: Mapping[str, Sequence[Span]]) -> Iterable[ConversationBranch]:
    found: dict[str | None, list[TurnBranch]] = defaultdict(list)
    for turn in turns:
        found[turn.conversation_id].append(TurnBranch(turn, nest(traces.get(turn.trace_id or "", ()))))
    return (ConversationBranch(key, tuple(branches)) for key, branches in found.items())


def nest(spans: Sequence[Span]) -> tuple[SpanBranch, ...]:
    """Put each of *spans* inside its parent; those whose parent is not there are roots."""
    inside: dict[str, list[Span]] = defaultdict(list)
    ids = {span.span_id for span in spans}
    for span in spans:
        inside[span.parent_id if span.parent_id in ids else ""].append(span)

    def branches(parent_id: str) -> tuple[SpanBranch, ...]:
        return tuple(SpanBranch(span, branches(span.span_id)) for span in inside[parent_id])

    return branches("")


def _requests(session_id: str, turns: Sequence[TurnRow], traces: Mapping[str, Sequence[Span]]) -> Mapping[str, int]:
    """Count the requests of a session that were no turn, by name."""
    of_turns = {turn.trace_id for turn in turns}
    roots = (spans[0] for trace_id, spans in traces.items() if trace_id not in of_turns)
    return Counter(span.title for span in roots if session_of(span.attributes) == session_id)
