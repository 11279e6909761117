"""
Around every run of a page: its session is current in callbacks, script and fragments, and a turn is open if it is one.

Three functions of Streamlit are wrapped, none replaced: the one that executes a run, the one that takes over the
widgets' new values (callbacks come after it), and the one that shows what a fragment raised (nobody else is told).
Where a version has one of them no more, one log line says so, and what hung on it is left to the page: ``turn()``.

Rule 1: nothing here raises into a page.
Rule 2: a run begins outside of any session, whatever its thread did before: threads run several runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import wrapt
from opentelemetry.context import Context

from ..._core.scope import SessionScope, elsewhere
from ..._drive import run_sync
from ..._hierarchy.block import Placed
from ..._hierarchy.flowing import Closer
from ..._hierarchy.hosts import engine_of
from ..._hierarchy.pages import Page, RunLine
from ..._hierarchy.runs import adopt, kept_of, page_of, run_here
from ...context import Turn
from ...telemetry.content import take_request
from ...telemetry.context import with_scope
from ...telemetry.notices import once
from .interaction import Interaction, Rule, is_turn, read
from .visitor import user_of_host

logger = logging.getLogger("session_mw")

CONTROLS = ("RerunException", "StopException")  # how a run is left; no errors
BY_PAGE = "streamlit.commands.execution_control"  # st.rerun, st.stop, st.switch_page


class TrackedPage(Page):
    """
    A page, and what it said of its turns.

    Attributes:
        rule: Which runs are turns.
        ran: Whether a run of it has ended.
        shown: Which of the host's pages ran last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rule: Rule = None
        self.ran = False
        self.shown: str | None = None


class Run:
    """
    One run.

    Args:
        context: Streamlit's, of the run.
    """

    def __init__(self, context: Any) -> None:
        self.context = context
        self.did: Interaction | None = None
        self.failure: BaseException | None = None
        self.user = user_of_host()
        self._placed = Placed(None, Context())
        self._page: Placed | None = None
        self._turn: tuple[RunLine, Closer] | None = None
        self._judged = False

    @property
    def page(self) -> TrackedPage | None:
        """The page, None before it called ``track_session``."""
        page = page_of(self.context)
        return page if isinstance(page, TrackedPage) and page.scope is not None else None

    @property
    def in_turn(self) -> bool:
        """Whether a turn is open in it."""
        return self._turn is not None

    def enter(self) -> None:
        """Begin: the page's session, if it has one, is current."""
        page = self.page
        if page is None:
            return
        scope = scope_of(page, self.context)
        if scope is None:
            return
        engine = engine_of(scope)
        if not page.named:
            page.meet(engine, scope, self.user)
        run_sync(page.resume(engine, scope), engine.store)
        self.place(scope)

    def place(self, scope: SessionScope) -> None:
        """Make the page's session current until the run ends."""
        if self._page is None and self._turn is None:
            self._page = Placed(scope, with_scope(scope, Context()))

    def learn(self, did: Interaction | None) -> None:
        """Learn what the user did."""
        self.did = did
        self.judge()

    def judge(self) -> None:
        """Begin a turn if this run is one: once it is known what the user did, and what the page takes for a turn."""
        page = self.page
        if page is None or self._judged:
            return
        scope, engine = scope_of(page, self.context), engine_of(page.scope)
        if scope is None:
            return
        self._judged = True
        shown, page.shown = page.shown, _page_shown(self.context)
        if self.did is not None and is_turn(page.rule, self.did, known=page.ran):
            self._turn = run_sync(page.begin(engine, scope, self.context), engine.store)
            _tell(self._turn[0], self.did)
        elif self.did is not None or shown != page.shown:
            page.note(engine, scope)

    def leave(self, error: BaseException | None) -> None:
        """End: close the turn."""
        page = self.page
        if page is not None:
            page.ran = True
        try:
            if self._turn is not None:
                line, close = self._turn
                run_sync(close(_outcome(error, self.failure)), engine_of(line).store)
        finally:
            if self._page is not None:
                self._page.leave()
            self._placed.leave()


_run: ContextVar[Run | None] = ContextVar("session_mw_streamlit_run", default=None)


def current_run() -> Run | None:
    """Return the run that this code is in; None in the one that has imported this package."""
    return _run.get()


