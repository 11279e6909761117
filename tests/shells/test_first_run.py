"""First-run mistakes get one clear log line each, once, that says what to do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from session_mw import SessionSettings, SettingsError
from session_mw._engine import hints
from session_mw.telemetry.notices import reset
from tests.shells.worlds import SECRET, make_world


@pytest.fixture(autouse=True)
def fresh(caplog: pytest.LogCaptureFixture) -> None:
    """Every cause may be said again."""
    reset()
    caplog.set_level(logging.INFO, "session_mw")


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    """Return how many lines of ours hold *text*."""
    return len([r for r in caplog.records if r.name == "session_mw" and text in r.getMessage()])


def test_no_secret_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret construction raises, with the command that makes one."""
    monkeypatch.delenv("SESSION_MW_SECRET_KEY", raising=False)
    with pytest.raises(SettingsError, match=r"secrets\.token_urlsafe") as error:
        SessionSettings(_env_file=None)

    assert "secret_key" == error.value.name


def test_plain_http_is_said_once(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A Secure cookie over plain http will not come back."""
    for _ in range(3):
        world.request(scheme="http", cookies=False)

    assert 1 == said(caplog, "plain http")


def test_plain_http_in_development_is_fine(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With insecure settings there is nothing to say."""
    world = make(cookie_secure=False, cookie_name="dev")
    world.request(scheme="http")

    assert 0 == said(caplog, "plain http")


def test_no_sdk_is_said_once(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without an SDK nothing shows the sessions."""
    world = make()
    world.engine.spans._given = NoOpTracerProvider()
    for _ in range(3):
        world.request()

    assert 1 == said(caplog, "no OpenTelemetry SDK is configured")


def test_no_exporter_is_said_once(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A provider without any processor throws its spans away."""
    world = make()
    world.engine.spans._given = TracerProvider()
    for _ in range(3):
        world.request()

    assert 1 == said(caplog, "no exporter")


def test_unreachable_exporter_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK reports each failed batch; we say once what that means, and hide nothing."""
    hints.watch_exporters()
    hints.watch_exporters()
    exporter = logging.getLogger(hints.EXPORTERS[0])
    for _ in range(3):
        exporter.error("Failed to export span batch")

    assert 1 == said(caplog, "cannot deliver")
    assert 3 == len([r for r in caplog.records if r.name == hints.EXPORTERS[0]])


def test_several_memories_are_said(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A token from the memory of another live worker is one line; from a dead process it is none."""
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    hints.several_memories(dead.stdout.strip() + ".x")
    assert 0 == said(caplog, "several workers on memory://")
    world, other = make(), make()
    world.request()
    other.jar = dict(world.jar)
    recovered = other.request()
    hints.several_memories(f"{os.getppid()}.x")

    assert 200 == recovered.status
    assert 1 == said(caplog, "several workers on memory://")


def test_cookie_of_another_application_names_the_setting(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A well-formed token of another key is one line that names cookie_name."""
    world, other = make(), make(secret_key=SECRET[::-1])
    world.request()
    other.jar = dict(world.jar)
    for _ in range(3):
        other.jar = dict(world.jar)
        other.request()

    assert 1 == said(caplog, "cookie_name")


def test_refused_baggage_names_the_settings(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Baggage that does not verify is one line that says what to configure."""
    for _ in range(3):
        world.request(headers={"baggage": "session.id=abc"})

    assert 1 == said(caplog, "trusted_peers")


def test_replaced_propagator_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A propagator set after ours drops our baggage, and one line says so."""
    from opentelemetry import propagate
    from opentelemetry.baggage.propagation import W3CBaggagePropagator

    world = make_world("asgi")
    world.request()
    before = propagate.get_global_textmap()
    try:
        propagate.set_global_textmap(W3CBaggagePropagator())
        world.request()
        world.request()
    finally:
        propagate.set_global_textmap(before)

    assert 1 == said(caplog, "set_global_textmap")
