"""
Steps inside a turn: ``agent_run``, ``llm_call``, ``tool_call``, and ``observe`` for anything else.

Names, kinds and attributes are those of OpenTelemetry's GenAI conventions (spans ``invoke_agent``, ``chat``,
``execute_tool``), with OpenInference's span kinds where that dialect is on. Tokens and costs that a model call reports
stand on its own span only; they are added up by the roll-up, as those of any instrumentation are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast, overload

from opentelemetry.trace import Span, SpanKind

from .._core import names
from .._core.dialects import INPUT_VALUE, OUTPUT_VALUE
from .._core.records import AttributeValue
from .._core.scope import SessionScope
from ..context.turn import Turn
from ..context.values import cleaned_all
from .step import Step, StepBlock

F = TypeVar("F", bound=Callable[..., Any])


class AgentRun(Step):
    """An agent run. See ``agent_run``."""

    def started(self) -> None:
        """Count it where no span processor will: unsampled, or without an SDK."""
        if self._turn is not None and not self.span.is_recording():
            self._turn.agent_runs = (self._turn.agent_runs or 0) + 1


class ToolCall(Step):
    """A tool call. See ``tool_call``."""

    def started(self) -> None:
        """Count it where no span processor will."""
        if self._turn is not None and not self.span.is_recording():
            self._turn.tool_calls = (self._turn.tool_calls or 0) + 1

    def arguments(self, value: Any) -> None:
        """Keep what the tool is called with, where content is captured."""
        self.content(names.GEN_AI_TOOL_ARGUMENTS, value, "tool_call")
        self.content(INPUT_VALUE, value, "tool_call")

    def result(self, value: Any) -> None:
        """Keep what the tool answered, where content is captured."""
        self.content(names.GEN_AI_TOOL_RESULT, value, "tool_result")
        self.content(OUTPUT_VALUE, value, "tool_result")


class ModelCall(Step):
    """A model call. See ``llm_call``."""

    def __init__(self, span: Span, scope: SessionScope | None, model: str | None = None) -> None:
        super().__init__(span, scope)
        self._model = model

    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
    ) -> None:
        """
        Report what the call used; the turn and the session get it by the roll-up. Calling it again replaces.

        Args:
            input_tokens: Tokens sent, cached ones included.
            output_tokens: Tokens received, reasoning included.
            cost_usd: US dollars, where you know; computed from a price list else, if there is one.
            cache_read_tokens: Of the input, how many came from a cache.
            cache_write_tokens: Of the input, how many were written to one.
            reasoning_tokens: Of the output, how many were reasoning.
        """
        if not self.span.is_recording():
            if self._scope is not None and self._turn is not None:
                told = Turn(self._scope, self._turn)
                told.add_usage(
                    input_tokens=input_tokens, output_tokens=output_tokens, cost_usd=cost_usd, model=self._model
                )
            return
        given = {
            names.GEN_AI_INPUT_TOKENS: input_tokens,
            names.GEN_AI_OUTPUT_TOKENS: output_tokens,
            names.GEN_AI_CACHE_READ_TOKENS: cache_read_tokens,
            names.GEN_AI_CACHE_WRITE_TOKENS: cache_write_tokens,
            names.GEN_AI_REASONING_TOKENS: reasoning_tokens,
            names.GEN_AI_COST: cost_usd,
        }
        self.span.set_attributes({key: value for key, value in given.items() if value is not None})

    def response(self, *, id: str | None = None, model: str | None = None) -> None:
        """Say which response it was, and which model answered: calls told of twice are recognised by the id."""
        given = {names.GEN_AI_RESPONSE_ID: id, names.GEN_AI_RESPONSE_MODEL: model}
        self.span.set_attributes(cleaned_all(given, self.hide))

    def messages(self, *, input: Any = None, output: Any = None) -> None:
        """Keep what was asked and answered, where content is captured."""
        self.content(INPUT_VALUE, input, "input")
        self.content(OUTPUT_VALUE, output, "output")


class ObservedBlock(StepBlock[Step]):
    """A decorated function's arguments and result are kept where content is captured."""

    def asked(self, step: Step, arguments: dict[str, Any]) -> None:
        """Keep the function's arguments."""
        step.content(INPUT_VALUE, arguments, "input")

    def answered(self, value: Any) -> None:
        """Keep the function's result."""
        self.step.content(OUTPUT_VALUE, value, "output")


