"""Threads that a page starts, and the threads that run it."""

from __future__ import annotations

import logging

import pytest

from tests.hierarchy.support import Script, trace_of

from .support import SEEN, fine, opened, say

pytestmark = pytest.mark.filterwarnings("default")  # what Streamlit warns of is not ours

THREADS = """
import threading
from concurrent.futures import ThreadPoolExecutor
from opentelemetry import trace
from streamlit.runtime.scriptrunner import add_script_run_ctx
from session_mw import copy_context
from session_mw._hierarchy.hosts import known_engine

def span(name):
    with known_engine().spans.provider.get_tracer("vendor").start_as_current_span(name):
        pass

def work(name):
    span(name)
    SEEN.append((name, current_session() and current_session().id, current_turn() and current_turn().number))

session = track_session()
if question := st.chat_input("ask"):
    given = add_script_run_ctx(threading.Thread(target=work, args=("given the run",)))
    plain = threading.Thread(target=work, args=("plain",))
    carried = threading.Thread(target=copy_context(work), args=("carried",))
    for thread in (given, plain, carried):
        thread.start()
        thread.join()
    with ThreadPoolExecutor(1, initializer=lambda: None) as pool:
        pool.submit(copy_context(work), "pool").result()
    SEEN.append(("page", session.id, session.turn_number))
"""


def test_thread_that_was_given_the_run(script: Script) -> None:
    """
    ``add_script_run_ctx`` or ``copy_context``: session and turn are the page's; a plain thread has nobody's.

    With ``copy_context`` so is the trace; the first span of a thread that was given the run begins one.
    """
    page = opened(THREADS)
    for text in ("one", "two"):
        fine(say(page, text))

    session_id = SEEN[-1][1]
    for number in (1, 2):
        own = trace_of(list(script.named("turn"))[number - 1])
        for name in ("given the run", "carried", "pool"):
            assert (name, session_id, number) in SEEN
            span = script.named(name)[number - 1]
            shown = span.attributes or {}
            assert (session_id, number) == (shown["session.id"], shown["turn.number"]), name
            assert (name == "given the run") or own == trace_of(span)
    assert [("plain", None, None)] * 2 == [seen for seen in SEEN if seen[0] == "plain"]
    assert [None, None] == [(span.attributes or {}).get("session.id") for span in script.named("plain")]


RERUNS = """
session = track_session()
SEEN.append((session.id, session.turn_number))
if st.chat_input("ask"):
    st.session_state.again = 2
if st.session_state.get("again"):
    st.session_state.again -= 1
    st.rerun()
"""


def test_run_in_a_thread_that_has_run_before(script: Script) -> None:
    """``st.rerun()`` runs the page again in the same thread: nothing of the turn before is left in it."""
    fine(say(opened(RERUNS), "hello"))

    assert [None, 1, None, None] == [number for _, number in SEEN]
    assert 1 == len(script.named("turn"))


def test_trouble_of_ours_is_none_of_the_page(
    script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails while a run begins or ends is logged; the page runs."""
    from session_mw.integrations.streamlit.runs import TrackedPage

    def broken(*args: object) -> None:
        raise RuntimeError("broken")

    page = opened(RERUNS)
    monkeypatch.setattr(TrackedPage, "begin", broken)
    with caplog.at_level(logging.ERROR, "session_mw"):
        fine(say(page, "hello"))

    assert 1 == len([r for r in caplog.records if "of a Streamlit run: RuntimeError: broken" in r.getMessage()])


def test_streamlit_without_what_is_wrapped(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A version that has moved a function is said so, once; nothing is raised."""
    from session_mw._core import scope
    from session_mw.integrations.streamlit import runs

    monkeypatch.setattr(scope, "elsewhere", [])
    monkeypatch.setattr(runs, "elsewhere", scope.elsewhere)
    monkeypatch.setattr(runs, "SEAMS", (("streamlit.runtime.scriptrunner", ("gone",), None), ("gone", ("x",), None)))
    with caplog.at_level(logging.WARNING, "session_mw"):
        runs.install()

    assert 2 == len([r for r in caplog.records if "this version of Streamlit has no" in r.getMessage()])


def test_streamlit_has_what_is_wrapped() -> None:
    """The installed version has all of it: else runs would be no turns."""
    from streamlit.runtime import fragment
    from streamlit.runtime.scriptrunner import script_runner
    from streamlit.runtime.state.session_state import SessionState

    import session_mw.integrations.streamlit  # noqa: F401

    wrapped = [
        script_runner.exec_func_with_error_handling,
        SessionState.set_widgets_from_proto,
        getattr(fragment, "handle_user_script_exception", None) or fragment.handle_uncaught_app_exception,
    ]
    assert [True] * 3 == [hasattr(each, "__wrapped__") for each in wrapped]


def test_streamlit_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the integration says how to install it."""
    import importlib.util
    import sys

    import session_mw.integrations.streamlit as ours
    from session_mw.exceptions import MissingDependency

    path = ours.__file__
    assert path is not None
    name = "session_mw.integrations.streamlit_again"
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[])
    assert spec is not None and spec.loader is not None
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(MissingDependency, match=r"pip install 'session-mw\[streamlit\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
