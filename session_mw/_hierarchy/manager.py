"""
One object with the names that Langfuse users know from their own session managers: ``session_manager``.

For scripts, notebooks and Streamlit pages. Everything goes through the functions of this package; nothing is kept here,
so two threads, tasks or users never see each other's session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core import names
from .._core.dialects import INPUT_VALUE, OUTPUT_VALUE
from .._core.ops import Flow
from .._core.records import AttributeValue
from .._core.scope import SessionScope
from .._engine import Engine
from .calls import ToolBlock, ToolCall
from .flowing import Closer, FlowBlock
from .imperative import clear_session, set_session, set_user
from .runs import here
from .sessions import as_text
from .step import Step, StepBlock, text_of
from .turns import TurnBlock


class TracedBlock(FlowBlock[Step]):
    """
    A span, and a turn around it where a session is current and no turn is open: one exchange with the user.

    Args:
        step: The span.
    """

    def __init__(self, step: StepBlock[Step]) -> None:
        super().__init__()
        self._step = step

    def opening(self, engine: Engine) -> Flow[tuple[Step, Closer]]:
        """Open both, the turn first."""
        around: Closer | None = None
        if _between_turns(here()):
            _, around = yield from TurnBlock({}).opening(engine)
        inner = self._step.fresh()
        step = inner.enter()

        def close(error: BaseException | None) -> Flow[None]:
            inner.leave(error)
            if around is not None:
                yield from around(error)

        return step, close


def _between_turns(scope: SessionScope | None) -> bool:
    return scope is not None and not scope.remote and (scope.turn is None or scope.turn.ended or scope.turn.implied)


class SessionManager:
    """Sets and clears the current session, and traces what happens in it. See ``session_manager``."""

    @staticmethod
    def set_session(session_id: object, user_id: object = None, metadata: Mapping[str, Any] | None = None) -> None:
        """As ``session_mw.set_session``."""
        set_session(session_id, user_id, metadata)

    @staticmethod
    def set_user(user_id: object) -> None:
        """As ``session_mw.set_user``."""
        set_user(user_id)

    @staticmethod
    def clear_session() -> None:
        """As ``session_mw.clear_session``."""
        clear_session()

    @property
    def current_session_id(self) -> str | None:
        """The current session's id, None when there is none."""
        scope = here()
        return None if scope is None else scope.session_id

    @property
    def current_user_id(self) -> str | None:
        """Pseudonym of the current session's user, None while nobody is identified."""
        scope = here()
        return None if scope is None else scope.user_id

    @staticmethod
    def trace_span(name: str, metadata: Mapping[str, Any] | None = None) -> TracedBlock:
        """
        Trace a block or a function: ``with``, ``async with``, or a decorator.

        Where a session is current and no turn is open, it is a turn: one exchange with the user.

        Args:
            name: Of the span.
            metadata: Kept as ``metadata.<key>`` on the span.
        """
        said = {f"{names.METADATA}.{key}": as_text(value) for key, value in (metadata or {}).items()}
        return TracedBlock(StepBlock(name, said, Step))

    @staticmethod
    def trace_agent_step(step_type: str, input_data: Any = None, output_data: Any = None) -> None:
        """
        Tell of a step that an agent has taken: a span ``agent_step <step_type>`` of the current session.

        Args:
            step_type: ``think``, ``act``, ``observe`` ...
            input_data: What it had. Kept only with ``capture_content``, its length otherwise.
            output_data: What came out of it, the same.
        """
        told = _lengths({names.STEP_INPUT_LENGTH: input_data, names.STEP_OUTPUT_LENGTH: output_data})
        block = StepBlock(f"agent_step {step_type}", {names.STEP_TYPE: step_type, **told}, Step)
        with block as step:
            step.content(INPUT_VALUE, input_data, "input")
            step.content(OUTPUT_VALUE, output_data, "output")

    @staticmethod
    def trace_mcp_call(server_name: str, query: Any = None, response: Any = None) -> None:
        """
        Tell of a call to an MCP server: a span ``execute_tool <server_name>``, counted in ``turn.tool_calls``.

        Args:
            server_name: Of the server.
            query: What it was asked. Kept only with ``capture_content``, its length otherwise.
            response: What it answered, the same.
        """
        told = _lengths({names.MCP_QUERY_LENGTH: query, names.MCP_RESPONSE_LENGTH: response})
        server = str(server_name)
        attributes: dict[str, AttributeValue] = {
            names.GEN_AI_OPERATION_NAME: "execute_tool",
            names.GEN_AI_TOOL_NAME: server,
            names.MCP_SERVER_NAME: server,
            **told,
        }
        with ToolBlock(f"execute_tool {server}", attributes, ToolCall, openinference="TOOL") as call:
            call.arguments(query)
            call.result(response)


def _lengths(given: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: len(text_of(value)) for name, value in given.items() if value is not None}


session_manager = SessionManager()
