"""Spans as OpenInference, OpenTelemetry's GenAI conventions, OpenLLMetry, Langfuse and others write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.importing.support import bring, lines, opened, request, span

OPENINFERENCE = request(
    span(1, 1, name="POST /chat", ms=900),
    span(
        1, 2, 1, name="ChatOpenAI", at=50, ms=800,
        said={
            "openinference.span.kind": "CHAIN", "session.id": "s", "user.id": "ann",
            "metadata": '{"plan": "pro", "seats": 3, "nested": {"a": 1}}',
        },
    ),
    span(
        1, 3, 2, name="ChatOpenAI", at=100, ms=700,
        said={
            "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "session.id": "s",
            "llm.token_count.prompt": 120, "llm.token_count.completion": 30, "llm.token_count.total": 150,
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "where is it?",
            "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "on its way",
            "llm.cost.total": 0.0015,
        },
    ),
)  # fmt: skip
GENAI = request(
    span(
        1, 1, name="invoke_agent support", ms=900,
        said={
            "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "session.id": "s",
            "gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30, "gen_ai.conversation.id": "thread-7",
            "user.id": "ann",
        },
    ),
    span(
        1, 2, 1, name="chat gpt-4o", at=50, ms=700,
        said={
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30, "gen_ai.response.id": "r-1",
            "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "where is it?"}]}]',
            "gen_ai.output.messages":
                '[{"role": "assistant", "parts": [{"type": "text", "content": "on its way"}]}]',
            "gen_ai.usage.cost": 0.0015,
        },
    ),
    span(
        1, 3, 1, name="execute_tool lookup", at=760, ms=50,
        said={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"},
    ),
)  # fmt: skip
TRACELOOP = request(
    span(
        1, 1, name="support.workflow", ms=900,
        said={
            "traceloop.span.kind": "workflow", "traceloop.workflow.name": "support",
            "traceloop.association.properties.session_id": "s", "traceloop.association.properties.user_id": "ann",
            "traceloop.association.properties.plan": "pro",
        },
    ),
    span(
        1, 2, 1, name="openai.chat", at=50, ms=700,
        said={
            "traceloop.association.properties.session_id": "s", "llm.request.type": "chat", "gen_ai.system": "OpenAI",
            "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 120, "gen_ai.usage.completion_tokens": 30,
            "llm.usage.total_tokens": 150, "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "where is it?",
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "on its way",
            "gen_ai.usage.cost": 0.0015,
        },
    ),
)  # fmt: skip
LANGFUSE = request(
    span(
        1, 1, name="chat", ms=900,
        said={
            "langfuse.observation.type": "span", "session.id": "s", "user.id": "ann", "langfuse.trace.name": "support",
            "langfuse.trace.metadata.plan": "pro", "langfuse.trace.tags": ["a", "b"],
        },
    ),
    span(
        1, 2, 1, name="llm", at=50, ms=700,
        said={
            "langfuse.observation.type": "generation", "session.id": "s", "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.usage_details": '{"input": 120, "output": 30}',
            "langfuse.observation.cost_details": '{"total": 0.0015}',
            "langfuse.observation.prompt.version": 4,
            "langfuse.observation.input": '[{"role": "user", "content": "where is it?"}]',
            "langfuse.observation.output": '{"role": "assistant", "content": "on its way"}',
        },
    ),
)  # fmt: skip
DIALECTS = {"openinference": OPENINFERENCE, "genai": GENAI, "traceloop": TRACELOOP, "langfuse": LANGFUSE}


@pytest.mark.parametrize("document", DIALECTS.values(), ids=DIALECTS)
def test_a_trace_of_any_sdk_is_a_turn_of_its_session(document: dict[str, Any], url: str, tmp_path: Path) -> None:
    """Its whole length counts, its model call once, and the session has ended where it was last active."""
    result = bring(url, lines(tmp_path / "t.jsonl", document))
    row = opened(url).session("s")
    (turn,) = opened(url).turns("s")

    assert result.stdout.startswith("imported 1 session (1 new), 1 turn (1 new)")
    assert row is not None
    assert (1, 1, 0, 900, 900) == (row.turns, row.completed, row.failed, row.latency_ms, row.duration_ms)
    assert ("ann", 120, 30, 1_500) == (row.user_id, row.input_tokens, row.output_tokens, row.cost_microusd)
    assert ("timed_out", "idle_timeout", row.last_ms + 1_800_000) == (row.status, row.end_reason, row.ended_ms)
    assert (1, 120, 30, 1_500, "ok") == (
        turn.number, turn.input_tokens, turn.output_tokens, turn.cost_microusd, turn.status
    )  # fmt: skip
    assert (12, 10) == (turn.attributes["turn.input_length"], turn.attributes["turn.output_length"])
    assert not turn.captured and "where is it?" not in repr((row, turn))


@pytest.mark.parametrize("document", DIALECTS.values(), ids=DIALECTS)
def test_words_are_kept_where_content_is_asked_for(document: dict[str, Any], url: str, tmp_path: Path) -> None:
    """What was asked and answered is in the turn."""
    bring(url, lines(tmp_path / "t.jsonl", document), "--content")
    (turn,) = opened(url).turns("s", content=True)

    assert ("where is it?", "on its way") == (turn.content["input.value"], turn.content["output.value"])


def test_what_is_said_of_a_session_is_kept_with_it(tmp_path: Path) -> None:
    """The application's own words under one name, whichever back end they were written for."""
    plans = {}
    for name, document in DIALECTS.items():
        url = f"sqlite:///{tmp_path}/{name}.db"
        bring(url, lines(tmp_path / f"{name}.jsonl", document))
        row = opened(url).session("s")
        assert row is not None
        plans[name] = (row.name, row.prompt_version, row.attributes.get("metadata.plan"))
        assert "shop" == row.attributes["service.name"]

    assert {
        "openinference": (None, None, "pro"),
        "genai": (None, None, None),
        "traceloop": ("support", None, "pro"),
        "langfuse": ("support", "4", "pro"),
    } == plans


