"""
Whose settings a launcher goes by, and where it writes: the environment's, else files of this user alone.

A ``.env`` file is not read. Launchers run in whatever directory somebody has just cloned: its files say neither where
this user's sessions are written, nor whom their headers may reach.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from ..._clocks import wall_ms
from ..._settings.errors import env_name
from ...exceptions import SessionError
from ...settings import SessionSettings
from ..options import scheme_of
from . import places
from .choosing import Around, Label, Said, clean, said_by
from .ci import build_of
from .ids import ENTROPY_BYTES, launched_id

SQL = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Setup:
    """
    What a launcher works with.

    Attributes:
        settings: The settings, their store one that outlives this process; None where they cannot be used.
        own: Whether the store is this user's own file.
        signs: Whether a secret was configured.
        problem: Why sessions are not recorded; empty when they are.
    """

    settings: SessionSettings | None
    own: bool = False
    signs: bool = False
    problem: str = ""


def load() -> Setup:
    """Return the set-up; what is wrong with the environment is said in it, not raised."""
    try:
        signs = any(name.upper() == env_name("secret_key") for name in os.environ)
        made = {} if signs else {"secret_key": secrets.token_urlsafe(48)}
        settings = SessionSettings(_env_file=None, **made)  # type: ignore[arg-type]  # one setting, by name
    except SessionError as error:
        return Setup(None, problem=str(error))
    try:
        return _placed(settings, signs)
    except SessionError as error:
        return Setup(settings, signs=signs, problem=str(error))


def _placed(settings: SessionSettings, signs: bool) -> Setup:
    """Put what would die with this process, and history that nobody keeps, into this user's own file."""
    scheme = scheme_of(settings.store)
    if scheme == "memory":
        url = places.own_store()
        return Setup(settings.replace(store=url, ledger=_unless_memory(settings.ledger)), own=True, signs=signs)
    if scheme not in SQL and _unless_memory(settings.ledger) is None:
        return Setup(settings.replace(ledger=places.own_store()), signs=signs)
    return Setup(settings, signs=signs)


def _unless_memory(url: str | None) -> str | None:
    return None if url is None or scheme_of(url) == "memory" else url


def around(setup: Setup) -> Around:
    """Return what a command finds: variables, the directory's session, settings, build."""
    settings = setup.settings
    labels = Said() if settings is None else _labels(settings)
    return Around(said_by(os.environ), kept_here(), labels, build_of(os.environ))


def _labels(settings: SessionSettings) -> Said:
    return Said(None, clean(settings.session_type), clean(settings.prompt_version), clean(settings.session_name))


def kept_here() -> Label | None:
    """Return the session that is kept for the working directory; None when there is none, or nowhere to look."""
    try:
        kept = places.kept_for(os.getcwd(), wall_ms())
    except (OSError, SessionError):
        return None
    return None if kept is None else kept.label


def new_id(type_: str) -> str:
    """Return the id of a session of *type_* that begins now."""
    return launched_id(type_, datetime.now(timezone.utc), os.urandom(ENTROPY_BYTES))


def launcher_words() -> tuple[str, ...]:
    """Return the words that run ``session-mw`` from anywhere, whatever lies in the working directory."""
    script = Path(sys.executable).with_name("session-mw")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-I", "-m", "session_mw")


def without_personal(said: Said, setup: Setup) -> Said:
    """Return *said* without e-mail addresses in its name, as everywhere else."""
    if setup.settings is None or said.name is None:
        return said
    hide: Callable[[str], str] = hider(setup.settings)
    return replace(said, name=hide(said.name))


def hider(settings: SessionSettings) -> Callable[[str], str]:
    """Return what takes personal data out of text."""
    from ..._engine.compiled import compile_policy

    return compile_policy(settings, lambda: None).rules.hide
