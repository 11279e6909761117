"""
``turn`` and ``conversation``: one exchange, and the thread that it belongs to.

A session that was opened by a block, and a conversation in it, are one exchange by themselves: an *implied* turn, which
the first ``turn`` inside takes over, so that whoever names turns counts each once. What has several turns has a trace
for each, the later ones linked to the session's span.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context

from .._core import names
from .._core.branch import Branch
from .._core.identity import valid_conversation_id
from .._core.ops import Flow
from .._core.scope import SessionScope
from .._core.turn_state import TurnState
from .._engine import Engine, outside
from ..context import Conversation, Turn
from .block import Placed
from .flowing import Closer, FlowBlock, nothing
from .runs import here
from .sessions import Said, SessionBlock

# Tasks and threads may ask for the first turn of one session at a time: one of them takes over the implied turn.
_deciding = threading.Lock()


class TurnBlock(FlowBlock[Turn]):
    """
    See ``turn``.

    Args:
        said: What ``Turn.set`` takes.
        conversation_id: Checked; the conversation that the turn belongs to, decided together with whose turn it is, so
            that no other line of work comes between the two. None leaves it in the current one.
    """

    def __init__(self, said: Mapping[str, Any], conversation_id: str | None = None) -> None:
        super().__init__()
        self._said = said
        self._conversation_id = conversation_id

    def opening(self, engine: Engine) -> Flow[tuple[Turn, Closer]]:
        """Join the turn that is open, take over an implied one, or begin one."""
        scope, around = yield from session_around(engine)
        wanted, line = _wanted(scope, self._conversation_id), scope
        with _deciding:
            taken = _taken(engine, scope, wanted)
        if taken is not None:
            line, closer = taken
            yield from _counted(engine, line, wanted)
        elif scope.remote or _running(scope.turn):
            line, closer = yield from _joining(engine, scope, wanted)
        else:
            line = _branch(scope, wanted)
            closer = yield from begun(engine, line)
        handle = _handle(line)
        handle.set(**self._said)
        return handle, both(closer, around)


def _running(state: TurnState | None) -> bool:
    return state is not None and not state.ended


def _taken(engine: Engine, scope: SessionScope, wanted: str | None) -> tuple[Branch, Closer] | None:
    """Take over the implied turn of *scope*; None where there is none."""
    state = scope.turn
    if state is None or state.ended or not state.implied or scope.remote:
        return None
    line = _branch(scope, wanted)
    return line, _taken_over(engine, scope, line, state)


def _branch(scope: SessionScope, wanted: str | None) -> Branch:
    """Return a line of its own, in the conversation that it is moved to."""
    line = Branch(scope)
    if wanted is not None:
        line.conversation_id, line.topic, line.conversation_turn = wanted, None, None
    return line


def _wanted(scope: SessionScope, conversation_id: str | None) -> str | None:
    """Return the conversation that a turn of *scope* has to be moved to; None where it is in it already."""
    if conversation_id is None or conversation_id == scope.conversation_id:
        return None
    return None if conversation_id.encode() == scope.conversation_said else conversation_id


def _counted(engine: Engine, line: SessionScope, wanted: str | None) -> Flow[None]:
    """Count a turn that was implied in the conversation that it turns out to belong to."""
    if wanted is not None and line.turn is not None:
        line.turn.conversation_turn = yield from outside.count_conversation(engine, wanted)
        line.restamp()
        line.show({})


def _joining(engine: Engine, scope: SessionScope, wanted: str | None) -> Flow[tuple[SessionScope, Closer]]:
    """Stay in the turn that is open: here, or in the service that owns the session and counts its conversations."""
    if wanted is None or (scope.remote and scope.conversation_id is not None):
        return scope, nothing
    if not scope.remote:
        handle, closer = yield from ConversationBlock(wanted, None).opening(engine)
        return handle._scope, closer
    line = _branch(scope, wanted)
    placed = Placed(line, outside.inside(line))

    def close(error: BaseException | None) -> Flow[None]:
        placed.leave()
        line.close()
        return
        yield

    return line, close


def session_around(engine: Engine) -> Flow[tuple[SessionScope, Closer]]:
    """Return the current session's scope; without one, open one for the time being."""
    scope = here()
    if scope is not None:
        return scope, nothing
    session, closer = yield from SessionBlock(None, None, Said()).opening(engine)
    return session._scope, closer


