"""Odd surroundings: full disks, homes that cannot be written, bytes that are no text, words that are too long."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.launch.desk import PATIENCE, Desk, eventually

landing, slow = pytest.mark.landing, pytest.mark.slow


def within_a_mount(desk: Desk, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* where the desk's home is a file system of its own, in namespaces of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount in namespaces of their own")
    mount = f"mount -t tmpfs -o {options} none {desk.home} || exit 77"
    done = desk.run("unshare", "-rm", "sh", "-c", f"{mount}\n{script}")
    if done.returncode == 77:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr}")
    return done


@slow
def test_full_disk_fails_nothing(desk: Desk) -> None:
    """No byte can be written: the child runs with its session's name, its code is the launcher's, one line says why."""
    full = f"cat /dev/zero > {desk.home}/rest 2>/dev/null"
    done = within_a_mount(desk, "size=64k", f"{full}\nSTUB_EXIT=5 session-mw run -t testing claude")

    assert (5, "agent:\n") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("is not recorded") + done.stderr.count("are not recorded")
    assert desk.calls[0]["environ"]["PHOENIX_SESSION_ID"].startswith("testing-")


@slow
def test_disk_that_fills_up_meanwhile_fails_nothing(desk: Desk) -> None:
    """The begin was recorded, the end cannot be: the code is the child's all the same."""
    child = f"cat /dev/zero > {desk.home}/rest 2>/dev/null; exit 6"
    done = within_a_mount(desk, "size=1m", f"session-mw run sh -c '{child}'")

    assert 6 == done.returncode
    assert "Traceback" not in done.stderr


@slow
@pytest.mark.parametrize("words", [["run", "claude"], ["shell"]], ids=["run", "shell"])
def test_home_that_is_read_only_fails_nothing(desk: Desk, words: list[str]) -> None:
    """As in containers: one line, and the command."""
    script = "claude-session --reset; session-mw status >/dev/null || exit 9; exec session-mw " + " ".join(words)
    done = within_a_mount(desk, "ro", f"STUB_EXIT=5 sh -c '{script}' </dev/null")

    assert (5 if "claude" in words else 0) == done.returncode, done.stderr
    assert "sessions are not recorded: " in done.stderr and "Read-only file system" in done.stderr


@slow
@pytest.mark.parametrize("environ", [{"HOME": ""}, {"HOME": "/nonexistent"}, {"TMPDIR": "/nonexistent"}], ids=str)
def test_no_home_at_all(desk: Desk, environ: dict[str, str]) -> None:
    """A service's user may have none."""
    done = desk.run("session-mw", "run", "claude", STUB_EXIT="3", **environ)

    assert (3, "agent:\n") == (done.returncode, done.stdout), done.stderr


@slow
def test_working_directory_that_is_gone(desk: Desk) -> None:
    """A directory that was removed under the shell keeps nothing, and runs the command."""
    (desk.work / "gone").mkdir()
    script = "cd gone; rmdir ../gone; claude-session 'Hello'; session-mw status >/dev/null; claude-session --reset"
    done = desk.run("bash", "-c", script)

    assert (0, "agent: -p Hello\n") == (done.returncode, done.stdout), done.stderr
    assert "Traceback" not in done.stderr


@slow
def test_streams_that_are_closed(desk: Desk) -> None:
    """Standard streams may be closed, as under some daemons: the code is the child's, and the session is recorded."""
    done = desk.run("sh", "-c", "session-mw run -t testing sh -c 'exit 5' <&- >&- 2>&-")

    assert 5 == done.returncode
    assert ["ended"] == [row.status for row in desk.sessions]


@slow
def test_nobody_reads_what_is_said(desk: Desk) -> None:
    """Standard error may be a pipe whose reader has gone."""
    code = (
        "import os, subprocess, sys; r, w = os.pipe(); os.close(r); sys.exit(subprocess.call(sys.argv[1:], stderr=w))"
    )
    done = desk.run(sys.executable, "-c", code, "session-mw", "run", "sh", "-c", "exit 5")

    assert 5 == done.returncode


