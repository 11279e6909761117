"""Work that a signal stops, soon: in a thread, so that what hangs in it does not keep the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from .demo.signals import ENDING

LOOK_SECONDS = 0.1  # how soon a signal is noticed
STOP_SECONDS = 1.0  # how long the work may take to come to an end: with what follows, less than two


@dataclass
class Stopped:
    """
    How the work ended.

    Attributes:
        signal: Number of the signal that stopped it; 0 when it was done.
        hanging: It did not come to an end, and holds what it uses.
    """

    signal: int = 0
    hanging: bool = False


def in_background(job: Callable[[threading.Event], None], give_up: Callable[[], None]) -> Stopped:
    """
    Do *job*, until it is done or a signal comes.

    Args:
        job: Ends soon after the event is set.
        give_up: Called when it does not, before the process leaves it alone.

    Raises:
        BaseException: What *job* raises.
    """
    stop, done, failed = threading.Event(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            job(stop)
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="session-mw-sweep", daemon=True)
    with _noted() as came:
        thread.start()
        while not done.wait(LOOK_SECONDS) and not came:
            pass
        stop.set()
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            give_up()
    if failed:
        raise failed[0]
    return Stopped(came[0] if came else 0, thread.is_alive())


@contextmanager
def _noted() -> Iterator[list[int]]:
    """
    Note the first signal that would end this process; the next one does.

    Nothing else is done in the handler, which may interrupt the main thread while it holds a lock.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as under nohup
                signal.signal(number, note)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
