"""What the real exporter sends is what each back end reads: names from their packages, values from the application."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.backends.conformance import EVERY, found, markdown, sent_for
from tests.backends.needs import NEEDS, Need
from tests.readme import EXPORTED, README, regenerated

ROOT, ON_TURNS = EVERY[0], EVERY[:3]


@pytest.fixture(params=NEEDS, ids=lambda make: make.__name__)
def need(request: pytest.FixtureRequest) -> Need:
    """A back end; skipped where its package cannot be imported."""
    make: Callable[[], Need] = request.param
    try:
        return make()
    except ImportError as error:
        pytest.skip(f"{make.__name__}: {error}")


def test_session_and_user_are_on_every_span(need: Need) -> None:
    """Back ends add tokens and costs up span by span: one that does not say its session is in no session's sum."""
    seen = found(need, sent_for(need.dialects))

    assert (need.session, EVERY) == seen["session"]
    assert not need.user or (need.user, EVERY) == seen["user"]


def test_input_and_output_are_on_the_root(need: Need) -> None:
    """Lists of sessions show what the trace's root says; the turn's own span says it, too."""
    seen = found(need, sent_for(need.dialects))

    assert not need.asked or [(need.asked, ON_TURNS), (need.answered, ON_TURNS)] == [seen["asked"], seen["answered"]]


def test_what_was_said_of_the_session(need: Need) -> None:
    """It stands where the back end looks for it."""
    seen = found(need, sent_for(need.dialects))

    assert not need.said or seen["said"] in [(need.said, ON_TURNS), (need.said, (ROOT,))]


def test_turn_is_marked_once(need: Need) -> None:
    """Where a mark makes a turn, one span has it."""
    seen = found(need, sent_for(need.dialects))

    assert need.turn is None or (need.turn[0], ("turn",)) == seen["turn"]


def test_posthog_takes_every_span_of_a_session() -> None:
    """Its own filter for spans of AI lets them all pass, for their ``gen_ai.conversation.id``: the README says so."""
    spans = pytest.importorskip("posthog.ai.otel.spans")

    assert list(EVERY) == [name for name in EVERY if spans.is_ai_span(sent_for(("posthog",)).spans[name])]


def test_dialects_that_are_not_asked_for_are_not_spoken() -> None:
    """Each name of a back end's own is there because of the setting."""
    plain = sent_for(())
    for make in NEEDS:
        try:
            other = make()
        except ImportError:
            continue
        own = [name for name in (other.session, other.asked, other.said) if name.startswith(_PREFIXES)]
        assert not [name for name in own if any(name in span.attributes for span in plain.spans.values())]


_PREFIXES = ("langfuse.", "langsmith.", "traceloop.", "mlflow.", "wandb.", "opik.", "thread_id", "lmnr.", "$ai_")


def test_table_of_the_readme() -> None:
    """It is computed from the bytes; ``python -m tests.readme`` writes it."""
    print(markdown())
    text = README.read_text(encoding="utf-8")

    assert regenerated(text, EXPORTED) == text
