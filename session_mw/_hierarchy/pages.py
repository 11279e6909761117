"""
A page that its host runs again and again for one visitor (Streamlit): one session, and a turn for a run that is one.

Rule 1: the session begins with the page. It is the one that the visitor's cookie names, where the host shows cookies
    and the cookie is ours; else the page has one of its own.
Rule 2: a run that is a turn is a line of its own, and a trace of its own: a host may begin the next run while the one
    before has not noticed yet.
Rule 3: what is kept here outlives the page's state, and is gone with the visitor.
"""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry.context import Context

from .._core.branch import Branch
from .._core.facts import RequestFacts
from .._core.ops import Add, Flow, Read, ask
from .._core.scope import SessionScope
from .._core.tombs import CLOSING
from .._engine import Engine, outside
from ..context import Session
from ..telemetry.context import with_scope
from ..telemetry.spans import OUTSIDE
from .block import Placed
from .flowing import Closer


class RunLine(Branch):
    """One run of a page: the turn is its own, and so is the ``session`` span around it."""

    aside = False
    session_span: Any = None


class Page:
    """
    One page that a visitor has open.

    Attributes:
        scope: Its session; None until it has been opened.
        lines: The runs that are turns and go on, by the identity of the host's run.
        lock: Held while the session is opened: two runs may begin at a time.
        user: Pseudonym of whom the host or the page has named last.
        named: Whether the page itself names its user.
        active_ms: The store's clock when something last happened here.
    """

    def __init__(self) -> None:
        self.scope: SessionScope | None = None
        self.lines: dict[int, tuple[RunLine, Context]] = {}
        self.lock = threading.RLock()
        self.user: str | None = None
        self.named = False
        self.active_ms = 0

    def line_of(self, run: object) -> tuple[RunLine, Context] | None:
        """Return the turn that *run* is, and the context inside it; None where it is none."""
        return self.lines.get(id(run))

    def open(
        self, engine: Engine, facts: RequestFacts, user: object, attributes: outside.Attributes, *, nobody: bool
    ) -> Flow[SessionScope]:
        """
        Open the page's session.

        Args:
            engine: Whose store it is in.
            facts: The request with which the visitor came.
            user: The application's id of the user; None when not known.
            attributes: What is said of the session, by wire name.
            nobody: The host says that nobody is logged in. Whoever was in this session has logged out since.
        """
        scope = yield from outside.open_visitor(engine, facts, user, attributes)
        if nobody and scope.user_id is not None:
            yield from outside.guarded(engine, outside.end_session(engine, scope.session_id, "user_exit"))
            scope = yield from outside.open_visitor(engine, facts, None, attributes)
        self.take(scope)
        self.user = engine.hash_user(user)
        outside.announce(engine, scope)
        return scope

    def take(self, scope: SessionScope) -> None:
        """Let *scope* be the page's session."""
        self.scope = scope
        self.active_ms = scope.opened_ms

    def begin(self, engine: Engine, scope: SessionScope, run: object) -> Flow[tuple[RunLine, Closer]]:
        """Begin a turn, which *run* is, and return how to end it."""
        engine.ensure_instrumented()
        _forget_who_left(scope)
        line = RunLine(scope)
        line.turn = None
        yield from outside.open_turn(engine, line, line.conversation_id)
        if line.fresh:
            engine.between_turns(scope)  # what is said between turns from now on is the new session's
        context = engine.spans.open(line, OUTSIDE) or with_scope(line, OUTSIDE)
        self.lines[id(run)] = line, context
        self.active_ms = max(self.active_ms, line.opened_ms)
        placed = Placed(line, context)
        outside.announce(engine, line)

        def close(error: BaseException | None) -> Flow[None]:
            self.lines.pop(id(run), None)
            placed.leave()
            yield from outside.close(engine, line, error)
            self.active_ms = max(self.active_ms, line.at(engine.clock()))
            engine.spans.end_session(line, None if line.turn is None else line.turn.error)
            line.close()

        return line, close

    def meet(self, engine: Engine, scope: SessionScope, user: object) -> None:
        """
        Take the user as named now; None says that nobody is there any more.

        The first one keeps the session, another one ends it, and so does who leaves; inside a turn that is done with
        the turn, and the next one is another session's.
        """
        pseudonym = engine.hash_user(user)
        if pseudonym == self.user:
            return
        if pseudonym is None:
            Session(scope).end("user_exit")
        else:
            Session(scope).identify(user)
        self.user = pseudonym

    def resume(self, engine: Engine, scope: SessionScope) -> Flow[None]:
        """Go on after the session was ended, between two turns: a new one begins."""
        if not scope.ended:
            return
        _forget_who_left(scope)
        yield from outside.go_on(engine, scope)
        self.active_ms = max(self.active_ms, scope.opened_ms)
        outside.announce(engine, scope)

    def note(self, engine: Engine, scope: SessionScope) -> None:
        """Note that the visitor did something that is no turn: the session does not idle out meanwhile."""
        self.active_ms = scope.at(engine.clock())
        if scope.stored and not scope.ended:
            engine.background.add(Add(scope.session_id, scope.generation, self.active_ms))

    def disconnect(self, engine: Engine, scope: SessionScope) -> Flow[bool]:
        """
        End the session: its visitor has gone. Not where somebody was there after all that happened here.

        Returns:
            Whether it was ended here.
        """
        record = yield from ask(Read(scope.session_id))
        if record is None or record.reason is not None or record.last_ms > self.active_ms:
            return False
        ended = yield from outside.end_session(engine, scope.session_id, "disconnected")
        if ended:
            scope.ended, scope.end_reason = True, "disconnected"  # who comes back later begins another
        return ended


def _forget_who_left(scope: SessionScope) -> None:
    """After a logout nobody is known."""
    if scope.ended and scope.successor is None and scope.end_reason in CLOSING:
        scope.user_id = None
        scope.restamp()
