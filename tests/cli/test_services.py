"""Processes of the demo: they start or say why not, and none of them outlives it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import session_mw
from session_mw.cli.demo import services as module
from session_mw.cli.demo.environment import base_environment
from session_mw.cli.demo.errors import DemoError
from session_mw.cli.demo.services import Service, Services, free_port

ROOT = Path(session_mw.__file__).parents[1]

# An application that notes the ids of its processes, and does at shutdown what its name says.
APPLICATION = """
import os, pathlib, time

async def willing(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        with pathlib.Path("pids").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def stubborn(scope, receive, send):
    async def slow():
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            time.sleep(60)
        return message
    await willing(scope, slow if scope["type"] == "lifespan" else receive, send)
"""


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "chat_app.py").write_text(APPLICATION)
    return {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()


def gone(folder: Path) -> bool:
    """Wait a moment for the kernel to take away what was killed."""
    until = time.monotonic() + 5
    while time.monotonic() < until and any(map(alive, pids(folder))):
        time.sleep(0.02)
    return not any(map(alive, pids(folder)))


def test_services_answer_when_they_have_started_and_end_with_their_workers(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """After ``start`` every service answers; after the context none of their processes is left."""
    one = Service("one", "chat_app:willing", tmp_path / "one.log", workers=2)
    two = Service("two", "chat_app:willing", tmp_path / "two.log")
    with Services(one, two) as services:
        services.start({"one": environment, "two": environment})
        assert one.ready()
        assert two.ready()
        assert one.url != two.url
        assert len(pids(tmp_path)) >= 2

    assert gone(tmp_path)


def test_service_that_does_not_end_is_ended_by_force(
    tmp_path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that hangs at shutdown cannot keep the demo, nor outlive it."""
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    began = time.monotonic()
    with Services(Service("hangs", "chat_app:stubborn", tmp_path / "hangs.log", workers=2)) as services:
        services.start({"hangs": environment})

    assert gone(tmp_path)
    assert time.monotonic() - began < 20


def test_services_are_ended_when_something_fails(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """An error inside the context ends them as its end does."""
    services = Services(Service("one", "chat_app:willing", tmp_path / "one.log"))

    def fail() -> None:
        with services:
            services.start({"one": environment})
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert pids(tmp_path)
    assert gone(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_service_that_cannot_start_shows_its_log(tmp_path: Path, environment: Mapping[str, str], workers: int) -> None:
    """The error says which service and what it said last; workers that are started again and again are found too."""
    began = time.monotonic()
    services = Services(Service("broken", "no_such_module:app", tmp_path / "broken.log", workers))
    with services, pytest.raises(DemoError, match=r"cannot start broken: its? .*Its log ") as caught:
        services.start({"broken": environment})

    assert "no_such_module" in str(caught.value)
    assert time.monotonic() - began < module.START_SECONDS / 2


def test_service_that_never_answers_is_given_up(
    tmp_path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting is bounded, and the message says for how long and where."""
    monkeypatch.setattr(module, "START_SECONDS", 0.0)
    slow = Service("slow", "chat_app:willing", tmp_path / "slow.log")
    message = f"no answer at {slow.url}/health within 0 seconds"
    with Services(slow) as services, pytest.raises(DemoError, match=message):
        services.start({"slow": environment})

    assert gone(tmp_path)


@pytest.mark.landing
def test_service_whose_port_was_taken_meanwhile_is_known_by_it(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A port can be taken between its choice and its use; that is no fault of the service, and worth another try."""
    late = Service("late", "chat_app:willing", tmp_path / "late.log")
    with socket.socket() as other, Services(late) as services:
        other.bind(("127.0.0.1", late.port))
        other.listen()
        with pytest.raises(DemoError):
            services.start({"late": environment})
        assert services.taken()


def test_interrupts_are_as_before_after_a_stop(tmp_path: Path) -> None:
    """While services end Ctrl-C waits; afterwards it works as it did."""
    before = signal.getsignal(signal.SIGINT)
    Services(Service("never", "chat_app:willing", tmp_path / "never.log")).stop()

    assert before is signal.getsignal(signal.SIGINT)


def test_free_ports_are_free() -> None:
    """What is returned can be bound."""
    with socket.socket() as listening:
        port = free_port()
        listening.bind(("127.0.0.1", port))

        assert port == listening.getsockname()[1]


def test_environment_has_nothing_of_other_applications() -> None:
    """Settings of ours, of OpenTelemetry and of the examples are dropped; the rest stays."""
    given = {"SESSION_MW_STORE": "redis://x", "OTEL_SDK_DISABLED": "true", "CHAT_BOOKS": "x", "PATH": "/bin"}
    found = base_environment(given, None, keep_reaching=False)

    assert {"PATH", "PYTHONUNBUFFERED", "NO_PROXY", "no_proxy"} == found.keys()


def test_environment_keeps_what_reaches_a_back_end_when_it_is_the_reader_s() -> None:
    """Headers with his key are used for his own back end, and for no other receiver."""
    given = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere"}

    assert "authorization=x" == base_environment(given, None, keep_reaching=True)["OTEL_EXPORTER_OTLP_HEADERS"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in base_environment(given, None, keep_reaching=True)
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in base_environment(given, None, keep_reaching=False)


def test_environment_goes_past_a_proxy_to_this_machine() -> None:
    """A proxy of the reader's never sees what the services say to each other; his own exceptions stay."""
    found = base_environment({"NO_PROXY": "intranet"}, ROOT, keep_reaching=False)

    assert "intranet,127.0.0.1" == found["NO_PROXY"]
    assert str(ROOT) == found["PYTHONPATH"]
