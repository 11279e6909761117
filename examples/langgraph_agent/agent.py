"""The agent: a graph with a state that knows its session, a model, two tools, and a person who is asked."""

from __future__ import annotations

from functools import partial
from typing import Any

from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt
from opentelemetry.trace import get_current_span

from session_mw import observe
from session_mw.integrations.langgraph import ConversationState, instrument_graph, session_state

from .model import Clerk


@tool
def look_up_order(order: str) -> str:
    """Say where an order is."""
    return f"Order {order} is on its way."


@tool
def refund(order: str) -> str:
    """Pay an order back, if a person agrees."""
    if interrupt({"question": f"Pay order {order} back?"}) != "yes":
        return f"Order {order} cannot be paid back."
    return f"Order {order} is paid back."


MODEL = Clerk().bind_tools([look_up_order, refund])


@observe(name="conversation.turn")
def handle_turn(state: ConversationState) -> dict[str, Any]:
    """Answer, and say on a span of one's own where in the conversation that is."""
    span = get_current_span()
    span.set_attribute("session.id", state["session_id"])
    span.set_attribute("conversation.turn_number", state["turn_number"])
    span.set_attribute("context.tokens", state["context_tokens"])
    return {"messages": [MODEL.invoke(state["messages"])]}


def build() -> Any:
    """Return the agent, its runs tracked."""
    builder = StateGraph(ConversationState)
    builder.add_node("session", partial(session_state, count=count_tokens_approximately))
    builder.add_node("clerk", handle_turn)
    builder.add_node("tools", ToolNode([look_up_order, refund]))
    builder.add_edge(START, "session")
    builder.add_edge("session", "clerk")
    builder.add_conditional_edges("clerk", tools_condition, ["tools", END])
    builder.add_edge("tools", "session")
    return instrument_graph(builder.compile(checkpointer=MemorySaver()))
