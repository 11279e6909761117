"""
LangGraph and LangChain: each run of a graph is a turn, and its thread the conversation.

    graph = instrument_graph(builder.compile(checkpointer=...))     # this graph
    instrument()                                                    # or every graph of the process

    graph.invoke({"messages": [...]}, {"configurable": {"thread_id": "thread-1"}})

Rule 1: the outermost run counts. Inside a turn that is open already (a web request behind the middleware, ``turn()``)
    it belongs to that turn; graphs inside a graph belong to the run around them.
Rule 2: an interrupt is no error: the turn ends well and says ``turn.output_type`` = ``interrupt``; the run that resumes
    is a turn of the same conversation and says ``turn.input_type`` = ``resume``.
Rule 3: nodes, tools and model calls are spans of ours only where no other instrumentation in the same run makes them
    (OpenInference, OpenLLMetry, Langfuse, LangSmith, MLflow, anything with an OpenTelemetry tracer of this provider).
Rule 4: the graph's input, output and config are the caller's. Added are a callback handler, and the fields of
    ``ConversationState`` that the graph's state has and its input leaves out.
"""

from __future__ import annotations

from ...exceptions import MissingDependency

try:
    import langgraph.pregel  # noqa: F401
except ImportError as error:
    raise MissingDependency("session_mw.integrations.langgraph", "langgraph", "langgraph") from error

from .runs import instrument, instrument_graph
from .state import ConversationState, session_state

__all__ = ["ConversationState", "instrument", "instrument_graph", "session_state"]
