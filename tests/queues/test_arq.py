"""arq with a real worker on a real Redis: whoever enqueued a job, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.queues import seen
from tests.queues.conftest import Sender
from tests.queues.workers import running

arq = pytest.importorskip("arq", reason="needs arq, which wants redis below 6: pip install 'session-mw[arq]'")
ours = pytest.importorskip("session_mw.integrations.arq")

# arq keeps to redis below 6; with a later one it works, and is told of an argument that is not needed any more.
pytestmark = pytest.mark.filterwarnings("ignore:.*retry_on_timeout:DeprecationWarning")
WORKER = ("arq", "tests.queues.arq_app.WorkerSettings")
NAMES = ("plain", "failing", "retried-0", "retried-1", "parent", "parent-inner")


def with_pool(url: str, action: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    """Run *action* with a connected pool of ours."""

    async def run() -> Any:
        pool = await arq.create_pool(arq.connections.RedisSettings.from_dsn(url), **options)
        try:
            return await action(ours.instrument_pool(ours.instrument_pool(pool)))
        finally:
            await pool.aclose()

    return asyncio.run(run())


async def send_all(pool: Any) -> None:
    """Enqueue a job of every kind."""
    for name in ("failing", "retried", "parent"):
        await pool.enqueue_job(name, name)
    await pool.enqueue_job("plain", "plain", extra="!", _job_id="one")


async def send_nobodys(pool: Any) -> None:
    """Enqueue what is nobody's, and what anybody could who can write to Redis."""
    await pool.enqueue_job("plain", "nobody")
    for name, carried in (("forged", {"baggage": "session.id=victim,turn.number=1"}), ("odd", {"baggage": 7, "x": {}})):
        pool.job_serializer = lambda data, carried=carried: pickle.dumps({**data, "session_mw": carried})
        await pool.enqueue_job("plain", name)


def test_arq_worker_continues_the_session(sender: Sender, tmp_path: Path, redis_url: str) -> None:
    """Jobs, failing ones, retried ones, jobs of jobs; Nobody's and forged ones are nobody's."""
    with sender.turn():
        with_pool(redis_url, send_all)
    with_pool(redis_url, send_nobodys)
    with running(tmp_path, WORKER, TEST_BROKER=redis_url) as wait:
        wait((*NAMES, "nobody", "forged", "odd"))
        answer = with_pool(redis_url, lambda pool: arq.jobs.Job("one", pool).result(timeout=20))

    lines = seen.read(tmp_path)
    assert "plain!" == answer
    for name in NAMES:
        assert [sender.identity] * 2 == seen.identity(lines, name), name
    assert {sender.trace_id} == {line["trace"] for line in lines if line.get("span") in NAMES}
    assert (2, 15 * len(NAMES)) == sender.totals()
    assert not {"chat-7", "victim"} & seen.sessions(lines, "nobody", "forged", "odd")
    assert 1 == sum(line.get("hook") == "start" and line["job"] == "one" for line in lines)
    assert 1 == sum(line.get("hook") == "end" and line["job"] == "one" for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_arq_unaware_workers_and_trusting_ones(sender: Sender, tmp_path: Path, redis_url: str) -> None:
    """A worker without us runs our jobs as any other; one that was told so believes what is not signed."""
    with sender.turn():
        with_pool(redis_url, lambda pool: pool.enqueue_job("plain", "unaware"))
    with running(tmp_path, ("arq", "tests.queues.arq_app.Unaware"), TEST_BROKER=redis_url) as wait:
        wait(("unaware",))
    with_pool(redis_url, send_nobodys)
    with running(tmp_path, WORKER, TEST_BROKER=redis_url, TEST_TRUSTED="1") as wait:
        wait(("nobody", "forged", "odd"))

    lines = seen.read(tmp_path)
    assert "chat-7" not in seen.sessions(lines, "unaware")
    assert {"victim"} == {line["session.id"] for line in lines if line.get("span") == "forged"}


def test_arq_serializers_of_ones_own(sender: Sender, redis_url: str) -> None:
    """Whatever the application serializes with does the work; results carry nothing."""
    written: list[dict[str, Any]] = []

    def serializer(data: dict[str, Any]) -> bytes:
        written.append(data)
        return json.dumps(data).encode()

    with sender.turn():
        with_pool(redis_url, lambda pool: pool.enqueue_job("plain", "x"), job_serializer=serializer)
        ours._Writing(serializer)({"f": "plain", "s": True, "r": 1})

    assert {"traceparent", "baggage"} == set(written[0]["session_mw"])
    assert written[0]["session_mw"]["baggage"].startswith("session.id=chat-7,")
    assert ["x"] == list(written[0]["a"]) and {} == written[0]["k"]
    assert "session_mw" not in written[1]


def test_arq_settings_as_a_mapping_and_twice() -> None:
    """Both forms that arq takes; a second time changes nothing."""
    settings: dict[str, Any] = {"functions": []}
    assert settings is ours.instrument_worker(settings)
    before = dict(settings)
    ours.instrument_worker(settings)

    assert before == settings
    assert {"functions", "job_serializer", "job_deserializer", "on_job_start", "on_job_end"} == set(settings)
