"""The child behaves as if nobody stood between: signals, job control, exit codes; on real terminals."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import open_ledger
from tests.cli.launch.desk import PATIENCE, Desk, alive, eventually

# Each takes a second or more. What is likely to break has to hold before anything lands; the rest is slow.
landing, slow = pytest.mark.landing, pytest.mark.slow

# Says that it is there, and what reaches it; ends well when told INT.
CHILD = f"""#!{sys.executable} -S
import os, signal, sys, time
def note(number, frame):  # which may come in the middle of a print
    os.write(1, f"got {{signal.Signals(number).name}}\\n".encode())
    if number == signal.SIGINT:
        sys.exit(7)
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(each, note)
open("child.pid", "w").write(str(os.getpid()))
os.write(1, f"ready {{os.getpid()}} {{os.getpgrp()}}\\n".encode())
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["true"], 0, marks=slow, id="well"),
        pytest.param(["sh", "-c", "exit 3"], 3, marks=slow, id="badly"),
        pytest.param(["sh", "-c", "kill -TERM $$"], 143, marks=landing, id="TERM"),
        pytest.param(["sh", "-c", "kill -KILL $$"], 137, marks=slow, id="KILL"),
        pytest.param(["sh", "-c", "kill -PIPE $$"], 141, marks=slow, id="PIPE"),
        pytest.param(["no-such-program"], 127, marks=landing, id="not found"),
        pytest.param(["./not-executable"], 126, marks=landing, id="not executable"),
    ],
)
def test_exit_codes_are_those_of_shells(desk: Desk, words: list[str], code: int) -> None:
    """127 not found, 126 cannot be executed, 128+n by signal n, and else the child's own."""
    (desk.work / "not-executable").write_text("#!/bin/sh\n")
    done = desk.run("session-mw", "run", "-q", "--", *words)

    assert (code, "") == (done.returncode, done.stdout)


@slow
def test_no_session_begins_for_what_is_not_there(desk: Desk) -> None:
    """A typing error is one line on standard error, and no session."""
    done = desk.run("session-mw", "run", "no-such-program")

    assert "session-mw: cannot run 'no-such-program': it was not found\n" == done.stderr
    assert not desk.database.exists()


@slow
def test_script_without_a_first_line_runs_in_a_shell(desk: Desk) -> None:
    """As in any shell, an executable text without ``#!`` is a script of sh."""
    desk.program("bare", "echo bare $1\nexit 5\n")
    done = desk.run("session-mw", "run", "-q", "bare", "word")

    assert (5, "bare word\n") == (done.returncode, done.stdout)


@slow
def test_words_and_streams_are_the_childs(desk: Desk) -> None:
    """Words arrive as they are, options among them; standard output has nothing of ours."""
    done = desk.run("session-mw", "run", "--", "printf", "%s|", "a b", "--type", "-q", "", text="unused")

    assert "a b|--type|-q||" == done.stdout
    assert done.stderr.startswith("session-mw: session general-")


@slow
def test_standard_input_is_the_childs(desk: Desk) -> None:
    """What comes through a pipe reaches the child whole."""
    text = "line\n" * 10_000
    done = desk.run("session-mw", "run", "-q", "cat", text=text)

    assert text == done.stdout


PASSED_ON = [
    pytest.param(signal.SIGTERM, marks=landing, id="TERM"),
    *(pytest.param(n, marks=slow, id=n.name) for n in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)),
]


@pytest.mark.parametrize("number", PASSED_ON)
def test_signals_are_passed_on(desk: Desk, number: signal.Signals) -> None:
    """Whoever signals the launcher reaches the child, once, which decides what becomes of it."""
    desk.program("child", CHILD)
    with desk.started("session-mw", "run", "-q", "child") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("ready"), process.stderr.read()
        process.send_signal(number)
        assert f"got {number.name}\n" == process.stdout.readline()
        if number != signal.SIGINT:
            process.send_signal(signal.SIGINT)
            assert "got SIGINT\n" == process.stdout.readline()

        assert 7 == process.wait(PATIENCE)
        assert "" == process.stdout.read()


