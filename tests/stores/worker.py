"""
A process of its own for tests of shared stores: ``python worker.py COMMAND PATH ...``.

PATH is an SQLite file, or a ``postgresql://`` or ``redis://`` URL.

It says "ready", waits for a line, does its work, and prints what came out as JSON.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sqlite3
import sys
import time
from collections.abc import Callable

from session_mw._core.ops import Add, Claim, Note, SessionStore, Touch, Touched
from session_mw._core.records import Limits, SessionRecord
from session_mw.stores import SqliteStore

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)
SHORT = Limits(idle_ms=300, absolute_ms=3_600_000, turn_ms=100, skew_ms=60_000)


def opened(path: str) -> SessionStore:
    """Return the store; it may take its time."""
    if path.startswith("postgresql:"):
        from session_mw.stores.postgres import PostgresStore

        return PostgresStore(path, request_ms=20_000, background_ms=20_000)
    if path.startswith("redis"):
        from session_mw.stores.redis import RedisStore

        return RedisStore(f"{path}?socket_timeout=20&background_timeout=20")
    return SqliteStore(path, busy_timeout_ms=20_000)


def ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def start(path: str) -> object:
    """Open the file, perhaps as the first, and start a session."""
    store = opened(path)
    ready()
    touched = store.touch(Touch(None, f"s-{os.getpid()}", LIMITS))
    return [touched.outcome, touched.turn_number, store.stats().live >= 1]


def touch(path: str, sessions: str, turns: str) -> object:
    """Begin turns of shared sessions in random order; returns the numbers that were given out."""
    store = opened(path)
    names = [f"shared-{n}" for n in range(int(sessions))] * int(turns)
    random.shuffle(names)
    ready()
    return [[name, store.touch(Touch(name, "unused", LIMITS, own=True)).turn_number] for name in names]


def successors(path: str, sessions: str) -> object:
    """Come back too late to each of the sessions; returns where the turns went."""
    store = opened(path)
    ready()
    found = []
    for n in range(int(sessions)):
        touched = store.touch(Touch(f"old-{n}", secrets.token_hex(8), LIMITS))
        if touched.outcome == "moved":
            touched = store.touch(Touch(touched.session_id, secrets.token_hex(8), LIMITS))
        found.append([touched.session_id, touched.turn_number])
    return found


def claim(path: str, limit: str) -> object:
    """Claim and acknowledge until nothing is due; returns what was claimed."""
    store = opened(path)
    ready()
    found: list[str] = []
    while True:
        token = secrets.token_hex(8)
        records = store.claim(Claim(token, LIMITS, int(limit))).records
        if not records:
            return found
        found += [record.session_id for record in records]
        store.ack([(record.session_id, 1) for record in records], token, 60_000)


def hold(path: str, seconds: str) -> object:
    """Hold the write lock for so long, from "ready" on."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=20)
    connection.execute("BEGIN IMMEDIATE")
    print("ready", flush=True)
    if float(seconds) > 0:
        time.sleep(float(seconds))
    else:
        sys.stdin.readline()
    connection.execute("ROLLBACK")
    connection.close()
    return None


def live_until_killed(path: str, log: str) -> object:
    """Serve turns and report ends for ever; writes down what the store acknowledged, in the order of a real worker."""
    store = opened(path)
    turns = open(f"{log}.turns", "ab", buffering=0)  # noqa: SIM115  until killed
    ends = open(f"{log}.ends", "ab", buffering=0)  # noqa: SIM115
    mine: list[str] = []
    print("ready", flush=True)
    while True:
        for _ in range(5):
            touched = _turn(store, random.choice(mine) if mine and random.random() < 0.7 else None)
            turns.write(f"{touched.session_id} {touched.turn_number}\n".encode())
            mine = [*mine[-20:], touched.session_id]
        _sweep(store, lambda record: ends.write(_line(record)))


def _turn(store: SessionStore, session_id: str | None) -> Touched:
    touched = store.touch(Touch(session_id, secrets.token_hex(8), SHORT))
    while touched.outcome == "moved":
        touched = store.touch(Touch(touched.session_id, secrets.token_hex(8), SHORT))
    if random.random() < 0.5:
        store.add([Add(touched.session_id, 1, touched.now_ms, completed=1)])
    return touched


def _sweep(store: SessionStore, emit: Callable[[SessionRecord], object]) -> None:
    token = secrets.token_hex(8)
    records = store.claim(Claim(token, SHORT, 20, 400)).records
    for record in _settled(store, records, token):
        emit(record)
    if records:
        store.ack([(record.session_id, record.generation) for record in records], token, 60_000)


def _settled(store: SessionStore, records: list[SessionRecord], token: str) -> list[SessionRecord]:
    """Work something out for each end that nobody can work out again, and keep it before anybody is told."""
    fresh = [record for record in records if "_frozen" not in record.attributes]
    notes = [Note(r.session_id, r.generation, {"total": random.random()}) for r in fresh]
    for record, note, done in zip(fresh, notes, store.annotate(notes, token), strict=True):
        if done:
            record.attributes.update(note.attributes)
        else:
            records.remove(record)  # the lease ran out: somebody else tells of it
    return records


def _line(record: SessionRecord) -> bytes:
    shown = [record.turns, record.completed, record.reason, record.started_ms, record.last_ms, record.ended_ms]
    shown.append(record.attributes.get("total"))
    return json.dumps([record.session_id, shown, record.attempts]).encode() + b"\n"


COMMANDS = {f.__name__: f for f in (start, touch, successors, claim, hold, live_until_killed)}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])), flush=True)
