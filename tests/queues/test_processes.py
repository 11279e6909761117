"""Child processes continue the session, from a copy of the environment or from what they are given."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context

from session_mw import current_session, turn
from session_mw.clients.processes import continued_session, session_environ
from tests.queues import seen
from tests.queues.conftest import Sender

THREE = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")


def run_child(folder: Path, carried: dict[str, str], *arguments: str, **more: str) -> None:
    child = [sys.executable, "-m", "tests.queues.child", *arguments]
    subprocess.run(child, env={**seen.environment(folder, **more), **carried}, check=True, timeout=120)


def only(carried: dict[str, str]) -> dict[str, str]:
    return {name: carried[name] for name in THREE if name in carried}


def test_a_subprocess_continues_session_turn_and_trace(sender: Sender, tmp_path: Path) -> None:
    """Spans and logs carry the parent's identity, in its trace; tokens are the session's, the turn is no second one."""
    with sender.turn():
        run_child(tmp_path, only(session_environ()))

    lines = seen.read(tmp_path)
    assert [sender.identity] * 2 == seen.identity(lines, "child")
    assert {sender.trace_id} == {line["trace"] for line in lines if "span" in line}
    assert {"session": "chat-7", "worked": "chat-7"} in lines
    assert (2, 15) == sender.totals()


def test_environ_is_a_copy(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own environment never changes, and what it holds of another session does not go on."""
    monkeypatch.setenv("BAGGAGE", "session.id=old,tenant=old")
    monkeypatch.setenv("TRACESTATE", "old=1")
    before = dict(os.environ)
    with sender.turn():
        carried = session_environ()

    assert before == dict(os.environ)
    assert carried["BAGGAGE"].startswith("session.id=chat-7,") and "old" not in carried["BAGGAGE"]
    assert "TRACESTATE" not in carried and carried["TRACEPARENT"].split("-")[1] == sender.trace_id
    assert {name: value for name, value in before.items() if name not in THREE}.items() <= carried.items()


def test_environ_outside_of_sessions_carries_nothing(sender: Sender) -> None:
    """Nobody's session, nobody's trace."""
    assert {"A": "1"} == session_environ({"A": "1", "BAGGAGE": "session.id=old", "TRACEPARENT": "old"})


def test_environ_passes_others_baggage_on(sender: Sender) -> None:
    """Baggage of the application goes along, behind ours."""
    with sender.turn():
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        carried = session_environ({})
        context.detach(token)

    assert carried["BAGGAGE"].endswith(",tenant=acme")
    with continued_session(carried):
        assert "acme" == baggage.get_baggage("tenant")
        assert baggage.get_baggage("session.id") is None


FORGED = "session.id=victim,user.id=u_00000000000000000000000000000000,turn.number=1"


@pytest.mark.parametrize(
    ("carried", "reason"),
    [
        (FORGED, "untrusted"),
        (FORGED + ",session.sig=1.1700000000.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "bad_signature"),
        (FORGED + ",session.sig=x", "malformed"),
        ("user.id=u_1", "untrusted"),
    ],
)
def test_what_is_not_signed_is_not_believed(
    sender: Sender, carried: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can set a variable is not thereby anybody's session; code inside runs as without."""
    rejected: list[tuple[str, str]] = []
    engine = _engine()
    engine.metrics.token_rejected = lambda reason, source: rejected.append((reason, source))  # type: ignore[method-assign]
    with continued_session({"BAGGAGE": carried}) as session:
        assert session is None is current_session()

    assert [(reason, "baggage")] == rejected
    assert "victim" not in caplog.text


def test_what_the_application_vouches_for_is_believed(sender: Sender) -> None:
    """``trusted=True``: it is said so."""
    with continued_session({"BAGGAGE": FORGED}, trusted=True) as session:
        assert session is not None and "victim" == session.id

    with continued_session({"BAGGAGE": "session.id=%2e%2e%2fetc"}, trusted=True) as session:
        assert session is None


def test_a_key_of_somebody_else_is_told(sender: Sender, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line says what to configure."""
    with sender.turn():
        carried = session_environ({})
    from session_mw import configure

    configure(**seen.settings(tmp_path, baggage_key="another-key-0123456789-another-key-0123456789"))
    with caplog.at_level(logging.WARNING, logger="session_mw"):
        for _ in range(3):
            with continued_session(carried) as session:
                assert session is None

    assert 1 == sum("give both the same baggage_key" in line for line in caplog.messages)


def test_a_message_is_good_for_as_long_as_a_session(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job may wait for hours, and no longer than the session it belongs to can last."""
    with sender.turn():
        carried = session_environ({})
    engine, sent = _engine(), _engine().clock()
    answers = []
    for hours in (0, 23, 25):
        monkeypatch.setattr(engine, "clock", lambda hours=hours: sent + hours * 3_600_000)
        with continued_session(carried) as session:
            answers.append(session is not None)

    assert [True, True, False] == answers


def test_a_block_inside_of_another_session_gives_it_back(sender: Sender) -> None:
    """What was current is current again, whatever happens inside."""
    with sender.turn():
        carried = session_environ({})
        with pytest.raises(KeyError):
            continued_session(carried)(dict.__getitem__)({}, "x")
        assert current_session() is not None and "chat-7" == current_session().id  # type: ignore[union-attr]
    with continued_session(carried) as session, turn():
        assert session is not None and session.turn_number == 2
    assert current_session() is None


def decorated(carried: dict[str, str], folder: str) -> None:
    """What a child of multiprocessing runs."""
    os.environ.update(seen.environment(Path(folder)))
    seen.set_up_telemetry()
    continued_session(carried)(seen.work)("spawned")


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=pytest.mark.slow)])
def test_multiprocessing(sender: Sender, tmp_path: Path, method: str) -> None:
    """A child is given the mapping; forked ones have the parent's session in memory, and do not use that."""
    child: Any = multiprocessing.get_context(method)
    with sender.turn():
        process = child.Process(target=decorated, args=(session_environ({}), str(tmp_path)))
        process.start()
        process.join(100)

    assert 0 == process.exitcode
    if method == "spawn":  # the SDK's providers of a forked process are the parent's
        assert [sender.identity] * 2 == seen.identity(seen.read(tmp_path), "spawned")
    assert (2, 15) == sender.totals()


def _engine() -> Any:
    from session_mw._hierarchy.hosts import known_engine

    return known_engine()
