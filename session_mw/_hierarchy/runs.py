"""
Hosts that run the same script again and again for one user (Streamlit): what was set in one run is found by the next.

The seed's way to use ``set_session`` calls it in the first run of a script only, and later runs are other threads. What
lasts from run to run is ``st.session_state``: one object for each browser session, gone with it. So that is where the
session is kept; whoever clears it has cleared this as well.

A page that is tracked as such (``pages``) is kept there too, and found again where the state was cleared: by the host's
store of fragments, which is one for each browser session as well. Threads that the host knows as a run's are in that
run's turn.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from .._core.scope import SessionScope, current_scope, present
from ..context.current import use_finder
from ..telemetry.context import with_scope

HOST = "streamlit.runtime.scriptrunner"
KEY = "_session_mw"


class Tracked(Protocol):
    """What is kept of a page."""

    scope: SessionScope | None

    def line_of(self, run: object, /) -> tuple[SessionScope, Context] | None: ...


class Kept:
    """
    What is kept between two runs. Pickled, where Streamlit is told to see to it that all can be, it is empty.

    Args:
        scope: The session that was set; None when it was cleared, or none was set.
        page: The page, where it is tracked.

    Attributes:
        by_hand: Whether a session was set or cleared by a call: that holds, then.
    """

    __slots__ = ("by_hand", "page", "scope")

    def __init__(self, scope: SessionScope | None = None, page: Tracked | None = None, by_hand: bool = True) -> None:
        self.scope = scope
        self.page = page
        self.by_hand = by_hand

    def __repr__(self) -> str:
        return f"Kept({None if self.scope is None else self.scope.session_id!r})"

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


_pages: WeakKeyDictionary[Any, Tracked] = WeakKeyDictionary()


def here() -> SessionScope | None:
    """Return the scope that is current, or was set by an earlier run of this script for the same user."""
    return present() or adopt()


def adopt() -> SessionScope | None:
    """Make current what an earlier run has set, and return it; None where nothing was, as in any other program."""
    run = run_here()
    if run is None:
        return None
    found = _found(run)
    if found is None:
        return None
    scope, context = found
    current_scope.set(scope)
    otel_context.attach(with_scope(scope) if context is None else context)
    return scope


def _found(run: Any) -> tuple[SessionScope, Context | None] | None:
    """Return the turn that *run* is, if it is one; else the session that was set; else that of the page."""
    kept, page = kept_of(run), page_of(run)
    if kept is not None and kept.by_hand and kept.scope is None:  # cleared
        return None
    line = None if page is None else page.line_of(run)
    if line is not None:
        return line
    scope = kept.scope if kept is not None and kept.by_hand else None if page is None else page.scope
    return None if scope is None else (scope, None)


def remember(scope: SessionScope | None) -> None:
    """Let later runs of this script, for the same user, find *scope*; None lets them find nothing."""
    run = run_here()
    if run is not None:
        state_of(run)[KEY] = Kept(scope, page_of(run))


def kept_of(run: Any) -> Kept | None:
    """Return what is kept for the user of *run*, None when nothing is."""
    state = state_of(run)
    kept: Kept | None = state[KEY] if KEY in state else None  # noqa: SIM401  # the host's state is no mapping
    return kept


def page_of(run: Any) -> Tracked | None:
    """Return the page that *run* is of, None while it is not tracked."""
    kept = kept_of(run)
    if kept is not None and kept.page is not None:
        return kept.page
    try:
        return _pages.get(run.fragment_storage)
    except (AttributeError, TypeError):  # none in this version, or one that nothing can hang on
        return None


def keep_page(run: Any, page: Tracked) -> None:
    """Let later runs find *page*; what was cleared by hand is forgotten."""
    kept = kept_of(run)
    by_hand = kept is not None and kept.by_hand and kept.scope is not None
    state_of(run)[KEY] = Kept(kept.scope if kept is not None and by_hand else None, page, by_hand)
    try:
        _pages[run.fragment_storage] = page
    except (AttributeError, TypeError):
        pass


def hosted() -> bool:
    """Return whether this process runs scripts again and again, for several users."""
    return HOST in sys.modules


def run_here() -> Any:
    """Return the host's run that this thread belongs to, None in any program that no host runs again."""
    runner = sys.modules.get(HOST)
    if runner is None:
        return None
    try:
        run = runner.get_script_run_ctx(suppress_warning=True)
        return None if run is None or run.session_state is None else run
    except AttributeError:  # a host that is being imported, or one with other names
        return None


def state_of(run: Any) -> Any:
    """
    Return what lasts from run to run for the user of *run*.

    Its own face stops the script where another run is due; that is for st's calls to do, not for ours.
    """
    return getattr(run.session_state, "_state", run.session_state)


use_finder(adopt)
