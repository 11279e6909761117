"""Agent runs, model calls, tool calls and observed functions: the GenAI conventions, literally."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind, get_current_span

from session_mw import agent_run, llm_call, observe, session_context, tool_call, turn

from .support import Script, id_of, parent_of

OURS = ("session.id", "gen_ai.conversation.id", "conversation.id", "turn.number", "session.type")


def own(script: Script, name: str) -> dict[str, Any]:
    """Return what a step's span says besides the stamp."""
    return {key: value for key, value in script.shown(name).items() if key not in OURS}


def test_steps_follow_the_conventions(script: Script) -> None:
    """Span names, kinds and attributes of OpenTelemetry's GenAI conventions, kinds of OpenInference beside them."""
    with session_context("s-1"), agent_run("planner", id="a-1", version="2", description="plans"):
        with llm_call("gpt-5-mini", provider="openai") as call:
            call.response(id="resp-1", model="gpt-5-mini-2026")
            call.usage(input_tokens=10, output_tokens=2, cache_read_tokens=4, reasoning_tokens=1, cost_usd=0.25)
        with tool_call("search", id="call-1"):
            pass

    assert {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "planner",
        "gen_ai.agent.id": "a-1",
        "gen_ai.agent.version": "2",
        "gen_ai.agent.description": "plans",
        "openinference.span.kind": "AGENT",
    } == own(script, "invoke_agent planner")
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.id": "resp-1",
        "gen_ai.response.model": "gpt-5-mini-2026",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "gen_ai.usage.cost": 0.25,
        "openinference.span.kind": "LLM",
    } == own(script, "chat gpt-5-mini")
    assert {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call-1",
        "openinference.span.kind": "TOOL",
    } == own(script, "execute_tool search")
    kinds = [script.only(name).kind for name in ("invoke_agent planner", "chat gpt-5-mini", "execute_tool search")]
    assert [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.INTERNAL] == kinds


def test_steps_are_nested_as_they_are_written(script: Script) -> None:
    """A call inside a run is its child; a foreign span inside a call is the call's."""
    with session_context("s-1"), agent_run("planner"), tool_call("search"):
        script.work()

    run, call, work = (script.only(name) for name in ("invoke_agent planner", "execute_tool search", "work"))
    assert [id_of(run), id_of(call)] == [parent_of(call), parent_of(work)]
    assert id_of(script.only("turn")) == parent_of(run)


def test_steps_carry_the_session(script: Script) -> None:
    """Identity is there from the span's start, so samplers see it."""
    with session_context("s-1", user_id="a", prompt_version="v7"), turn(), agent_run("planner"):
        started = dict(get_current_span().attributes)  # type: ignore[attr-defined]

    assert ("s-1", 1, "v7") == tuple(started[key] for key in ("session.id", "turn.number", "session.prompt_version"))
    assert started["user.id"].startswith("u_")


def test_steps_without_the_openinference_dialect_have_no_kind() -> None:
    """Dialects are a choice."""
    script = Script(dialects=())
    with session_context("s-1"), agent_run("planner"):
        pass

    assert "openinference.span.kind" not in script.shown("invoke_agent planner")


def test_steps_outside_of_sessions_are_plain_spans(script: Script) -> None:
    """No session is opened for them, and nothing is stamped."""
    with agent_run("planner"), observe("step"):
        pass

    assert "session.id" not in {**script.shown("invoke_agent planner"), **script.shown("step")}


def test_steps_without_an_sdk_do_nothing() -> None:
    """The block runs; its handle takes everything."""
    script = Script(recording=False)
    with session_context("s-1"), agent_run("planner"), llm_call("m") as call:
        call.usage(input_tokens=1, output_tokens=2, cost_usd=0.5)
        call.set(anything=1)

    assert () == script.spans


def test_usage_without_an_sdk_is_counted() -> None:
    """What a model call says of itself needs no span to be counted."""
    script = Script(recording=False)
    with session_context("s-1"), llm_call("m") as call:
        call.usage(input_tokens=1, output_tokens=2, cost_usd=0.5)

    end = script.ended()
    assert (1, 2, 0.5) == tuple(
        end[f"session.{key}"] for key in ("total_input_tokens", "total_output_tokens", "total_cost_usd")
    )


def test_usage_of_unsampled_turns_is_counted() -> None:
    """Nor does it need a span that is kept."""
    script = Script()
    script.provider.sampler = sampling.ALWAYS_OFF
    with session_context("s-1"), agent_run("planner"), llm_call("m") as call:
        call.usage(input_tokens=1, output_tokens=2)

    assert () == script.spans
    assert 3 == script.ended()["session.total_tokens"]
    (kept,) = script.engine.history.usages("s-1")
    assert ("model", "m", 1, 2) == (kept.kind, kept.model, kept.input_tokens, kept.output_tokens)


def test_observe_names_spans_after_functions(script: Script) -> None:
    """``@observe`` and ``@observe()`` take the function's name, ``@observe(name=...)`` the one that is given."""

    @observe
    def plain() -> None: ...

    @observe()
    def called() -> None: ...

    @observe(name="conversation.turn", stage=2)
    def named() -> None:
        get_current_span().set_attribute("context.tokens", 7)

    plain()
    called()
    named()

    assert ["plain", "called", "conversation.turn"] == [span.name for span in script.spans]
    assert {"stage": 2, "context.tokens": 7} == {
        key: value for key, value in script.shown("conversation.turn").items() if key in ("stage", "context.tokens")
    }


def test_observe_keeps_methods_apart(script: Script) -> None:
    """A method's span has its class in its name."""

    class Agent:
        @observe
        def think(self, about: str) -> str:
            return about

    assert "x" == Agent().think("x")
    assert "Agent.think" == script.spans[0].name


def test_content_is_kept_only_where_it_is_captured() -> None:
    """Arguments and results of tools and observed functions are content: off by default."""

    @tool_call("search")
    def search(query: str) -> list[str]:
        return ["secret answer"]

    @observe
    def plan(goal: str) -> str:
        return "secret plan"

    for capture in (False, True):
        script = Script(capture_content=capture)
        with session_context("s-1"):
            search("secret question")
            plan(goal="secret goal")
        tool, step = script.shown("execute_tool search"), script.shown(script.spans[1].name)
        assert capture is ("secret" in repr(tool)) is ("secret" in repr(step))
        if capture:
            assert '{"query": "secret question"}' == tool["gen_ai.tool.call.arguments"] == tool["input.value"]
            assert '["secret answer"]' == tool["gen_ai.tool.call.result"] == tool["output.value"]
            assert ('{"goal": "secret goal"}', "secret plan") == (step["input.value"], step["output.value"])


def test_content_is_redacted_and_cut() -> None:
    """The application's hook sees it first; then it is cut to the limit."""
    script = Script(capture_content=True, content_limit=16, redact=lambda text, *_: text.replace("jane", "***"))
    with session_context("s-1"), llm_call("m") as call:
        call.messages(input="jane asks and asks and asks", output="ok jane")

    shown = script.shown("chat m")
    assert ("*** asks and ask", "ok ***") == (shown["input.value"], shown["output.value"])


def test_step_that_fails_says_so(script: Script) -> None:
    """Status and error type on the step; what is around it decides for itself."""
    with session_context("s-1"), turn(), pytest.raises(LookupError), tool_call("search"):
        raise LookupError("nothing found")

    assert "LookupError" == script.shown("execute_tool search")["error.type"]
    assert "UNSET" == script.only("turn").status.status_code.name