@slow
def test_no_orphan_after_sigterm(desk: Desk) -> None:
    """SIGTERM to the launcher reaches the whole group of the child: nothing of it is left."""
    with desk.started("session-mw", "run", "-q", "sh", "-c", "sleep 600 & echo $!; wait") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.terminate()

        assert 143 == process.wait(PATIENCE)
        eventually(lambda: not alive(pid))


@landing
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells the child")
def test_no_orphan_after_sigkill(desk: Desk) -> None:
    """The child of a killed launcher is told, as if its terminal had gone."""
    with desk.started("session-mw", "run", "-q", "sleep", "600") as process:
        child = eventually(lambda: _child_of(process.pid))
        process.kill()

        eventually(lambda: not alive(child))


def _child_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            words = file.read().split()
        return int(words[0]) if words and "sleep" in os.readlink(f"/proc/{words[0]}/exe") + _name(words[0]) else None
    except OSError:
        return None


def _name(pid: str) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read()


@landing
def test_interrupted_on_a_terminal(desk: Desk) -> None:
    """Ctrl-C reaches the child and not the launcher, which waits for it and has its exit code."""
    desk.program("child", CHILD)
    with desk.terminal("session-mw", "run", "child") as screen:
        screen.until("ready")
        screen.type("\x03")
        screen.until("got SIGINT")

        assert 7 == screen.wait()
        assert "Traceback" not in screen.seen
        assert "exit code 7" in screen.seen


@landing
def test_ended_by_ctrl_c_on_a_terminal(desk: Desk) -> None:
    """Where Ctrl-C ends the child it ends the launcher too, in the same way; the session's end is told before."""
    with desk.terminal("session-mw", "run", "sh", "-c", "echo there; exec sleep 600") as screen:
        screen.until("there")
        screen.type("\x03")

        assert -signal.SIGINT == screen.wait()
    (row,) = desk.sessions
    assert ("user_exit", 130, 1) == (row.end_reason, row.attributes["process.exit.code"], row.failed)


@slow
def test_child_has_the_terminal(desk: Desk) -> None:
    """On a terminal the child's group is in the foreground, and not the launcher's."""
    desk.program("child", CHILD)
    with desk.terminal("session-mw", "run", "-q", "child") as screen:
        screen.until("ready ")
        pid, group = map(int, screen.until("\r\n").split())

        assert pid == group == os.tcgetpgrp(screen._file) != screen.pid


@landing
def test_stopped_and_continued_from_a_shell(desk: Desk) -> None:
    """Ctrl-Z gives the prompt back, ``fg`` the terminal; the exit code arrives."""
    desk.program("child", CHILD)
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type("session-mw run -q child\n")
        screen.until("ready")
        screen.type("\x1a")
        screen.until("Stopped")
        screen.until("prompt> ")
        screen.type("fg\n")
        screen.until("session-mw run -q child")
        eventually(lambda: os.tcgetpgrp(screen._file) == int((desk.work / "child.pid").read_text()))
        screen.type("\x03")
        screen.until("got SIGINT")
        screen.until("prompt> ")
        screen.type("echo code $?; exit\n")
        screen.until("code 7")


@slow
def test_script_ends_with_the_command_that_ctrl_c_ended(desk: Desk) -> None:
    """A script that runs the launcher again and again is interrupted as it would be without the launcher."""
    script = "for n in 1 2 3; do session-mw run -q sh -c 'echo round; exec sleep 600'; done; echo went on"
    with desk.terminal("bash", "-c", script) as screen:
        screen.until("round")
        screen.type("\x03")

        assert -signal.SIGINT == screen.wait()
        assert "round" not in screen.seen
        assert "went on" not in screen.seen


@slow
def test_pipeline_is_one_job(desk: Desk) -> None:
    """In a pipeline the child stays in the shell's job: Ctrl-C reaches it once, and the others too."""
    desk.program("child", CHILD)
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type("session-mw run -q child | cat\n")
        screen.until("ready ")
        pid, group = map(int, screen.until("\r\n").split())
        assert pid != group
        screen.type("\x03")
        before = screen.until("prompt> ")
        screen.type("exit\n")

        assert before.count("got SIGINT") <= 1


