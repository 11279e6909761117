"""
Scripts that a host runs again and again, each time in another thread: what one run has set, the next one finds.

The host here is a stand-in for Streamlit's runner, of which no more is used than this; the real one runs the seeds'
samples in ``tests/seeds/test_seed_003_streamlit.py`` where it is installed.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from session_mw import (
    agent_run,
    clear_session,
    conversation,
    current_session,
    session_context,
    session_manager,
    session_metrics,
    set_session,
    set_user,
    turn,
)
from session_mw._hierarchy.runs import HOST, Kept

from .support import Script


class Host:
    """Runs scripts for browsers: a thread a run, a state a browser."""

    def __init__(self) -> None:
        self._run = threading.local()

    def get_script_run_ctx(self, suppress_warning: bool = False) -> Any:
        assert suppress_warning
        return getattr(self._run, "context", None)

    def run(self, browser: dict[str, Any], page: Callable[[], Any]) -> Any:
        found: list[Any] = []

        def work() -> None:
            self._run.context = SimpleNamespace(session_id="the same for all", session_state=browser)
            found.append(page())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[0]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setitem(sys.modules, HOST, host)  # type: ignore[arg-type]
    return host


def in_turn() -> None:
    with turn():
        pass


def in_conversation() -> None:
    with conversation("c-1"):
        pass


def in_session_context() -> None:
    with session_context():
        pass


def in_trace_span() -> None:
    with session_manager.trace_span("query"):
        pass


@pytest.mark.parametrize("block", [in_turn, in_conversation, in_trace_span])
def test_run_blocks_find_the_session(script: Script, host: Host, block: Callable[[], None]) -> None:
    """Whatever the later run begins with, it is a turn of the session that the first one has set."""
    browser: dict[str, Any] = {}
    host.run(browser, lambda: set_session("s-1"))
    for _ in range(2):
        host.run(browser, block)

    assert ("s-1", 2) == tuple(script.ended()[key] for key in ("session.id", "session.total_turns"))


def test_run_handles_find_the_session(script: Script, host: Host) -> None:
    """Handles, properties and totals too; steps and blocks without an id join it."""
    browser: dict[str, Any] = {}
    host.run(browser, lambda: set_session("s-1", user_id="a"))

    assert "s-1" == host.run(browser, lambda: current_session().id)  # type: ignore[union-attr]
    assert "s-1" == host.run(browser, lambda: session_manager.current_session_id)
    assert 0 == host.run(browser, session_metrics)["turns"]
    host.run(browser, lambda: agent_run("helper").__enter__().span.end())
    assert "s-1" == script.shown("invoke_agent helper")["session.id"]
    host.run(browser, in_session_context)
    assert ["s-1"] == [event.key[0] for event in (script.sweep(31), script.ends())[1]]


def test_run_of_another_browser_finds_nothing(script: Script, host: Host) -> None:
    """Each browser has its own, though the host's test runner calls them all the same."""
    one, other, third = {}, {}, {}  # type: dict[str, Any], dict[str, Any], dict[str, Any]
    host.run(one, lambda: set_session("s-1"))
    host.run(other, lambda: set_session("s-2"))

    found = [host.run(browser, lambda: session_manager.current_session_id) for browser in (one, other, third)]
    assert ["s-1", "s-2", None] == found
    assert session_manager.current_session_id is None


def test_run_after_clear_session_finds_nothing(script: Script, host: Host) -> None:
    """Cleared in one run, it stays cleared; so does it when the page clears its state."""
    for clear in (lambda browser: host.run(browser, clear_session), lambda browser: browser.clear()):
        browser: dict[str, Any] = {}
        host.run(browser, lambda: set_session("s-1"))
        clear(browser)
        assert host.run(browser, lambda: session_manager.current_session_id) is None


def test_run_that_names_the_user_keeps_the_session(script: Script, host: Host) -> None:
    """A user who logs in in the third run is the session's, with no turn after it."""
    browser: dict[str, Any] = {}
    host.run(browser, lambda: set_session("s-1"))
    host.run(browser, in_turn)
    host.run(browser, lambda: set_user("a"))

    assert "user.id" in script.ended()


def test_run_outside_of_a_page(script: Script, host: Host) -> None:
    """Threads of the host's process that run no page belong to nobody."""
    set_session("s-1")
    clear_session()

    assert current_session() is None


def test_run_of_a_host_with_other_names(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that we do not know is none: nothing is raised, nothing is found."""
    monkeypatch.setitem(sys.modules, HOST, SimpleNamespace())  # type: ignore[arg-type]
    set_session("s-1")
    assert "s-1" == session_manager.current_session_id
    clear_session()

    assert session_manager.current_session_id is None


def test_what_is_kept_can_be_pickled(script: Script, host: Host) -> None:
    """Streamlit can be told to insist on it; what comes back holds no session, and its repr no user."""
    browser: dict[str, Any] = {}
    host.run(browser, lambda: set_session("s-1", user_id="a"))
    (kept,) = browser.values()

    assert "Kept('s-1')" == repr(kept)
    assert pickle.loads(pickle.dumps(kept)).scope is None
    assert isinstance(kept, Kept)
