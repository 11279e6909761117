"""What the commands that look at the history share: which history, which sessions, and how text is shown."""

from __future__ import annotations

import io
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.console import Console

from ..._core.identity import derive_key, hash_user_id, normalise_user
from ..._settings.errors import env_name
from ...exceptions import FilterError
from ...ledger import Filter, Ledger, Listing, open_ledger, read_filter
from ...ledger.filters import bounds_time, within
from ...ledger.filters.tree import Missing, Not, leaves
from ...ledger.shown import many as many
from ...ledger.shown import plain as plain
from ...ledger.shown import shown_ms as shown_ms
from ...ledger.shown import shown_number as shown_number
from ...ledger.shown import shown_time as shown_time
from ...ledger.shown import shown_usd as shown_usd
from ...settings import SessionSettings
from ..options import ledger_option, scheme_of, store_option

SCHEMES = ("sqlite", "postgresql")
WINDOW_DAYS = 30
NEWEST = 500  # sessions among whose attributes one is looked for that was meant
PIPE_WIDTH = 160  # where there is no terminal, lines are as long as they have to be

F = TypeVar("F", bound=Callable[..., Any])


def filter_argument(command: F) -> F:
    """Add ``[FILTER]...`` to a command: words are put together, so that most filters need no quotes."""
    return click.argument("words", metavar="[FILTER]", nargs=-1)(command)


def history_options(command: F) -> F:
    """Add the options that name the history."""
    return ledger_option(store_option(command))


all_time_option = click.option("--all-time", is_flag=True, help=f"Not only the last {WINDOW_DAYS} days.")
unconfirmed_option = click.option(
    "--unconfirmed", is_flag=True, help="Also sessions that nobody came back to confirm: bots, webhooks."
)


@contextmanager
def opened(store_url: str | None, ledger_url: str | None, read_only: bool = True) -> Iterator[Ledger]:
    """Open the history that was named, or that of the store."""
    url = history_url(store_url, ledger_url)
    if not unicode_out() and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to fail
    ledger = open_ledger(url, read_only=read_only)
    path: str | None = getattr(ledger, "path", None)  # of a file: to open it would make one
    if path is not None and not os.path.exists(path):
        raise click.ClickException(f"there is no file {path!r}: is the application's directory another one?")
    try:
        yield ledger
    finally:
        ledger.close()


def history_url(store_url: str | None, ledger_url: str | None) -> str:
    """
    Return where the history is: where it was said, else in the store's own database.

    Raises:
        click.UsageError: Nothing was named, or nothing that another process can look into.
    """
    url = ledger_url or store_url
    if url is None:
        raise click.UsageError(f"no history was named: give --ledger URL, or set {env_name('ledger')}")
    if scheme_of(url) == "memory":
        raise click.UsageError("memory:// lives in the process of your application: nothing else can see into it")
    if ledger_url is None and scheme_of(url) not in SCHEMES:
        text = f"{scheme_of(url)}:// keeps no history: say where it is with --ledger URL, or {env_name('ledger')}"
        raise click.UsageError(text)
    return url


def now_ms() -> int:
    """Return the time of day, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Which sessions were asked for.

    Attributes:
        where: Within the window.
        unbounded: Without it; None when there is none.
    """

    where: Filter
    unbounded: Filter | None = None


def asked(words: tuple[str, ...], all_time: bool = True) -> Asked:
    """
    Read a filter.

    Args:
        words: As typed.
        all_time: Whether there is no window. One that names a time itself has none either.
    """
    told = refused_well(lambda: read_filter(" ".join(words), now_ms(), pseudonym=pseudonym_maker()))
    if all_time or bounds_time(told):
        return Asked(told)
    return Asked(within(told, now_ms() - WINDOW_DAYS * 86_400_000), told)


def say_what_nobody_has(ledger: Ledger, where: Filter) -> None:
    """Say which attributes of a filter no session has: a typing error in one is no error of the language."""
    known = {key for row in ledger.sessions(NEWEST) for key in row.attributes}
    for leaf in leaves(where.tree):
        if leaf.field.attribute and leaf.field.column not in known:
            some = Filter("", Not(Missing(leaf.field)))
            page = ledger.find(Listing(some, limit=1, include_unconfirmed=True, seconds=5))
            if page.count or page.stopped or page.capped:
                known.add(leaf.field.column)
    for warning in where.warnings(known):
        say(warning)


R = TypeVar("R")


def refused_well(read: Callable[[], R]) -> R:
    """Return what *read* returns; a filter that it refuses is a command line that is not understood."""
    try:
        return read()
    except FilterError as error:
        raise click.UsageError(str(error)) from error


def pseudonym_maker() -> Callable[[str], str] | None:
    """Return how users' own ids become what the history keeps of them; None where no key was given."""
    if not os.environ.get(env_name("user_hash_key")) and not os.environ.get(env_name("secret_key")):
        return None
    given = {} if os.environ.get(env_name("secret_key")) else {"secret_key": secrets.token_urlsafe(48)}
    settings = SessionSettings(**given)  # type: ignore[arg-type]
    if settings.user_id_mode != "hash":
        return None
    key = derive_key(settings.user_hash_key_bytes() or settings.secret_bytes(), "user-hash")
    return lambda user: hash_user_id(normalise_user(user) or user, key)


def say(text: str) -> None:
    """Say something to people: it is no data."""
    click.echo(text, err=True)


def console() -> Console:
    """Return where tables are written: in colour on a terminal only, and never cut where there is none."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=PIPE_WIDTH, no_color=True, force_terminal=False, highlight=False)


def unicode_out() -> bool:
    """Return whether standard output takes more than ASCII and its like."""
    return "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()
