"""What commands say while they work: live on a terminal, else a line now and then, always on standard error."""

from __future__ import annotations

import io
import sys

import click
import pytest

from session_mw.cli import progress


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    def isatty(self) -> bool:
        return True


def test_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Short work says nothing; long work shows that there is life."""
    with progress.progress("working ...") as tell:
        tell("one")
    short = capsys.readouterr()
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.progress("working ...") as tell:
        tell("one")
        tell("two")

    assert ("", "") == short
    assert ("", "one\ntwo\n") == capsys.readouterr()


def test_terminal_shows_it_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thing that is written there takes away what was shown; what goes through a pipe goes through it."""
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", pipe)
    with progress.progress("working ...") as tell:
        tell("half of it done")
        click.echo("a result")

    assert "a result\n" == pipe.getvalue()
    assert "half of it done" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")