BYTES = b"\xff\xfe caf\xe9"


def launched(desk: Desk, *words: bytes, **environ: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a command with bytes for words and variables."""
    given = {os.fsencode(name): os.fsencode(text) for name, text in desk.environ.items()}
    given |= {name.encode(): text for name, text in environ.items()}
    return subprocess.run(
        words, cwd=desk.work, env=given, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )


@slow
@pytest.mark.parametrize("locale", [b"C.UTF-8", b"C", b"POSIX"])
def test_words_that_are_no_text(desk: Desk, locale: bytes) -> None:
    """File names may be any bytes: the child has each word as it was typed, in any locale."""
    done = launched(desk, b"session-mw", b"run", b"-q", b"--", b"printf", b"%s", BYTES, LC_ALL=locale)

    assert (0, BYTES, b"") == (done.returncode, done.stdout, done.stderr)


@slow
@pytest.mark.parametrize(
    "name",
    [
        *("PHOENIX_SESSION_ID", "PHOENIX_SESSION_TYPE", "PHOENIX_SESSION_NAME", "PHOENIX_PROMPT_VERSION"),
        *(
            "ANTHROPIC_CUSTOM_HEADERS",
            "GEMINI_CLI_CUSTOM_HEADERS",
            "OTEL_RESOURCE_ATTRIBUTES",
            "BAGGAGE",
            "TRACEPARENT",
        ),
        *("GITHUB_WORKFLOW", "ANTHROPIC_BASE_URL", "OTHER"),
    ],
)
def test_variables_that_are_no_text(desk: Desk, name: str) -> None:
    """Bytes of others reach the child as they are; where they say something of the session, what is text of them is."""
    ci = {"GITHUB_ACTIONS": b"true", "GITHUB_RUN_ID": b"1"} if name.startswith("GITHUB") else {}
    value = b"x-team: " + BYTES if "HEADERS" in name else b"team=" + BYTES if "OTEL" in name else BYTES
    done = launched(desk, b"session-mw", b"run", b"--", b"env", b"-0", **{name: value}, **ci)  # type: ignore[arg-type]
    found = dict(pair.partition(b"=")[::2] for pair in done.stdout.split(b"\0"))

    assert 0 == done.returncode and b"Traceback" not in done.stderr
    if name in ("OTHER", "GITHUB_WORKFLOW", "ANTHROPIC_BASE_URL"):
        assert value == found[name.encode()]
    if "HEADERS" in name or "OTEL" in name:
        assert found[name.encode()].startswith(value)
    assert ["ended"] == [row.status for row in desk.sessions], done.stderr


@slow
@pytest.mark.parametrize("option", ["-t", "-v", "-n"])
def test_options_that_are_no_text(desk: Desk, option: str) -> None:
    """What is text of a label is taken; the session is recorded."""
    done = launched(desk, b"session-mw", b"run", option.encode(), b"caf\xe9-1", b"claude")

    assert 0 == done.returncode, done.stderr
    (row,) = desk.sessions
    assert "caf-1" in (row.type, row.prompt_version, row.name)


@slow
def test_program_whose_name_is_no_text(desk: Desk) -> None:
    """Its session is recorded, too."""
    place = os.fsencode(desk.bin) + b"/caf\xe9"
    Path(os.fsdecode(place)).write_bytes(b"#!/bin/sh\nexit 4\n")
    os.chmod(place, 0o755)
    done = launched(desk, b"session-mw", b"run", b"caf\xe9")

    assert 4 == done.returncode
    assert ["ended"] == [row.status for row in desk.sessions], done.stderr


STACK = 512 * 1024  # bytes: Linux gives words and variables a quarter of the stack's limit, and 128 KB at least


def small_stack() -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, resource.RLIM_INFINITY))


def fits(environ: dict[str, str], words: list[str]) -> bool:
    try:
        return 0 == subprocess.run(words, executable="/bin/true", env=environ, preexec_fn=small_stack).returncode
    except OSError:
        return False


def filled(environ: dict[str, str], size: int) -> dict[str, str]:
    """Return *environ* with *size* characters more in it."""
    pieces = {f"F{number}": "x" * 10_000 for number in range(size // 10_000)}
    return {**environ, **pieces, "G": "x" * (size % 10_000)}


@slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")
def test_words_that_fit_without_the_session_only(desk: Desk) -> None:
    """Where the session's variables are what is too much, the command runs without them, and it is said."""
    words = [sys.executable, str(desk.bin / "session-mw"), "run", "--id", "i" * 200, "sh", "-c", "exit 3"]
    low, high = 0, 200_000
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(filled(desk.environ, middle), words) else (low, middle)
    environ = filled(desk.environ, low - 256)  # the interpreter's path counts as well
    done = subprocess.run(
        words, env=environ, cwd=desk.work, preexec_fn=small_stack, capture_output=True, text=True, timeout=PATIENCE
    )

    assert 3 == done.returncode, done.stderr
    assert "runs without its session" in done.stderr


@slow
def test_long_words_reach_the_child(desk: Desk) -> None:
    """A prompt of 100,000 characters arrives whole, as by claude-session."""
    prompt = "word " * 20_000 + "end"
    done = desk.run("claude-session", prompt)

    assert 0 == done.returncode
    assert [["-p", prompt]] == [call["argv"] for call in desk.calls]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    "kind", [pytest.param("link", marks=landing), *(pytest.param(kind, marks=slow) for kind in ("folder", "kept"))]
)
def test_what_belongs_to_somebody_else_is_not_joined(desk: Desk, kind: str) -> None:
    """A folder, or a link to one of one's own, that another user put there is refused, and named."""
    state = desk.folder / "shared"
    state.mkdir()
    place = state / "session-mw"
    if kind == "link":
        (desk.folder / "mine").mkdir(mode=0o700)
        place.symlink_to(desk.folder / "mine")
        os.chown(place, 12345, 12345, follow_symlinks=False)
    else:
        (place / "active").mkdir(parents=True, mode=0o700)
        place.chmod(0o700)
        os.chown(place / "active" if kind == "kept" else place, 12345, 12345)
    done = desk.run("session-mw", "run", "-t", "testing", "claude", STUB_EXIT="3", XDG_STATE_HOME=str(state))

    assert (3, "agent:\n") == (done.returncode, done.stdout)
    if kind != "kept":  # the store is in place there
        assert "it belongs to another user" in done.stderr
    assert [] == list((desk.folder / "mine").glob("*") if kind == "link" else (place / "active").glob("*"))


