"""Back ends' own names: what stands where, and values made fit for each."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.dialects import DIALECTS, Dressing, fit
from session_mw._core.rules import SpanRules
from session_mw._settings.types import Dialect as Setting

STAMP = {
    "session.id": "s-1",
    "gen_ai.conversation.id": "conv-1",
    "conversation.id": "conv-1",
    "user.id": "u_1",
    "turn.number": 3,
}

EVERY = {
    "openinference": {},
    "langfuse": {},
    "langsmith": {"langsmith.metadata.thread_id": "conv-1", "langsmith.metadata.user_id": "u_1"},
    "traceloop": {
        "traceloop.association.properties.session_id": "s-1",
        "traceloop.association.properties.user_id": "u_1",
    },
    "mlflow": {},
    "opik": {"thread_id": "conv-1"},
    "weave": {"wandb.thread_id": "conv-1"},
    "posthog": {"$ai_session_id": "s-1"},
    "laminar": {"lmnr.association.properties.session_id": "s-1", "lmnr.association.properties.user_id": "u_1"},
}
METADATA = {
    "openinference": {"metadata": '{"source": "ad", "seats": 4}'},
    "langfuse": {"langfuse.trace.metadata.source": "ad", "langfuse.trace.metadata.seats": 4},
    "langsmith": {"langsmith.metadata.source": "ad", "langsmith.metadata.seats": 4},
    "traceloop": {
        "traceloop.association.properties.source": "ad",
        "traceloop.association.properties.seats": 4,
    },
    "mlflow": {"mlflow.traceTag.source": "ad", "mlflow.traceTag.seats": 4},
    "opik": {"opik.metadata.source": "ad", "opik.metadata.seats": 4},
    "weave": {},
    "posthog": {},
    "laminar": {
        "lmnr.association.properties.metadata.source": "ad",
        "lmnr.association.properties.metadata.seats": 4,
    },
}
CONTENT = {
    "openinference": {},
    "langfuse": {"langfuse.trace.input": "hé", "langfuse.trace.output": "ho"},
    "langsmith": {"gen_ai.prompt": "hé", "gen_ai.completion": "ho"},
    "traceloop": {"traceloop.entity.input": '"hé"', "traceloop.entity.output": '"ho"'},
    "mlflow": {"mlflow.spanInputs": '"hé"', "mlflow.spanOutputs": '"ho"'},
    "opik": {},
    "weave": {},
    "posthog": {},
    "laminar": {"lmnr.span.input": '"hé"', "lmnr.span.output": '"ho"'},
}
TOTALS = ("gen_ai.usage.", "llm.token_count.", "llm.cost.")


def test_every_dialect_of_the_settings_has_its_row() -> None:
    """The setting offers exactly the rows of the table."""
    assert set(get_args(Setting)) == set(DIALECTS) == set(EVERY) == set(METADATA) == set(CONTENT)


@pytest.mark.parametrize("name", DIALECTS)
def test_stamp_adds_what_the_back_end_wants_on_every_span(name: str) -> None:
    """Each row writes its own names, and leaves the common ones as they are."""
    stamp: dict[str, Any] = dict(STAMP)

    Dressing({name}).stamp(stamp)

    assert {**STAMP, **EVERY[name]} == stamp
    assert set(EVERY[name]) <= set(Dressing({name}).stamped)


@pytest.mark.parametrize("name", DIALECTS)
def test_metadata_has_the_back_ends_form(name: str) -> None:
    """What the application said of the session stands in each back end's form on the trace's root."""
    said = {"metadata.source": "ad", "metadata.seats": 4, "session.type": "chat"}

    assert METADATA[name] == Dressing({name}).metadata(said, True)
    assert {} == Dressing({name}).metadata({"session.type": "chat"}, True)


def test_metadata_of_the_root_stands_nowhere_else() -> None:
    """MLflow takes tags of a trace from its root span only."""
    assert {} == Dressing({"mlflow"}).metadata({"metadata.source": "ad"}, False)
    assert {} != Dressing({"opik"}).metadata({"metadata.source": "ad"}, False)


@pytest.mark.parametrize("name", DIALECTS)
def test_content_has_the_back_ends_names_besides_the_common_ones(name: str) -> None:
    """Question and answer stand under the common names always, and under the row's."""
    common = {
        "input.value": "hé",
        "input.mime_type": "text/plain",
        "output.value": "ho",
        "output.mime_type": "text/plain",
    }

    assert {**common, **CONTENT[name]} == Dressing({name}).content("hé", "ho")
    assert {} == Dressing({name}).content(None, None)


