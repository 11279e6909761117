"""What a command says while it works: on standard error, live where that is a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

LINE_SECONDS = 10.0  # a log wants to know that there is life, not more


class Tell(Protocol):
    """Takes what is to be said now."""

    def __call__(self, text: str, /) -> None: ...


@contextmanager
def progress(text: str) -> Iterator[Tell]:
    """Say *text*, and what the block says, while the block runs. Nothing of it is left on a terminal afterwards."""
    if sys.stderr.isatty():
        spinner = Spinner("dots", Text(text), style="cyan")
        # What goes through a pipe stays there; on the terminal it is written above the spinner.
        both = sys.stdout.isatty()
        with Live(spinner, console=Console(stderr=True), transient=True, redirect_stdout=both):
            yield lambda told: spinner.update(text=Text(told))
    else:
        yield _Lines()


class _Lines:
    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_SECONDS

    def __call__(self, text: str, /) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            click.echo(text, err=True)
