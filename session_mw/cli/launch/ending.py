"""Ending a session by hand: ``session-mw end``, ``claude-session --reset``."""

from __future__ import annotations

import os

import click

from ..._core.ops import End
from ..._core.records import SessionRecord
from ..sweeping import Sweeping
from . import places
from . import setup as setups
from .choosing import ID, said_by
from .launching import say
from .record import BATCH, TOMBSTONE_MS, Exporters, settle


def end_session(session_id: str | None) -> None:
    """
    End a session, and say so.

    Args:
        session_id: None takes that of the environment, else the one kept for the working directory.

    Raises:
        click.ClickException: There is no store to be asked.
        SessionError: The store failed.
    """
    kept = setups.kept_here()
    around = said_by(os.environ).id
    wanted = session_id or around or (None if kept is None else kept.id)
    if wanted is None:
        say("no session is active here")
        return
    if kept is not None and kept.id == wanted:
        places.forget(os.getcwd())
    _say(wanted, _end(wanted))
    if around == wanted:
        say(f'its variables are still set here ({ID} ...): "exit" leaves them behind')


def _end(session_id: str) -> tuple[bool, SessionRecord | None]:
    setup = setups.load()
    if setup.settings is None or setup.problem:
        raise click.ClickException(setup.problem)
    sweeping = Sweeping(setup.settings, [Exporters(setup.settings, say)], BATCH)
    try:
        settle(setup.own)
        record = sweeping.store.read(session_id)
        done = sweeping.store.end(End(session_id, "user_exit", None, TOMBSTONE_MS))
        if done and setup.settings.sweep != "off":
            while sweeping.step():
                pass
        return done, record
    finally:
        sweeping.close()


def _say(session_id: str, ended: tuple[bool, SessionRecord | None]) -> None:
    done, record = ended
    if done and record is not None:
        say(f"session {session_id} ended")
    else:
        say(f"session {session_id} is not active: it has ended, or its store is another one")