def test_content_of_one_side_says_nothing_of_the_other() -> None:
    """An unknown answer is absent, not empty."""
    shown = Dressing(DIALECTS).content("hi", None)

    assert "input.value" in shown
    assert not [key for key in shown if "out" in key.lower() or "completion" in key]


def test_is_turn_stands_on_the_turn_only() -> None:
    """Weave counts the spans that are marked as a turn."""
    dressing = Dressing({"weave"})

    assert {"wandb.is_turn": True} == dressing.turn
    assert {} == dressing.own


def test_no_row_writes_totals_or_takes_a_common_name() -> None:
    """A back end would add totals up again; and the conventions' values are never overwritten."""
    for row in DIALECTS.values():
        written = {*row.every.values(), *row.aliases.values(), *row.own, *row.turn, row.asked, row.answered}
        assert not [key for key in written if key.startswith(TOTALS)]
        assert written.isdisjoint(STAMP)


def test_langfuse_alias_appears_only_for_what_langfuse_drops() -> None:
    """An id that is too long or not ASCII stands under the alias that Langfuse prefers; the whole one stays."""
    told: list[tuple[str, str]] = []
    stamp: dict[str, Any] = {"session.id": "s-1", "user.id": "ü" * 150}

    Dressing({"langfuse"}, lambda *what: told.append(what)).stamp(stamp)

    assert "langfuse.session.id" not in stamp
    assert "ü" * 150 == stamp["user.id"]
    assert stamp["langfuse.user.id"].isascii() and 200 == len(stamp["langfuse.user.id"])
    assert [("langfuse", "user.id")] == told


def test_metadata_is_cut_to_what_the_back_end_takes() -> None:
    """A long value is cut for the back end that would drop it, and whole for the others."""
    told: list[tuple[str, str]] = []
    dressing = Dressing({"langfuse", "opik"}, lambda *what: told.append(what))

    shown = dressing.metadata({"metadata.story": "x" * 300}, True)

    assert {"langfuse.trace.metadata.story": "x" * 200, "opik.metadata.story": "x" * 300} == shown
    assert [("langfuse", "metadata.story")] == told


def test_metadata_json_is_valid_for_any_text() -> None:
    """OpenInference's metadata is one JSON object."""
    shown = Dressing({"openinference"}).metadata({"metadata.a": 'q"\\\n', "metadata.b": True}, False)

    assert {"a": 'q"\\\n', "b": True} == json.loads(str(shown["metadata"]))


@given(st.text(max_size=400), st.sampled_from([200, 250, None]), st.booleans())
def test_fit_is_within_the_limits(text: str, longest: int | None, ascii_only: bool) -> None:
    """Whatever the id is, the result fits; an id that fits is not touched."""
    found = fit(text, longest, ascii_only)

    assert longest is None or len(found) <= longest
    assert not ascii_only or found.isascii()
    if (longest is None or len(text) <= longest) and (text.isascii() or not ascii_only):
        assert text == found


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_fit_keeps_different_ids_apart(one: str, other: str) -> None:
    """Two ids that differ anywhere differ when they are made fit."""
    first, second = "é" + one, "é" + other

    assert (first == second) == (fit(first, 200, True) == fit(second, 200, True))


def test_rules_stamp_nothing_extra_by_default() -> None:
    """With OpenInference alone no span carries more than the conventions' names: the hot path asks one attribute."""
    assert SpanRules().stamper is None
    assert SpanRules(dialects=frozenset({"mlflow"})).stamper is None
    assert SpanRules(dialects=frozenset({"weave"})).stamper is not None
