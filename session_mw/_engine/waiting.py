"""The turn of a request that waited until the application had let it in."""

from __future__ import annotations

from .._core.flows import Admitted, open_request
from .._core.ops import Flow
from .._core.waiting import let_in
from .engine import NEW, Engine
from .visit import Visit


def late_turn(engine: Engine, visit: Visit) -> Flow[Admitted]:
    """Return the flow that begins the turn of a request that waits; ``began`` takes what it returns."""
    user = None if engine.policy.user is None else engine.user_of(visit.facts)
    return open_request(visit.facts, visit.found, engine.policy, engine.clock(), user, turn=True, failed=engine.failed)


def began(engine: Engine, visit: Visit, admitted: Admitted) -> None:
    """Note the turn that has begun, and say on the request's open spans what is known of its session now."""
    scope = visit.scope
    let_in(scope, admitted.scope)
    visit.turn, visit.token_due = True, admitted.token_due
    engine.begin(scope, admitted, turn=True)
    if admitted.outcome in NEW:
        engine.metrics.session_started()
        if scope.stored:
            engine.report_start(scope)
    if admitted.outcome == "recovered" and visit.found.claim is not None:
        engine.recovered(visit.found.claim.boot_id)
    spans, scope.waiting = scope.waiting or (), None
    for span in spans:
        if span.is_recording():
            span.set_attributes(dict(scope.stamp))
