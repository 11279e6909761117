"""Log lines for operators: each cause once."""

from __future__ import annotations

import logging
import os

import pytest

from session_mw.telemetry.notices import once, reset

logger = logging.getLogger("session_mw")


def test_once_says_each_cause_once(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake made with every request is one line."""
    answers = [once(key, logger.warning, "found %s", key) for key in ("a", "b", "a")]

    assert [True, True, False] == answers
    assert ["found a", "found b"] == [record.message for record in caplog.records]


def test_once_every_says_it_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """A cause that may heal and come back is said again, not too often."""
    now = [100.0]
    answers = []
    for at in (100.0, 159.9, 160.0, 161.0):
        now[0] = at
        answers.append(once("a", logger.warning, "x", every=60, clock=lambda: now[0]))

    assert [True, False, True, False] == answers


def test_reset_lets_it_be_heard_again() -> None:
    """Tests start from silence."""
    once("a", logger.debug, "x")
    reset()

    assert once("a", logger.debug, "x")


def test_once_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """If a cause's name were ever made of what a client sends, neither memory nor disk fill up."""
    said = sum(once(f"key-{number}", logger.debug, "x") for number in range(3_000))

    assert 1_000 == said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_once_after_a_fork_speaks_for_itself() -> None:
    """A worker forked from a process that already said it says it too."""
    once("a", logger.debug, "x")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if once("a", logger.debug, "x") else 1)

    assert 0 == os.waitpid(pid, 0)[1]
    assert not once("a", logger.debug, "x")
