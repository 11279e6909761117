"""Two spans side by side about one answer."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode

from session_mw._core.rules import SpanRules
from session_mw._core.usage import Reading, TokenUsage
from session_mw.telemetry.echoes import Echoes, Teller
from tests.telemetry.inside import Inside, used


def said(known: str | None = None, tokens: tuple[int, int] = (10, 5), kind: str = "model") -> Reading:
    return Reading(kind, TokenUsage(*tokens), response_id=known)


def by(tracer: str, started: int, ended: int, failed: bool = False) -> Teller:
    return Teller(tracer, started, ended, failed)


def test_framework_around_its_client() -> None:
    """The framework's span, which does not know the answer's id, is about the client's answer."""
    echoes = Echoes()

    assert "a-1" == echoes.answer_id(said("a-1"), by("client", 2, 8))
    assert "a-1" == echoes.answer_id(said(), by("framework", 1, 9))


def test_id_known_late() -> None:
    """An answer told of without its id first keeps one id: also for a third span, that knows it too."""
    echoes = Echoes()
    first = echoes.answer_id(said(), by("client", 2, 8))

    assert first == echoes.answer_id(said("a-1"), by("framework", 1, 9))
    assert first == echoes.answer_id(said("a-1"), by("other", 20, 30))


@pytest.mark.parametrize(
    ("second", "teller"),
    [
        pytest.param(said(), by("client", 1, 9), id="same tracer"),
        pytest.param(said(), by("framework", 3, 9), id="began later"),
        pytest.param(said(), by("framework", 9, 12), id="after it"),
        pytest.param(said(tokens=(10, 6)), by("framework", 1, 9), id="other tokens"),
        pytest.param(said(kind="embedding"), by("framework", 1, 9), id="other kind"),
        pytest.param(said(), by("framework", 1, 9, failed=True), id="failed"),
        pytest.param(said("a-2"), by("framework", 1, 9), id="other id"),
    ],
)
def test_two_answers(second: Reading, teller: Teller) -> None:
    """Whatever differs makes them two."""
    echoes = Echoes()
    first = echoes.answer_id(said("a-1"), by("client", 2, 8))

    assert first != echoes.answer_id(second, teller)


def test_many_at_once() -> None:
    """Calls that say the same and overlap stay as many as they are, in whatever order they end."""
    echoes = Echoes()
    inner = {echoes.answer_id(said(), by("client", began, 10)) for began in (1, 3, 2, 4)}
    outer = {echoes.answer_id(said(), by("framework", began, 11)) for began in (3, 0, 2, 1)}

    assert 4 == len(inner)
    assert inner == outer


def test_spans_side_by_side() -> None:
    """A framework's span beside the client's adds nothing: tokens, cost and errors are those of one call."""
    inside = Inside(SpanRules(price=lambda *_: 0.5))
    framework = inside.spans.provider.get_tracer("framework")
    for failed in (False, True):
        outer = framework.start_span("outer", inside.context)
        usage = {} if failed else used(100, 20, **{"gen_ai.request.model": "m"})
        inside.call(None, {"gen_ai.operation.name": "chat", **usage}, failed=failed)
        outer.set_attributes({"gen_ai.operation.name": "chat", **usage})
        outer.set_status(StatusCode.ERROR if failed else StatusCode.UNSET)
        outer.end()

    assert ((100, 20, 500_000), 1) == (inside.turn.usage, inside.turn.errors)


def test_cost_said_after_it_was_computed() -> None:
    """What a span says that a call cost takes the place of what was computed for another span about the same answer."""
    inside = Inside(SpanRules(price=lambda *_: 0.5))
    about = {"gen_ai.request.model": "m", "gen_ai.response.id": "a-1"}
    outer = inside.start()
    inside.call(outer, used(100, 20, **about))
    outer.set_attributes(used(100, 20, **about, **{"operation.cost": 0.2}))
    outer.end()
    inside.call(None, used(100, 20, **about, **{"operation.cost": 0.3}))

    assert (100, 20, 200_000) == inside.turn.usage
