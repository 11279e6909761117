"""What was said in a model or tool call, read from the attributes of every instrumentation's spans."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from session_mw._core.messages import MAX_JSON, Call, kind_of, read
from session_mw._core.shapes import MAX_MESSAGES, Message, Part, from_json

CHAT = {"gen_ai.operation.name": "chat"}
OI = {"openinference.span.kind": "LLM"}


def otel(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


GENAI = {
    **CHAT,
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "be kind"}]),
    "gen_ai.input.messages": json.dumps(
        [
            otel("user", {"type": "text", "content": "first"}),
            otel("assistant", {"type": "text", "content": "ok"}),
            otel("user", {"type": "text", "content": "which "}, {"type": "text", "content": "way?"}),
        ]
    ),
    "gen_ai.output.messages": json.dumps(
        [
            otel(
                "assistant",
                {"type": "reasoning", "content": "thinking"},
                {"type": "text", "content": "that way"},
                {"type": "tool_call", "id": "c1", "name": "map", "arguments": {"to": "home"}},
            )
        ]
    ),
}
OPENINFERENCE = {
    **OI,
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "be kind",
    "llm.input_messages.10.message.role": "user",
    "llm.input_messages.10.message.contents.0.message_content.type": "text",
    "llm.input_messages.10.message.contents.0.message_content.text": "which ",
    "llm.input_messages.10.message.contents.1.message_content.type": "image",
    "llm.input_messages.10.message.contents.2.message_content.type": "text",
    "llm.input_messages.10.message.contents.2.message_content.text": "way?",
    "llm.input_messages.2.message.role": "assistant",
    "llm.input_messages.2.message.content": "ok",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "that way",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "map",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"to": "home"}',
    "input.value": '{"messages": []}',
    "input.mime_type": "application/json",
}
OPENLLMETRY = {
    "llm.request.type": "chat",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "be kind",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": json.dumps([{"type": "text", "text": "which way?"}]),
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "that way",
    "gen_ai.completion.0.tool_calls.0.name": "map",
    "gen_ai.completion.0.tool_calls.0.arguments": '{"to": "home"}',
}
LANGFUSE = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.input": json.dumps([{"role": "user", "content": "which way?"}]),
    "langfuse.observation.output": json.dumps({"role": "assistant", "content": "that way"}),
}
OPENAI_JSON = {
    **OI,
    "input.value": json.dumps({"model": "m", "messages": [{"role": "user", "content": "which way?"}]}),
    "input.mime_type": "application/json",
    "output.value": json.dumps({"choices": [{"message": {"role": "assistant", "content": "that way"}}]}),
}
RESPONSES_JSON = {
    **OI,
    "input.value": json.dumps({"input": "which way?"}),
    "output.value": json.dumps(
        {
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "that way"}]},
            ]
        }
    ),
}
ANTHROPIC_JSON = {
    **OI,
    "input.value": json.dumps(
        {
            "messages": [
                {"role": "user", "content": "which way?"},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "map"}]},
            ]
        }
    ),
    "output.value": json.dumps({"role": "assistant", "content": [{"type": "text", "text": "that way"}]}),
}
LANGCHAIN_JSON = {
    **OI,
    "input.value": json.dumps(
        {"messages": [[{"lc": 1, "type": "constructor", "kwargs": {"type": "human", "content": "which way?"}}]]}
    ),
    "output.value": json.dumps({"generations": [[{"text": "that way", "type": "ChatGeneration"}]]}),
}
PLAIN = {**OI, "input.value": "which way?", "input.mime_type": "text/plain", "output.value": "that way"}
MODELS = {
    "gen_ai": GENAI,
    "openinference": OPENINFERENCE,
    "openllmetry": OPENLLMETRY,
    "langfuse": LANGFUSE,
    "openai json": OPENAI_JSON,
    "responses json": RESPONSES_JSON,
    "anthropic json": ANTHROPIC_JSON,
    "langchain json": LANGCHAIN_JSON,
    "plain": PLAIN,
}


@pytest.mark.parametrize("attributes", MODELS.values(), ids=MODELS)
def test_read_finds_question_and_answer(attributes: dict[str, Any]) -> None:
    """The last message of the user and the answer are found in every way of writing them."""
    call = read(attributes)

    assert ("model", "which way?", "that way") == (call.kind, call.question, call.answer)


@pytest.mark.parametrize("attributes", [GENAI, OPENINFERENCE, OPENLLMETRY], ids=["gen_ai", "openinference", "llmetry"])
def test_read_finds_tool_calls_and_reasoning_beside_the_words(attributes: dict[str, Any]) -> None:
    """Tool calls of an answer keep their name and arguments; they and the reasoning are no part of its words."""
    (message,) = read(attributes).answered

    assert Part("tool_call", '{"to": "home"}', "map") in message.parts
    assert "that way" == message.text


def test_read_finds_reasoning() -> None:
    """Reasoning is a part of its own."""
    assert Part("reasoning", "thinking") in read(GENAI).answered[0].parts


EVENTS: list[Any] = [
    ("gen_ai.system.message", {"content": "be kind"}),
    ("gen_ai.user.message", {"content": "which way?"}),
    ("gen_ai.choice", {"index": 0, "message": '{"role": "assistant", "content": "that way"}'}),
]
OLDER_EVENTS: list[Any] = [
    ("gen_ai.content.prompt", {"gen_ai.prompt": '[{"role": "user", "content": "which way?"}]'}),
    ("gen_ai.content.completion", {"gen_ai.completion": "that way"}),
]


@pytest.mark.parametrize("events", [EVENTS, OLDER_EVENTS])
def test_read_finds_them_in_span_events(events: Any) -> None:
    """Older instrumentations wrote events in place of attributes."""
    call = read(CHAT, events)

    assert ("which way?", "that way") == (call.question, call.answer)


TOOLS: list[dict[str, Any]] = [
    {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "map",
        "gen_ai.tool.call.arguments": '{"to": 1}',
        "gen_ai.tool.call.result": "left",
    },
    {
        "openinference.span.kind": "TOOL",
        "tool.name": "map",
        "input.value": '{"to": 1}',
        "input.mime_type": "application/json",
        "output.value": "left",
    },
    {
        "traceloop.span.kind": "tool",
        "traceloop.entity.name": "map",
        "traceloop.entity.input": '{"to": 1}',
        "traceloop.entity.output": "left",
    },
    {
        "langfuse.observation.type": "tool",
        "langfuse.observation.input": '{"to": 1}',
        "langfuse.observation.output": "left",
    },
]


@pytest.mark.parametrize("attributes", TOOLS)
def test_read_finds_arguments_and_result_of_a_tool(attributes: dict[str, Any]) -> None:
    """A tool's span says what went in and what came out, as it was written; it is no question and no answer."""
    call = read(attributes, (), "map")

    expected = Call(
        "tool",
        (Message("assistant", (Part("tool_call", '{"to": 1}', "map"),)),),
        (Message("tool", (Part("tool_result", "left", "map"),)),),
    )
    assert expected == call
    assert (None, None) == (call.question, call.answer)