@pytest.mark.parametrize("document", DIALECTS.values(), ids=DIALECTS)
def test_calls_are_kept_with_their_turn(document: dict[str, Any], url: str, tmp_path: Path) -> None:
    """The model's has all tokens, whoever repeats them above."""
    bring(url, lines(tmp_path / "t.jsonl", document))
    calls = opened(url).usages("s")
    (model,) = [call for call in calls if call.kind == "model"]

    assert ("gpt-4o", 120, 30, 1_500, 700) == (
        model.model, model.input_tokens, model.output_tokens, model.cost_microusd, model.latency_ms
    )  # fmt: skip
    assert {None} == {call.input_tokens for call in calls if call is not model} | {None}


def test_agent_runs_and_tools_are_counted_by_the_live_rule(url: str, tmp_path: Path) -> None:
    """The agent's sum is that of its model call, and the tool is what it did last."""
    bring(url, lines(tmp_path / "t.jsonl", GENAI))
    (turn,) = opened(url).turns("s")

    assert ("lookup", "thread-7") == (turn.action, turn.conversation_id)
    assert (1, 1) == (turn.attributes["turn.agent_runs"], turn.attributes["turn.tool_calls"])
    assert [
        ("agent", "support", None),
        ("model", "chat gpt-4o", f"{1001:016x}"),
        ("tool", "lookup", f"{1001:016x}"),
    ] == [(call.kind, call.name, call.parent_id) for call in opened(url).usages("s")]


@pytest.mark.parametrize(
    "name",
    [
        "session.id", "langfuse.session.id", "traceloop.association.properties.session_id", "mlflow.trace.session",
        "$ai_session_id", "lmnr.association.properties.session_id", "langfuse.trace.metadata.langfuse_session_id",
        "ai.telemetry.metadata.sessionId", "langsmith.metadata.session_id",
    ],
)  # fmt: skip
def test_each_name_of_a_session_is_known(name: str, url: str, tmp_path: Path) -> None:
    """On whatever span of the trace it stands."""
    bring(url, lines(tmp_path / "t.jsonl", request(span(1, 1), span(1, 2, 1, said={name: "s-1"}))))

    assert ["s-1"] == [row.session_id for row in opened(url).sessions()]


def test_a_conversation_is_a_session_only_where_that_is_asked_for(url: str, tmp_path: Path) -> None:
    """Both may differ, so nobody guesses; it is said how to get them."""
    file = lines(tmp_path / "t.jsonl", request(span(1, 1, said={"gen_ai.conversation.id": "thread-1"})))
    first = bring(url, file)
    second = bring(url, file, "--conversations")

    assert "imported 0 sessions" in first.stdout and "see --conversations" in first.stderr
    assert "imported 1 session (1 new), 1 turn" in second.stdout
    assert ["thread-1"] == [row.session_id for row in opened(url).sessions()]
