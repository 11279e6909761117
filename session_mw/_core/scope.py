"""
What one request (or connection, or script) knows of its session: plain mutable state, shared by reference.

A context variable holds it. Copies of a context (threads, tasks, generators, background work) share the object, so a
value set deep inside a handler is seen outside, which a context variable set there would not be. Telemetry reads
``stamp``, the attributes of every span and log record; the public handles in ``session_mw.context`` write through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from . import names
from .records import AttributeValue, EndReason
from .rules import DEFAULT_RULES, SpanRules
from .turn_state import NOTHING_CHANGED, TurnState


class Stray(Protocol):
    """A block that was closed in another context than the one it was opened in."""

    def undo(self) -> SessionScope | None: ...


class SessionScope:
    """
    One session as seen from one request.

    Attributes:
        session_id: Its id.
        generation: Of the id.
        previous_id: The session it continues.
        user_id: Pseudonym; None while nobody is identified.
        started_ms: Its start, milliseconds since the epoch.
        origin_ms: From when the absolute timeout counts.
        opened_ms: The store's clock when this request was admitted.
        clock_ms: This worker's clock at that moment.
        idle_ms: Time since the activity before this request; None when not known.
        conversation_id: The application's or the client's; None while the session is the conversation.
        conversation_said: What the client called it, before it was scoped.
        conversation_turn: Turn number within a conversation that is not the turn's own.
        topic: What the conversation is about.
        attributes: What is known about the session, by wire name.
        changes: What this request changed of them; written at its end. None removes.
        turn: The turn that runs, None when this request is none.
        remote_turn: Number of the turn that runs in the service that owns the session.
        spans: Spans of this request that are still open: late changes stamp them.
        session_span: The ``session`` span of this request.
        stored: Whether a store holds the session (a provisional one is in its cookie only).
        quiet: Only spans inside a turn say the session; see ``hidden``. The request itself is none.
        waiting: Spans made before the application let the request in; None once it has, or where nobody waits.
        unheard: The store was asked and did not answer: it may hold the session all the same.
        remote: Another service owns the session: this one only continues it.
        named: The application chose the id: it is used again after an end.
        fresh: It began here, and nobody has reported that yet.
        confirmed: A token of the session was presented.
        accessed: Application code read the handle: the response varies by it.
        end_reason: The application ended it.
        ended: That was carried out.
        successor: Id of the session that follows (rotation, other user), minted here.
        successor_user: Its user.
        rebind: The token has to name the user from now on.
        recovered: Made anew from its token.
        replied: The response's headers are sent: it can carry no token any more.
        carried: The baggage entries rendered last, and the stamp they were rendered from: signing costs, so it is
            done at the first call to another service, and once for a stamp.
        branches: Lines of work inside the session that have a conversation or turn of their own.
        rules: What telemetry does with spans inside the session.
        extra: The engine that opened it.
        stray: How to leave it where it is still current although its block has ended. See ``present``.
        aside: A line of work beside others: a conversation that is named in it is not the turn's.
    """

    # Defaults stand on the class: a scope is made for every request, and most of these never change.
    generation: int = 1
    previous_id: str | None = None
    clock_ms: int = 0
    idle_ms: int | None = None
    conversation_id: str | None = None
    conversation_said: bytes = b""
    conversation_turn: int | None = None
    topic: str | None = None
    turn: TurnState | None = None
    remote_turn: int | None = None
    session_span: Any = None
    stored: bool = False
    quiet: bool = False
    waiting: list[Any] | None = None
    unheard: bool = False
    aside: bool = False
    remote: bool = False
    named: bool = False
    fresh: bool = False
    confirmed: bool = False
    accessed: bool = False
    rebind: bool = False
    recovered: bool = False
    replied: bool = False
    ended: bool = False
    end_reason: EndReason | None = None
    successor: str | None = None
    successor_user: str | None = None
    carried: tuple[object, dict[str, str]] | None = None
    branches: Sequence[SessionScope] = ()
    rules: SpanRules = DEFAULT_RULES
    extra: Any = None
    stray: Stray | None = None
    changes: Mapping[str, AttributeValue | None] = NOTHING_CHANGED
    _stamp: Mapping[str, AttributeValue] | None = NOTHING_CHANGED
    _other: tuple[object, Mapping[str, AttributeValue]] = (None, NOTHING_CHANGED)
    _labels: Mapping[str, AttributeValue] = NOTHING_CHANGED

    def __init__(self, session_id: str, started_ms: int, user_id: str | None = None) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.started_ms = self.origin_ms = self.opened_ms = started_ms
        self.attributes: dict[str, AttributeValue] = {}
        self.spans: list[Any] = []

    @property
    def stamp(self) -> Mapping[str, AttributeValue]:
        """Attributes of every span and log record, worked out when somebody looks."""
        known = self._stamp
        return self._stamped() if known is None else known

    @stamp.setter
    def stamp(self, stamp: Mapping[str, AttributeValue]) -> None:
        self._stamp = stamp

    @property
    def hidden(self) -> bool:
        """Whether spans made now do not say the session. Log records and baggage do in any case."""
        return self.quiet and (self.turn is None or self.turn.ended)

    @property
    def span_stamp(self) -> Mapping[str, AttributeValue]:
        """The stamp as far as spans carry it."""
        return NOTHING_CHANGED if self.hidden else self.stamp

    @property
    def labels(self) -> Mapping[str, AttributeValue]:
        """Of these, the ones that compare sessions: type, name, prompt version."""
        if self._stamp is not None:
            return self._labels
        known = self.attributes  # nobody looked at the stamp: no span and no log record was made
        return {name: known[name] for name in names.EVERYWHERE if name in known}

    def stamp_as(
        self, session_id: str | None, user_id: str | None, conversation_id: str | None
    ) -> Mapping[str, AttributeValue]:
        """
        Return the stamp of spans that somebody else gives other ids; None leaves ours.

        Where the session is the conversation, the other session is. What was asked for last is kept: spans with other
        ids come side by side.
        """
        asked = self.stamp, session_id, user_id, conversation_id
        kept = self._other  # other threads ask for other ids
        if kept[0] != asked:
            named = session_id or self.session_id, user_id or self.user_id, conversation_id or self.conversation_id
            kept = self._other = asked, self._stamp_of(*named)
        return kept[1]

    def restamp(self) -> None:
        """Let ``stamp`` be worked out anew. It is a new mapping then: telemetry may hold the old one."""
        self._stamp = None
        for branch in self.branches:
            branch._stamp = None

    def lines(self) -> list[SessionScope]:
        """Return this scope and the lines of work that grew from it."""
        return [self, *self.branches]

    def _stamped(self) -> Mapping[str, AttributeValue]:
        stamp = self._stamp = self._stamp_of(self.session_id, self.user_id, self.conversation_id)
        if self.attributes:
            self._labels = {name: stamp[name] for name in names.EVERYWHERE if name in stamp}
        return stamp

    def _stamp_of(self, session_id: str, user_id: str | None, conversation_id: str | None) -> dict[str, AttributeValue]:
        conversation_id = conversation_id or session_id
        stamp: dict[str, AttributeValue] = {
            names.SESSION_ID: session_id,
            names.GEN_AI_CONVERSATION_ID: conversation_id,
            names.CONVERSATION_ID: conversation_id,
        }
        if user_id is not None:
            stamp[names.USER_ID] = user_id
        number = self.remote_turn if self.turn is None else self.turn.number
        if number is not None:
            stamp[names.TURN_NUMBER] = number
        known = self.attributes
        if known:
            for name in (*names.EVERYWHERE, names.AGENT_SESSION_ID):
                if name in known:
                    stamp[name] = known[name]
        dialects = self.rules.stamper
        if dialects is not None:
            dialects.stamp(stamp)
        return stamp

    def at(self, clock_ms: int) -> int:
        """Return the store's clock at *clock_ms* of this worker's: as of admission, and what has passed since."""
        passed_ms = clock_ms - self.clock_ms
        return self.opened_ms + passed_ms if passed_ms > 0 else self.opened_ms

    def change(self, attributes: Mapping[str, AttributeValue | None]) -> None:
        """Set attributes of the session (None removes), and stamp the spans of this request that are still open."""
        attributes = {key: value for key, value in attributes.items() if self.attributes.get(key) != value}
        for key, value in attributes.items():
            if value is None:
                self.attributes.pop(key, None)
            else:
                self.attributes[key] = value
        self.changes = {**self.changes, **attributes}
        self.restamp()
        self.show({k: v for k, v in attributes.items() if v is not None and not k.startswith("_")})
        if self.turn is not None and self.turn.loose:
            self.extra.said(self)

    def show(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set *attributes* and the stamp on the spans that are still open."""
        metadata = any(key.startswith(names.METADATA + ".") for key in attributes)
        for line in [line for line in self.lines() if not line.hidden]:
            for span in [span for span in line.spans if span.is_recording()]:
                own = getattr(span, "attributes", None) or NOTHING_CHANGED
                said = str(own.get(names.SESSION_ID) or line.session_id)  # perhaps another SDK's helper did
                stamp = line.stamp if said == line.session_id else line.stamp_as(said, own.get(names.USER_ID), None)
                shown = {**stamp, **attributes}
                if metadata:
                    shown |= self.rules.dressing.metadata(self.attributes, is_root(span))
                span.set_attributes(shown)


def is_root(span: Any) -> bool:
    """Return whether *span* has no parent in this process."""
    parent = getattr(span, "parent", None)
    return parent is None or bool(parent.is_remote)


current_scope: ContextVar[SessionScope | None] = ContextVar("session_mw_scope", default=None)


elsewhere: list[Callable[[], SessionScope | None]] = []
"""Asked where nothing is current: an integration whose host tells whose thread it is (Streamlit). Usually empty."""


def present() -> SessionScope | None:
    """
    Return the session that code here is in.

    An async generator that nobody finishes is closed by the event loop, in a context of the loop's: the blocks inside
    it end, and yet remain current for whoever pulled it. What they have left behind is undone here, when somebody asks.
    """
    scope = current_scope.get()
    if scope is None:
        return elsewhere[0]() if elsewhere else None
    return scope if scope.stray is None else scope.stray.undo()


def line_of(scope: SessionScope) -> SessionScope:
    """
    Return the line of work that calls, if it belongs to the same session as *scope*: its turn is meant then.

    Handles outlive the block that gave them, and are handed into others.
    """
    current = present()
    return current if current is not None and current.session_id == scope.session_id else scope
