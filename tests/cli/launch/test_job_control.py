"""Stopping, waking, hanging up, background jobs: what a shell and its terminal do to a job reaches the child."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.launch.desk import PATIENCE, Desk, Terminal, alive, eventually

landing, slow = pytest.mark.landing, pytest.mark.slow
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Counts, so that one sees whether it runs; leaves its process id and group.
COUNTING = f"""#!{sys.executable} -S
import os, time
open("child.pid", "w").write(f"{{os.getpid()}} {{os.getpgrp()}}")
os.write(1, b"ready\\n")
while True:
    open("count", "a").write(".")
    time.sleep(0.01)
"""


def state(pid: int) -> str:
    """Return a process's state: ``T`` stopped, ``S`` sleeping, ``-`` gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "-"


def child(desk: Desk) -> int:
    """Return the child's process id, once it is there."""
    path = desk.work / "child.pid"
    eventually(lambda: path.exists() and path.read_text())
    return int(path.read_text().split()[0])


@linux
@slow
def test_stopped_and_woken_without_a_terminal(desk: Desk) -> None:
    """SIGTSTP to the launcher stops the child, SIGCONT wakes it; SIGTERM still ends both."""
    desk.program("child", COUNTING)
    with desk.started("session-mw", "run", "-q", "child") as process:
        pid = child(desk)
        process.send_signal(signal.SIGTSTP)
        eventually(lambda: state(pid) == "T")
        process.send_signal(signal.SIGCONT)
        eventually(lambda: state(pid) in "SR")
        process.terminate()

        assert 143 == process.wait(PATIENCE)
        assert not alive(pid)


@linux
@landing
def test_stopped_by_a_signal_under_a_shell(desk: Desk) -> None:
    """``kill -TSTP`` to the launcher, as by Ctrl-Z: launcher and child stop, the shell has its prompt; ``fg`` wakes."""
    desk.program("child", COUNTING)
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type("session-mw run -q child\n")
        screen.until("ready")
        pid = child(desk)
        launcher = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(launcher, signal.SIGTSTP)
        screen.until("Stopped")
        assert ("T", "T") == (state(pid), state(launcher))
        screen.type("fg\n")
        eventually(lambda: state(pid) in "SR")
        screen.type("\x03")
        screen.until("prompt> ")
        screen.type("echo code $?; exit\n")
        screen.until("code 130")


@linux
@slow
def test_stopped_in_a_pipeline(desk: Desk) -> None:
    """Ctrl-Z stops a pipeline as one job, launcher and child in it; ``fg`` wakes all of it."""
    desk.program("child", COUNTING)
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type("session-mw run -q child | cat\n")
        screen.until("ready")
        pid = child(desk)
        screen.type("\x1a")
        screen.until("Stopped")
        eventually(lambda: state(pid) == "T")
        screen.type("fg\n")
        eventually(lambda: state(pid) in "SR")
        screen.type("\x03")
        screen.until("prompt> ")
        eventually(lambda: not alive(pid))


@linux
@slow
def test_background_job_that_wants_to_read(desk: Desk) -> None:
    """In the background it stops when it reads from the terminal, as any job; ``fg`` gives it what is typed."""
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type("session-mw run -q sh -c 'read line; echo got=$line' &\n")
        eventually(lambda: _jobs(screen, "Stopped"))
        screen.type("fg\n")
        screen.until("session-mw run -q")
        screen.type("hello\n")
        screen.until("got=hello")
        screen.type("echo code $?; exit\n")
        screen.until("code 0")


def _jobs(screen: Terminal, word: str) -> bool:
    screen.type("jobs; echo listed\n")
    screen.until("echo listed")
    return word in screen.until("listed")


@slow
def test_background_job_leaves_the_terminal_alone(desk: Desk) -> None:
    """It writes, and the shell keeps the foreground; ``wait`` has the exit code."""
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type("session-mw run -q sh -c 'sleep 0.3; exit 6' & wait $!; echo code $?; exit\n")
        screen.until("code 6")


@linux
@pytest.mark.parametrize(
    "words",
    [pytest.param(["run", "child"], marks=landing, id="run"), pytest.param(["shell"], marks=slow, id="shell")],
)
def test_terminal_is_closed(desk: Desk, words: list[str]) -> None:
    """Closing the window ends child, launcher and session; nothing is left, and the history has the end."""
    desk.program("child", COUNTING)
    with desk.terminal("session-mw", words[0], "-t", "testing", *words[1:]) as screen:
        if words == ["shell"]:
            screen.until("leaves the session's shell")
            screen.type("child\n")
        pid = child(desk)
        screen.hang_up()
        eventually(lambda: screen.reap() is not None)
        eventually(lambda: not alive(pid))

    (row,) = desk.sessions
    assert ("testing", "ended", "user_exit") == (row.type, row.status, row.end_reason)


@slow
def test_quit_on_a_terminal(desk: Desk) -> None:
    """Ctrl-\\ ends the child, and the launcher in the same way."""
    with desk.terminal("sh", "-c", "ulimit -c 0; exec session-mw run sh -c 'echo there; exec sleep 600'") as screen:
        screen.until("there")
        screen.type("\x1c")

        assert -signal.SIGQUIT == screen.wait()
    (row,) = desk.sessions
    assert ("ended", 131) == (row.status, row.attributes["process.exit.code"])


@slow
def test_quit_is_passed_on_without_a_terminal(desk: Desk) -> None:
    """SIGQUIT to the launcher ends the child."""
    with desk.started("sh", "-c", "ulimit -c 0; exec session-mw run -q sleep 600") as process:
        eventually(lambda: desk.database.exists() and desk.sessions)
        process.send_signal(signal.SIGQUIT)

        assert 131 == process.wait(PATIENCE)


@slow
def test_second_ctrl_c_is_the_childs_too(desk: Desk) -> None:
    """A child that asks "really?" at the first one gets the second; the launcher does not leave before it."""
    code = (
        "import os, signal, time\nn = 0\ndef f(*_):\n    global n\n    n += 1\n    os.write(1, b'int %d\\n' % n)\n"
        "    if n == 2: raise SystemExit(9)\nsignal.signal(2, f)\nos.write(1, b'up')\nwhile 1: time.sleep(9)"
    )
    (desk.work / "twice.py").write_text(code)
    with desk.terminal("session-mw", "run", "-q", sys.executable, "-S", "twice.py") as screen:
        screen.until("up")
        screen.type("\x03")
        screen.until("int 1")
        screen.type("\x03")
        screen.until("int 2")

        assert 9 == screen.wait()
