"""An arq worker as one writes it."""

from __future__ import annotations

import os
from typing import Any

from arq import Retry
from arq.connections import RedisSettings

from session_mw.integrations.arq import instrument_worker
from tests.queues.seen import set_up_telemetry, work, write


async def plain(ctx: dict[str, Any], name: str, *, extra: str = "") -> str:
    work(name)
    return f"{name}{extra}"


async def failing(ctx: dict[str, Any], name: str) -> None:
    work(name)
    raise ValueError(name)


async def retried(ctx: dict[str, Any], name: str) -> None:
    work(f"{name}-{ctx['job_try'] - 1}")
    if ctx["job_try"] == 1:
        raise Retry()


async def parent(ctx: dict[str, Any], name: str) -> None:
    await ctx["redis"].enqueue_job("plain", f"{name}-inner")
    work(name)


async def on_job_start(ctx: dict[str, Any]) -> None:
    write({"hook": "start", "job": ctx["job_id"]})


async def on_job_end(ctx: dict[str, Any]) -> None:
    write({"hook": "end", "job": ctx["job_id"]})


@instrument_worker(trusted=bool(os.environ.get("TEST_TRUSTED")))
class WorkerSettings:
    functions = [plain, failing, retried, parent]  # noqa: RUF012
    redis_settings = RedisSettings.from_dsn(os.environ.get("TEST_BROKER", "redis://localhost"))
    on_job_start = on_job_start
    on_job_end = on_job_end
    poll_delay = 0.05


class Unaware:
    """Another service's worker of the same queue, which knows nothing of us."""

    functions = [plain]  # noqa: RUF012
    redis_settings = RedisSettings.from_dsn(os.environ.get("TEST_BROKER", "redis://localhost"))
    poll_delay = 0.05


if os.environ.get("TEST_WORKER"):
    set_up_telemetry()