def scope_of(page: TrackedPage, context: Any) -> SessionScope | None:
    """Return the session of *page*: the one that it has set by hand, if it has; None while it is cleared."""
    kept = kept_of(context)
    if kept is None or not kept.by_hand:
        return page.scope
    if kept.scope is not None and kept.scope is not page.scope:
        page.take(kept.scope)
    return kept.scope


def _page_shown(context: Any) -> str | None:
    shown = getattr(context, "page_script_hash", None)
    return shown if isinstance(shown, str) else None


def _tell(line: RunLine, did: Interaction) -> None:
    """Say of the turn what is known of the user's message."""
    turn = line.turn
    if turn is None or did.message is None:
        return
    take_request(turn, line.rules, did.message)
    if did.attached is not None:
        Turn(line, turn).set(has_attachments=did.attached)


def _outcome(error: BaseException | None, failure: BaseException | None) -> BaseException | None:
    """Return what made a run fail; what stands for "somebody left" where the user went on before it was done."""
    if failure is not None:
        return failure
    if error is not None and type(error).__name__ in CONTROLS:
        return None if _left_by_page(error) else GeneratorExit()
    return error


def _left_by_page(error: BaseException) -> bool:
    """Return whether the page itself asked for it, and not the user's next action."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == BY_PAGE:
            return True
        trace = trace.tb_next
    return False


def guarded(what: str, work: Callable[..., Any], *args: Any) -> None:
    """Call *work*; what it raises is logged, once a kind."""
    try:
        work(*args)
    except Exception as error:
        kind = type(error).__name__
        text = "cannot %s the session of a Streamlit run: %s: %s. The page goes on."
        once(f"streamlit:{what}:{kind}", logger.error, text, what, kind, error)


def _executing(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Around ``exec_func_with_error_handling(func, ctx)``: the function that runs is ours, and calls theirs."""
    if len(args) < 2:  # another signature: not one that we know
        return function(*args, **kwargs)
    script, context, *others = args

    def inside() -> Any:
        run, error = Run(context), None
        token = _run.set(run)
        try:
            guarded("begin", run.enter)
            return script()
        except BaseException as raised:
            error = raised
            raise
        finally:
            guarded("end", run.leave, error)
            _run.reset(token)

    return function(inside, context, *others, **kwargs)


def _widgets_set(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Around ``SessionState.set_widgets_from_proto(widget_states)``."""
    value = function(*args, **kwargs)
    run = _run.get()
    if run is not None and args:
        guarded("begin a turn of", lambda: run.learn(read(instance, args[0])))
    return value


def _raised_in_fragment(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Around what shows an exception that a fragment raised."""
    run = _run.get()
    if run is not None and args and isinstance(args[0], BaseException):
        run.failure = args[0]
    return function(*args, **kwargs)


SEAMS: tuple[tuple[str, tuple[str, ...], Any], ...] = (
    ("streamlit.runtime.scriptrunner.script_runner", ("exec_func_with_error_handling",), _executing),
    ("streamlit.runtime.state.session_state", ("SessionState.set_widgets_from_proto",), _widgets_set),
    (  # by later and earlier versions
        "streamlit.runtime.fragment",
        ("handle_user_script_exception", "handle_uncaught_app_exception"),
        _raised_in_fragment,
    ),
)


def install() -> None:
    """Put the wrappers in place, once a process."""
    if elsewhere:
        return
    elsewhere[:] = [_in_thread]
    for module, names, wrapper in SEAMS:
        if not any(_wrapped(module, name, wrapper) for name in names):
            text = (
                "this version of Streamlit has no %s: runs are no turns by themselves. Use `with turn():` around one."
            )
            once(f"streamlit:seam:{module}", logger.warning, text, names[0])


def _wrapped(module: str, name: str, wrapper: Any) -> bool:
    try:
        wrapt.wrap_function_wrapper(import_module(module), name, wrapper)
    except (AttributeError, ImportError):
        return False
    return True


def _in_thread() -> SessionScope | None:
    """Return the session of a thread that the page has given its run (``add_script_run_ctx``)."""
    run = run_here()
    return None if run is None or page_of(run) is None else adopt()


install()
