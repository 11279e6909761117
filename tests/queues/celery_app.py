"""A Celery application as one writes it; sender and worker both import it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery, Task, shared_task

from session_mw import current_session
from session_mw.integrations.celery import SessionTracking
from tests.queues.seen import FOLDER, set_up_telemetry, work

app = Celery("tests.queues", broker=os.environ.get("TEST_BROKER", "memory://"))
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
if app.conf.broker_url.startswith("filesystem:"):
    folder = Path(os.environ[FOLDER])
    app.conf.broker_transport_options = {
        "data_folder_in": str(folder / "broker"),
        "data_folder_out": str(folder / "broker"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.05,
    }
SessionTracking(app, trusted=bool(os.environ.get("TEST_TRUSTED")))


class Custom(Task):  # type: ignore[misc]
    """A base class of one's own."""


@app.task(base=Custom)
def plain(name: str) -> None:
    work(name)


@shared_task(bind=True)
def failing(self: Any, name: str) -> None:
    work(name)
    raise ValueError(name)


@app.task(bind=True, max_retries=1)
def retried(self: Any, name: str) -> None:
    work(f"{name}-{self.request.retries}")
    if self.request.retries == 0:
        raise self.retry(countdown=0)


@app.task
def parent(name: str) -> None:
    plain.delay(f"{name}-inner")
    work(name)


@app.task
def leaves_nothing(name: str) -> None:
    """Runs for nobody: whatever came before it is gone."""
    assert current_session() is None
    work(name)


if os.environ.get("TEST_WORKER"):
    set_up_telemetry()
if os.environ.get("TEST_OTEL"):
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    CeleryInstrumentor().instrument()  # after us, as in most applications
