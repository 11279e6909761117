"""
The closed set of things the core may ask of a store, and the two protocols that stores implement.

An operation is a value. ``apply`` hands it to a store: the result is a value from a synchronous store and an awaitable
from an asynchronous one; the drivers (``session_mw._drive``) are the only ones who call it. Each operation is one
round trip and atomic. A new one needs a test in the contract suite first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from .faces import AsyncSessionStore as AsyncSessionStore
from .faces import SessionStore as SessionStore
from .marks import Mark
from .records import AttributeValue, EndReason, Limits, Outcome, SessionRecord

R = TypeVar("R")
NOTHING: Mapping[str, Any] = MappingProxyType({})
UNHELD = ("moved", "unstored")  # outcomes of a touch after which nothing holds its turn


class Op(Generic[R]):
    """One thing the core may ask of a store."""

    __slots__ = ()

    def apply(self, store: Any) -> Any:
        """Ask *store*; the result is R or an awaitable of R."""
        raise NotImplementedError


Flow = Generator[Op[Any], Any, R]


def ask(op: Op[R]) -> Flow[R]:
    """Ask for *op* from within a flow; callers see its result typed."""
    result: R = yield op
    return result


class Touch(Op["Touched"]):
    """
    Begin a turn (or note activity): extend the session, start it, or start its successor. See ``lifecycle.touch``.

    Written out by hand: one is made for every turn, and most never need the candidate's id.

    Args:
        session_id: Id from a verified token; None when none was presented.
        new_id: Candidate, used if a session has to be made; a function makes it only then.
        limits: How long things last.
        turn: Whether this begins a turn; False only notes activity.
        own: The presented id was minted and never stored (provisional): make it under itself.
        keep: The application chose the id: after an end it is used again, as a new generation.
        given_user: Pseudonym that this request's framework or application names.
        claimed_user: Pseudonym in the presented token.
        previous_id: The session that a session made here continues, as far as the token knows.
        origin_ms: From when the absolute timeout counts, as far as the token knows.
        recover_turns: Not None: if the store knows nothing of the id, the session was lost and continues under it,
            with so many turns behind it.
        conversation_id: Also count a turn of this conversation.
        attributes: What a session made here starts with.
        partial: A session made here may have been counted elsewhere too.
    """

    __slots__ = (
        "_new_id",
        "attributes",
        "claimed_user",
        "conversation_id",
        "given_user",
        "keep",
        "limits",
        "origin_ms",
        "own",
        "partial",
        "previous_id",
        "recover_turns",
        "session_id",
        "turn",
    )

    def __init__(
        self,
        session_id: str | None,
        new_id: str | Callable[[], str],
        limits: Limits,
        turn: bool = True,
        own: bool = False,
        keep: bool = False,
        given_user: str | None = None,
        claimed_user: str | None = None,
        previous_id: str | None = None,
        origin_ms: int | None = None,
        recover_turns: int | None = None,
        conversation_id: str | None = None,
        attributes: Mapping[str, AttributeValue] = NOTHING,
        partial: bool = False,
    ) -> None:
        self.session_id = session_id
        self._new_id = new_id
        self.limits = limits
        self.turn = turn
        self.own = own
        self.keep = keep
        self.given_user = given_user
        self.claimed_user = claimed_user
        self.previous_id = previous_id
        self.origin_ms = origin_ms
        self.recover_turns = recover_turns
        self.conversation_id = conversation_id
        self.attributes = attributes
        self.partial = partial

    @property
    def new_id(self) -> str:
        """The candidate's id, made when it is first asked for."""
        if not isinstance(self._new_id, str):
            self._new_id = self._new_id()
        return self._new_id

    def onto(self, session_id: str | None, *, own: bool) -> Touch:
        """Return the same touch of another session, about whose user this token says nothing."""
        return Touch(
            session_id,
            self._new_id,
            self.limits,
            self.turn,
            own,
            self.keep,
            self.given_user,
            previous_id=self.session_id if session_id is not None else self.previous_id,
            origin_ms=self.origin_ms,
            conversation_id=self.conversation_id,
            attributes=self.attributes,
            partial=self.partial,
        )

    def __repr__(self) -> str:
        told = ((name, getattr(self, name)) for name in self.__slots__ if name != "_new_id")
        return "Touch(" + ", ".join(f"{name}={value!r}" for name, value in told) + ")"

    def apply(self, store: Any) -> Any:
        return store.touch(self)


@dataclass(slots=True)
class Touched:
    """
    What a touch did.

    Attributes:
        outcome: ``extended`` (alive), ``started``, ``rotated`` (the old one had ended), ``renewed`` (same id, next
            generation), ``recovered`` (the store had lost it), ``moved`` (follow *session_id*), ``refused`` (the
            token may not speak for the session any more; a fresh one was started), ``unstored`` (no store, or one that
            is full, see ``Limits``: nothing was changed, and the other fields tell what would have begun).
        session_id: The session that holds the turn; for ``moved`` the one to follow.
        turn_number: From 1; None when not known.
        started_ms: Start of the session.
        now_ms: The store's clock at the touch.
        origin_ms: From when the absolute timeout counts.
        generation: Of the session's id.
        previous_id: The session this one continues.
        user_id: Pseudonym of the session's user.
        conversation_turn: Turn number within the conversation asked for.
        attributes: What was stored about the session.
        idle_ms: Time since the activity before this touch; None when there was none, or it is not known.
    """

    outcome: Outcome
    session_id: str
    turn_number: int | None
    started_ms: int
    now_ms: int
    origin_ms: int = 0
    generation: int = 1
    previous_id: str | None = None
    user_id: str | None = None
    conversation_turn: int | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    idle_ms: int | None = None


