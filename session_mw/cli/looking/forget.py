"""``session-mw ledger forget``: what privacy law asks for."""

from __future__ import annotations

import os
import sys

import click

from ..._core.identity import is_pseudonym
from ..._settings.errors import env_name
from ...ledger import Forgotten, Ledger, Listing
from ...ledger.filters import Filter
from ...ledger.forgetting import doomed
from ..options import json_option
from .common import history_options, many, opened, pseudonym_maker, say
from .tables import print_json


@click.group()
def ledger() -> None:
    """Look after the history."""


@ledger.command()
@click.option(
    "--user", "user_id", metavar="ID", help="All sessions of this user: your own id of them, or the pseudonym."
)
@click.option("--session", "session_id", metavar="ID", help="This session; with --user only if it is theirs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@history_options
def forget(
    user_id: str | None,
    session_id: str | None,
    yes: bool,
    as_json: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Delete sessions from the history: with their turns, attributes and late usage.

    The history has users under pseudonyms. To find one by your own id it needs the key that made them, as the workers
    have it: SESSION_MW_USER_HASH_KEY, or SESSION_MW_SECRET_KEY where that is not set. A session that is still alive is
    written again when it ends: run this again after it. What was sent to other back ends is theirs to delete.

    \b
    Examples:
      session-mw ledger forget --user jane@example.com
      session-mw ledger forget --session chat-20251009-1a2b3c --yes
    """
    if not user_id and not session_id:
        raise click.UsageError("nobody was named: give --user ID, --session ID, or both")
    users = _users(user_id)
    with opened(store_url, ledger_url, read_only=False) as found:
        count = sum(_count(found, user, session_id) for user in users)
        if not yes and count:
            _ask(count)
        gone = Forgotten()
        for user in users:
            gone = gone.plus(found.forget(user_id=user, session_id=session_id))
    _say(gone, as_json)


def _users(user_id: str | None) -> list[str | None]:
    """
    Return under which names the history may have a user.

    Raises:
        click.UsageError: It has a pseudonym, and no key was given to find out which.
    """
    if user_id is None or is_pseudonym(user_id):
        return [user_id]
    maker = pseudonym_maker()
    if maker is not None:
        return [maker(user_id), user_id]
    if os.environ.get(env_name("user_id_mode"), "").strip().lower() == "plain":
        return [user_id]
    text = (
        f"{user_id!r} is no pseudonym: set {env_name('user_hash_key')} or {env_name('secret_key')} as the workers have"
    )
    raise click.UsageError(f"{text} it, or {env_name('user_id_mode')}=plain where no pseudonyms are made")


def _count(found: Ledger, user: str | None, session_id: str | None) -> int:
    where = Filter("", doomed(user, session_id))
    return found.find(Listing(where, limit=1, include_unconfirmed=True, seconds=30)).count


def _ask(count: int) -> None:
    """Ask whether that many sessions are to go."""
    if not can_ask():
        raise click.UsageError(f"this deletes {many(count, 'session')}: say --yes where nobody can be asked")
    click.confirm(f"Delete {many(count, 'session')} for good?", abort=True, err=True)


def can_ask() -> bool:
    """Return whether somebody is there to answer."""
    return sys.stdin.isatty()


def _say(gone: Forgotten, as_json: bool) -> None:
    if as_json:
        told = {"sessions": gone.sessions, "turns": gone.turns, "late_usage": gone.late_usage, "active": gone.active}
        print_json(told)
    else:
        click.echo(f"forgot {many(gone.sessions, 'session')}, {many(gone.turns, 'turn')}")
    if gone.active:
        say(f"{gone.active:,} of these had not ended: they will be written again at their end, so run this again then")
