"""The demo as a reader sees it: progress on standard error, the report on standard output."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click
from rich.console import Console

from .checks import Check, check_all
from .document import Document, document
from .environment import new_key
from .errors import DemoError
from .evidence import Evidence
from .keep import keep_running
from .outline import UserBranch, outline
from .place import Place, make_place
from .progress import progress_on
from .receiver import Receiver
from .report import print_next_steps, print_report
from .run import Stage, perform
from .script import VISITORS

PIPE_WIDTH = 140  # where there is no terminal: wide enough for the table of events


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of the command."""

    as_json: bool = False
    keep: bool = False
    endpoint: str | None = None
    parent: Path | None = None


def show(wishes: Wishes) -> int:
    """
    Run the demo and print what came out.

    Returns:
        The exit code: 0 when every check holds, else 1.

    Raises:
        DemoError: If it cannot run.
    """
    began = time.monotonic()
    progress_console = _console(stderr=True)
    if wishes.endpoint is not None:
        expect_somebody_at(wishes.endpoint)
    place = make_place(wishes.parent)
    with Receiver() as receiver:
        stage = Stage(place, wishes.endpoint, receiver, new_key())
        with progress_on(progress_console, VISITORS) as progress:
            evidence = perform(stage, VISITORS, progress)
        checks, users = check_all(evidence), outline(evidence)
        found = document(place, evidence, users, checks, time.monotonic() - began)
        place.report.write_text(json.dumps(found, indent=2, ensure_ascii=False), "utf-8")
        _print(wishes, place, evidence, users, checks, found)
        if wishes.keep:
            keep_running(stage, progress_console)
    return 0 if found["ok"] else 1


def _print(
    wishes: Wishes,
    place: Place,
    evidence: Evidence,
    users: Sequence[UserBranch],
    checks: Sequence[Check],
    found: Document,
) -> None:
    if wishes.as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = _console()
    with console.capture() as capture:
        print_report(console, place, evidence, users, checks)
        if not wishes.keep:
            print_next_steps(console, place, wishes.endpoint is not None)
        _print_verdict(console, checks, found["seconds"])
    # Tables are padded to the terminal's width; in a file or a mail that would only be blanks.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _print_verdict(console: Console, checks: Sequence[Check], seconds: float) -> None:
    failed = sum(not check.ok for check in checks)
    if failed:
        console.print(f"\n{failed} of {len(checks)} checks FAILED", style="bold red")
        return
    skipped = sum(bool(check.skipped) for check in checks)
    without = f", {skipped} skipped" if skipped else ""
    console.print(f"\nAll {len(checks) - skipped} checks hold{without}. It took {seconds} seconds.", style="bold green")


def _console(stderr: bool = False) -> Console:
    """Return a console; without a terminal it writes plain text, as wide as the report is."""
    console = Console(stderr=stderr, highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def expect_somebody_at(endpoint: str) -> None:
    """
    Find out before the demo begins whether anybody listens at *endpoint*.

    Through a proxy nothing can be said beforehand; what does not arrive is found by the checks.

    Raises:
        DemoError: If not.
    """
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise DemoError(
            f"cannot reach the back end at {endpoint}: {error.strerror or error}. Start it, or correct --endpoint."
        ) from error
