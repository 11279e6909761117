"""Signals that end the demo: told once all tasks have ended, never as the error of one of them."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from session_mw.cli.demo.signals import ENDING, leave, noted, run

LEAVES = [signal.SIGTERM, *(number for number in ENDING if number not in (signal.SIGINT, signal.SIGTERM))]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The handlers as the command sets them, and back."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in LEAVES:
        signal.signal(number, leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def visitors(number: int, ended: list[str]) -> None:
    """Two tasks; the signal lands inside of the first, between two of its instructions."""

    async def one(name: str) -> None:
        try:
            await asyncio.sleep(0)
            if name == "hit":
                signal.raise_signal(number)
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    await asyncio.gather(one("hit"), one("other"))


@pytest.mark.parametrize("number", LEAVES, ids=[number.name for number in LEAVES])
def test_run_told_to_leave_inside_a_task(number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    """SIGTERM and SIGHUP end all tasks, then the process by SystemExit with the shells' code; asyncio has no error."""
    ended: list[str] = []
    with caplog.at_level(logging.DEBUG, "asyncio"), pytest.raises(SystemExit) as left:
        run(visitors(number, ended))

    assert 128 + number == left.value.code
    assert ["hit", "other"] == ended
    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert leave is signal.getsignal(number)


def test_run_interrupted_inside_a_task(caplog: pytest.LogCaptureFixture) -> None:
    """Ctrl-C is KeyboardInterrupt, after all tasks have ended."""
    ended: list[str] = []
    with caplog.at_level(logging.DEBUG, "asyncio"), pytest.raises(KeyboardInterrupt):
        run(visitors(signal.SIGINT, ended))

    assert ["hit", "other"] == ended
    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_run_told_to_leave_in_a_process_of_its_own() -> None:
    """Standard error stays empty, and the exit code says which signal it was."""
    code = (
        "import asyncio, signal\n"
        "from session_mw.cli.demo.signals import leave, run\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "async def one():\n    signal.raise_signal(signal.SIGTERM)\n    await asyncio.sleep(60)\n"
        "async def main():\n    await asyncio.gather(one(), asyncio.sleep(60))\n"
        "run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (143, "", "") == (done.returncode, done.stdout, done.stderr)


def test_run_without_a_signal() -> None:
    """What the coroutine returns or raises is what comes out."""

    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise LookupError("nothing there")

    assert 42 == run(answer())
    with pytest.raises(LookupError):
        run(fail())


def told(remembered: list[str], *numbers: int) -> None:
    """Send signals within a block, and note each that was survived there."""
    with noted():
        for number in numbers:
            signal.raise_signal(number)
            remembered.append(signal.Signals(number).name)


def test_noted_signal_is_told_after_the_block() -> None:
    """A process that was just started is remembered before the signal takes effect."""
    remembered: list[str] = []
    with pytest.raises(SystemExit) as left:
        told(remembered, signal.SIGTERM)

    assert (143, ["SIGTERM"]) == (left.value.code, remembered)


def test_noted_second_signal_is_told_at_once() -> None:
    """Whoever asks twice does not want to wait."""
    remembered: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        told(remembered, signal.SIGINT, signal.SIGINT)

    assert ["SIGINT"] == remembered


def test_noted_leaves_ignored_signals_alone() -> None:
    """``nohup`` ignores SIGHUP; so does the demo."""
    signal.signal(LEAVES[-1], signal.SIG_IGN)
    with noted():
        signal.raise_signal(LEAVES[-1])
        during = signal.getsignal(LEAVES[-1])

    assert signal.SIG_IGN == during


def test_noted_outside_of_the_main_thread() -> None:
    """Handlers belong to the main thread; elsewhere there is nothing to note."""
    seen = []

    def work() -> None:
        with noted():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert [leave] == seen