class ToolBlock(StepBlock[ToolCall]):
    """The same, under the names that tools have."""

    def asked(self, step: ToolCall, arguments: dict[str, Any]) -> None:
        """Keep the tool's arguments."""
        step.arguments(arguments)

    def answered(self, value: Any) -> None:
        """Keep the tool's result."""
        self.step.result(value)


@overload
def observe(name: F, /) -> F: ...


@overload
def observe(name: str | None = None, **attributes: AttributeValue) -> ObservedBlock: ...


def observe(name: F | str | None = None, **attributes: AttributeValue) -> Any:
    """
    Put a span around a function or a block: ``@observe``, ``@observe(name="plan")``, ``with observe("plan"):``.

    Functions may be plain, async, generators or async generators. Get the span with OpenTelemetry's own
    ``get_current_span()`` or as what ``with`` gives.

    Args:
        name: Of the span; a decorated function's own name by default.
        attributes: Set at its start. Attributes with dots in their names: ``step.set_attributes({...})``.
    """
    if callable(name):
        return ObservedBlock(_name_of(name), {}, Step)(name)
    block = ObservedBlock(name or "", attributes, Step)
    return block if name else _Unnamed(block)


class _Unnamed:
    """A decorator that names the span after the function."""

    def __init__(self, block: ObservedBlock) -> None:
        self._block = block

    def __call__(self, function: F) -> F:
        self._block._name = _name_of(function)
        return self._block(function)

    def __enter__(self) -> Step:
        raise TypeError("cannot observe a block without a name: write observe('name').")


def agent_run(
    name: str,
    *,
    id: str | None = None,
    version: str | None = None,
    description: str | None = None,
    **attributes: AttributeValue,
) -> StepBlock[AgentRun]:
    """
    Run an agent: a span ``invoke_agent <name>``, counted in ``turn.agent_runs``.

    Args:
        name: Of the agent.
        id: Of the agent, where it has one.
        version: Of the agent.
        description: What it is for.
        attributes: Your own, set at its start.
    """
    given = {
        names.GEN_AI_OPERATION_NAME: "invoke_agent",
        names.GEN_AI_AGENT_NAME: name,
        names.GEN_AI_AGENT_ID: id,
        names.GEN_AI_AGENT_VERSION: version,
        names.GEN_AI_AGENT_DESCRIPTION: description,
    }
    return StepBlock(f"invoke_agent {name}", {**given, **attributes}, AgentRun, openinference="AGENT")


def llm_call(
    model: str,
    *,
    provider: str | None = None,
    operation: str = "chat",
    **attributes: AttributeValue,
) -> StepBlock[ModelCall]:
    """
    Call a model: a span ``chat <model>``. For calls that no instrumentation sees; those that one does need nothing.

    Example::

        with llm_call("gpt-5-mini", provider="openai") as call:
            answer = client.ask(question)
            call.usage(input_tokens=answer.tokens_in, output_tokens=answer.tokens_out)

    Args:
        model: The model that is asked.
        provider: ``openai``, ``anthropic`` ...: who computes prices from it.
        operation: ``chat``, ``text_completion``, ``generate_content`` or ``embeddings``.
        attributes: Your own, set at its start.
    """
    given = {
        names.GEN_AI_OPERATION_NAME: operation,
        names.GEN_AI_REQUEST_MODEL: model,
        names.GEN_AI_PROVIDER_NAME: provider,
    }
    kind = "EMBEDDING" if operation == "embeddings" else "LLM"
    handle = partial(ModelCall, model=model)
    return StepBlock(f"{operation} {model}", {**given, **attributes}, handle, kind=SpanKind.CLIENT, openinference=kind)


def tool_call(name: str, *, id: str | None = None, **attributes: AttributeValue) -> ToolBlock:
    """
    Call a tool: a span ``execute_tool <name>``, counted in ``turn.tool_calls``.

    Args:
        name: Of the tool.
        id: Of this call, as the model named it.
        attributes: Your own, set at its start.
    """
    given = {
        names.GEN_AI_OPERATION_NAME: "execute_tool",
        names.GEN_AI_TOOL_NAME: name,
        names.GEN_AI_TOOL_CALL_ID: id,
    }
    return ToolBlock(f"execute_tool {name}", {**given, **attributes}, ToolCall, openinference="TOOL")


def _name_of(function: Callable[..., Any]) -> str:
    return cast(str, getattr(function, "__qualname__", type(function).__name__)).rpartition("<locals>.")[2]
