"""
Whether a run stopped at an interrupt.

Three things tell, depending on LangGraph's version and on what is streamed: the ``__interrupt__`` in a chunk (updates,
values; ``invoke`` sees these too), the error of a node of the outermost graph, and the graph's own callback. Of a
breakpoint (``interrupt_before``) no node knows: before LangGraph had callbacks, only a stream of updates tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphInterrupt

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler as GraphCallbackHandler
else:
    try:
        from langgraph.callbacks import GraphCallbackHandler  # they tell of breakpoints as well
    except ImportError:
        GraphCallbackHandler = BaseCallbackHandler

INTERRUPT = "__interrupt__"


class Watch(GraphCallbackHandler):
    """
    Watches one run of a graph.

    Attributes:
        interrupted: It stopped at an interrupt.
    """

    run_inline = True

    def __init__(self) -> None:
        self.interrupted = False
        self._root: UUID | None = None

    @property
    def ignore_llm(self) -> bool:
        """Chains only."""
        return True

    @property
    def ignore_chat_model(self) -> bool:
        """Chains only."""
        return True

    @property
    def ignore_agent(self) -> bool:
        """Chains only: tools are told of as agents' actions."""
        return True

    @property
    def ignore_retriever(self) -> bool:
        """Chains only."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Chains only."""
        return True

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Note the outermost run: it begins first."""
        if self._root is None:
            self._root = run_id

    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **_: Any
    ) -> None:
        """Note a node of the outermost graph that stopped. What a graph inside a tool does is that tool's business."""
        if isinstance(error, GraphInterrupt) and parent_run_id == self._root:
            self.interrupted = True

    def on_interrupt(self, event: Any) -> None:
        """Note that the graph says so itself."""
        if getattr(event, "run_id", None) == self._root:
            self.interrupted = True

    def saw(self, chunk: Any) -> None:
        """Look at what the run gave out."""
        if not self.interrupted:
            self.interrupted = any(_stopped(part) for part in (chunk if isinstance(chunk, tuple) else (chunk,)))


def _stopped(part: Any) -> bool:
    """Return whether a chunk, or a part of one (namespace, mode, payload), tells of an interrupt."""
    if not isinstance(part, Mapping):
        return False
    if INTERRUPT in part:
        return True
    if "ns" in part and "data" in part:  # a part of the v2 streaming format; what is in a namespace is a subgraph's
        return not part["ns"] and (bool(part.get("interrupts")) or _stopped(part["data"]))
    return False
