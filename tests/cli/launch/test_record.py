"""What store and history learn of a command, in this process: no command runs here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from session_mw import SessionSettings
from session_mw._core.ops import Claim, End, Touch
from session_mw._core.records import Limits, SessionRecord
from session_mw.cli.launch import places, record
from session_mw.cli.launch.choosing import Label
from session_mw.cli.launch.launching import unfailing
from session_mw.cli.launch.record import Exporters, Facts, Recorder
from session_mw.ledger import SessionRow, TurnRow, open_ledger
from session_mw.stores import SqliteStore
from tests.cli.launch.desk import eventually

LIMITS = Limits(1_800_000, 86_400_000, 600_000, 60_000)
SECRET = "a-secret-of-at-least-sixteen-bytes-for-tests"
LABEL = Label("testing-1", "testing", "v1")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store, and nothing of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("SESSION_MW_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "sessions.db"


def recorder(file: Path, said: list[str], label: Label = LABEL, own: bool = True, **facts: object) -> Recorder:
    settings = SessionSettings(_env_file=None, secret_key=SECRET, store=f"sqlite:///{file}?timeout=5")
    given = {"command": "claude", "turn": True, "ends": True, "pid": os.getpid(), **facts}
    return Recorder(settings, own, Facts(label, **given), said.append)  # type: ignore[arg-type]


def in_store(file: Path, look: Callable[[SqliteStore], object]) -> object:
    store = SqliteStore(str(file))
    try:
        return look(store)
    finally:
        store.close()


def read(file: Path, session_id: str = "testing-1") -> SessionRecord | None:
    return in_store(file, lambda store: store.read(session_id))  # type: ignore[return-value]


def history(file: Path) -> tuple[list[SessionRow], list[TurnRow]]:
    ledger = open_ledger(f"sqlite:///{file}")
    try:
        return ledger.sessions(10), ledger.turns("testing-1")
    finally:
        ledger.close()


def test_command_is_a_turn_and_its_session_ends_with_it(file: Path) -> None:
    """Start, turn and end are in the history; nothing is said, nothing is left behind."""
    said: list[str] = []
    one = recorder(file, said)
    one.begin()
    assert ["testing-1"] == [run.session_id for run in places.runs()]
    one.stay()
    found = one.finish(0)

    (row,), (turn,) = history(file)
    assert ("ended", "completed", "resolved", 1, 0) == (
        row.status,
        row.end_reason,
        row.outcome,
        row.turns,
        row.attributes["process.exit.code"],
    )
    assert ("ok", 1, "testing-1") == (turn.status, turn.number, turn.conversation_id)
    assert found is not None and "ended" == one.fate
    assert ([], []) == (said, places.runs())


@pytest.mark.parametrize(("interrupted", "status"), [(False, "error"), (True, "cancelled")])
def test_command_that_failed(file: Path, interrupted: bool, status: str) -> None:
    """An exit code is a failed turn, and no resolution; one that a signal ended was cancelled."""
    one = recorder(file, [])
    one.begin()
    one.finish(130, interrupted=interrupted)

    (row,), (turn,) = history(file)
    assert ("user_exit", None, 1) == (row.end_reason, row.outcome, row.failed)
    assert (status, "130") == (turn.status, turn.error_type)


def test_shell_is_no_turn(file: Path) -> None:
    """What is done inside of a shell has turns, it has none."""
    one = recorder(file, [], turn=False)
    one.begin()
    one.finish(0)

    (row,), turns = history(file)
    assert ("user_exit", 0, []) == (row.end_reason, row.turns, turns)


def test_joined_session_goes_on(file: Path) -> None:
    """Who joins a session adds a turn, and does not end it, whatever they would do with one of their own."""
    in_store(file, lambda store: store.touch(Touch("testing-1", "testing-1", LIMITS, keep=True)))
    one = recorder(file, [])
    one.begin()
    one.finish(0)

    found = read(file)
    assert found is not None and found.reason is None
    assert (2, 1, "goes on") == (found.turns, found.completed, one.fate)


def test_kept_session_takes_the_place_of_another(file: Path) -> None:
    """The one it replaces ends, unless something runs in it."""
    for name in ("old-1", "old-2"):
        in_store(file, lambda store, name=name: store.touch(Touch(name, name, LIMITS, keep=True)))
    busy = places.Running(places.Run("old-2", "mark", False, os.getpid(), "bash", 1))
    for number, name in enumerate(("old-1", "old-2")):
        label = Label(f"new-{number}", "testing", "v1")
        one = recorder(file, [], label, ends=False, previous_id=name, replaced_id=name)
        one.begin()
        one.stay()
        one.finish(0)
    busy.close()

    first, second = read(file, "old-1"), read(file, "old-2")
    assert first is None or first.reason == "user_exit"
    assert second is not None and second.reason is None


def test_it_is_renewed_while_it_lives(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Activity and open turn go on, also after a time that failed."""
    monkeypatch.setattr(record, "RENEW_SECONDS", 0.02)
    one = recorder(file, [])
    one.begin()
    before = read(file)
    one.stay()
    assert before is not None
    eventually(lambda: (now := read(file)) is not None and now.last_ms > before.last_ms + 50)
    one.finish(0)


def test_session_that_was_ended_meanwhile_stays_ended(file: Path) -> None:
    """``session-mw end`` holds: what still runs makes no other generation of it."""
    one = recorder(file, [])
    one.begin()
    in_store(file, lambda store: store.end(End("testing-1", "escalated")))
    one.stay()
    one.finish(0)

    (row,), _ = history(file)
    assert ("escalated", 1) == (row.end_reason, row.generation)


def test_an_end_in_a_shared_store_is_the_launchers_to_report(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that sweeps the same store, at whatever moment it looks, exports nothing for the launcher's user."""
    one = recorder(file, [], own=False)
    one.begin()

    def somebody_looks_after(seconds: float) -> None:
        sleep(seconds)
        in_store(file, lambda store: store.claim(Claim("somebody", LIMITS, 10, 60_000)))

    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", somebody_looks_after)
    one.finish(0)

    (row,), _ = history(file)
    assert ("ended", "completed") == (row.status, row.end_reason)


def test_exporter_that_is_not_installed_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is told all the same: an end that is never acknowledged would come again for ever."""

    def missing(endpoint: str | None, spans: bool) -> list[object]:
        raise click.ClickException("pip install something")

    monkeypatch.setattr(record, "sinks", missing)
    said: list[str] = []
    sink = Exporters(SessionSettings(_env_file=None, secret_key=SECRET), said.append)

    assert [True, True] == [sink.emit([]) for _ in range(2)]
    assert ["session.start and session.end go to the history only: pip install something"] == said


def test_nothing_that_fails_gets_through(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody thought of, as a system without threads to spare, is said, and the command has its way."""

    def no_threads() -> None:
        raise RuntimeError("can't start new thread")

    unfailing(no_threads)

    assert "session-mw: the session is not recorded: RuntimeError: can't start new thread\n" == capsys.readouterr().err