class Add(Op["list[bool]"]):
    """
    Add what a turn brought: counters, and attributes that replace earlier ones (None removes).

    One truth value is the answer: False when the session's end was reported before, or nobody knows it.

    Written out by hand like ``Touch``: one is made for every turn, and most bring little.

    Attributes:
        session_id: The session.
        generation: Of its id.
        at_ms: The store's clock when the turn ended, counted as activity; 0 changes nothing.
        completed: Turns that ended well.
        failed: Turns that ended with an error.
        latency_ms: Sum over those turns.
        input_tokens: To add; None when unknown.
        output_tokens: To add; None when unknown.
        cost_microusd: To add; None when unknown.
        user_id: The session's user became known.
        attributes: Merged into the record's.
        remote: Another service owns the session; where this one's store does not know it, its totals lack the rest.
        mark: Of the call whose first item this is, while nobody knows whether it was done: see ``marks``. A store that
            can lose an answer does a call with a mark once.
    """

    # Defaults stand on the class.
    latency_ms: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_microusd: int | None = None
    user_id: str | None = None
    attributes: Mapping[str, AttributeValue | None] = NOTHING
    remote: bool = False
    mark: Mark | None = None

    def __init__(
        self,
        session_id: str,
        generation: int = 1,
        at_ms: int = 0,
        completed: int = 0,
        failed: int = 0,
        **more: Any,
    ) -> None:
        self.session_id = session_id
        self.generation = generation
        self.at_ms = at_ms
        self.completed = completed
        self.failed = failed
        if more:
            unknown = more.keys() - _ADDED
            if unknown:
                raise TypeError(f"cannot add to a session: {sorted(unknown)} is none of {sorted(_ADDED)}")
            self.__dict__.update(more)

    def __repr__(self) -> str:
        return "Add(" + ", ".join(f"{name}={value!r}" for name, value in vars(self).items()) + ")"

    def apply(self, store: Any) -> Any:
        return store.add([self])


_ADDED = {"latency_ms", "input_tokens", "output_tokens", "cost_microusd", "user_id", "attributes", "remote"}


@dataclass
class End(Op[bool]):
    """
    End a session now. True when this call ended it, False when it had ended or was never stored.

    Attributes:
        session_id: The session.
        reason: Why.
        next_id: The session that will continue it, if any.
        ttl_ms: How long the forwarding pointer is kept.
        settle_ms: How long the report waits for counters that other workers have not written yet.
    """

    session_id: str
    reason: EndReason
    next_id: str | None = None
    ttl_ms: int = 3_600_000
    settle_ms: int = 0

    def apply(self, store: Any) -> Any:
        return store.end(self)


@dataclass
class CountConversation(Op[int]):
    """
    Count a turn of a conversation whose id was not known when the turn began; the result is its number, from 1.

    Attributes:
        conversation_id: The conversation.
        ttl_ms: How long the counter is kept after its last turn.
    """

    conversation_id: str
    ttl_ms: int

    def apply(self, store: Any) -> Any:
        return store.count_conversation(self.conversation_id, self.ttl_ms)


@dataclass
class Read(Op["SessionRecord | None"]):
    """
    Read the newest record of a session; None when the store has none.

    Attributes:
        session_id: The session.
    """

    session_id: str

    def apply(self, store: Any) -> Any:
        return store.read(self.session_id)


@dataclass
class Claim(Op["Claimed"]):
    """
    Take a lease on sessions whose end is due and freeze them.

    Attributes:
        lease_token: Fencing token of the caller, new for every claim.
        limits: How long things last.
        limit: At most so many; a store that is held by a claim hands out fewer at a time.
        lease_ms: How long the caller may take to report them.
    """

    lease_token: str
    limits: Limits
    limit: int = 500
    lease_ms: int = 30_000

    def apply(self, store: Any) -> Any:
        return store.claim(self)


@dataclass
class Claimed:
    """
    Sessions that the caller has to report.

    Attributes:
        records: Frozen records, attempts already raised by one.
        now_ms: The store's clock.
        next_due_ms: When the next one may be due; None when there is none.
    """

    records: list[SessionRecord]
    now_ms: int
    next_due_ms: int | None


Key = tuple[str, int]  # session id and generation


@dataclass(frozen=True, slots=True)
class Note:
    """
    What was worked out for the report of an end, to be kept with the frozen record: ``counting.annotate``.

    Attributes:
        session_id: The session, claimed.
        generation: Of its id.
        attributes: To add. None at all still says that there was nothing to be found.
    """

    session_id: str
    generation: int = 1
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass
class StoreStats:
    """
    What a store holds at present.

    Attributes:
        live: Sessions alive.
        ended: Sessions ended and not reported.
        claimed: Of those, leased at present.
        dead: Sessions whose end was tried more than 20 times and set aside.
        tombstones: Forwarding pointers kept.
        oldest_due_ms: The earliest moment of a session due and not leased, for the sweep's lag.
        now_ms: The store's clock; 0 when the store does not tell. Not compared.
    """

    live: int = 0
    ended: int = 0
    claimed: int = 0
    dead: int = 0
    tombstones: int = 0
    oldest_due_ms: int | None = None
    now_ms: int = field(default=0, compare=False)
