"""
How long pages and questions over a long history take: ``python -m tests.bench.pages sqlite|postgresql 1000000``.

Prints a line for each target: the median of some rounds, their 95th percentile, and the time on the processor (of this
process, and of the server's that works for it), all in milliseconds. ``--keep FILE`` keeps the file, or takes it if it
is there. A server is vacuumed and has written all to the disk before it is asked; each question is asked once before it
is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_mw._core.records import TurnRecord
from session_mw.ledger import SORTS, Analyzing, Ledger, Listing, Summing, open_ledger, read_filter
from session_mw.ledger.comparing import Question
from session_mw.ledger.comparing import report as compared
from session_mw.ledger.listing import cursor_of
from session_mw.ledger.postgres import PostgresLedger
from session_mw.viewer import SessionViewer
from tests.bench.history import DAY, NOW, fill_file, fill_server
from tests.ledger.support import end, turn
from tests.stores.pg_server import any_server, schema

MONTH = Analyzing(since_ms=NOW - 30 * DAY)
LONG = "long-session"
SEEDS = {
    "seed 002 user": f"user:u_{7:032x}",
    "seed 002 time": "last 24 hours",
    "seed 002 day": "date:2025-12-24",
    "seed 002 traces": "trace_count:>5",
    "seed 002 duration": "duration:>300000",
    "seed 002 cost": "cost:>1.00",
    "seed 002 status": "has_errors:true",
    "seed 001 type, version": 'session.type = "review" AND session.prompt_version = "v2"',
    "seed 001 type, cost": 'session.type = "chat" AND cost:>0.50',
}


@dataclass(frozen=True)
class Line:
    """
    Something that is asked.

    Attributes:
        name: For people.
        target: Milliseconds.
        ask: Asks it.
        sound: Whether an answer is what was asked for.
    """

    name: str
    target: float
    ask: Callable[[], Any]
    sound: Callable[[Any], bool] = lambda found: not getattr(found, "stopped", False)


def lists(ledger: Ledger) -> Iterator[Line]:
    """Yield lists: each sort, at its begin and in its middle, and the examples of the seeds."""
    middle = ledger.find(Listing(read_filter("date:2025-11-23", NOW), limit=1, seconds=30)).rows[0]
    for sort in SORTS:
        for way in ("-", ""):
            listing = Listing(sort=way + sort)
            yield Line(f"list {way + sort}", 100, lambda listing=listing: ledger.find(listing))
        deep = Listing(sort=f"-{sort}", cursor=cursor_of(Listing(sort=f"-{sort}"), middle, False))
        yield Line(f"list -{sort}, from the middle on", 100, lambda deep=deep: ledger.find(deep))
    for name, text in SEEDS.items():
        where = read_filter(text, NOW)
        yield Line(f"{name}: {text}", 100, lambda where=where: ledger.find(Listing(where)))
    rare = read_filter("name CONTAINS nothing last 30 days", NOW)
    yield Line("no index, nothing found, 30 days", 150, lambda: ledger.find(Listing(rare)))
    slow = read_filter("metadata.nobody CONTAINS a OR name CONTAINS nothing OR channel CONTAINS nothing", NOW)
    found = Listing(slow, "-cost", seconds=1)
    yield Line("anything else, stopped at 1 s", 1_100, lambda: ledger.find(found), lambda _: True)


def questions(ledger: Ledger) -> Iterator[Line]:
    """Yield questions about many sessions, of the last 30 days."""
    chat = read_filter("type:chat", NOW)
    where = read_filter("type:chat last 30 days", NOW)
    mine = Analyzing(chat, since_ms=MONTH.since_ms)
    tier = Analyzing(read_filter("user.tier:pro", NOW), since_ms=MONTH.since_ms)
    yield Line("overview, 30 days", 100, lambda: ledger.overview(MONTH))
    yield Line("overview of one type, 30 days", 100, lambda: ledger.overview(mine))
    yield Line("overview, 90 days", 5_000, lambda: ledger.overview(Analyzing()))
    yield Line("overview by an attribute, 30 days", 5_000, lambda: ledger.overview(tier))
    yield Line("stats by type, version, 30 days", 100, lambda: ledger.summary(Summing(where, ("type", "version"))))
    yield Line("stats by type, version, 90 days", 5_000, lambda: ledger.summary(Summing(by=("type", "version"))))
    yield Line("engagement, 30 days", 5_000, lambda: ledger.engagement(MONTH))
    yield Line("first actions, 30 days", 100, lambda: ledger.first_actions(MONTH))
    yield Line("flows, 30 days", 100, lambda: ledger.flows(MONTH))
    yield Line("flows, 90 days", 5_000, lambda: ledger.flows(Analyzing()))
    yield Line("flows of one type, 30 days", 5_000, lambda: ledger.flows(mine))
    yield Line("paths, 30 days", 5_000, lambda: ledger.paths(MONTH))
    yield Line("resolution, 30 days", 5_000, lambda: ledger.resolution(MONTH))
    yield Line("drop-off, 30 days", 5_000, lambda: ledger.dropoff(MONTH))
    steps = ("ask_question", "search", "answer")
    yield Line("funnel of 3 steps, 30 days", 5_000, lambda: ledger.funnel(MONTH, steps))
    yield Line("retention, 8 weeks", 5_000, lambda: ledger.retention(Analyzing()))
    versions = Question("prompt_version", ("v5", "v6"), "cost", where=where)
    sampling = versions.sampling
    yield Line("samples of one type, 30 days", 300, lambda: ledger.samples(sampling), lambda found: len(found) > 0)
    yield Line(
        "the same, compared",
        5_000,
        lambda: compared(ledger, versions),
        lambda found: len(found.pairs) == 1,
    )


def details(ledger: Ledger) -> Iterator[Line]:
    """Yield one session of 50 turns with their calls."""
    turns = [turn(LONG, n, started_ms=NOW - DAY + n * 60_000) for n in range(1, 51)]
    ledger.write_turns(turns)
    ledger.emit([end(LONG, started_ms=NOW - DAY, last_ms=NOW - DAY + 51 * 60_000, turns=50)])

    def look() -> int:
        ledger.session(LONG)
        ledger.usages(LONG)
        return len(ledger.turns(LONG))

    yield Line("one session of 50 turns, with calls", 50, look, lambda found: found == 50)


def visit(app: SessionViewer, path: str, query: str) -> tuple[int, int]:
    """Return status and size of a page, asked as a server asks."""
    said: list[dict[str, Any]] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query.encode(),
        "headers": [(b"host", b"viewer.test"), (b"accept", b"text/html")], "client": ("127.0.0.1", 1),
        "server": ("viewer.test", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    return said[0]["status"], sum(len(message.get("body", b"")) for message in said)


def pages(ledger: Ledger) -> Iterator[Line]:
    """Yield whole pages of the viewer, as an ASGI server asks for them."""
    app = SessionViewer(ledger, auth=lambda request: "ana", clock=lambda: NOW)

    def fine(found: tuple[int, int]) -> bool:
        return found[0] == 200 and found[1] < 150_000

    for query in ("", "sort=-cost", "q=type%3Achat+cost%3A%3E0.5", "q=has_errors%3Atrue&sort=-duration"):
        yield Line(
            f"page of the list, whole request: {query or 'as it opens'}", 100, lambda q=query: visit(app, "/", q), fine
        )
    yield Line("page of 50 turns, whole request", 150, lambda: visit(app, "/s", f"id={LONG}"), fine)


def writing(ledger: Ledger, turns: int = 2_000) -> tuple[float, float]:
    """Return how many finished turns are written a second, of sessions all over the history; and by processor time."""
    first = time.time_ns()  # no turn that is there already
    some: list[TurnRecord] = [
        turn(
            name,
            90,
            started_ms=NOW,
            trace=f"{first + place:032x}-{first + place:016x}-01",
            attributes={"turn.action": "answer"},
        )
        for place, name in enumerate(_some(ledger, turns))
    ]
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(some), 100):
        ledger.write_turns(some[start : start + 100])
    return len(some) / (time.perf_counter() - began), len(some) / (time.process_time() - cpu)


def _some(ledger: Ledger, count: int) -> list[str]:
    found: list[str] = []
    for day in range(1, 90, 9):
        where = read_filter(f"started:>={day_text(day)}", NOW)
        listing = Listing(where, "started", limit=count // 10, include_unconfirmed=True, seconds=30)
        found += [row.session_id for row in ledger.find(listing).rows]
    return found


def day_text(day: int) -> str:
    """Return a day of the history as a filter has it."""
    return time.strftime("%Y-%m-%d", time.gmtime((NOW - 90 * DAY + day * DAY) / 1000))


def processing(ledger: Ledger) -> Callable[[], float]:
    """Return what tells the seconds on the processor so far: this process, and the one of a server of our own."""
    if not isinstance(ledger, PostgresLedger):
        return time.process_time
    ledger.sessions(1)
    pid = ledger._database.use("ask", lambda db: db.info.backend_pid, background=True)
    stat = Path(f"/proc/{pid}/stat")

    def used() -> float:
        fields = stat.read_text().rpartition(")")[2].split() if stat.exists() else []
        return time.process_time() + sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    return used


def timed(line: Line, rounds: int, processor: Callable[[], float]) -> tuple[float, float, float, bool]:
    """Return median, 95th percentile, time on the processor, in milliseconds, and whether the answer was sound."""
    walls, cpus, sound = [], [], True
    for _ in range(rounds):
        began, cpu = time.perf_counter(), processor()
        found = line.ask()
        walls.append((time.perf_counter() - began) * 1000)
        cpus.append((processor() - cpu) * 1000)
        sound &= line.sound(found)
    walls.sort()
    return walls[len(walls) // 2], walls[-(-len(walls) * 95 // 100) - 1], sorted(cpus)[len(cpus) // 2], sound


def settle(ledger: Ledger) -> None:
    """
    Leave a server as one is that was filled over weeks: what was written at once is on the disk, and counted.

    Otherwise it does both while it is asked, some minutes long, in the background.
    """
    if not isinstance(ledger, PostgresLedger):
        return
    import psycopg

    with psycopg.connect(ledger._database.address.told, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")
        with suppress(psycopg.errors.InsufficientPrivilege):
            db.execute("CHECKPOINT")


def report(ledger: Ledger, rounds: int = 5) -> dict[str, tuple[float, float, float, float, bool]]:
    """Print and return what everything took: target, median, 95th percentile, processor, whether it was sound."""
    used = processing(ledger)
    began, cpu = time.perf_counter(), used()
    days = ledger.roll_up(NOW + DAY, 3_600)
    each = [(clock() - start) * 1000 / max(1, days) for clock, start in ((time.perf_counter, began), (used, cpu))]
    print(f"sums of {days} days: {each[0]:.0f} ms a day, {each[1]:.0f} on the processor")
    settle(ledger)
    print(f"{'target':>8} {'median':>9} {'p95':>9} {'cpu':>9}")
    found = {}
    for part in (lists, questions, details, pages):
        for line in part(ledger):
            line.ask()
            found[line.name] = (line.target, *timed(line, rounds if part is not pages else 4 * rounds, used))
            target, median, p95, processor, sound = found[line.name]
            verdict = ("" if p95 <= target else "  OVER") + ("" if sound else "  STOPPED OR WRONG")
            print(f"{target:8.0f} {median:9.2f} {p95:9.2f} {processor:9.2f}  {line.name}{verdict}", flush=True)
    wall, processor = writing(ledger)
    print(f"   1,000 {wall:9.0f} {'':9} {processor:9.0f}  finished turns written a second")
    return found


@contextmanager
def long_history(kind: str, count: int, keep: Path | None = None) -> Iterator[Ledger]:
    """Give a ledger with so many sessions."""
    with ExitStack() as stack:
        if kind == "postgresql":
            url = stack.enter_context(schema(stack.enter_context(any_server())))
            fill_server(url, count)
        else:
            path = keep or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "history.db"
            if not path.exists():
                fill_file(path, count)
            url = f"sqlite:///{path}"
        ledger = open_ledger(url)
        stack.callback(ledger.close)
        yield ledger


def main(given: list[str] | None = None) -> None:
    """Make a history and print the times."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description=__doc__)
    parser.add_argument("kind", choices=("sqlite", "postgresql"))
    parser.add_argument("sessions", type=int, nargs="?", default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, default=None, metavar="FILE")
    asked = parser.parse_args(given)
    began = time.perf_counter()
    with long_history(asked.kind, asked.sessions, asked.keep) as ledger:
        print(f"{asked.kind}, {asked.sessions:,} sessions, ready in {time.perf_counter() - began:.0f} s", flush=True)
        report(ledger, asked.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
