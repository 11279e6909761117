"""Several workers of a real LiteLLM proxy, one store: each session is one, whoever serves it, and ends once."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from session_mw.ledger import open_ledger
from tests.proxy.models import model_server
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.workers import HOOK, ends, telling, worker_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

SESSIONS, TURNS = 6, 6  # before a worker is killed, and as many again after it
USED = (1000, 100)
UVICORN = ("-m", "uvicorn", "session_mw.integrations.litellm:app", "--workers", "2")
LITELLM = ("litellm", "--num_workers", "2", "--telemetry", "False")
PATIENT = "120"  # seconds: uvicorn kills workers that do not answer for five, as while LiteLLM is imported


@contextmanager
def serving(kind: str, folder: Path, models: str) -> Iterator[str]:
    """Run a proxy with two workers until the end of the block."""
    python, written = litellm_python(), config(folder, models, ())
    env = environment(folder, models, SESSION_MW_IDLE_TIMEOUT="15s", LITELLM_LOG="ERROR")
    env["SESSION_MW_TURN_TIMEOUT"] = "15s"  # so long a turn that nobody ends keeps its session open
    env["LITELLM_WORKER_STARTUP_HOOKS"] = telling(folder)
    command: tuple[str, ...] = (*UVICORN, "--timeout-worker-healthcheck", PATIENT)
    if kind != "uvicorn":
        env["LITELLM_WORKER_STARTUP_HOOKS"] += "," + HOOK
        del env["CONFIG_FILE_PATH"]
        command = (str(Path(python).parent / LITELLM[0]), *LITELLM[1:], "--config", str(written))
        command += ("--run_gunicorn",) if kind == "gunicorn" else ("--timeout_worker_healthcheck", PATIENT)
    with proxying(python, env, folder, command) as url:
        yield url


def ask(url: str, at: int) -> int | None:
    """Ask for one of the sessions, over a connection of its own; return the worker that answered."""
    stream = at % 3 == 0
    path, body = question("claude-sonnet-4-5", f"use {USED[0]} {USED[1]}", stream)
    headers = {"X-Session-ID": f"s-{at % SESSIONS}"}
    with httpx.stream("POST", url + path, json=body, headers=headers, timeout=120) as response:
        assert 200 == response.status_code, response.read()
        worker = worker_of(response)
        response.read()
    return worker


def asked(url: str) -> set[int | None]:
    """Ask for all sessions, six at a time; return the workers that answered."""
    with ThreadPoolExecutor(6) as pool:
        return set(pool.map(lambda at: ask(url, at), range(SESSIONS * TURNS)))


@pytest.mark.parametrize("kind", ["uvicorn", "litellm", "gunicorn"])
def test_sessions_over_several_workers_are_counted_right_and_end_once(kind: str, tmp_path: Path) -> None:
    """Also where one of them is killed between two turns: the others go on."""
    with model_server() as (models, _), serving(kind, tmp_path, models) as url:
        before = {worker for _ in range(4) for worker in asked(url)} - {None}
        time.sleep(3)  # more than the background takes, and less than a session idles
        victim = min(worker for worker in before if worker is not None)
        os.kill(victim, signal.SIGKILL)
        _until_answering(url)
        after = asked(url) - {None}
        limit = time.monotonic() + 90
        while len(ends(tmp_path)) < SESSIONS and time.monotonic() < limit:
            time.sleep(0.5)
        time.sleep(2)  # a second end would come now
    ledger = open_ledger(f"sqlite:///{tmp_path}/sessions.db")
    try:
        rows = {row.session_id: row for row in ledger.sessions(limit=100)}
        numbers = {name: [turn.number for turn in ledger.turns(name)] for name in rows}
    finally:
        ledger.close()
    each = 5 * TURNS

    assert 2 == len(before), before
    assert victim not in after
    assert {f"s-{at}": 1 for at in range(SESSIONS)} == dict(ends(tmp_path))
    assert {each} == {row.turns for row in rows.values()}
    assert {each * sum(USED)} == {row.total_tokens for row in rows.values()}
    assert all(list(range(1, each + 1)) == sorted(found) for found in numbers.values())
    print(kind, "workers before and after:", before, after)


def _until_answering(url: str) -> None:
    """Wait until the proxy answers again: a connection that the dead worker had taken is lost."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            if [200] * 6 == [httpx.get(url + "/health/liveliness", timeout=10).status_code for _ in range(6)]:
                return
        except httpx.HTTPError:
            time.sleep(0.2)


def test_a_worker_that_is_killed_in_the_middle_of_an_answer_loses_nothing_but_that_answer(tmp_path: Path) -> None:
    """The turn was counted when it began; the session goes on with the others, and ends once."""
    with model_server() as (models, _), serving("uvicorn", tmp_path, models) as url:
        ask(url, 0)
        time.sleep(2)
        path, body = question("claude-sonnet-4-5", "slowly", True)
        broken = False
        with httpx.Client(timeout=60) as client:
            try:
                with client.stream("POST", url + path, json=body, headers={"X-Session-ID": "s-0"}) as response:
                    pieces = response.iter_raw()
                    next(pieces)
                    worker = worker_of(response)
                    assert worker is not None
                    os.kill(worker, signal.SIGKILL)
                    assert [] != list(pieces)
            except (httpx.HTTPError, httpx.StreamError):
                broken = True
        _until_answering(url)
        ask(url, 0)
        limit = time.monotonic() + 90
        while not ends(tmp_path) and time.monotonic() < limit:
            time.sleep(0.5)
        time.sleep(2)
    ledger = open_ledger(f"sqlite:///{tmp_path}/sessions.db")
    try:
        (row,) = ledger.sessions(limit=10)
    finally:
        ledger.close()

    assert broken
    assert {"s-0": 1} == dict(ends(tmp_path))
    assert (3, 2 * sum(USED)) == (row.turns, row.total_tokens)
