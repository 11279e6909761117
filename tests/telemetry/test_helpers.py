"""What other SDKs' helpers leave in OpenTelemetry's context, by the keys; with the real packages: tests/vendors."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context

from session_mw._core.dialects import DIALECTS
from session_mw._core.rules import SpanRules
from session_mw._core.scope import SessionScope, current_scope
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.helpers import stamp_in
from session_mw.telemetry.processors import SessionSpanProcessor
from tests.telemetry.inside import Inside
from tests.telemetry.support import Spans, make_scope, stamped_spans

TRACELOOP, PROPERTIES = "traceloop.association.properties", "association_properties"


def dressed(conversation_id: str | None = None) -> SessionScope:
    """Return a session with a user, in all dialects."""
    scope = make_scope()
    scope.rules = SpanRules(dialects=frozenset(DIALECTS))
    scope.conversation_id = conversation_id
    scope.restamp()
    return scope


SESSION: list[Any] = [
    pytest.param({"session.id": "other"}, id="openinference"),
    pytest.param({"langfuse.propagated.session_id": "other"}, id="langfuse"),
    pytest.param({PROPERTIES: {"session_id": "other"}}, id="traceloop"),
]


def holding(values: dict[str, Any]) -> Context:
    return Context(values)


@pytest.mark.parametrize("said", SESSION)
def test_session_named(said: dict[str, Any]) -> None:
    """All dialects say the other session; the user stays."""
    scope = dressed()

    stamp = stamp_in(scope, holding(said))

    assert "s-1" not in stamp.values()
    assert ("other", "other", "other") == (
        stamp["session.id"],
        stamp["gen_ai.conversation.id"],
        stamp[f"{TRACELOOP}.session_id"],
    )
    assert "u_1" == stamp["user.id"] == stamp[f"{TRACELOOP}.user_id"]


@pytest.mark.parametrize("said", SESSION)
def test_session_named_inside_a_conversation(said: dict[str, Any]) -> None:
    """A conversation with an id of its own is not what was named: it stays."""
    stamp = stamp_in(dressed("thread-1"), holding(said))

    assert ("other", "thread-1", "thread-1") == (
        stamp["session.id"],
        stamp["gen_ai.conversation.id"],
        stamp["thread_id"],
    )


def test_conversation_named() -> None:
    """Traceloop's ``set_conversation_id`` names the conversation, and nothing else."""
    stamp = stamp_in(dressed(), holding({"conversation_id": "thread-9"}))

    assert ("s-1", "thread-9", "thread-9") == (
        stamp["session.id"],
        stamp["gen_ai.conversation.id"],
        stamp["conversation.id"],
    )


def test_baggage_that_the_application_sets() -> None:
    """Logfire's ``set_baggage``, or anybody's, names what has our attribute's name; other entries name nothing."""
    scope = dressed()

    assert scope.stamp is stamp_in(scope, baggage.set_baggage("session_id", "x", Context()))
    assert "other" == stamp_in(scope, baggage.set_baggage("session.id", "other", Context()))["session.id"]


@pytest.mark.parametrize("nothing", ["", None, 7, ["x"]])
def test_nothing_that_names(nothing: Any) -> None:
    """Helpers take what they are given; what is no text names nothing, and nothing fails."""
    scope = dressed()

    for said in ({"session.id": nothing}, {PROPERTIES: nothing}, {PROPERTIES: {"session_id": nothing}}):
        assert scope.stamp is stamp_in(scope, holding(said))


def test_stamp_is_kept_while_the_helper_lasts() -> None:
    """Spans inside a helper share one mapping, worked out once; after a change of the session it is a new one."""
    scope, context = dressed(), holding({"session.id": "other"})

    first = stamp_in(scope, context)
    assert first is stamp_in(scope, context)

    scope.attributes["session.type"] = "chat"
    scope.restamp()
    assert "chat" == stamp_in(scope, context)["session.type"]


def test_span_that_is_named_after_its_start() -> None:
    """A span whose ``session.id`` is set by hand ends with that session in all of our attributes."""
    inside = Inside()

    inside.call(attributes={"session.id": "by-hand"})

    attributes = inside.spans.attributes("span")
    assert {"by-hand"} == {attributes[key] for key in ("session.id", "conversation.id", "gen_ai.conversation.id")}


def test_child_that_knows_its_parent_only() -> None:
    """A callback's span, in a thread without the context, says what its parent says: one session."""
    inside = Inside()
    parent = inside.start(name="parent")
    parent.set_attribute("session.id", "by-hand")
    current_scope.set(None)

    inside.tracer.start_span("child", set_span_in_context(parent, Context())).end()

    attributes = inside.spans.attributes("child")
    assert {"by-hand"} == {attributes[key] for key in ("session.id", "conversation.id", "gen_ai.conversation.id")}


def test_user_named_by_the_creator() -> None:
    """A span created with a user says that user in every dialect."""
    spans, scope = stamped_spans(), dressed()

    spans.tracer.start_span("call", with_scope(scope, Context()), attributes={"user.id": "them"}).end()

    attributes = spans.attributes("call")
    assert {"them"} == {attributes[key] for key in ("user.id", f"{TRACELOOP}.user_id", "langsmith.metadata.user_id")}
    assert "s-1" == attributes["session.id"]


class Looking(SessionSpanProcessor):
    """Notes what a span has when others first see it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self.seen.append(dict(span.attributes))

    def on_end(self, span: Any) -> None: ...


def test_ours_stands_before_others_that_were_there() -> None:
    """Processors that were added first see spans with their session: they decide by it what to export."""
    from session_mw.telemetry.install import instrument

    looking = Looking()
    spans = Spans(looking)
    undo = instrument(tracer_provider=spans.provider, propagator=False)

    spans.tracer.start_span("call", with_scope(make_scope(), Context())).end()
    undo()

    assert ["s-1"] == [seen.get("session.id") for seen in looking.seen]
