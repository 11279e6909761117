"""
What is known of a request before its server span begins, in OpenTelemetry's context: its session, for samplers; and the
client's span, where its trace is not continued.

Whose trace is continued is the setting ``continue_trace``. A client that is believed may decide what is recorded, by a
flag in its ``traceparent``; and back ends show a turn's input and output only where its trace begins with us. Without
that trust the request begins a trace of its own, linked to the client's span.

Source: W3C Trace Context, 4.2 "Restart trace" and 6 "Security Considerations".
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context, create_key
from opentelemetry.trace import Link, SpanContext

from .._core.early import Early
from .._core.scope import SessionScope
from .context import SPAN_KEY

if TYPE_CHECKING:
    from .._core.policy import Policy

EARLY_KEY = create_key("session_mw.early")
LINK_KEY = create_key("session_mw.link")

_servers: list[weakref.ref[Policy]] = []
_samplers = 0  # made in this process: without one, nobody asks for a session early


def expect_sampler() -> None:
    """Note that a sampler was made that asks for sessions."""
    global _samplers
    _samplers += 1


def sampler_expected() -> bool:
    """Return whether somebody may ask for the session of a request before the middleware has it."""
    return _samplers > 0


def serves(policy: Policy) -> None:
    """Note that a middleware with this policy serves requests."""
    _servers[:] = [weakref.ref(policy)]


def _serving(policy: Policy | None) -> Policy | None:
    """Return *policy* if its middleware serves requests, else the last one that does: ``configure()`` makes none."""
    if policy is None or (policy.desk is not None and policy.desk.readers):
        return policy
    return _servers[0]() if _servers else None


def looked_at(policy: Policy | None, carrier: Any, scope: SessionScope | None, context: Context) -> Context:
    """
    Return *context*, as it was extracted from *carrier*, with what is known of the request.

    Args:
        policy: Of the middleware that will serve it; None where there is none.
        carrier: Of the headers. What is no request's is continued, and has no session yet.
        scope: The session of the request, where the middleware has it already.
        context: Holds the caller's span.
    """
    if scope is not None:
        policy = getattr(scope.extra, "policy", policy)  # of the middleware that has it: a process may have several
    policy = _serving(policy)
    if policy is None or policy.desk is None:
        return context
    parent = _parent_in(context) if policy.continue_trace != "always" else None
    asked = scope is None and _samplers > 0
    if parent is None and not asked:
        return context
    early = policy.desk.look(carrier)
    if early is None:
        return context
    known: dict[str, object] = {EARLY_KEY: early} if asked else {}
    if parent is not None and not _continued(policy, parent, early, scope):
        known |= {SPAN_KEY: trace.INVALID_SPAN, LINK_KEY: _link_to(parent)}
    return Context({**context, **known})


def early_in(context: Context) -> Early | None:
    """Return the request that *context* was extracted for; None when nobody looked, or it is none."""
    found = context.get(EARLY_KEY)
    return found if isinstance(found, Early) else None


def _parent_in(context: Context) -> SpanContext | None:
    parent = trace.get_current_span(context).get_span_context()
    return parent if parent.is_valid and parent.is_remote else None


def _continued(policy: Policy, parent: SpanContext, early: Early, scope: SessionScope | None) -> bool:
    """Return whether the trace of *parent* goes on here."""
    if trace.get_current_span().get_span_context().trace_id == parent.trace_id:
        return True  # no client's: our server span around an instrumented application, handed on in the headers
    if policy.continue_trace == "never":
        return False
    remote = early.found.remote is not None if scope is None else scope.remote
    return remote or policy.peers.judge(early.facts) == "trusted"


def _link_to(parent: SpanContext) -> Link:
    """Return a link. The client's tracestate stays outside: it is text for other vendors' tracers."""
    return Link(SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=parent.trace_flags))
