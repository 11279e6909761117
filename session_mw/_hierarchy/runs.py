"""
Hosts that run the same script again and again for one user (Streamlit): what was set in one run is found by the next.

The seed's way to use ``set_session`` calls it in the first run of a script only. Later runs are other threads, so the
host's own session of the user says whose run it is: by its id and by the object behind ``st.session_state``, because
the host's test runner gives all its sessions the same id.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

from opentelemetry import context as otel_context

from .._core.scope import SessionScope, current_scope
from ..context.current import use_finder
from ..telemetry.context import with_scope

MAX_RUNS = 10_000  # users of one Streamlit server whose sessions are remembered; the oldest is forgotten
HOST = "streamlit.runtime.scriptrunner"

Key = tuple[str, int]


class _Run(NamedTuple):
    scope: SessionScope
    state: weakref.ref[Any]


_runs: OrderedDict[Key, _Run] = OrderedDict()
_lock = threading.Lock()


def here() -> SessionScope | None:
    """Return the scope that is current, or was set by an earlier run of this script for the same user."""
    return current_scope.get() or adopt()


def adopt() -> SessionScope | None:
    """Make current what an earlier run has set, and return it; None where nothing was, as in any other program."""
    state = _state_of_run()
    known = None if state is None else _runs.get(state[0])
    if state is None or known is None or known.state() is not state[1]:
        return None
    current_scope.set(known.scope)
    otel_context.attach(with_scope(known.scope))
    return known.scope


def remember(scope: SessionScope) -> None:
    """Let later runs of this script, for the same user, find *scope*."""
    state = _state_of_run()
    if state is None:
        return
    key, held = state
    with _lock:
        _runs[key] = _Run(scope, weakref.ref(held))
        _runs.move_to_end(key)
        while len(_runs) > MAX_RUNS:
            _runs.popitem(last=False)


def forget() -> None:
    """Let later runs find nothing."""
    state = _state_of_run()
    if state is not None:
        with _lock:
            _runs.pop(state[0], None)


def _state_of_run() -> tuple[Key, Any] | None:
    """Return what tells this user's runs from others', None in any program that no host runs again."""
    runner = sys.modules.get(HOST)
    if runner is None:
        return None
    try:
        run = runner.get_script_run_ctx(suppress_warning=True)
        if run is None:
            return None
        state = run.session_state
        held = getattr(state, "_state", state)  # the wrapper is made anew for each run, what it wraps is kept
        return (str(run.session_id), id(held)), held
    except AttributeError:  # a host that is being imported, or one with other names
        return None


use_finder(adopt)