def both(first: Closer, then: Closer) -> Closer:
    """Return a closer that does both."""
    if then is nothing:
        return first

    def close(error: BaseException | None) -> Flow[None]:
        yield from first(error)
        yield from then(error)

    return close


def _handle(scope: SessionScope) -> Turn:
    """Return the turn of the scope; of a session that another service owns, one that is counted there."""
    return Turn(scope, scope.turn or TurnState(lambda: secrets.token_hex(8), scope.remote_turn, 0))


def _taken_over(engine: Engine, scope: SessionScope, line: Branch, state: TurnState) -> Closer:
    """Make an implied turn the one that was named: it begins now."""
    state.implied = False
    state.started_ns = engine.ticks()
    line.opened_ms, line.clock_ms = scope.at(engine.clock()), engine.clock()
    line.turn, scope.turn = state, None
    if state.span in scope.spans:
        scope.spans.remove(state.span)
        line.spans.append(state.span)
    scope.restamp()
    placed = Placed(line, outside.inside(line))

    def close(error: BaseException | None) -> Flow[None]:
        placed.leave()
        yield from outside.close(engine, line, error)
        line.close()
        if scope.turn is None:
            scope.turn = state  # what is reported between two turns is the last one's
            scope.restamp()
        _leave_span(scope, state)

    return close


def _leave_span(scope: SessionScope, state: TurnState) -> None:
    """Make the session's span current again where the turn's is: the session's block undoes that at its end."""
    if state.span is not None and scope.session_span is not None:
        otel_context.attach(set_span_in_context(scope.session_span))


def begun(engine: Engine, line: Branch) -> Flow[Closer]:
    """Begin a turn on a line of its own, and return how to end it."""
    line.turn = None
    yield from outside.open_turn(engine, line, line.conversation_id)
    if line.topic is not None and line.turn is not None:
        line.turn.attributes = {names.CONVERSATION_TOPIC: line.topic}
    placed = Placed(line, _span_of(engine, line))
    outside.announce(engine, line)

    def close(error: BaseException | None) -> Flow[None]:
        placed.leave()
        yield from outside.close(engine, line, error)
        line.close()

    return close


def _span_of(engine: Engine, line: Branch) -> Context | None:
    """Open the turn's span: in a trace of its own where the trace around has a session's span, and so a turn."""
    if engine.spans.tracer() is None or line.turn is None:
        return None
    parent, links = otel_context.get_current(), None
    if line.session_span is not None:
        parent, links = outside.own_root(line.session_span)
    return engine.spans.open_turn(line, line.turn, outside.inside(line, parent), links)


def turn(
    *,
    role: str | None = None,
    input_type: str | None = None,
    input_length: int | None = None,
    has_attachments: bool | None = None,
    intent: str | None = None,
) -> TurnBlock:
    """
    Let everything inside be one turn of the current session: ``with``, ``async with``, or a decorator.

    Inside a request, or another turn, it joins the one that is open. Without a session it opens one for its time.

    Args:
        role: Who speaks: ``user`` by default.
        input_type: ``question``, ``command``, ``feedback`` ...
        input_length: Characters that the user wrote.
        has_attachments: Whether the user attached something.
        intent: What the user wants. What becomes known later: ``current_turn().set(...)``.
    """
    said = {
        "role": role,
        "input_type": input_type,
        "input_length": input_length,
        "has_attachments": has_attachments,
        "intent": intent,
    }
    return TurnBlock(said)


