"""
What another process has begun goes on here: workers of queues, child processes.

Both ends are plain mappings with the names of HTTP headers, so that it does not matter what carries them. The session
is the other process's: no turn is counted here, nothing ends it; what is used here is added to it, where the store is
shared.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import propagate, trace
from opentelemetry.context import Context, get_current

from .._core.carried import admit_carried
from .._core.counting import write
from .._core.events import TokenRejected
from .._core.flows import open_remote
from .._core.ops import Flow
from .._core.scope import SessionScope
from .._engine import Engine, outside
from ..context import Session
from ..telemetry.context import with_scope
from ..telemetry.outgoing.hop import carrying
from ..telemetry.propagator import HEADER, without_ours
from .block import Placed
from .flowing import Closer, FlowBlock

FIELDS = ("traceparent", "tracestate", HEADER)


def carrier() -> dict[str, str]:
    """Return what continues the current trace and session elsewhere, by header names; empty where there is neither."""
    return carrying()


class Carried(FlowBlock["Session | None"]):
    """
    A block inside which the session goes on that a carrier tells of.

    Args:
        carrier: By header names, in lower case.
        trusted: Nobody else can have written it; else a signature has to vouch for it.
    """

    def __init__(self, carrier: Mapping[str, str], *, trusted: bool = False) -> None:
        super().__init__()
        self._carrier = carrier
        self._trusted = trusted

    def opening(self, engine: Engine) -> Flow[tuple[Session | None, Closer]]:
        """Place the session and the trace; without a session that is believed, the trace alone."""
        engine.ensure_instrumented()
        scope, context = _scope(engine, self._carrier, self._trusted), _trace(self._carrier)
        if scope is not None:
            context = engine.spans.mark(scope, context) or with_scope(scope, context)
        placed = Placed(scope, context)

        def close(error: BaseException | None) -> Flow[None]:
            placed.leave()
            if scope is not None:  # now: a worker may be stopped as soon as its job is done
                yield from outside.guarded(engine, _written(engine, scope))

        return None if scope is None else Session(scope), close
        yield


def _scope(engine: Engine, carrier: Mapping[str, str], trusted: bool) -> SessionScope | None:
    now_ms = engine.clock()
    remote, reason = admit_carried(carrier.get(HEADER, ""), engine.policy, now_ms, trusted=trusted)
    if reason is not None:
        engine.rejected(TokenRejected(reason, "baggage"))
    if remote is None:
        return None
    scope = open_remote(remote, now_ms).scope
    scope.extra, scope.rules = engine, engine.policy.rules
    engine.guest(scope)
    scope.restamp()
    return scope


def _trace(carrier: Mapping[str, str]) -> Context:
    """Return the context that the carrier tells of; the current one where an instrumentation has read it already."""
    if trace.get_current_span().get_span_context().is_valid:
        return without_ours(get_current())
    return without_ours(propagate.extract(carrier))


def _written(engine: Engine, scope: SessionScope) -> Flow[bool]:
    yield from write(engine.background.take(scope.session_id), engine.background.add)
    return True
