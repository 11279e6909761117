"""
Runs of graphs as turns.

All ways to run a graph (``invoke``, ``ainvoke``, ``stream``, ``astream``, ``batch``, ``astream_events``) come by its
``stream`` or ``astream``, so these two are where a turn begins and ends. Both are generators: everything in them runs
in a context of their own, which whoever reads them does not see, and which ends with them, finished or not.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, closing
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from langchain_core.runnables.config import ensure_config, merge_configs
from langchain_core.tracers.context import register_configure_hook
from langgraph.errors import GraphBubbleUp
from langgraph.pregel import Pregel
from langgraph.types import Command
from wrapt import wrap_function_wrapper

from ..._core import names
from ..._core.identity import valid_conversation_id
from ..._core.ops import Flow
from ..._engine import Engine
from ..._hierarchy.block import decorated
from ..._hierarchy.flowing import Closer
from ..._hierarchy.turns import TurnBlock
from ...context import Turn, current_session, current_turn, hash_user_id
from .others import SpanMaker, takes_session_from_metadata
from .spans import Spans, of_run
from .state import filled, session_state
from .watch import Watch

G = TypeVar("G")

RESUME: Final = "resume"
INTERRUPT: Final = "interrupt"

_current: ContextVar[Run | None] = ContextVar("session_mw_langgraph_run", default=None)


class Run:
    """
    One run of a graph, the outermost.

    Args:
        graph: That runs.
        makes_spans: Whether to make spans of what runs in it, where nobody else does.
    """

    def __init__(self, graph: Any, makes_spans: bool) -> None:
        self.graph = graph
        self.watch = Watch()
        self.spans = Spans(off=not makes_spans)
        self.ended = False
        self.enter(graph)

    def enter(self, graph: Any) -> None:
        """Learn of a graph that runs, this one or one inside it, which of its nodes are no agents."""
        nodes = getattr(graph, "nodes", None)
        if isinstance(nodes, Mapping):
            self.spans.helpers |= {name for name, node in nodes.items() if _is_helper(node)}

    def begin(self, given: Any, config: Any) -> tuple[Any, Any]:
        """Return input and config for the run; it has its turn by now."""
        _current.set(self)
        of_run.set(self.spans)
        if given is None or (isinstance(given, Command) and given.resume is not None):
            self._resume(getattr(given, "resume", None))
        return filled(self.graph, given), _told(config, self.watch)

    def _resume(self, answer: Any) -> None:
        """Say that the run goes on where another one stopped, and how much was written for that."""
        self.spans.resumes = True
        turn = current_turn()
        if turn is not None:
            _say(turn, names.TURN_INPUT_TYPE, input_type=RESUME)
            if isinstance(answer, str):
                _say(turn, names.TURN_INPUT_LENGTH, input_length=len(answer))

    def end(self) -> None:
        """Say how the run ended; its turn is still open."""
        self.ended = True
        self.spans.close()
        turn = current_turn()
        if turn is not None and self.watch.interrupted:
            _say(turn, names.TURN_OUTPUT_TYPE, output_type=INTERRUPT)


def _is_helper(node: Any) -> bool:
    """Return whether a node is a ``ToolNode`` (not imported here: who has one did) or fills the state."""
    bound = getattr(node, "bound", node)
    module = sys.modules.get("langgraph.prebuilt.tool_node")
    if module is not None and isinstance(bound, module.ToolNode):
        return True
    function = getattr(bound, "func", None)
    return getattr(function, "func", function) is session_state


def _say(turn: Turn, name: str, **said: str | int) -> None:
    """Say something of a turn unless the application did."""
    if name not in turn._turn.attributes:
        turn.set(**said)  # type: ignore[arg-type]  # one of its names


def _told(config: Any, handler: Any) -> Any:
    """Return *config* with one more handler, and the session for who asks for it: nothing of it is replaced."""
    given = dict(config or {})
    both = merge_configs({"callbacks": given.get("callbacks")}, {"callbacks": [handler]})
    given["callbacks"] = both.get("callbacks")
    session = current_session() if takes_session_from_metadata() else None
    if session is not None:
        given["metadata"] = {"session_id": session.id, **(given.get("metadata") or {})}
    return given


class RunBlock(TurnBlock):
    """The turn of a run, in its thread's conversation. What only paused the graph is no failure of it."""

    def opening(self, engine: Engine) -> Flow[tuple[Turn, Closer]]:
        """Open or join the turn."""
        turn, closer = yield from super().opening(engine)

        def close(error: BaseException | None) -> Flow[None]:
            yield from closer(None if isinstance(error, GraphBubbleUp) else error)

        return turn, close


def conversation_of(graph: Any, config: Any) -> str | None:
    """
    Return the conversation of a run: its ``thread_id``, None without one.

    Kept as the application gives it; one that cannot be a conversation's id (an address, other characters, over 200
    of them) as a pseudonym of it, the same each time.
    """
    thread = _thread_of(config) or _thread_of(getattr(graph, "config", None)) or _thread_of(ensure_config())
    if thread is None or valid_conversation_id(thread):
        return thread
    return "thread-" + hash_user_id(thread).removeprefix("u_")


def _thread_of(config: Any) -> str | None:
    found = ((config or {}).get("configurable") or {}).get("thread_id")
    return str(found).strip() or None if found is not None else None


