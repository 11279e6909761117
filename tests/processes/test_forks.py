"""
Forks of a process that has used its engine: each side has connections, a thread and a queue of its own.

The stores' own forks are tested with the stores; here it is a whole application.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from session_mw import CallableSink, SessionSettings, current_session, current_turn
from session_mw.ledger import open_ledger
from session_mw.stores import open_store
from session_mw.wsgi import SessionTrackingMiddleware
from tests.patience import PATIENCE
from tests.shells import worlds
from tests.stores.processes import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

STORES = ["sqlite", "redis", "postgresql"]


def inside(environ: Any, start_response: Any) -> Iterator[bytes]:
    """The application: says which turn of which session it is."""
    session, turn = current_session(), current_turn()
    start_response("200 OK", [("content-type", "application/json")])
    yield json.dumps([session and session.id, turn and turn.number]).encode()


class Visitor:
    """
    An application and one client of it.

    Args:
        url: Of the store.
        folder: For the history.
    """

    def __init__(self, url: str, folder: Path) -> None:
        settings = SessionSettings(
            secret_key=worlds.SECRET,
            store=url,
            ledger=f"sqlite:///{folder}/history.db",
            event_sink=CallableSink(lambda events: None),
            lifecycle_spans="never",
        )
        self.app = SessionTrackingMiddleware(inside, settings)
        self.background = self.app.engine.background
        self.cookie = ""
        self.id = ""
        self.number = 0

    def ask(self) -> int:
        """Take one turn of the one session; returns its number."""
        lines = [("cookie", self.cookie)] if self.cookie else []
        reply = worlds._send_wsgi(self.app, "POST", "/", lines, "https", "203.0.113.9")
        self.cookie = self.cookie or reply.all("set-cookie")[0].partition(";")[0]
        found, number = reply.json()
        assert self.id in ("", found)
        self.id = found
        self.number = int(number)
        return self.number

    def thread_works(self) -> bool:
        """Wait until the thread of this process has written the last turn taken here, the history's line at last."""
        limit = time.monotonic() + 10 * PATIENCE
        while not self.written() and time.monotonic() < limit:
            time.sleep(0.01)
        thread = self.background._thread
        return self.written() and thread is not None and thread.is_alive()

    def written(self) -> bool:
        """Return whether nothing waits any more."""
        numbers = {line.number for line in self.app.engine.history.turns(self.id)}
        return not self.background._queued() and self.number in numbers


@pytest.fixture(params=STORES)
def visitor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    """An application whose store may take its time: a fork is no question of 50 ms, and a test machine is busy."""
    monkeypatch.setattr("session_mw._postgres.database.REQUEST_MS", 20_000)
    kind, patient = request.param, "?socket_timeout=20&socket_connect_timeout=20"
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/sessions.db"
    else:
        url = request.getfixturevalue("pg_emptied") if kind == "postgresql" else request.getfixturevalue("redis_url")
    one = Visitor(f"{url}{patient}" if kind == "redis" else url, tmp_path)
    yield one
    one.background.stop()
    one.app.engine.store.close()
    one.app.engine.history.close()


def sockets() -> set[str]:
    """Return the sockets that this process has open, and the database's files."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:") or target.endswith((".db", "-wal", "-shm")):
            found.add(f"{name} {target}")
    return found


def test_G6_child_of_a_used_process_has_all_of_its_own(visitor: Visitor) -> None:
    """Thread, queue and connections: the child's are new, and the parent goes on with its own."""
    assert [1, 2] == [visitor.ask(), visitor.ask()]
    assert visitor.thread_works()
    thread = visitor.background._thread

    def child() -> list[Any]:
        inherited = [visitor.background._queued(), visitor.background._thread is None]
        gc.collect()  # what was forgotten is closed: a file opened anew may get the number of its parent's
        open_at_first = sockets()
        number = visitor.ask()
        opened = sockets() - open_at_first
        return [*inherited, number, visitor.thread_works(), bool(opened)]

    assert [0, True, 3, True, True] == in_child(child)
    assert thread is visitor.background._thread
    assert 4 == visitor.ask()
    assert visitor.thread_works()
    record = visitor.app.engine.store.read(visitor.id)
    assert record is not None
    assert (4, 4) == (record.turns, record.completed)
    assert [1, 2, 3, 4] == [line.number for line in visitor.app.engine.history.turns(visitor.id)]


