"""
A long history, made quickly: for times of pages and sums. ``python -m tests.ledger.many 100000`` prints them.

Shape: 90 days, 4 users in 10 sessions, 1 to 12 turns (3.2 on average), prices for nine in ten, a fifth with errors,
three types, versions v1 to v12, two attributes; costs and lengths are skewed as real ones are.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from session_mw.ledger import Ledger, Listing, Sampling, Summing, open_ledger, read_filter
from session_mw.ledger.comparing import EVERYTHING, Question, report
from session_mw.ledger.rows import SessionRow, TurnRow
from session_mw.ledger.sqlite_schema import prepare
from session_mw.ledger.sqlite_tables import _INSERT_SESSION, _INSERT_TURN, _SESSION, _TURN
from tests.ledger.support import DAY, T0

NOW = T0 + 90 * DAY
OUTCOMES = ("resolved", "abandoned", "escalated", None)


def sessions(count: int) -> Iterator[tuple[SessionRow, list[TurnRow]]]:
    """Yield sessions with their turns; the same each time."""
    chance = random.Random(count)
    for number in range(count):
        started = T0 + 90 * DAY * number // count
        turns = min(12, 1 + int(chance.expovariate(0.45)))
        failed = int(chance.random() < 0.2)
        lasted = int(math.exp(chance.gauss(11, 1.5)))
        tokens = None if chance.random() < 0.05 else int(math.exp(chance.gauss(7, 1)))
        row = SessionRow(
            number + 1,
            f"{chance.choice(('chat', 'sess'))}-{number:x}-{chance.getrandbits(40):010x}",
            1,
            started,
            started + lasted,
            user_id=None if chance.random() < 0.05 else f"u_{chance.randrange(1 + count * 4 // 10):032x}",
            type=chance.choice(("chat", "chat", "review", "batch")),
            prompt_version=f"v{1 + min(11, int(chance.expovariate(0.3)))}",
            channel=chance.choice(("web", "api")),
            status=chance.choice(("ended", "timed_out")) if number < count - 50 else "active",
            end_reason="idle_timeout",
            outcome=chance.choice(OUTCOMES),
            confirmed=chance.random() > 0.03,
            ended_ms=started + lasted + 1_800_000,
            duration_ms=lasted,
            turns=turns,
            traces=turns,
            completed=turns - failed,
            failed=failed,
            latency_ms=turns * chance.randrange(300, 6_000),
            input_tokens=tokens,
            output_tokens=tokens,
            total_tokens=None if tokens is None else 2 * tokens,
            cost_microusd=None if tokens is None or chance.random() < 0.1 else tokens * 25,
            attributes={"metadata.source": chance.choice(("web", "mail")), "user.tier": chance.choice(("pro", "free"))},
        )
        yield row, [_turn(row, n, lasted) for n in range(turns)]


def _turn(row: SessionRow, number: int, lasted: int) -> TurnRow:
    at = row.started_ms + lasted * number // max(1, row.turns)
    trace, span = f"{row.pk:020x}{number:012x}", f"{row.pk:010x}{number:06x}"
    return TurnRow(
        0, row.session_id, 1, number + 1, at, 1_000, "ok", None, trace, span, True, prompt_version=row.prompt_version
    )


def make_file(path: Path, count: int) -> None:
    """Make a file of so many sessions, past the ledger's own way in, which takes each record apart."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        prepare(db)
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("BEGIN")
        for row, turns in sessions(count):
            pk = db.execute(_INSERT_SESSION, [getattr(row, column) for column in _SESSION]).lastrowid
            said = [(pk, key, value, 0) for key, value in row.attributes.items()]
            db.executemany("INSERT INTO ledger_session_attrs VALUES (?, ?, ?, ?)", said)
            cells = ([pk, *(getattr(turn, column) for column in _TURN), None] for turn in turns)
            db.executemany(_INSERT_TURN, cells)
        db.execute("COMMIT")


def fill_server(url: str, count: int) -> None:
    """Fill the tables of a server with the same sessions."""
    import psycopg

    ledger = open_ledger(url)
    ledger.sessions(1)  # makes the tables
    ledger.close()
    of_session, of_turn = ", ".join(["pk", *_SESSION, "attributes"]), ", ".join(["session_pk", *_TURN])
    with psycopg.connect(url) as db:
        with db.cursor().copy(f"COPY session_mw_ledger_sessions ({of_session}) FROM STDIN") as rows:
            for row, _ in sessions(count):
                rows.write_row([row.pk, *(getattr(row, column) for column in _SESSION), json.dumps(row.attributes)])
        with db.cursor().copy(f"COPY session_mw_ledger_turns ({of_turn}) FROM STDIN") as rows:
            for row, turns in sessions(count):
                for turn in turns:
                    rows.write_row([row.pk, *(getattr(turn, column) for column in _TURN)])
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("ANALYZE session_mw_ledger_sessions")
        db.execute("ANALYZE session_mw_ledger_turns")


