"""Celery with real workers: whoever sent a task, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context

from tests.queues import seen
from tests.queues.conftest import Sender
from tests.queues.workers import running

celery_app = pytest.importorskip("tests.queues.celery_app", reason="needs celery: pip install 'session-mw[celery]'")

pools = pytest.importorskip("kombu.pools")
WORKER = ("celery", "-A", "tests.queues.celery_app", "worker", "--without-gossip", "--without-mingle", "-l", "warning")


@contextmanager
def broker(url: str, folder: Path, **more: str) -> Iterator[dict[str, str]]:
    """Let this process send to the broker that the worker will use."""
    app: Any = celery_app.app
    options: dict[str, Any] = {}
    if url.startswith("filesystem:"):
        (folder / "broker").mkdir()
        where = str(folder / "broker")
        options = {"data_folder_in": where, "data_folder_out": where, "control_folder": str(folder / "control")}
    before = app.conf.broker_url, app.conf.broker_transport_options
    try:
        app.conf.broker_url, app.conf.broker_transport_options = url, options
        _forget_connections(app)
        yield {"TEST_BROKER": url, **more}
    finally:
        app.conf.broker_url, app.conf.broker_transport_options = before
        _forget_connections(app)


def _forget_connections(app: Any) -> None:
    pools.reset()
    app._pool = None
    app.__dict__.pop("amqp", None)


def send_all() -> None:
    """Send a task of every kind."""
    for task in (celery_app.plain, celery_app.failing, celery_app.retried, celery_app.parent):
        task.delay(task.__name__)
    celery_app.app.send_task("tests.queues.celery_app.plain", ("by-name",))
    celery_app.plain.s("signature").set(headers={"mine": "1"}).apply_async()
    (celery_app.plain.si("chain-1") | celery_app.plain.si("chain-2") | celery_app.plain.si("chain-3")).apply_async()
    celery_app.failing.apply_async(("failing-2",), link_error=celery_app.plain.si("on-error"))


def send_forged() -> None:
    """Send what anybody could who can write to the broker."""
    forged = "session.id=victim,turn.number=1"
    celery_app.plain.apply_async(("forged",), headers={"baggage": forged, "session_mw": forged})
    celery_app.plain.apply_async(("odd",), headers={"baggage": 7, "traceparent": ["x"], "session_mw": {}})


NAMES = ("plain", "failing", "retried-0", "retried-1", "parent", "parent-inner", "by-name", "signature")
NAMES += ("chain-1", "chain-2", "chain-3", "failing-2", "on-error")


def check(sender: Sender, folder: Path, names: tuple[str, ...] = NAMES) -> None:
    """Every span and log record of every task is the session's; the turn is one, and every token counts."""
    lines = seen.read(folder)
    for name in names:
        assert [sender.identity] * 2 == seen.identity(lines, name), name
    assert {sender.trace_id} == {line["trace"] for line in lines if line.get("span") in names}
    assert (2, 15 * len(names)) == sender.totals()


@pytest.mark.landing
def test_celery_worker_continues_the_session(sender: Sender, tmp_path: Path, redis_url: str) -> None:
    """Over Redis: tasks, failing ones, retried ones, tasks of tasks. Nobody's and forged ones are nobody's."""
    with broker(redis_url, tmp_path) as environment:
        with sender.turn():
            send_all()
        celery_app.leaves_nothing.delay("nobody")
        send_forged()
        with running(tmp_path, (*WORKER, "--pool", "solo"), **environment) as wait:
            wait((*NAMES, "nobody", "forged", "odd"))

    check(sender, tmp_path)
    assert not {"chat-7", "victim"} & seen.sessions(seen.read(tmp_path), "nobody", "forged", "odd")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("transport", ["redis", "filesystem"])
def test_celery_pools_and_transports(sender: Sender, tmp_path: Path, redis_url: str, pool: str, transport: str) -> None:
    """Several processes or threads at once, whatever carries the messages."""
    url = redis_url if transport == "redis" else "filesystem://"
    with broker(url, tmp_path) as environment:
        with sender.turn():
            send_all()
        with running(tmp_path, (*WORKER, "--pool", pool, "--concurrency", "2"), **environment) as wait:
            wait(NAMES)

    check(sender, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_celery_with_opentelemetrys_instrumentation(sender: Sender, tmp_path: Path, redis_url: str) -> None:
    """
    On both sides, and with baggage of others: its spans around the task are the session's as well, and nothing of one
    task is left for the next.
    """
    theirs = pytest.importorskip("opentelemetry.instrumentation.celery").CeleryInstrumentor()
    theirs.instrument(tracer_provider=sender.provider)
    try:
        with broker(redis_url, tmp_path, TEST_OTEL="1") as environment:
            with sender.turn():
                token = context.attach(baggage.set_baggage("tenant", "acme"))
                send_all()
                context.detach(token)
            celery_app.leaves_nothing.delay("nobody")
            with running(tmp_path, (*WORKER, "--pool", "solo"), **environment) as wait:
                wait((*NAMES, "nobody", "run/tests.queues.celery_app.leaves_nothing"))
    finally:
        theirs.uninstrument()

    check(sender, tmp_path)
    lines = seen.read(tmp_path)
    around = [line for line in lines if line.get("span") == "run/tests.queues.celery_app.plain"]
    assert {"chat-7"} == {line["session.id"] for line in around} and 8 == len(around)
    assert all(sender.trace_id != line["trace"] for line in lines if line.get("span") == "nobody")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_celery_unsigned_headers_are_believed_where_it_is_said_so(
    sender: Sender, tmp_path: Path, redis_url: str
) -> None:
    """``trusted=True``: nobody else can write to the broker."""
    with broker(redis_url, tmp_path, TEST_TRUSTED="1") as environment:
        send_forged()
        with running(tmp_path, (*WORKER, "--pool", "solo"), **environment) as wait:
            wait(("forged", "odd"))

    assert {"victim"} == {line["session.id"] for line in seen.read(tmp_path) if line.get("span") == "forged"}


def test_celery_headers_are_the_usual_ones(sender: Sender) -> None:
    """Other consumers of the queue read them, too; the application's own headers stay."""
    sent: list[dict[str, Any]] = []
    app: Any = celery_app.app
    original = app.amqp.send_task_message
    try:
        app.amqp.send_task_message = lambda producer, name, message, **options: sent.append(options["headers"])
        with sender.turn():
            celery_app.plain.apply_async(("x",), headers={"mine": "1"})
        celery_app.plain.apply_async(("x",), headers={"mine": "1"})
    finally:
        app.amqp.send_task_message = original

    assert {"mine", "traceparent", "baggage", "session_mw"} == set(sent[0])
    assert (
        sent[0]["baggage"].startswith("session.id=chat-7,") and sent[0]["traceparent"].split("-")[1] == sender.trace_id
    )
    assert {"mine": "1"} == sent[1]


def test_celery_eager_tasks_and_direct_calls_are_in_the_session_anyway(sender: Sender) -> None:
    """They run where they are called."""
    app: Any = celery_app.app
    app.conf.task_always_eager = True
    try:
        with sender.turn():
            celery_app.plain.delay("eager")
            celery_app.plain("direct")
    finally:
        app.conf.task_always_eager = False

    assert (2, 30) == sender.totals()
