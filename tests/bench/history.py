"""
A long history, made quickly: 90 days of an assistant, as many sessions as are asked for.

Each session is made as a store's record and turned into rows by the ledger's own rules; only the statements are others,
for many rows at once. Half of the users come once, a tenth brings half of the sessions; three types, versions v1 to v8
that take over from one another, twelve actions that follow from the one before, outcomes that follow from the last;
costs and lengths are skewed as real ones are.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from session_mw._core import names
from session_mw._core.events import end_event, start_event
from session_mw._core.records import SessionRecord, TurnRecord, UsageRecord
from session_mw.ledger import SessionRow, TurnRow, UsageRow, history, open_ledger
from session_mw.ledger.calls import COLUMNS
from session_mw.ledger.history import Usage
from session_mw.ledger.sqlite_schema import prepare
from session_mw.ledger.sqlite_tables import _SESSION, _TURN, mark_days
from session_mw.ledger.touched import day_of

T0 = 1_760_000_000_000 - 1_760_000_000_000 % 86_400_000  # 9 October 2025, midnight
DAY = 86_400_000
DAYS = 90
NOW = T0 + DAYS * DAY
FOLLOWS = {
    "": ("ask_question", "ask_question", "ask_question", "search", "upload_file", "open_settings"),
    "ask_question": ("search", "answer", "answer", "clarify", "summarize"),
    "search": ("answer", "answer", "search", "show_source"),
    "clarify": ("ask_question", "answer", "hand_over"),
    "answer": ("ask_question", "show_source", "give_feedback", "export"),
    "upload_file": ("summarize", "answer"),
}
END_OF = {"answer": 0.7, "give_feedback": 0.9, "export": 0.9, "hand_over": 0.02, "clarify": 0.1}  # share resolved
PATCH = 2_000  # sessions written at once


class Made(NamedTuple):
    """A session as the store reports it: its end (None while it goes on), and its turns."""

    record: SessionRecord
    ended: bool
    turns: list[TurnRecord]


def made(count: int) -> Iterator[Made]:
    """Yield sessions in the order of their starts; the same each time."""
    chance = random.Random(count)
    users = max(1, count * 4 // 10)
    for number in range(count):
        yield _session(chance, number, count, users)


def _session(chance: random.Random, number: int, count: int, users: int) -> Made:
    started = T0 + DAYS * DAY * number // count
    name = f"{chance.choice(('chat', 'sess'))}-{number:x}-{chance.getrandbits(40):010x}"
    user = None if chance.random() < 0.05 else f"u_{int(users * chance.random() ** 2.5):032x}"
    version = f"v{1 + min(7, max(0, int(chance.gauss(number * 8 / count, 0.8))))}"
    said: dict[str, Any] = {
        names.SESSION_TYPE: chance.choice(("chat", "chat", "review", "batch")),
        names.SESSION_PROMPT_VERSION: version,
        names.SESSION_CHANNEL: chance.choice(("web", "web", "api")),
    }
    turns = _turns(chance, name, number, started, user, said)
    last = turns[-1].started_ms + turns[-1].latency_ms
    ended = number < count - 50
    outcome = _outcome(chance, turns[-1].attributes.get(names.TURN_ACTION))
    failed = sum(turn.status == "error" for turn in turns)
    mean = sum(turn.latency_ms for turn in turns) // len(turns)
    record = SessionRecord(
        name,
        started_ms=started,
        last_ms=last,
        turns=len(turns),
        completed=len(turns) - failed,
        failed=failed,
        latency_ms=mean * len(turns),
        input_tokens=_sum(turn.input_tokens for turn in turns),
        output_tokens=_sum(turn.output_tokens for turn in turns),
        cost_microusd=_sum(turn.cost_microusd for turn in turns),
        user_id=user,
        reason="idle_timeout" if outcome is None or chance.random() < 0.5 else "user_exit",
        ended_ms=last + 1_800_000,
        attempts=1,
        confirmed=chance.random() > 0.03,
        attributes={
            **said,
            **({names.SESSION_OUTCOME: outcome} if outcome else {}),
            "metadata.source": chance.choice(("web", "mail")),
            "user.tier": chance.choice(("pro", "free")),
        },
    )
    return Made(record, ended, turns)


def _outcome(chance: random.Random, action: object) -> str | None:
    if chance.random() < 0.3:
        return None
    if chance.random() < END_OF.get(str(action), 0.4):
        return "resolved"
    return "escalated" if action == "hand_over" else "abandoned"


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _turns(
    chance: random.Random, name: str, number: int, at: int, user: str | None, said: dict[str, Any]
) -> list[TurnRecord]:
    found = []
    action, priced = "", chance.random() > 0.1
    for place in range(min(40, 1 + int(chance.expovariate(0.45)))):
        action = chance.choice(FOLLOWS.get(action, FOLLOWS["ask_question"]))
        latency = int(math.exp(chance.gauss(7.3, 0.8)))
        tokens = None if chance.random() < 0.03 else int(math.exp(chance.gauss(6.5, 1)))
        cost = tokens * 25 if tokens is not None and priced else None
        status = "error" if chance.random() < 0.05 else "ok"
        span = f"{number:010x}{place:06x}"
        call = UsageRecord(
            "model", at + 20, latency - latency // 10, "chat", "gpt-4o", "openai", span,
            input_tokens=tokens, output_tokens=tokens, cost_microusd=cost, first_token_ms=latency // 4,
        )  # fmt: skip
        found.append(
            TurnRecord(
                name, 1, place + 1, at, latency, status, None, user, f"{number:020x}{place:012x}-{span}-01",
                "TimeoutError" if status == "error" else None, latency // 4, tokens, tokens, cost,
                {**said, names.TURN_ACTION: action, "turn.input_length": 40}, (call,),
            )
        )  # fmt: skip
        at += latency + int(math.exp(chance.gauss(10, 1.3)))
    return found


def rows_of(one: Made) -> tuple[SessionRow, list[tuple[TurnRow, tuple[UsageRow, ...]]]]:
    """Return the rows that the history keeps of a session."""
    row = history.begin((one.record.session_id, 1), one.record.started_ms)
    if not one.ended:
        begun = history.happening(start_event(one.record))
        assert begun is not None
        row = history.after_start(row, begun)
    turns = [history.turned(turn) for turn in one.turns]
    for turn in turns:
        row = history.after_turn(row, turn, 1)
    if one.ended:
        event = history.happening(end_event(one.record))
        assert event is not None
        row = history.after_end(row, event, Usage())
    return row, [(turn.row, turn.calls) for turn in turns]


def tell(ledger: Any, sessions: Iterable[Made]) -> None:
    """Tell a ledger of sessions, as applications do."""
    for one in sessions:
        ledger.emit([start_event(one.record)])
        ledger.write_turns(one.turns)
        if one.ended:
            ledger.emit([end_event(one.record)])


def _patches(count: int) -> Iterator[list[Made]]:
    sessions = made(count)
    while patch := list(islice(sessions, PATCH)):
        yield patch


class _Cells:
    """Rows of a patch as cells, table by table, with the numbers that rows get."""

    def __init__(self) -> None:
        self.session_pk = self.turn_pk = 0

    def of(self, patch: list[Made]) -> dict[str, list[list[Any]]]:
        found: dict[str, list[list[Any]]] = {"sessions": [], "turns": [], "usages": []}
        self.attributes: list[tuple[int, dict[str, Any]]] = []
        for one in patch:
            row, turns = rows_of(one)
            self.session_pk += 1
            found["sessions"].append([self.session_pk, *(getattr(row, column) for column in _SESSION)])
            self.attributes.append((self.session_pk, dict(row.attributes)))
            for turn, calls in turns:
                self.turn_pk += 1
                said = json.dumps(turn.attributes, separators=(",", ":")) if turn.attributes else None
                found["turns"].append([self.turn_pk, self.session_pk, *(getattr(turn, c) for c in _TURN), said])
                found["usages"] += [
                    [self.turn_pk, call.place, *(getattr(call, column) for column in COLUMNS)] for call in calls
                ]
        return found


OF_TABLE = {
    "sessions": ["pk", *_SESSION],
    "turns": ["pk", "session_pk", *_TURN, "attributes"],
    "usages": ["turn_pk", "place", *COLUMNS],
}


def fill_file(path: Path, count: int) -> None:
    """Make a file of so many sessions."""
    cells = _Cells()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        prepare(db)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -300000", "foreign_keys = OFF"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        for patch in _patches(count):
            db.execute("BEGIN")
            for table, rows in cells.of(patch).items():
                columns = OF_TABLE[table]
                marks = ", ".join("?" * len(columns))
                db.executemany(f"INSERT INTO ledger_{table} ({', '.join(columns)}) VALUES ({marks})", rows)
            said = [
                (pk, key, value, isinstance(value, bool))
                for pk, all_ in cells.attributes
                for key, value in all_.items()
            ]
            db.executemany("INSERT INTO ledger_session_attrs VALUES (?, ?, ?, ?)", said)
            mark_days(db, {day_of(one.record.started_ms) for one in patch})
            db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")


def fill_server(url: str, count: int) -> None:
    """Fill the tables of a server, which are empty, with the same sessions."""
    import psycopg

    ledger = open_ledger(url)
    ledger.sessions(1)  # makes the tables
    ledger.close()
    cells = _Cells()
    with psycopg.connect(url) as db:
        for patch in _patches(count):
            found = cells.of(patch)
            for table, rows in found.items():
                columns = OF_TABLE[table]
                if table == "sessions":
                    columns = [*columns, "attributes"]
                    said = (json.dumps(all_, separators=(",", ":")) if all_ else None for _, all_ in cells.attributes)
                    rows = [[*row, text] for row, text in zip(rows, said, strict=True)]
                _copy(db, table, columns, rows)
            days = sorted({day_of(one.record.started_ms) for one in patch})
            db.execute("INSERT INTO session_mw_ledger_dirty (day) SELECT unnest(%s::bigint[])", (days,))
            db.commit()
        for table, pk in (("sessions", cells.session_pk), ("turns", cells.turn_pk)):
            db.execute(f"ALTER TABLE session_mw_ledger_{table} ALTER pk RESTART WITH {pk + 1}")
    with psycopg.connect(url, autocommit=True) as db:
        for table in OF_TABLE:
            db.execute(f"VACUUM ANALYZE session_mw_ledger_{table}")


def _copy(db: Any, table: str, columns: list[str], rows: list[list[Any]]) -> None:
    statement = f"COPY session_mw_ledger_{table} ({', '.join(columns)}) FROM STDIN"
    with db.cursor() as cursor, cursor.copy(statement) as into:
        for row in rows:
            into.write_row(row)
