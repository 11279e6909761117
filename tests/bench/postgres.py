"""
The PostgreSQL store with a million live sessions: what a touch costs beside the bare driver (P11) and by size (P10),
what a claim with its acknowledgement costs (P12), alone and with a second worker.

On a server of our own with its defaults, over its Unix socket; sessions are touched in random order, and their ids are
random. Wall time: most of it is the server's.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
from pathlib import Path
from typing import Any

import psycopg

from session_mw._core.ops import Touch
from session_mw.stores import _pg_live
from session_mw.stores.postgres import PostgresStore
from tests.stores.pg_server import Server, programs

from . import beside
from .memory import ATTRIBUTES, DUE, LIMITS

NOW = 1_761_999_022_000
TOUCHES = 2_000

FILL = """
INSERT INTO session_mw_live SELECT 's' || lpad((n * 2654435761 %% 4294967296)::text, 31, '0'),
    %(at)s, %(at)s, 1, %(at)s, 0, 1, 1, 0, 12,
    NULL, NULL, NULL, NULL, NULL, NULL, true, true, false, false, %(attributes)s, %(at)s + %(idle)s, NULL
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n ORDER BY hashint8(n)
"""


def store_of(url: str, now_ms: int = NOW) -> PostgresStore:
    """Return the store on *url* with its clock turned to *now_ms*."""
    return PostgresStore(url, lambda: now_ms, request_ms=60_000, background_ms=600_000)


def fill(url: str, first: int, last: int, at_ms: int) -> None:
    """Make sessions, last active at *at_ms*."""
    given = {"first": first, "last": last, "at": at_ms, "idle": LIMITS.idle_ms, "attributes": json.dumps(ATTRIBUTES)}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, given)
        connection.execute("VACUUM ANALYZE session_mw_live")


def touches(url: str, numbers: range) -> dict[str, float]:
    """Measure touches through the store and through the bare driver, in turns."""
    store = store_of(url)
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:

        def bare(ask: Touch) -> object:
            return connection.execute(_pg_live.sql.EXTEND, _pg_live._extension(ask, NOW, False)).fetchall()

        def sides(chosen: random.Random) -> list[beside.Side]:
            def asks() -> list[Touch]:
                return [Touch(beside.scrambled(n), "unused", LIMITS) for n in chosen.choices(numbers, k=TOUCHES)]

            return [("store", store.touch, asks()), ("driver", bare, asks())]

        found = beside.touches(sides)
    store.close()
    return found


def bare_claim(connection: psycopg.Connection[Any]) -> list[str]:
    """Claim and acknowledge a batch as the store does, statement by statement; rows stay rows."""
    sql, token = _pg_live.sql, secrets.token_hex(8)
    connection.execute(sql.LOOK, {"now": NOW}).fetchall()
    with connection.pipeline():
        connection.execute(b"BEGIN")
        connection.execute(sql.DUE_ENDED, (NOW, beside.BATCH))
    times = {"now": NOW, "idle": LIMITS.idle_ms, "absolute": LIMITS.absolute_ms, "until": NOW + beside.LEASE_MS}
    rows = connection.execute(sql.FREEZE, {**times, "limit": beside.BATCH, "token": token}).fetchall()
    rows = [row for row in rows if row[1] is not None]
    with connection.pipeline():
        connection.execute(sql.FIRST_DUE)
        connection.execute(b"COMMIT")
    ids = [row[1] for row in rows]
    if ids:
        given: dict[str, Any] = {"ids": ids, "generations": [row[4] for row in rows], "token": token}
        connection.execute(sql.ACK, {**given, "ttl": beside.TOMB_MS, "now": NOW}).fetchall()
    return ids


def claims(url: str, count: int, due: int) -> dict[str, float]:
    """Measure claims beside the bare driver, then by two workers at once."""
    store = store_of(url)
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        found = beside.claims(
            lambda: fill(url, count + 1, count + due, NOW - LIMITS.idle_ms),
            {"store": lambda: beside.claim(store), "driver": lambda: bare_claim(connection)},
            ["tests.bench.postgres", url],
            due,
            lambda: _cpu(connection),
        )
    store.close()
    return found


def _cpu(connection: psycopg.Connection[Any]) -> float:
    """Return the CPU seconds of all the server's processes, those that have ended included; 0 where it is not here."""
    backend = _stat(str(connection.info.backend_pid))
    if not backend:
        return 0.0
    stats = [_stat(path.name) for path in Path("/proc").glob("[0-9]*")]
    ticks = sum(sum(stat[11:13]) for stat in stats if stat and stat[1] == backend[1])
    return (ticks + sum(_stat(str(backend[1]))[11:15])) / os.sysconf("SC_CLK_TCK")


def _stat(process: str) -> list[int]:
    """Return the numbers of ``/proc/<process>/stat`` from its state on (as 0), see proc(5); none when it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [0, *map(int, fields[1:])]


def size(url: str) -> int:
    """Return the bytes that the living take, indexes and all."""
    with psycopg.connect(url) as connection:
        (found,) = connection.execute("SELECT pg_total_relation_size('session_mw_live')").fetchone() or (0,)
    return int(found)


def report(url: str, count: int) -> dict[str, float]:
    """
    Measure a store of *count* sessions.

    Returns:
        ``bytes`` (a session, with its indexes), ``small_touch_us`` (1,000 sessions), ``touch_us``, and what
        ``beside.touches`` and ``beside.claims`` return.
    """
    store_of(url).stats()  # makes the tables
    due = min(DUE, count // 10)
    fill(url, 1, 1_000, NOW)
    small = touches(url, range(1, 1_001))
    before = size(url)
    fill(url, 1_001, count, NOW)
    held = (size(url) - before) / max(1, count - 1_000)
    large = touches(url, range(1, count + 1))
    found = {"sessions": float(count), "bytes": held, "small_touch_us": small["store_us"], **large}
    return {**found, "touch_us": large["store_us"], **claims(url, count, due)}


def in_own_server(count: int = 1_000_000) -> dict[str, float] | None:
    """Measure on a server of our own; None where there is none."""
    found = programs()
    if found is None:
        return None
    server = Server(found)
    try:
        server.start(shared_buffers="1GB", max_wal_size="4GB", autovacuum_naptime="1min")
        return report(server.url(), count)
    finally:
        server.remove()


if __name__ == "__main__":
    beside.work(store_of(sys.argv[1]))
