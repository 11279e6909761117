"""
A thread for what nobody waits for, and how a process stops in time.

One daemon thread per process, started with the first thing there is to do: never at import or construction, so that it
survives gunicorn's preload and any fork. A worker that is told to stop has little time, and nothing that hangs, a
store, a sink or an exporter, may hold it: whoever ends a process waits for threads, and leaves them behind.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

FLUSH_SECONDS = 0.05  # what is to do waits so long for company: one transaction instead of many
DRAIN_SECONDS = 2.0  # what a shutdown may take altogether; servers kill after 10 to 30 s, and others stop too


class Budget:
    """
    Seconds that several steps have together, from now on.

    Args:
        seconds: How many.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, share: float = 1.0) -> float:
        """Return the seconds until *share* of the budget (a fraction) is used up, 0 when it is."""
        return max(0.0, self._end - (1.0 - share) * self._seconds - time.monotonic())


def begin(work: Callable[[], object], name: str) -> threading.Thread | None:
    """
    Start *work* in a daemon thread.

    Returns:
        The thread; None where none can be had (Python 3.12 and later, while the interpreter exits). Nothing was done.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


class Worker:
    """
    The thread of one engine; what it does is said by ``step`` and the others that raise here.

    Args:
        threaded: False: no thread is started, shells call ``step``.
    """

    def __init__(self, threaded: bool = True) -> None:
        self._threaded = threaded
        self._held = False
        self._forget_thread()

    def _forget_thread(self) -> None:
        """Begin anew, in a new process: the thread is the parent's, and so is whoever holds the lock."""
        self._wake, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._used = False  # something was to do since the last drain
        self._budget: Budget | None = None  # while this process stops

    def step(self) -> int:
        """Do what is due now."""
        raise NotImplementedError

    def _nap(self) -> float:
        """Return how long to sleep, seconds."""
        raise NotImplementedError

    def _queued(self) -> int:
        """Return how much is waiting."""
        raise NotImplementedError

    def _last(self) -> None:
        """Do what is done once, before the last steps."""
        raise NotImplementedError

    def _hand_back(self) -> None:
        """Do what can be done while the thread hangs."""
        raise NotImplementedError

    def hold(self) -> None:
        """Start no thread: tests, and hosts with a scheduler of their own, call ``step``."""
        self._held = True

    def _awake(self) -> None:
        self._used = True
        if self._held:
            return
        if self._pid != os.getpid() or self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def _go_on(self) -> None:
        """Let the thread take its next step at once: not all was done."""
        if self._thread is not None:
            self._wake.set()

    def _start(self) -> None:
        """Start the thread of this process, once. After a fork everything queued belongs to the parent."""
        if not self._threaded:
            return
        with self._lock:
            pid = os.getpid()
            if self._pid == pid and self._thread is not None and self._thread.is_alive():
                return
            self._pid = pid
            self._thread = threading.Thread(target=self._run, args=(self._wake,), name="session-mw", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # interpreter shutdown: no new threads; the next process sweeps
                self._thread = None

    def _run(self, wake: threading.Event) -> None:
        me = threading.current_thread()
        while self._thread is me:
            wake.wait(self._nap())
            if wake.is_set() and self._thread is me:
                time.sleep(FLUSH_SECONDS)
            wake.clear()
            self.step()
        if self._budget is not None:
            self._finish()

    # -- the end of a process

    def drain(self, timeout: float = DRAIN_SECONDS) -> None:
        """
        Do what is queued and due, and hand back what is held, within *timeout* seconds altogether.

        Called on lifespan shutdown and at exit; correctness does not depend on it. What hangs is left behind in its
        thread. The next thing to do starts another: requests may still come, and the application may start again.
        """
        if not self._used and not self._queued():
            return  # since the last time, or ever: a master that only forks opens nothing here
        self._used = False
        self._budget = budget = Budget(timeout)
        thread = self._let_go() or begin(self._finish, "session-mw-drain")
        if thread is None:
            # The interpreter exits, and there never was a thread: what was done until now, requests did themselves.
            self._finish()
        elif not _ended(thread, budget.left(0.75)):
            helper = begin(self._hand_back, "session-mw-drain")
            if helper is not None:
                _ended(helper, budget.left())
        self._budget = None

    def stop(self, timeout: float = DRAIN_SECONDS) -> None:
        """Stop the thread after one more step, within *timeout* seconds; the next thing to do starts it again."""
        thread = self._let_go()
        if thread is not None:
            _ended(thread, timeout)

    def _let_go(self) -> threading.Thread | None:
        """Tell the thread of this process that it is the last time, and return it; None when there is none."""
        with self._lock:
            thread, wake = self._thread, self._wake
            # Each thread has its own: one that hangs must not keep the next thing to do from starting another.
            self._thread, self._wake = None, threading.Event()
        wake.set()
        return thread if thread is not None and thread.is_alive() else None

    def _closing(self) -> bool:
        """Return whether it is too late to begin anything more: the process stops."""
        budget = self._budget
        return budget is not None and not budget.left(0.5)

    def _finish(self) -> None:
        """Do what is left to do, as long as there is time and it helps."""
        self._last()
        left = sys.maxsize
        while True:
            self.step()
            before, left = left, self._queued()
            if not left or left >= before or self._closing():
                return


def _ended(thread: threading.Thread, timeout: float) -> bool:
    """Wait for *thread*, at most *timeout* seconds; return whether it has ended."""
    if thread is threading.current_thread():
        return True
    thread.join(timeout)
    return not thread.is_alive()