FILTERS = [
    "",
    "last 24 hours",
    "last 30 days",
    "type:chat cost:>0.05 last 30 days",
    "cost:>5",
    "has_errors:true",
    "session.type = \"review\" AND session.prompt_version = \"v2\"",
    "user:u_" + f"{7:032x}",
    "metadata.source:web",
    "metadata.nobody:1",
    "user.tier:pro cost:>0.1",
    "sess-1",
    "name CONTAINS nothing",
]  # fmt: skip


def questions(ledger: Ledger) -> dict[str, Callable[[], Any]]:
    """Return what is asked of a long history, by name."""
    asked: dict[str, Callable[[], Any]] = {}
    for text in FILTERS:
        where = read_filter(text, NOW)
        for sort in ("-started", "-cost"):
            listing = Listing(where, sort, seconds=30)
            asked[f"page {sort:<8} {text or '(all)'}"] = lambda listing=listing: ledger.find(listing)
    for sort in ("started", "-last", "-duration", "-turns", "-tokens"):
        asked[f"page {sort:<9} (all)"] = lambda sort=sort: ledger.find(Listing(sort=sort, seconds=30))
    cursor = None
    for _ in range(40):
        cursor = ledger.find(Listing(limit=500, cursor=cursor, seconds=30)).older or cursor
    asked["page -started (all), 20,000 deep"] = lambda: ledger.find(Listing(cursor=cursor, seconds=30))
    month = read_filter("last 30 days", NOW)
    asked["stats (all)"] = lambda: ledger.summary(Summing())
    asked["stats last 30 days"] = lambda: ledger.summary(Summing(month))
    asked["stats by type, prompt_version"] = lambda: ledger.summary(Summing(by=("type", "prompt_version")))
    asked["stats by metadata.source last 30 days"] = lambda: ledger.summary(Summing(month, ("metadata.source",)))
    review = read_filter("type:review last 30 days", NOW)
    cost = Sampling("prompt_version", ("v1", "v2"), where=review, seconds=30)
    asked["samples of v1 v2, cost, type:review last 30 days"] = lambda: ledger.samples(cost)
    for name, others in (("cost", ()), ("all metrics", EVERYTHING)):
        question = Question("prompt_version", ("v1", "v2"), "cost", others, where=review, seconds=30)
        asked[f"compare v1 v2, {name}, type:review last 30 days"] = lambda question=question: report(ledger, question)
    return asked


def times(ledger: Ledger, rounds: int = 5) -> dict[str, float]:
    """Return the milliseconds of each question, the median of *rounds*."""
    found = {}
    for name, ask in questions(ledger).items():
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            ask()
            taken.append((time.perf_counter() - began) * 1000)
        found[name] = round(statistics.median(taken), 2)
    return found


def writing(count: int, indices: bool) -> float:
    """Return the milliseconds of one finished turn of an ended session, with or without the indices for sorts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        make_file(path, count)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            names = [
                row[0]
                for row in db.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'ledger_ix_sessions_%'"
                )
            ]
            for name in names:
                if not indices and name not in ("ledger_ix_sessions_last", "ledger_ix_sessions_user"):
                    db.execute(f"DROP INDEX {name}")
            db.execute("PRAGMA synchronous = NORMAL")
            update = f"UPDATE ledger_sessions SET {', '.join(f'{c} = ?' for c in _SESSION)} WHERE pk = ?"
            chance = random.Random(1)
            rows = [(row, turns) for row, turns in sessions(2_000)]
            began = time.perf_counter()
            for start in range(0, len(rows), 50):
                db.execute("BEGIN IMMEDIATE")
                for row, _ in rows[start : start + 50]:
                    pk = chance.randrange(1, count)
                    changed = replace(row, session_id=f"new-{row.pk}", last_ms=row.last_ms + chance.randrange(10**9))
                    db.execute(update, [*(getattr(changed, column) for column in _SESSION), pk])
                    db.execute(_INSERT_TURN, [pk, *(getattr(_turn(changed, 99, 1), column) for column in _TURN), None])
                db.execute("COMMIT")
            return (time.perf_counter() - began) * 1000 / len(rows)


def main(count: int) -> None:
    """Print the times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        began = time.perf_counter()
        make_file(path, count)
        print(f"{count:,} sessions, {path.stat().st_size / 1e6:.0f} MB, made in {time.perf_counter() - began:.0f} s")
        ledger = open_ledger(f"sqlite:///{path}")
        for name, ms in times(ledger).items():
            print(f"{ms:10.2f} ms  {name}")
        ledger.close()
    if count > 200_000:
        return  # each makes a file of its own
    without, having = writing(count, False), writing(count, True)
    print(json.dumps({"ms a turn without the sorts' indices": round(without, 3), "with": round(having, 3)}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