class ConversationBlock(FlowBlock[Conversation]):
    """
    See ``conversation``.

    Args:
        conversation_id: Checked; None makes one.
        topic: What it is about.
    """

    def __init__(self, conversation_id: str | None, topic: str | None) -> None:
        super().__init__()
        self._id = conversation_id
        self._topic = topic

    def opening(self, engine: Engine) -> Flow[tuple[Conversation, Closer]]:
        """Join the conversation if it is the current one; else name the open turn's, or begin an exchange of it."""
        scope, around = yield from session_around(engine)
        wanted = self._id or f"conv-{secrets.token_hex(16)}"
        state, closer, line = scope.turn, nothing, scope
        if wanted == scope.conversation_id or (self._id and self._id.encode() == scope.conversation_said):
            pass
        elif state is None or state.ended:
            line, closer = yield from self._exchange(engine, scope, wanted)
        elif state.implied:
            line, closer = yield from self._first(engine, scope, wanted)
        elif scope.conversation_id is None and not scope.aside:
            line, closer = yield from self._named(engine, scope, state, wanted)
        else:
            line, closer = yield from self._beside(engine, scope, wanted)
        handle = Conversation(line, line.conversation_id)
        if self._topic is not None:
            handle.set(topic=self._topic)
        return handle, both(closer, around)

    def _exchange(self, engine: Engine, scope: SessionScope, wanted: str) -> Flow[tuple[SessionScope, Closer]]:
        """Begin a turn in the conversation, implied as the session's first is."""
        line = Branch(scope)
        _name(line, wanted)
        closer = yield from begun(engine, line)
        assert line.turn is not None
        line.turn.implied = True
        return line, closer

    def _first(self, engine: Engine, scope: SessionScope, wanted: str) -> Flow[tuple[SessionScope, Closer]]:
        """Move the implied turn into the conversation, on a line of its own, and let it stay implied."""
        with _deciding:
            taken = _taken(engine, scope, wanted)
        if taken is None:  # another task or thread was first
            return (yield from self._exchange(engine, scope, wanted))
        line, closer = taken
        assert line.turn is not None
        line.turn.implied = True
        yield from _counted(engine, line, wanted)
        return line, closer

    def _named(
        self, engine: Engine, scope: SessionScope, state: TurnState, wanted: str
    ) -> Flow[tuple[SessionScope, Closer]]:
        """Give the turn that is open its conversation: it is the first that is named."""
        _name(scope, wanted)
        state.conversation_turn = yield from outside.count_conversation(engine, wanted)
        scope.restamp()
        scope.show({})

        def close(error: BaseException | None) -> Flow[None]:
            if state.ended or scope.turn is not state:
                _name(scope, None)
            return
            yield

        return scope, close

    def _beside(self, engine: Engine, scope: SessionScope, wanted: str) -> Flow[tuple[SessionScope, Closer]]:
        """Let a turn that has its conversation touch another one: only what is inside the block belongs to that."""
        line = Branch(scope)
        _name(line, wanted)
        line.conversation_turn = yield from outside.count_conversation(engine, wanted)
        placed = Placed(line, outside.inside(line))

        def close(error: BaseException | None) -> Flow[None]:
            placed.leave()
            line.close()
            return
            yield

        return line, close


def _name(scope: SessionScope, conversation_id: str | None) -> None:
    scope.conversation_id, scope.topic, scope.conversation_turn = conversation_id, None, None
    scope.restamp()


def conversation(conversation_id: object = None, topic: str | None = None) -> ConversationBlock:
    """
    Let everything inside belong to one conversation of the session: ``with``, ``async with``, or a decorator.

    A session may hold several, one after the other or at a time, and a conversation may go on in another session.
    Turns are numbered per session and per conversation. In a request whose client named the conversation, its own id
    for it is recognised.

    Args:
        conversation_id: Your id, kept as given: 1 to 200 characters of ``A-Z a-z 0-9 . _ : -``. None makes one.
        topic: What it is about.

    Raises:
        ValueError: *conversation_id* has other characters, or is too long.
    """
    text = None if conversation_id is None else str(conversation_id)
    if text is not None and not valid_conversation_id(text):
        raise ValueError(
            f"cannot use this conversation id: found {len(text)} characters (1 to 200 of A-Z a-z 0-9 . _ : -). "
            "Use hash_user_id() on what is personal."
        )
    return ConversationBlock(text, topic)