@slow
def test_terminal_modes_are_put_right_after_a_crash(desk: Desk) -> None:
    """A child that dies with the terminal in raw mode leaves it as it was."""
    code = "import os, tty; tty.setraw(0); print('raw', flush=True); os.kill(os.getpid(), 9)"
    with desk.terminal("sh", "-c", f'session-mw run -q {sys.executable} -S -c "{code}"; stty -a') as screen:
        screen.until("raw")
        said = screen.until("iutf8") if "iutf8" in screen.seen else ""
        screen.wait()

        assert " icanon " in said + screen.seen


@slow
def test_nohup_is_respected(desk: Desk) -> None:
    """Signals that are ignored from the beginning stay so, in the child as well."""
    script = "trap '' HUP; exec session-mw run -q sh -c 'kill -HUP $$; echo survived'"
    done = desk.run("sh", "-c", script)

    assert (0, "survived\n") == (done.returncode, done.stdout)


@slow
def test_python_child_is_no_worse_than_before(desk: Desk) -> None:
    """SIGPIPE, which Python ignores, ends the child as it would without the launcher."""
    done = desk.run("bash", "-c", "set -o pipefail; session-mw run -q yes | head -1; echo ${PIPESTATUS[0]}")

    assert ["y", "141"] == done.stdout.split()


@landing
def test_broken_store_fails_nothing(desk: Desk) -> None:
    """Where the store cannot be used the child runs all the same, one line says why, and the code is the child's."""
    done = desk.run("session-mw", "run", "claude", STUB_EXIT="5", SESSION_MW_STORE="sqlite:////no/such/folder/x.db")

    assert (5, "agent:\n") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("is not recorded")
    assert desk.calls[0]["environ"]["PHOENIX_SESSION_ID"].startswith("general-")


@slow
@pytest.mark.parametrize(
    "environ",
    [{"SESSION_MW_STORE": "nonsense"}, {"SESSION_MW_IDEL_TIMEOUT": "3"}, {"XDG_STATE_HOME": "/proc/none"}],
    ids=["store", "unknown setting", "state folder"],
)
def test_broken_settings_fail_nothing(desk: Desk, environ: dict[str, str]) -> None:
    """Settings that cannot be used are said, and the child runs with its session's name."""
    done = desk.run("session-mw", "run", "-t", "debugging", "claude", STUB_EXIT="4", **environ)

    assert 4 == done.returncode
    assert "sessions are not recorded: " in done.stderr
    assert desk.calls[0]["environ"]["PHOENIX_SESSION_ID"].startswith("debugging-")


@slow
def test_store_that_hangs_holds_nothing_up_for_long(desk: Desk) -> None:
    """A server that takes connections and never answers costs seconds, not the command."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        began = time.monotonic()
        done = desk.run("session-mw", "run", "claude", SESSION_MW_STORE=url)
        took = time.monotonic() - began

    assert (0, "agent:\n") == (done.returncode, done.stdout)
    assert "is not recorded" in done.stderr
    assert took < PATIENCE / 2


@landing
def test_two_at_once_stay_apart(desk: Desk) -> None:
    """Two launchers of one user at a time: two sessions, each with its own end."""
    with desk.started("session-mw", "run", "-q", "-t", "testing", "sleep", "0.5") as one:
        done = desk.run("session-mw", "run", "-q", "-t", "debugging", "claude")
        assert (0, 0) == (done.returncode, one.wait(PATIENCE))

    assert ["debugging", "testing"] == sorted(str(row.type) for row in desk.sessions)
    assert {"ended"} == {row.status for row in desk.sessions}


@slow
def test_launcher_is_imported_from_where_it_is_installed(desk: Desk) -> None:
    """A module of the same name in the working directory is not run."""
    (desk.work / "session_mw").mkdir()
    (desk.work / "session_mw" / "__init__.py").write_text("raise SystemExit('hijacked')\n")
    (desk.work / "click.py").write_text("raise SystemExit('hijacked')\n")
    done = desk.run("session-mw", "run", "-q", "claude")

    assert (0, "agent:\n") == (done.returncode, done.stdout), done.stderr


@landing
def test_killed_launchers_session_ends_with_the_next(desk: Desk) -> None:
    """SIGKILL: the next launcher of this user brings the end, with the reason, and a turn that nobody closed."""
    with desk.started("session-mw", "run", "-q", "-t", "testing", "sleep", "600") as process:
        eventually(lambda: desk.database.exists() and any(row.type == "testing" for row in desk.sessions))
        process.kill()
        process.wait(PATIENCE)
    assert 0 == desk.run("session-mw", "run", "-q", "sh", "-c", "sleep 0.3").returncode

    killed = next(row for row in desk.sessions if row.type == "testing")
    assert ("shutdown", "abnormal") == (killed.end_reason, killed.attributes["session.status"])


SHORT = {"IDLE_TIMEOUT": "1s", "TURN_TIMEOUT": "1s", "CLOCK_SKEW": "100ms"}


@slow
def test_killed_launchers_session_ends_with_any_sweeper(desk: Desk) -> None:
    """Without another launcher, ``session-mw sweep`` brings it when the idle timeout is over; a live one's is left."""
    short = {f"SESSION_MW_{name}": text for name, text in SHORT.items()}
    sweep = ["session-mw", "sweep", "--store", f"sqlite:///{desk.database}"]
    with desk.started("session-mw", "run", "-q", "-t", "testing", "sleep", "600", **short) as process:
        eventually(lambda: desk.database.exists() and desk.sessions)
        time.sleep(2.5)  # twice over: it is renewed, or it would be due
        assert "reported 0" in desk.run(*sweep, **short).stdout
        process.kill()
        process.wait(PATIENCE)
    eventually(lambda: "reported 1" in desk.run(*sweep, **short).stdout)

    (row,) = desk.sessions
    assert ("idle_timeout", "abnormal") == (row.end_reason, row.attributes["session.status"])
    assert row.duration_ms >= 2_000