@slow
def test_two_shells_begin_at_once(desk: Desk) -> None:
    """Two ``claude-session`` in one directory at a time: one of the two is kept, whole; both are recorded."""
    with (
        desk.started("claude-session", "-t", "testing") as one,
        desk.started("claude-session", "-t", "debugging") as two,
    ):
        assert (0, 0) == (one.wait(PATIENCE), two.wait(PATIENCE))
    kept = desk.run("session-mw", "status", "--json").stdout
    done = desk.run("claude-session", "Hello")

    assert 0 == done.returncode
    assert desk.calls[0]["environ"]["PHOENIX_SESSION_ID"] in kept
    assert {"testing", "debugging"} == {row.type for row in desk.sessions}


@slow
def test_directory_that_is_moved(desk: Desk) -> None:
    """A session is kept for a path: at the new one nothing is joined, and back at the old one it is again."""
    place = desk.work / "project"
    place.mkdir()
    desk.run("bash", "-c", "cd project && claude-session -t testing </dev/null")
    place.rename(desk.work / "moved")
    moved = desk.run("bash", "-c", "cd moved && session-mw status").stdout
    (desk.work / "moved").rename(place)
    back = desk.run("bash", "-c", "cd project && session-mw status && claude-session --reset").stdout

    assert "no session is active here" in moved
    assert "session  testing-" in back
    assert ["ended"] == eventually(lambda: [row.status for row in desk.sessions])
