"""
The SQLite store with a million live sessions: what a touch costs beside the bare driver (P11) and by size (P10), what
a claim with its acknowledgement costs (P12), alone and with a second worker.

On a file of our own; sessions are touched in random order, those due lie at random places: their ids are random, and
the table is in their order. So each end changes a page of its own, which is written to the log and from there to the
file: that is most of what it costs, and the bare driver pays it too.
"""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
import sys
import tempfile
from pathlib import Path

from session_mw._core.ops import Touch
from session_mw.stores import _live_sql as sql
from session_mw.stores.sqlite import SLICE, SqliteStore

from . import beside
from .memory import ATTRIBUTES, DUE, LIMITS

NOW = 1_761_999_022_000
TOUCHES = 2_000


def store_of(path: str, now_ms: int = NOW) -> SqliteStore:
    """Return the store on *path* with its clock turned to *now_ms*."""
    return SqliteStore(path, lambda: now_ms)


def fill(path: str, first: int, last: int, at_ms: int) -> None:
    """Make sessions, last active at *at_ms*, straight into the table."""
    store_of(path).stats()  # makes the tables
    told = json.dumps(ATTRIBUTES)
    due_ms = at_ms + LIMITS.idle_ms
    rows = (
        (beside.scrambled(n), at_ms, at_ms, 1, at_ms, 0, 1, 1, 0, 12, *[None] * 6, 1, 1, 0, 0, told, due_ms)
        for n in range(first, last + 1)
    )
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.executemany(sql.INSERT_LIVE, rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _bare(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _extension(ask: Touch) -> dict[str, object]:
    limits = ask.limits
    return {
        "now": NOW,
        "user": None,
        "claimed": None,
        "turn": 1,
        "turn_ms": limits.turn_ms,
        "id": ask.session_id,
        "idle": limits.idle_ms,
        "absolute": limits.absolute_ms,
        "skew": limits.skew_ms,
    }


def touches(path: str, numbers: range) -> dict[str, float]:
    """Measure touches through the store and through the bare driver, in turns."""
    store, connection = store_of(path), _bare(path)

    def bare(ask: Touch) -> object:
        return connection.execute(sql.EXTEND, _extension(ask)).fetchall()

    def sides(chosen: random.Random) -> list[beside.Side]:
        def asks() -> list[Touch]:
            return [Touch(beside.scrambled(n), "unused", LIMITS) for n in chosen.choices(numbers, k=TOUCHES)]

        return [("store", store.touch, asks()), ("driver", bare, asks())]

    found = beside.touches(sides)
    connection.close()
    store.close()
    return found


def bare_claim(connection: sqlite3.Connection) -> list[str]:
    """Claim and acknowledge a batch as the store does, statement by statement; rows stay rows."""
    asked = {"now": NOW, "idle": LIMITS.idle_ms, "absolute": LIMITS.absolute_ms, "limit": SLICE}
    token = secrets.token_hex(8)
    for statement in (sql.FIRST_LIVE, sql.FIRST_ENDED):
        connection.execute(statement).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(sql.DUE_ENDED, (NOW, SLICE)).fetchall()
    rows = connection.execute(sql.FREEZE, {**asked, "lease_token": token, "until": NOW + beside.LEASE_MS}).fetchall()
    connection.executemany(sql.DELETE_LIVE, [row[:1] for row in rows])
    for statement in (sql.FIRST_LIVE, sql.FIRST_ENDED):
        connection.execute(statement).fetchall()
    connection.execute("COMMIT")
    keys = [(row[0], row[3]) for row in rows]
    given = {"now": NOW, "ttl": beside.TOMB_MS, "lease_token": token}
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(sql.BURY, [{**given, "id": name, "generation": number} for name, number in keys])
    connection.executemany(sql.DELETE_ENDED, [(*key, token) for key in keys])
    connection.execute("COMMIT")
    return [row[0] for row in rows]


def claims(path: str, count: int, due: int) -> dict[str, float]:
    """Measure claims beside the bare driver, then by two workers at once."""
    store, connection = store_of(path), _bare(path)
    found = beside.claims(
        lambda: fill(path, count + 1, count + due, NOW - LIMITS.idle_ms),
        {"store": lambda: beside.claim(store), "driver": lambda: bare_claim(connection)},
        ["tests.bench.sqlite", path],
        due,
    )
    connection.close()
    store.close()
    return found


def report(path: str, count: int) -> dict[str, float]:
    """
    Measure a store of *count* sessions.

    Returns:
        ``bytes`` (a session, of the file), ``small_touch_us`` (1,000 sessions), ``touch_us``, and what
        ``beside.touches`` and ``beside.claims`` return.
    """
    fill(path, 1, 1_000, NOW)
    small = touches(path, range(1, 1_001))
    before = Path(path).stat().st_size
    fill(path, 1_001, count, NOW)
    held = (Path(path).stat().st_size - before) / max(1, count - 1_000)
    large = touches(path, range(1, count + 1))
    found = {"sessions": float(count), "bytes": held, "small_touch_us": small["store_us"], **large}
    return {**found, "touch_us": large["store_us"], **claims(path, count, min(DUE, count // 10))}


def in_own_file(count: int = 1_000_000) -> dict[str, float]:
    """Measure on a file of our own."""
    with tempfile.TemporaryDirectory(prefix="smw-bench-") as folder:
        return report(str(Path(folder) / "sessions.db"), count)


if __name__ == "__main__":
    beside.work(store_of(sys.argv[1]))
