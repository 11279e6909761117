"""What spans of each convention say about usage, and that no value of anybody's makes reading them fail."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import usage
from session_mw._core.usage import MAX_TOKENS, Reading, TokenUsage, microusd, read, tells
from session_mw._core.usage_kinds import KINDS, kind_of, step_of

# convention -> attributes -> tokens: input, output, cache read, cache write, reasoning
TOKENS: dict[str, tuple[dict[str, Any], TokenUsage]] = {
    "opentelemetry": (
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.cache_write.input_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 5,
        },
        TokenUsage(100, 20, 40, 10, 5),
    ),
    "opentelemetry, cache write by its old name": (
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_creation.input_tokens": 10,
        },
        TokenUsage(100, 20, None, 10),
    ),
    "opentelemetry until 1.26": (
        {"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 20},
        TokenUsage(100, 20),
    ),
    "openllmetry": (
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.total_tokens": 120,
            "gen_ai.usage.cache_read.input_tokens": 0,
        },
        TokenUsage(100, 20, 0),
    ),
    "openllmetry, first names": (
        {"llm.usage.prompt_tokens": 7, "llm.usage.completion_tokens": 3, "llm.usage.total_tokens": 10},
        TokenUsage(7, 3),
    ),
    "openllmetry, underscores": (
        {
            "gen_ai.usage.prompt_tokens": 100,
            "gen_ai.usage.completion_tokens": 1,
            "gen_ai.usage.cache_read_input_tokens": 60,
            "gen_ai.usage.cache_creation_input_tokens": 30,
        },
        TokenUsage(100, 1, 60, 30),
    ),
    "openinference": (
        {
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 20,
            "llm.token_count.total": 120,
            "llm.token_count.prompt_details.cache_read": 40,
            "llm.token_count.prompt_details.cache_write": 10,
            "llm.token_count.completion_details.reasoning": 5,
        },
        TokenUsage(100, 20, 40, 10, 5),
    ),
    "pydantic-ai": (
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.details.cache_read_tokens": 40,
            "gen_ai.usage.details.reasoning_tokens": 9,
        },
        TokenUsage(100, 20, 40, None, 9),
    ),
    "pydantic-ai, sum of a run": ({"gen_ai.aggregated_usage.input_tokens": 900}, TokenUsage()),
    "sentry": (
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.input_tokens.cached": 30,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.output_tokens.reasoning": 4,
        },
        TokenUsage(100, 20, 30, None, 4),
    ),
    "langfuse, buckets": (
        {
            usage.LANGFUSE_USAGE: json.dumps(
                {
                    "input": 50,
                    "input_cache_read": 40,
                    "input_cache_creation": 10,
                    "output": 15,
                    "output_reasoning": 5,
                    "total": 120,
                }
            )
        },
        TokenUsage(100, 20, 40, 10, 5),
    ),
    "langfuse, anthropic's own names": (
        {usage.LANGFUSE_USAGE: json.dumps({"input": 50, "output": 20, "cache_read_input_tokens": 40})},
        TokenUsage(90, 20, 40),
    ),
    "langfuse, openai's object": (
        {
            usage.LANGFUSE_USAGE: json.dumps(
                {
                    "prompt_tokens": 100,
                    "completion_tokens": 20,
                    "total_tokens": 120,
                    "prompt_tokens_details": {"cached_tokens": 40},
                    "completion_tokens_details": {"reasoning_tokens": 5},
                }
            )
        },
        TokenUsage(100, 20, 40, None, 5),
    ),
    "mlflow": (
        {
            usage.MLFLOW_USAGE: json.dumps(
                {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 40}
            )
        },
        TokenUsage(100, 20, 40),
    ),
    "mlflow, anthropic": (
        {
            usage.MLFLOW_USAGE: json.dumps(
                {
                    "input_tokens": 100,
                    "output_tokens": 50,
                    "total_tokens": 150,
                    "cache_read_input_tokens": 20,
                    "cache_creation_input_tokens": 10,
                }
            ),
            "mlflow.message.format": '"anthropic"',
        },
        TokenUsage(130, 50, 20, 10),
    ),
    "vercel 5": (
        {"ai.usage.inputTokens": 100, "ai.usage.outputTokens": 20, "ai.usage.cachedInputTokens": 40},
        TokenUsage(100, 20, 40),
    ),
    "vercel 4": ({"ai.usage.promptTokens": 100, "ai.usage.completionTokens": 20}, TokenUsage(100, 20)),
    "an embedding": (
        {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 8},
        TokenUsage(8),
    ),
    "an embedding's total": (
        {"openinference.span.kind": "EMBEDDING", "llm.token_count.total": 8},
        TokenUsage(8),
    ),
    "input and total": ({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.total_tokens": 120}, TokenUsage(100, 20)),
    "output and total": ({"llm.token_count.completion": 20, "llm.token_count.total": 120}, TokenUsage(100, 20)),
    "a total alone": ({"gen_ai.operation.name": "chat", "gen_ai.usage.total_tokens": 120}, TokenUsage()),
    "more cached than all: it cannot be part of it": (
        {
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.usage.cache_read.input_tokens": 90,
        },
        TokenUsage(100, 2, 90),
    ),
    "a total that holds the cached ones besides": (
        {
            "gen_ai.usage.input_tokens": 60,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.total_tokens": 120,
        },
        TokenUsage(100, 20, 40),
    ),
    "more reasoning than output: it cannot be part of it": (
        {
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.usage.reasoning.output_tokens": 8,
        },
        TokenUsage(10, 10, None, None, 8),
    ),
    "zeros as place holders": (
        {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0},
        TokenUsage(),
    ),
    "an answer without a word": (
        {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 0},
        TokenUsage(9, 0),
    ),
    "two conventions on one span": (
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 20,
        },
        TokenUsage(100, 20),
    ),
    "a whole number that JSON made a float": (
        {"gen_ai.usage.input_tokens": 100.0, "gen_ai.usage.output_tokens": 20.0},
        TokenUsage(100, 20),
    ),
}


@pytest.mark.parametrize(("attributes", "expected"), TOKENS.values(), ids=TOKENS)
def test_read_tokens_of_each_convention(attributes: dict[str, Any], expected: TokenUsage) -> None:
    """Input includes what was cached, output includes reasoning, whatever convention a span is written in."""
    reading = read(attributes, "span")

    assert expected == (TokenUsage() if reading is None else reading.tokens)


COSTS: dict[str, tuple[dict[str, Any], int | None]] = {
    "openinference": ({"llm.cost.total": 0.000123}, 123),
    "openinference, parts": ({"llm.cost.prompt": 0.0001, "llm.cost.completion": 0.00002}, 120),
    "openlit": ({"gen_ai.usage.cost": 0.0005}, 500),
    "agentops": ({"gen_ai.usage.total_cost": 0.0005}, 500),
    "laminar, parts": ({"gen_ai.usage.input_cost": 0.0003, "gen_ai.usage.output_cost": 0.0002}, 500),
    "logfire": ({"operation.cost": 0.000001}, 1),
    "proposed": ({"gen_ai.usage.cost.amount": 2.5, "gen_ai.usage.cost.currency": "USD"}, 2_500_000),
    "proposed, another currency": ({"gen_ai.usage.cost.amount": 2.5, "gen_ai.usage.cost.currency": "EUR"}, None),
    "langfuse": ({usage.LANGFUSE_COST: '{"input": 0.1, "output": 0.2, "total": 0.3}'}, 300_000),
    "langfuse, parts": ({usage.LANGFUSE_COST: '{"input": 0.1, "output": 0.2}'}, 300_000),
    "mlflow": ({usage.MLFLOW_COST: '{"input_cost": 0.1, "output_cost": 0.2, "total_cost": 0.3}'}, 300_000),
    "langfuse comes first": ({usage.LANGFUSE_COST: '{"total": 0.3}', "operation.cost": 0.9}, 300_000),
    "nothing": ({"gen_ai.operation.name": "chat"}, None),
    "negative": ({"gen_ai.operation.name": "chat", "operation.cost": -1.0}, None),
    "text": ({"gen_ai.operation.name": "chat", "operation.cost": "0.5"}, None),
    "not a number": ({"gen_ai.operation.name": "chat", "operation.cost": math.nan}, None),
    "infinite": ({"gen_ai.operation.name": "chat", "operation.cost": math.inf}, None),
    "truth": ({"gen_ai.operation.name": "chat", "operation.cost": True}, None),
}


@pytest.mark.parametrize(("attributes", "expected"), COSTS.values(), ids=COSTS)
def test_read_cost_of_each_convention(attributes: dict[str, Any], expected: int | None) -> None:
    """What a span says it cost is read in whole millionths of a US dollar."""
    reading = read(attributes, "span")

    assert expected == (None if reading is None else reading.cost_microusd)


@pytest.mark.parametrize(
    ("key", "word", "kind"),
    [(key, word, kind) for key, words in KINDS.items() for word, kind in words.items()],
)
def test_kind_of_each_word(key: str, word: str, kind: str) -> None:
    """Every convention's word is known in any case, and in JSON's quotation marks."""
    assert [kind] * 3 == [kind_of({key: word}), kind_of({key: word.upper()}), kind_of({key: f'"{word}"'})]


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "create_agent"},
        {"gen_ai.operation.name": "invoke_workflow"},
        {"openinference.span.kind": "CHAIN"},
        {"traceloop.span.kind": "workflow"},
        {"langfuse.observation.type": "span"},
        {"gen_ai.operation.name": 7},
        {"http.request.method": "POST"},
    ],
    ids=str,
)
def test_kind_of_what_is_not_counted(attributes: dict[str, Any]) -> None:
    """Chains, workflows and the building of agents are neither calls nor runs."""
    assert "" == kind_of(attributes)


def test_kind_of_a_word_that_one_convention_knows() -> None:
    """A word without a meaning here leaves the question to the next convention on the span."""
    assert "agent" == kind_of({"gen_ai.operation.name": "goto", "openinference.span.kind": "AGENT"})


@pytest.mark.parametrize(
    ("attributes", "name", "expected"),
    [
        ({"gen_ai.tool.name": "search"}, "execute_tool search", "search"),
        ({"tool.name": "search"}, "x", "search"),
        ({}, "execute_tool search", "search"),
        ({}, "search", "search"),
        ({"gen_ai.tool.name": 5}, "search", "search"),
        ({"traceloop.entity.name": "search"}, "search.tool", "search"),
        ({"gen_ai.tool.name": "n" * 300}, "x", "n" * 200),
    ],
)
def test_step_of_a_tool(attributes: dict[str, Any], name: str, expected: str) -> None:
    """A tool's name comes from the attributes, else from the span's name without its verb."""
    assert expected == step_of(attributes, "tool", name)


def test_read_names() -> None:
    """Provider, model and response id are read; the model that answered comes before the one that was asked."""
    reading = read(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.response.id": "chatcmpl-1",
        },
        "chat gpt-4o-mini",
    )

    expected = Reading("model", TokenUsage(), None, "openai", "gpt-4o-mini-2024-07-18", "chatcmpl-1")
    assert expected == reading


def test_read_a_span_that_says_nothing() -> None:
    """A span of a database or web client is no reading, and a quick look is enough to know."""
    attributes = {"http.request.method": "POST", "server.address": "api.example.com", "gen_ai.system": "openai"}

    assert (None, False) == (read(attributes, "POST"), tells(attributes))


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Reading("model", TokenUsage(1, 1), model="m"), True),
        (Reading("embedding", TokenUsage(1), model="m"), True),
        (Reading("model", TokenUsage(1), model="m"), False),
        (Reading("model", TokenUsage(None, 1), model="m"), False),
        (Reading("model", TokenUsage(1, 1)), False),
    ],
)
def test_priceable_needs_model_and_both_counts(reading: Reading, expected: bool) -> None:
    """Half a call is not priced: that would be a guess."""
    assert expected is reading.priceable


@pytest.mark.parametrize(
    "value",
    ["12", b"12", True, -1, 1.5, math.nan, math.inf, MAX_TOKENS + 1, 10**400, None, [1], (1, 2), {}],
    ids=repr,
)
def test_read_malformed_token_count_is_absent(value: Any) -> None:
    """What is no number of tokens is passed over, and the next name is asked."""
    attributes = {"gen_ai.usage.input_tokens": value, "gen_ai.usage.prompt_tokens": 7}

    reading = read(attributes, "span")

    assert reading is not None
    assert TokenUsage(7) == reading.tokens


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "NaN",
        "[" * 10_000,
        '{"input":' * 2_000,
        '{"input": 1' + "0" * 5_000 + "}",
        " " * 20_000 + "{}",
        '{"input": {"input": 1}}',
    ],
    ids=lambda text: text[:12],
)
def test_read_malformed_json_is_absent(text: str) -> None:
    """JSON that is broken, deep, huge or no object says nothing, and raises nothing."""
    attributes = dict.fromkeys((usage.LANGFUSE_USAGE, usage.MLFLOW_USAGE, usage.LANGFUSE_COST, usage.MLFLOW_COST), text)

    assert read(attributes, "span") is None


def test_read_names_of_absurd_length_are_absent() -> None:
    """A model or response id of many characters is no name: it would be kept for the length of a turn."""
    reading = read({"gen_ai.operation.name": "chat", "gen_ai.response.id": "x" * 1_000, "gen_ai.system": ""}, "chat")

    assert reading is not None
    assert (None, None) == (reading.response_id, reading.provider)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("0.0000015"), 2),
        (Decimal("0.000195"), 195),
        (0, 0),
        (1, 1_000_000),
        (Decimal("NaN"), None),
        (Decimal("-1"), None),
        (2_000_000.0, None),
        ("1", None),
        (None, None),
    ],
)
def test_microusd(value: object, expected: int | None) -> None:
    """US dollars become whole millionths; what is no amount is None."""
    assert expected == microusd(value)


KEYS = sorted({*usage._USAGE_KEYS, *KINDS, *usage.CACHE_READ, *usage.CACHE_WRITE, *usage.REASONING, *usage.PROVIDER})
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.sampled_from(
        ['{"input": 1}', '{"total": -1}', '{"total": NaN}', '{"input_tokens": true}', "LLM", "chat", "TOOL"]
    ),
    st.recursive(st.integers() | st.text(max_size=3), lambda inner: st.dictionaries(st.text(max_size=8), inner)),
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8), st.text(max_size=10))
def test_read_anything(attributes: dict[str, Any], name: str) -> None:
    """Whatever stands on a span, reading it raises nothing and yields numbers in their range, or none."""
    tells(attributes)
    reading = read(attributes, name)

    if reading is not None:
        tokens = reading.tokens
        for count in (tokens.input_tokens, tokens.output_tokens, tokens.cache_read_tokens, tokens.reasoning_tokens):
            assert count is None or (type(count) is int and 0 <= count <= 20 * MAX_TOKENS)
        assert tokens.input_tokens != 0
        assert reading.cost_microusd is None or 0 <= reading.cost_microusd


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8))
def test_tells_misses_nothing_that_read_would_count(attributes: dict[str, Any]) -> None:
    """The quick look never hides a span whose tokens, cost, run or call would have been counted."""
    reading = read(attributes, "span")

    counts = reading is not None and (
        reading.tokens != TokenUsage() or reading.cost_microusd is not None or reading.kind in ("agent", "tool")
    )
    if counts:
        assert tells(attributes)