@pytest.mark.slow  # a fork waits for all connections: on a busy machine a request may give up meanwhile
def test_G6_fork_in_the_middle_of_many_requests(visitor: Visitor) -> None:
    """Threads serve requests while the process forks: no turn is lost or counted twice, and nobody is stuck."""
    visitor.ask()
    over, numbers, lock = threading.Event(), [1], threading.Lock()

    def serve() -> None:
        while not over.is_set():
            number = visitor.ask()
            with lock:
                numbers.append(number)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        children = [in_child(lambda: [visitor.ask(), visitor.ask(), visitor.thread_works()]) for _ in range(4)]
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert [True] * 4 == [child[2] for child in children]  # type: ignore[index]
    told = numbers + [number for child in children for number in child[:2]]  # type: ignore[index]
    assert list(range(1, len(told) + 1)) == sorted(told)
    assert visitor.thread_works()
    visitor.background.stop()
    record = visitor.app.engine.store.read(visitor.id)
    assert record is not None
    assert (len(told), len(told)) == (record.turns, record.completed)


def visit(url: str, folder: Path, cookie: str, told: Any) -> None:
    """Take two turns in a process of multiprocessing's."""
    one = Visitor(url, folder)
    one.cookie = cookie
    told.put([one.ask(), one.ask(), one.thread_works()])


def _forked(visitor: Visitor, told: Any) -> None:
    told.put([visitor.ask(), visitor.ask(), visitor.thread_works()])


def test_G6_multiprocessing_fork_and_spawn(tmp_path: Path) -> None:
    """Both kinds of child go on with the parent's session: one with its engine, one with its own of the same store."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    visitor = Visitor(url, tmp_path)
    visitor.ask()
    found = []
    for method, work, given in (
        ("fork", _forked, (visitor,)),
        ("spawn", visit, (url, tmp_path, visitor.cookie)),
    ):
        context: Any = multiprocessing.get_context(method)
        told = context.Queue()
        process = context.Process(target=work, args=(*given, told))
        process.start()
        found.append(told.get(timeout=40 * PATIENCE))
        process.join(20 * PATIENCE)
        assert 0 == process.exitcode

    assert [[2, 3, True], [4, 5, True]] == found
    assert 6 == visitor.ask()
    visitor.background.stop()


EXITS = """
import os, sys
from pathlib import Path
from tests.processes.test_forks import Visitor
folder = Path(sys.argv[1])
visitor = Visitor(f"sqlite:///{folder}/sessions.db", folder)
visitor.ask()
child = os.fork()
visitor.ask()
if child:
    _, status = os.waitpid(child, 0)
    print(visitor.id)
    sys.exit(status)
"""


def test_G6_both_sides_of_a_fork_exit_with_nothing_left(tmp_path: Path) -> None:
    """Parent and child end as interpreters do, right after their last turns: both have written what was queued."""
    command = [sys.executable, "-c", EXITS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=Path(__file__).parents[2])

    assert (0, False) == (done.returncode, "Traceback" in done.stderr), done.stderr
    session_id = done.stdout.strip()
    store, _ = open_store(f"sqlite:///{tmp_path}/sessions.db")
    ledger = open_ledger(f"sqlite:///{tmp_path}/history.db")
    record = store.read(session_id)
    assert record is not None
    assert (3, 3) == (record.turns, record.completed)
    assert [1, 2, 3] == sorted(line.number or 0 for line in ledger.turns(session_id))
    store.close()
    ledger.close()
