"""
Visitors who close their tab.

Streamlit says so by releasing what was cached for the session (``st.cache_resource(scope="session")``, from 1.53 on),
at once, also where the network was gone for a moment: the session's state is kept for ``server.disconnectedSessionTTL``
and the browser comes back to it. So who has left is looked after when that time is over, and again while there is
reason to think that they are there: one thread for all, which sleeps until the next one is due.
"""

from __future__ import annotations

import heapq
import inspect
import logging
import threading
import time
from itertools import count
from typing import Any

import streamlit as st
from streamlit import config, runtime

from ..._drive import run_sync
from ..._durations import parse_duration
from ..._engine import outside
from ..._hierarchy.hosts import engine_of
from ...telemetry.notices import once
from .runs import TrackedPage, guarded

logger = logging.getLogger("session_mw")

TTL_OPTION = "server.disconnectedSessionTTL"
TTL_SECONDS = 120.0  # that option's default, and what Streamlit did before there was one
SUPPORTED = "scope" in inspect.signature(type(st.cache_resource).__call__).parameters


class Tab:
    """
    One browser tab that shows a page.

    Args:
        page: What it shows.
        host_id: Streamlit's id of the session. It is none of ours and stays here: a browser comes back with it.
        seconds: How long the tab may come back.
    """

    def __init__(self, page: TrackedPage, host_id: str, seconds: float) -> None:
        self.page = page
        self.host_id = host_id
        self.seconds = seconds
        self.open = True


_tabs: dict[str, Tab] = {}


def stay(page: TrackedPage, host_id: Any, timeout: object) -> None:
    """
    See to it that the page's session ends when its tab is closed.

    Raises:
        ValueError: *timeout* is no duration.
    """
    seconds = _seconds(timeout)
    if not SUPPORTED or not isinstance(host_id, str):
        once("streamlit:leaving", logger.info, "Streamlit before 1.53 does not tell of closed tabs: sessions idle out.")
        return
    tab = _tabs.get(host_id)
    if tab is None or tab.page is not page:
        tab = _tabs[host_id] = Tab(page, host_id, seconds)
    tab.seconds, tab.open = seconds, True
    guarded("watch", _held, tab)


def _seconds(timeout: object) -> float:
    if timeout is not None:
        return parse_duration(timeout)
    try:
        return float(config.get_option(TTL_OPTION))
    except Exception:  # no such option in this version
        return TTL_SECONDS


def _released(tab: Tab) -> None:
    """Note that a tab was closed, or somebody has emptied the cache; Streamlit's event loop waits for this."""
    tab.open = False
    _watch.look_after(tab, tab.seconds)


def _hold(_tab: Tab) -> Tab:
    return _tab


_held: Any = st.cache_resource(_hold, scope="session", on_release=_released, show_spinner=False) if SUPPORTED else _hold


class Watch:
    """Looks after tabs that were closed, each when its time is over."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Tab]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def look_after(self, tab: Tab, seconds: float) -> None:
        """Look whether *tab* is back, so many seconds from now."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), tab))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="session-mw-tabs", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            tab = self._next()
            guarded("end", look, tab)

    def _next(self) -> Tab:
        """Wait until somebody is due."""
        with self._changed:
            while True:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)


_watch = Watch()


def look(tab: Tab) -> None:
    """End the session of a tab that has not come back; look again later if it has, or still works."""
    page, scope = tab.page, tab.page.scope
    if tab.open or scope is None:  # a run has noticed that it is back
        return
    if _connected(tab.host_id) or page.lines:
        _watch.look_after(tab, max(tab.seconds, 1.0))
        return
    if _tabs.get(tab.host_id) is tab:
        del _tabs[tab.host_id]
    if any(other.page.scope is not None and other.page.scope.session_id == scope.session_id for other in _others(tab)):
        return  # another tab of the same visitor: it is the last one's end that counts
    engine = engine_of(scope)
    run_sync(outside.guarded(engine, page.disconnect(engine, scope)), engine.store)


def _others(tab: Tab) -> list[Tab]:
    return [other for other in list(_tabs.values()) if other is not tab]


def _connected(host_id: str) -> bool:
    return bool(runtime.exists() and runtime.get_instance().is_active_session(host_id))