@landing
def test_start_and_end_go_to_a_collector(desk: Desk) -> None:
    """Where OpenTelemetry's variables name one, both events arrive there, besides the history."""
    with Receiver() as receiver:
        words = ["-t", "testing", "-n", "n", "sh", "-c", "sleep 0.2; exit 4"]
        done = desk.run("session-mw", "run", *words, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        start, end = sorted(receiver.records(), key=lambda record: record.event_name, reverse=True)

    assert 4 == done.returncode
    assert ("session.start", "session.end") == (start.event_name, end.event_name)
    assert ("testing", "n", "cli") == tuple(start.attributes[f"session.{name}"] for name in ("type", "name", "channel"))
    assert (4, 1, "sh") == tuple(
        end.attributes[name] for name in ("process.exit.code", "session.failed_turns", "process.executable.name")
    )
    assert end.attributes["session.duration_ms"] >= 200


@slow
def test_collector_that_is_away_fails_nothing(desk: Desk) -> None:
    """Nobody takes the events: the code is the child's, it is said in one line, and a later sweep reports the end."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    began = time.monotonic()
    done = desk.run("session-mw", "run", "claude", STUB_EXIT="3", **endpoint)
    took = time.monotonic() - began
    with Receiver() as receiver:
        eventually(lambda: _swept(desk, receiver.url))
        (end,) = [record for record in receiver.records() if record.event_name == "session.end"]

    assert (3, "agent:\n") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("is recorded, but not reported yet")
    assert took < PATIENCE / 2
    assert 3 == end.attributes["process.exit.code"]


def _swept(desk: Desk, url: str) -> bool:
    words = ["--store", f"sqlite:///{desk.database}", "--endpoint", url]
    return "reported 1" in desk.run("session-mw", "sweep", *words).stdout


@slow
@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_stores_of_others_are_used(desk: Desk, kind: str, request: pytest.FixtureRequest) -> None:
    """Where settings name a store, the session is there; its history too, or with Redis in the user's own file."""
    url: str = request.getfixturevalue("redis_url" if kind == "redis" else "pg_url")
    done = desk.run("session-mw", "run", "-t", "testing", "claude", STUB_EXIT="3", SESSION_MW_STORE=url)
    ledger = open_ledger(f"sqlite:///{desk.database}" if kind == "redis" else url)
    (row,) = ledger.sessions(10)
    ledger.close()

    assert (3, "agent:\n") == (done.returncode, done.stdout), done.stderr
    assert ("testing", "ended", 1, 3) == (row.type, row.status, row.failed, row.attributes["process.exit.code"])
    assert desk.database.exists() == (kind == "redis")
