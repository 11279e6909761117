"""What lasts from launch to launch: private files, kept sessions, runs whose launcher was killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from session_mw.cli.launch import places
from session_mw.cli.launch.choosing import Label

LABEL = Label("code-review-1", "code-review", "v2", "auth")
NOW = 1_800_000_000_000


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A state folder of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "session-mw"


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_everything_is_this_users_alone(state: Path) -> None:
    """Folders 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        places.own_store()
        places.keep(places.Kept(LABEL, "/somewhere", NOW))
        running = places.Running(places.Run("s", "mark", True, os.getpid(), "claude", NOW))
        places.once("word")
        found = modes(state)
        running.close()
    finally:
        os.umask(before)

    assert {"sessions.db", "active", "runs", "said", "word"} <= found.keys()
    assert {0o700, 0o600} == set(found.values())
    assert 0o700 == stat.S_IMODE(state.stat().st_mode)


def test_folder_that_others_can_write_is_refused(state: Path) -> None:
    """A session that somebody else put there would be joined."""
    state.mkdir(parents=True)
    state.chmod(0o777)
    with pytest.raises(places.PlaceError, match="chmod 700"):
        places.kept_for("/somewhere", NOW)


def test_kept_until_its_time_is_over() -> None:
    """A session is joined until then, in its directory, and in no other."""
    places.keep(places.Kept(LABEL, "/somewhere", NOW + 1))

    assert LABEL == getattr(places.kept_for("/somewhere", NOW), "label", None)
    assert places.kept_for("/somewhere", NOW + 1) is None
    assert places.kept_for("/elsewhere", NOW) is None
    places.forget("/somewhere")
    assert places.kept_for("/somewhere", NOW) is None


def test_directory_by_another_name_is_the_same(tmp_path: Path) -> None:
    """A link to a directory leads to its session."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    places.keep(places.Kept(LABEL, str(tmp_path / "link"), NOW))

    assert places.kept_for(str(tmp_path / "real"), 0) is not None


NO_ID = '{"id": "../x", "type": "t", "version": "v", "name": null, "until_ms": 9e20}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', NO_ID])
def test_spoilt_file_is_none(text: str, state: Path) -> None:
    """A file that is not whole, or names what can be no session, is as good as none."""
    places.keep(places.Kept(LABEL, "/somewhere", NOW))
    (path,) = (state / "active").iterdir()
    path.write_text(text)

    assert places.kept_for("/somewhere", 0) is None


def test_once() -> None:
    """The first time, and never again."""
    assert [True, False, False] == [places.once("word") for _ in range(3)]


def test_once_without_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be kept it is said each time, rather than never."""
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")

    assert places.once("word") and places.once("word")


def test_run_of_a_launcher_that_lives_is_left_alone() -> None:
    """While it is locked it runs; closed, it is gone."""
    run = places.Run("s", "mark", True, os.getpid(), "claude", NOW)
    running = places.Running(run)

    assert ([run], []) == (places.runs(), list(places.take_abandoned("mark")))
    running.close()
    assert ([], []) == (places.runs(), list(places.take_abandoned("mark")))


def test_run_of_a_killed_launcher_is_taken_once(state: Path) -> None:
    """The kernel lets the lock go; one of those who look has the run, in its store only."""
    code = (
        "import os, signal\nfrom session_mw.cli.launch import places\n"
        "places.Running(places.Run('s', 'mark', True, os.getpid(), 'claude', 1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", code], timeout=60)

    assert -9 == died.returncode
    assert [] == places.runs()
    assert [] == list(places.take_abandoned("another store"))
    assert ["s"] == [run.session_id for run in places.take_abandoned("mark")]
    assert [] == list(places.take_abandoned("mark"))


def test_store_is_not_named_in_files(state: Path) -> None:
    """Its URL may hold a password; a run's file has a mark of it."""
    assert "secret" not in places.store_mark("postgresql://app:secret@db/app")
    assert places.store_mark("sqlite:///a") != places.store_mark("sqlite:///b")


def test_drafts_of_killed_launchers_are_forgotten(state: Path) -> None:
    """What was never finished goes after an hour; what is being written stays."""
    places.keep(places.Kept(LABEL, "/somewhere", NOW))
    places.Running(places.Run("s", "mark", True, os.getpid(), "claude", NOW)).close()
    drafts = [state / "active" / ".a.draft", state / "runs" / "1-b.draft", state / "runs" / "2-c.draft"]
    for draft in drafts:
        draft.write_text("{")
    for draft in drafts[:2]:
        os.utime(draft, (1, 1))

    assert [] == list(places.take_abandoned("mark"))
    assert drafts[2:] == sorted(state.rglob("*.draft"))
    assert LABEL == getattr(places.kept_for("/somewhere", 0), "label", None)


def test_writers_at_once_leave_a_whole_file() -> None:
    """Whenever somebody looks, one of the sessions is kept, and no half of one."""
    labels = [Label(f"s-{number}", "testing", "v" * 2_000) for number in range(4)]
    stop = threading.Event()

    def write(label: Label) -> None:
        while not stop.is_set():
            places.keep(places.Kept(label, "/somewhere", NOW))

    places.keep(places.Kept(labels[0], "/somewhere", NOW))
    writers = [threading.Thread(target=write, args=(label,)) for label in labels]
    for writer in writers:
        writer.start()
    found = [places.kept_for("/somewhere", 0) for _ in range(200)]
    stop.set()
    for writer in writers:
        writer.join()

    assert all(kept is not None and kept.label in labels for kept in found)


def test_link_in_the_place_of_a_file_is_replaced(state: Path, tmp_path: Path) -> None:
    """A session is never written through a link to somewhere else."""
    places.keep(places.Kept(LABEL, "/somewhere", NOW))
    (path,) = (state / "active").iterdir()
    path.unlink()
    (tmp_path / "theirs").write_text("theirs")
    path.symlink_to(tmp_path / "theirs")
    places.keep(places.Kept(LABEL, "/somewhere", NOW))

    assert ("theirs", False) == ((tmp_path / "theirs").read_text(), path.is_symlink())
