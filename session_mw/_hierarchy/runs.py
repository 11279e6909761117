"""
Hosts that run the same script again and again for one user (Streamlit): what was set in one run is found by the next.

The seed's way to use ``set_session`` calls it in the first run of a script only, and later runs are other threads. What
lasts from run to run is ``st.session_state``: one object for each browser session, gone with it. So that is where the
session is kept; whoever clears it has cleared this as well.
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry import context as otel_context

from .._core.scope import SessionScope, current_scope, present
from ..context.current import use_finder
from ..telemetry.context import with_scope

HOST = "streamlit.runtime.scriptrunner"
KEY = "_session_mw"


class Kept:
    """
    What is kept between two runs. Pickled, where Streamlit is told to see to it that all can be, it is empty.

    Args:
        scope: The session that was set.
    """

    __slots__ = ("scope",)

    def __init__(self, scope: SessionScope | None = None) -> None:
        self.scope = scope

    def __repr__(self) -> str:
        return f"Kept({None if self.scope is None else self.scope.session_id!r})"

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


def here() -> SessionScope | None:
    """Return the scope that is current, or was set by an earlier run of this script for the same user."""
    return present() or adopt()


def adopt() -> SessionScope | None:
    """Make current what an earlier run has set, and return it; None where nothing was, as in any other program."""
    state = _state_of_run()
    if state is None or KEY not in state:
        return None
    scope: SessionScope | None = state[KEY].scope
    if scope is not None:
        current_scope.set(scope)
        otel_context.attach(with_scope(scope))
    return scope


def remember(scope: SessionScope | None) -> None:
    """Let later runs of this script, for the same user, find *scope*; None lets them find nothing."""
    state = _state_of_run()
    if state is not None:
        state[KEY] = Kept(scope)


def hosted() -> bool:
    """Return whether this process runs scripts again and again, for several users."""
    return HOST in sys.modules


def _state_of_run() -> Any:
    """Return what lasts from run to run for the user of this thread, None in any program that no host runs again."""
    runner = sys.modules.get(HOST)
    if runner is None:
        return None
    try:
        run = runner.get_script_run_ctx(suppress_warning=True)
        # Its own face stops the script where another run is due; that is for st's calls to do, not for ours.
        return None if run is None else getattr(run.session_state, "_state", run.session_state)
    except AttributeError:  # a host that is being imported, or one with other names
        return None


use_finder(adopt)