KINDS = [
    ({"gen_ai.operation.name": "chat"}, "model"),
    ({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m"}, "other"),
    ({"gen_ai.operation.name": "embeddings"}, "none"),
    ({"gen_ai.request.model": "m"}, "model"),
    ({"openinference.span.kind": "CHAIN", "input.value": "x"}, "other"),
    ({"openinference.span.kind": "EMBEDDING"}, "none"),
    ({"input.value": "x"}, "other"),
    ({"http.request.method": "GET"}, "none"),
    ({}, "none"),
]


@pytest.mark.parametrize(("attributes", "kind"), KINDS)
def test_kind_of_tells_models_tools_and_the_rest(attributes: dict[str, Any], kind: str) -> None:
    """Spans of HTTP, databases and embeddings say nothing of a conversation."""
    assert kind == kind_of(attributes)


UNREADABLE: list[dict[str, Any]] = [
    {**CHAT, "gen_ai.input.messages": '[{"role": "user", "content": "cut off by an attr'},
    {**CHAT, "gen_ai.input.messages": "[" * 100_000},
    {**CHAT, "gen_ai.input.messages": '[{"role": "user", "content": "' + "x" * MAX_JSON + '"}]'},
    {**CHAT, "gen_ai.input.messages": ("a", "b")},
    {**CHAT, "gen_ai.input.messages": '[{"role": 7, "parts": {"type": []}}, 3, null]'},
    {**OI, "input.value": '{"cut": "of'},
    {**OI, "llm.input_messages.x.message.content": "hi", "llm.input_messages..": 3},
    {**OI, "llm.input_messages.0.message.contents.²3.message_content.text": "hi"},
]


@pytest.mark.parametrize("attributes", UNREADABLE)
def test_read_of_what_is_malformed_is_nothing(attributes: dict[str, Any]) -> None:
    """JSON that was cut, nested without end or is of no known shape has no question; a cut one is not half a text."""
    assert read(attributes).question is None


def test_read_takes_the_last_of_very_many_messages() -> None:
    """A long history is gone through from its end."""
    messages = [{"role": "user", "content": str(number)} for number in range(10_000)]

    call = read({**CHAT, "gen_ai.input.messages": json.dumps(messages)})

    assert "9999" == call.question
    assert MAX_MESSAGES == len(call.asked)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "role content parts type text messages choices message tool_calls function name arguments".split()
            ),
            inner | st.sampled_from(["text", "user", "tool_call", "tool_result", "reasoning", "human"]),
            max_size=4,
        )
    ),
    max_leaves=25,
)
keys = st.sampled_from(
    [*GENAI, *OPENINFERENCE, *OPENLLMETRY, *LANGFUSE, "gen_ai.prompt", "gen_ai.tool.call.arguments", "output.value"]
)


@given(st.dictionaries(keys, json_values.map(json.dumps) | st.text(max_size=20) | st.integers() | st.booleans()))
def test_read_never_raises(attributes: dict[str, Any]) -> None:
    """Whatever stands in a span's attributes, texts are texts."""
    call = read(attributes, [("gen_ai.user.message", attributes), ("gen_ai.choice", attributes)], "s")

    for message in (*call.asked, *call.answered):
        assert isinstance(message.role, str)
        assert all(isinstance(part.text, str) for part in message.parts)


@example({"type": []})
@given(json_values)
def test_from_json_never_raises(document: Any) -> None:
    """Any decoded document gives messages, or none."""
    assert all(isinstance(message, Message) for message in from_json(document, "user"))


def test_read_takes_linear_time() -> None:
    """Ten times the attributes take about ten times as long."""

    def seconds(count: int) -> float:
        attributes = {**OI, **{f"llm.input_messages.{n}.message.content": "hi" for n in range(count)}}
        begin = time.thread_time()
        read(attributes)
        return time.thread_time() - begin

    few = min(seconds(1_000) for _ in range(3))

    assert min(seconds(10_000) for _ in range(2)) < 40 * few