def _pulled(run: Run, stream: Callable[..., Any], given: Any, config: Any, options: Any) -> Generator[Any, None, None]:
    try:
        given, config = run.begin(given, config)
        with closing(stream(given, config, **options)) as chunks:
            for chunk in chunks:
                run.watch.saw(chunk)
                yield chunk
    finally:
        run.end()


async def _pulled_async(
    run: Run, stream: Callable[..., Any], given: Any, config: Any, options: Any
) -> AsyncGenerator[Any, None]:
    try:
        given, config = run.begin(given, config)
        async with aclosing(stream(given, config, **options)) as chunks:
            async for chunk in chunks:
                run.watch.saw(chunk)
                yield chunk
    finally:
        run.end()


def _tracked(
    pull: Callable[..., Any], graph: Any, makes_spans: bool, stream: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """Return what *stream* gives, as a turn of its own where no run around it is one."""
    around = _current.get()
    if around is not None and not around.ended:
        around.enter(graph)
        return stream(*args, **kwargs)
    given, config, options = _arguments(*args, **kwargs)
    block = RunBlock({}, conversation_of(graph, config))
    return decorated(pull, block)(Run(graph, makes_spans), stream, given, config, options)


def _arguments(input: Any, config: Any = None, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
    return input, config, options


class _Everywhere:
    """What ``instrument`` asked for. ``calls`` makes spans outside of graphs."""

    on = False
    makes_spans = True
    calls: ContextVar[Spans | None] | None = None


_lock = threading.Lock()
_installed: list[bool] = []


def _install() -> None:
    """Look into every run of a graph, once a process: it takes two looks at variables where nobody asked for it."""
    with _lock:
        if _installed:
            return
        _installed.append(True)
        register_configure_hook(of_run, inheritable=True, handle_class=cast(Any, SpanMaker))
        wrap_function_wrapper(Pregel, "stream", functools.partial(_wrapped, _pulled))
        wrap_function_wrapper(Pregel, "astream", functools.partial(_wrapped, _pulled_async))


def _wrapped(pull: Callable[..., Any], stream: Callable[..., Any], graph: Any, args: Any, kwargs: Any) -> Any:
    around = _current.get()
    if _Everywhere.on or (around is not None and not around.ended):
        return _tracked(pull, graph, _Everywhere.makes_spans, stream, args, kwargs)
    return stream(*args, **kwargs)


def instrument(*, spans: bool = True) -> Callable[[], None]:
    """
    Let each run of any graph in this process be a turn, and model and tool calls of LangChain's be counted.

    A run inside a turn belongs to it; without a session it opens one for its time. Model and tool calls outside of
    graphs make spans inside a session only.

    Args:
        spans: Whether to make spans of nodes, tools and model calls where no other instrumentation makes them.

    Returns:
        What undoes it. Runs that go on are finished as they began.
    """
    _install()
    calls = _everywhere_calls() if spans else None
    _Everywhere.on, _Everywhere.makes_spans = True, spans
    if calls is not None:
        calls.off = False

    def uninstrument() -> None:
        _Everywhere.on = False
        if calls is not None:
            calls.off = True

    return uninstrument


def _everywhere_calls() -> Spans:
    """Return what makes spans outside of graphs, registered when first asked for: there is no way to take it back."""
    with _lock:
        if _Everywhere.calls is None:
            variable = ContextVar[Spans | None]("session_mw_langchain_spans", default=Spans(general=True))  # noqa: B039
            _Everywhere.calls = variable
            register_configure_hook(variable, inheritable=True, handle_class=cast(Any, SpanMaker))
        found = _Everywhere.calls.get()
        assert found is not None
        return found


def instrument_graph(graph: G, *, spans: bool = True) -> G:
    """
    Let each run of *graph* be a turn of the current session, and its ``thread_id`` the conversation.

    Works for compiled graphs, agents (``create_agent``), functional workflows (``@entrypoint``) and ``RemoteGraph``,
    over every way to run them. A run inside a turn (a request behind the middleware, ``turn()``) belongs to it; without
    a session it opens one for its time. Copies of the graph (``with_config``) are tracked as well.

    Args:
        graph: Compiled. A second time changes nothing.
        spans: Whether to make spans of nodes, tools and model calls where no other instrumentation makes them.

    Returns:
        The same graph.

    Raises:
        TypeError: *graph* cannot be run: it is a builder that was not compiled, for instance.
    """
    kind: Any = type(graph)
    if not (callable(getattr(graph, "stream", None)) and callable(getattr(graph, "astream", None))):
        raise TypeError(f"cannot instrument this {kind.__name__}: it has no stream() and astream(). Compile it first.")
    _install()
    if not hasattr(kind, "_session_mw"):
        graph.__class__ = _tracked_kind(kind, spans)
    return graph


@functools.cache
def _tracked_kind(kind: Any, spans: bool) -> Any:
    """Return a subclass of a kind of graph that tracks its runs: copies of a graph are of its class, too."""

    def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _tracked(_pulled, self, spans, functools.partial(kind.stream, self), args, kwargs)

    def astream(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _tracked(_pulled_async, self, spans, functools.partial(kind.astream, self), args, kwargs)

    methods = {"stream": functools.wraps(kind.stream)(stream), "astream": functools.wraps(kind.astream)(astream)}
    shown = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), {**methods, **shown, "_session_mw": True})
