"""
Spans of what runs in a graph, from LangChain's callbacks: nodes as agent runs, tools as tool calls, model calls.

Rule 1: a span is begun in the callback that tells of the beginning, in the context of what is going to run, and is
    current there until the callback that tells of the end. That one may come in another context: asynchronous runs
    end in a task of their own. So nothing is detached by token; the context that was lent is taken back (``Lent``).
Rule 2: the parent is what is current: a block inside a node stands between the node and its tools. In threads that
    carry no context it is the span of the run that LangChain says is the parent.
Rule 3: a node that does nothing but run tools (``ToolNode``), or fill the state (``session_state``), is no agent run.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphBubbleUp
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanKind

from ..._core import names
from ..._core.first_token import SECONDS
from ..._core.messages import Call
from ..._core.scope import SessionScope
from ..._core.shapes import from_json
from ..._hierarchy.calls import ModelCall, ToolCall, agent_run, tool_call
from ..._hierarchy.runs import here
from ..._hierarchy.step import Step, StepBlock, context_inside, finish
from ...telemetry.content import heard_of
from ...telemetry.context import scope_of
from .words import answer_of, model_of, plain, provider_of, response_of, usage_of

MAX_OPEN: Final = 8_192  # runs whose end nobody tells of must not fill the memory
KINDS_KEPT: Final = 256  # blocks of nodes and models, by name: what their spans are made with is worked out once
_NODE = "graph:step:"  # tag of what a graph runs in a step of its own
_CALLED = ("__pregel_push",)  # what starts a task (``@task``) that a node calls: it has no such tag
_PLACE = "langgraph_checkpoint_ns"
_HIDDEN = "langsmith:hidden"
_Said = Mapping[str, Any]


class Lent(Context):
    """A context that whoever copied it may hold on to: ``take_back`` makes current what was around it, everywhere."""

    def take_back(self, before: Context) -> None:
        """Let the span around be current in it. The keys stay the same, so readers in other threads see either."""
        span = trace.get_current_span(before)
        dict.update(self, {key: value for key, value in trace.set_span_in_context(span, before).items() if key in self})


class _Open:
    """
    A span that has begun.

    Attributes:
        asked: What a model was asked.
        first_s: When its answer began, seconds after the call.
        place: Of a node, where it runs: the name of its part of the checkpoint.
    """

    __slots__ = ("asked", "before", "context", "first_s", "place", "started_ns", "step")

    def __init__(self, step: Step, before: Context, asked: list[dict[str, Any]]) -> None:
        self.step = step
        self.before = before
        self.context = Lent(context_inside(step, before))
        self.asked = asked
        self.started_ns = time.time_ns()
        self.first_s: float | None = None
        self.place: object = None

    def end(self, error: BaseException | None) -> None:
        """End the span, and make current what was."""
        self.context.take_back(self.before)
        if get_current() is self.context:
            otel_context.attach(self.before)
        finish(self.step, None if isinstance(error, GraphBubbleUp) else error)


class Spans(BaseCallbackHandler):
    """
    Makes spans of one run of a graph, or of LangChain calls outside of graphs. Outside of a session it makes none.

    Attributes:
        helpers: Names of nodes that are no agent runs.
        off: Nothing new is begun any more.
        resumes: The run goes on where another one stopped.

    Args:
        off: It makes none.
        general: For what runs outside of tracked graphs.
    """

    run_inline = True  # in the context of what runs, also where that is a task

    def __init__(self, *, off: bool = False, general: bool = False) -> None:
        self.helpers: frozenset[str] = frozenset()
        self.off, self.resumes = off, False
        self._general = general
        self._open: dict[UUID, _Open] = {}

    @property
    def makes_session_spans(self) -> bool:
        """Whether it makes spans of what begins now: a graph's run has a handler of its own."""
        return not self.off and not (self._general and of_run.get() is not None)

    @property
    def ignore_retriever(self) -> bool:
        """Retrievers are no calls that are counted."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """The application's own events are its own."""
        return True

    def close(self) -> None:
        """End the nodes that nobody told the end of: the run is over. Work that a node left behind goes on."""
        for run_id, entry in list(self._open.items()):
            if entry.place is not None:
                self._end(run_id, None)

    # -- Nodes

    def on_chain_start(
        self,
        serialized: _Said,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: _Said | None = None,
        **said: Any,
    ) -> None:
        """Begin an agent run where a node or a task begins; other chains are no steps of an agent."""
        if not tags or not metadata or _HIDDEN in tags:
            return
        name = metadata.get("langgraph_node")
        if not isinstance(name, str) or name in self.helpers or name.startswith("__"):
            return
        place, around = metadata.get(_PLACE), None if parent_run_id is None else self._open.get(parent_run_id)
        called = said.get("name") == name and metadata.get("langgraph_triggers") == _CALLED
        inside = around is not None and around.place == place  # a chain in it may be called the same
        if any(tag.startswith(_NODE) for tag in tags) or (called and not inside):
            self._begin(run_id, parent_run_id, _agent_block(name))
            if run_id in self._open:
                self._open[run_id].place = place

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """End a node's span."""
        self._end(run_id, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a node's span: as failed, but not for an interrupt."""
        self._end(run_id, error)

    # -- Tools

    def on_tool_start(
        self,
        serialized: _Said,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: _Said | None = None,
        **said: Any,
    ) -> None:
        """Begin a tool call."""
        name = said.get("name") or (serialized or {}).get("name") or "tool"
        step = self._begin(run_id, parent_run_id, tool_call(str(name), id=said.get("tool_call_id")))
        if isinstance(step, ToolCall):
            step.arguments(input_str if inputs is None else inputs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """End a tool call."""
        entry = self._open.get(run_id)
        if entry is not None and isinstance(entry.step, ToolCall):
            call_id = getattr(output, "tool_call_id", None)
            if isinstance(call_id, str) and call_id:
                entry.step.set_attributes({names.GEN_AI_TOOL_CALL_ID: call_id})
            entry.step.result(getattr(output, "content", output))
        self._end(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a tool call: as failed, but not for an interrupt."""
        self._end(run_id, error)

    # -- Models

    def on_chat_model_start(
        self,
        serialized: _Said,
        messages: Sequence[Sequence[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: _Said | None = None,
        **said: Any,
    ) -> None:
        """Begin a call of a chat model."""
        block = _model_block("chat", metadata, said)
        self._begin(run_id, parent_run_id, block, plain(messages[0] if messages else ()))

    def on_llm_start(
        self,
        serialized: _Said,
        prompts: Sequence[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: _Said | None = None,
        **said: Any,
    ) -> None:
        """Begin a call of a model that completes text."""
        self._begin(run_id, parent_run_id, _model_block("text_completion", metadata, said), plain(prompts))

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:
        """Note when an answer began."""
        entry = self._open.get(run_id)
        if entry is not None and entry.first_s is None:
            entry.first_s = (time.time_ns() - entry.started_ns) / 1e9
            entry.step.set_attributes({SECONDS[0]: entry.first_s})

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """End a model call, with what it used."""
        entry = self._open.get(run_id)
        if entry is not None and isinstance(entry.step, ModelCall):
            answer = answer_of(response)
            entry.step.usage(**usage_of(response))
            entry.step.response(**response_of(answer))
            _heard(entry, entry.step, plain(() if answer is None else (_spoken(answer),)), self.resumes)
        self._end(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a model call as failed; one whose reader left is not."""
        self._end(run_id, error)

    # --

    def _begin(
        self, run_id: UUID, parent_run_id: UUID | None, block: StepBlock[Any], asked: list[dict[str, Any]] | None = None
    ) -> Step | None:
        scope, before = self._place(parent_run_id)
        if scope is None or not self.makes_session_spans:
            return None
        if len(self._open) >= MAX_OPEN:
            self._end(next(iter(self._open)), None)
        entry = self._open[run_id] = _Open(block.begin(scope, before), before, asked or [])
        otel_context.attach(entry.context)
        return entry.step

    def _place(self, parent_run_id: UUID | None) -> tuple[SessionScope | None, Context]:
        """Return the session that this runs in, and the context that its span goes into."""
        scope, parent = here(), None if parent_run_id is None else self._open.get(parent_run_id)
        if scope is not None or parent is None:
            return scope, get_current()
        return scope_of(parent.context), parent.context  # a thread that carries no context

    def _end(self, run_id: UUID, error: BaseException | None) -> None:
        entry = self._open.pop(run_id, None)
        if entry is not None:
            entry.end(error)


_agent_block = functools.lru_cache(KINDS_KEPT)(agent_run)


def _model_block(operation: str, metadata: _Said | None, said: _Said) -> StepBlock[ModelCall]:
    return _model_block_of(operation, model_of(metadata, said.get("invocation_params")), provider_of(metadata))


@functools.lru_cache(KINDS_KEPT)
def _model_block_of(operation: str, model: str | None, provider: str | None) -> StepBlock[ModelCall]:
    """Return the block of a model's calls; a model that has no name has none on its span either."""
    given = {
        names.GEN_AI_OPERATION_NAME: operation,
        names.GEN_AI_REQUEST_MODEL: model,
        names.GEN_AI_PROVIDER_NAME: provider,
    }

    def handle(span: trace.Span, scope: SessionScope | None) -> ModelCall:
        return ModelCall(span, scope, model)

    name = f"{operation} {model}" if model else operation
    return StepBlock(name, given, handle, kind=SpanKind.CLIENT, openinference="LLM")


def _spoken(answer: Any) -> Any:
    return {"role": "assistant", "content": answer} if isinstance(answer, str) else answer


def _heard(entry: _Open, step: ModelCall, answered: list[dict[str, Any]], resumes: bool) -> None:
    """
    Keep what was said where content is captured; else let the turn know how long it was, and nothing more.

    What the user wrote before the graph stopped is no input of the turn in which it goes on.
    """
    if step.rules.capture and step.span.is_recording():
        step.messages(input=entry.asked, output=answered)  # read from the span, like anybody's
        return
    turn = step._turn
    if turn is not None and not turn.ended:
        asked = () if resumes else tuple(from_json(entry.asked, "user"))
        out = tuple(from_json(answered, "assistant"))
        heard_of(turn).take(Call("model", asked, out), step.rules, entry.started_ns, time.time_ns())


# The handler of the graph's run that this code is in.
of_run: ContextVar[Spans | None] = ContextVar("session_mw_langgraph_spans", default=None)
