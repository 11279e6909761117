"""What a reader sees while the demo runs: on standard error, live where that is a terminal, else line by line."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .script import Visitor

if TYPE_CHECKING:
    from typing_extensions import Self


WIDE = 100  # columns from which on there is room for what a visitor is there to show


class Progress(Protocol):
    """Told what happens, within a ``with`` block."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def stage(self, text: str) -> None:
        """Begin the next stage."""

    def tell(self, visitor: str, text: str) -> None:
        """Say what a visitor does now."""


class Lines:
    """Progress as lines; streamed answers are told once, not at each word."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._listening: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind."""

    def stage(self, text: str) -> None:
        """Print a line."""
        self._print(text)

    def tell(self, visitor: str, text: str) -> None:
        """Print a line, but for the words of an answer after the first."""
        hears = text.startswith("hears")
        if not (hears and visitor in self._listening):
            self._print(f"  {visitor}: {'hears an answer, word by word' if hears else text}")
        self._listening.add(visitor) if hears else self._listening.discard(visitor)

    def _print(self, text: str) -> None:
        line = Text(f"{time.monotonic() - self._started:5.1f} s  {text}")
        self._console.print(line, soft_wrap=True, highlight=False)


class Screen:
    """
    Progress as a small table that is gone when the demo is over: the report is what remains.

    Args:
        console: A terminal.
        visitors: One line each.
    """

    def __init__(self, console: Console, visitors: Iterable[Visitor]) -> None:
        self._stories = {visitor.name: visitor.story for visitor in visitors}
        self._wide = console.width >= WIDE
        self._says: dict[str, str] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(self.render(), console=console, transient=True, refresh_per_second=15)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def stage(self, text: str) -> None:
        """Show what is going on as a whole."""
        self._spinner.update(text=Text(text, style="bold"))
        self._live.update(self.render())

    def tell(self, visitor: str, text: str) -> None:
        """Show what a visitor does."""
        self._says[visitor] = text
        self._live.update(self.render())

    def render(self) -> RenderableType:
        """Return the table as it is now."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column(style="dim", no_wrap=True, min_width=max(map(len, self._stories.values())) * self._wide)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for name, story in self._stories.items():
            says = self._says.get(name, "")
            style = "green" if says.startswith("has ") else "yellow" if says.startswith("is ") else ""
            table.add_row(f"  {name}", story if self._wide else "", Text(says, style=style))
        return Group(self._spinner, table)


def progress_on(console: Console, visitors: Iterable[Visitor]) -> Progress:
    """Return the progress that suits *console*."""
    return Screen(console, visitors) if console.is_terminal else Lines(console)
