"""Records as the core makes them, for tests of the history."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from session_mw._core import names
from session_mw._core.events import EventRecord, end_event, start_event
from session_mw._core.records import AttributeValue, SessionRecord, TurnRecord
from session_mw.ledger import Ledger, SessionRow, open_ledger
from session_mw.ledger.sqlite import SqliteLedger

T0 = 1_760_000_000_000  # 9 October 2025
DAY = 86_400_000
# A test's process starts others the quick way; each of them ends by ``os._exit``, as children of fork do.
forks = get_context("fork")


def record(session_id: str = "s1", **changes: Any) -> SessionRecord:
    """Return a frozen session: three turns in a minute, one of them failed, then nobody came back."""
    facts: dict[str, Any] = {
        "started_ms": T0,
        "last_ms": T0 + 60_000,
        "turns": 3,
        "completed": 2,
        "failed": 1,
        "latency_ms": 900,
        "input_tokens": 100,
        "output_tokens": 40,
        "cost_microusd": 1_234,
        "user_id": "u_1",
        "reason": "idle_timeout",
        "ended_ms": T0 + 60_000 + 1_800_000,
        "attempts": 1,
        "confirmed": True,
        "attributes": {names.SESSION_TYPE: "chat", names.SESSION_PROMPT_VERSION: "v2", "journey.stage": "cart"},
    }
    return SessionRecord(session_id, **{**facts, **changes})


def start(session_id: str = "s1", **changes: Any) -> EventRecord:
    """Return the ``session.start`` of ``record(...)``."""
    return start_event(record(session_id, **changes))


def end(session_id: str = "s1", **changes: Any) -> EventRecord:
    """Return the ``session.end`` of ``record(...)``."""
    return end_event(record(session_id, **changes))


def late(session_id: str = "s1", turn: str = "t1", generation: int = 1, **usage: AttributeValue) -> EventRecord:
    """Return a ``session.usage_late``: what one turn used after its session was frozen."""
    wire = {"tokens_in": names.SESSION_TOTAL_INPUT_TOKENS, "tokens_out": names.SESSION_TOTAL_OUTPUT_TOKENS}
    said = {wire.get(name, names.SESSION_TOTAL_COST_USD): value for name, value in usage.items()}
    said[names.LOG_RECORD_UID] = f"{session_id}/{generation}/{names.EVENT_USAGE_LATE}/{turn}"
    return EventRecord(names.EVENT_USAGE_LATE, T0 + 90_000, said, key=(session_id, generation))


def turn(session_id: str = "s1", number: int | None = 1, **changes: Any) -> TurnRecord:
    """Return a finished turn: the n-th began n seconds after the session and took 300 ms."""
    facts: dict[str, Any] = {"generation": 1, "started_ms": T0 + 1_000 * (number or 0), "latency_ms": 300}
    facts["status"] = "ok"
    if number is not None:
        facts["trace"] = f"{'a' * 32}-{number:016x}-01"
    return TurnRecord(session_id, number=number, **{**facts, **changes})


def dump(ledger: Ledger, *session_ids: str) -> list[object]:
    """Return all that *ledger* says of some sessions, without the numbers of its rows."""
    said: list[object] = []
    for session_id in session_ids:
        row = ledger.session(session_id)
        said.append(row and without_pk(row))
        said.append([without_pk(one) for one in ledger.turns(session_id, content=True)])
        said.append([without_pk(one) for one in ledger.usages(session_id)])
    return said


def without_pk(row: Any) -> dict[str, object]:
    """Return the fields of a row but its ``pk``, and that of its turn."""
    return {name: getattr(row, name) for name in row.__slots__ if name not in ("pk", "turn_pk")}


def only(rows: list[SessionRow]) -> SessionRow:
    """Return the one row there is."""
    assert 1 == len(rows)
    return rows[0]


def cells(path: Path) -> list[tuple[str, str, object]]:
    """Return every cell of the ledger's tables in a file: table, column, value."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'ledger%'"
    found = [
        (table["name"], column, row[column])
        for table in connection.execute(tables).fetchall()
        for row in connection.execute(f"SELECT * FROM {table['name']}").fetchall()
        for column in row.keys()  # noqa: SIM118 a Row iterates over its values
    ]
    connection.close()
    return found


def asked(ledger: SqliteLedger, statement: str) -> list[tuple[object, ...]]:
    """Return what the connection that *ledger* uses says to a statement."""
    return ledger._file.run("ask", lambda db: db.execute(statement).fetchall(), background=True)


def healthy(path: Path) -> bool:
    """Return whether SQLite finds nothing broken in a file, foreign keys included."""
    connection = sqlite3.connect(path)
    said = connection.execute("PRAGMA integrity_check").fetchall()
    orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    connection.close()
    return said == [("ok",)] and not orphans


def in_processes(count: int, path: Path, work: Callable[[Ledger, int], object]) -> list[int | None]:
    """
    Let *count* processes do *work* at the same moment, each with a ledger of its own over one file.

    Returns:
        Their exit codes.
    """
    barrier = forks.Barrier(count)

    def run(index: int) -> None:
        ledger = open_ledger(f"sqlite:///{path}")
        barrier.wait(20)
        work(ledger, index)
        ledger.close()

    processes = [forks.Process(target=run, args=(index,)) for index in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    return [process.exitcode for process in processes]


Kind = Literal["sqlite", "memory"]


def make(kind: str, folder: str | os.PathLike[str]) -> Ledger:
    """Return an empty ledger of some kind."""
    return open_ledger("memory://" if kind == "memory" else f"sqlite:///{Path(folder) / 'history.db'}")
