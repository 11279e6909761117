"""Stores by URL."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from .._core.ops import AsyncSessionStore, SessionStore
from ..exceptions import SettingsError
from .direct import DirectStore
from .memory import MemoryStore
from .sqlite import AsyncSqliteStore, SqliteStore

SHAPES = (
    "memory://, sqlite:///sessions.db (relative), sqlite:////var/lib/app/sessions.db (absolute) "
    "or postgresql://user@host/name"
)
LATER = ("redis", "rediss", "redis+cluster")


def open_store(url: str, *, clock: Callable[[], int] | None = None) -> tuple[SessionStore, AsyncSessionStore]:
    """
    Return the two faces of the store that *url* names. Nothing is opened before the first use.

    Args:
        url: ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute/path.db`` or ``postgresql://...``.
        clock: Returns milliseconds since the epoch; the store's own clock by default.

    Raises:
        SettingsError: The URL names no store that this release has.
        MissingDependency: The store's driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "memory" and rest == "":
        memory = MemoryStore(clock)
        return memory, DirectStore(memory)
    if separator and scheme == "sqlite":
        sqlite = SqliteStore(_path(url, rest), clock)
        return sqlite, AsyncSqliteStore(sqlite)
    if separator and scheme == "postgresql":
        from .postgres import AsyncPostgresStore, PostgresStore  # needs psycopg

        postgres = PostgresStore(url, clock)
        return postgres, AsyncPostgresStore(postgres)
    if scheme in LATER:
        hint = f"This release has {SHAPES}; {scheme} comes next."
        raise SettingsError(
            f"cannot use store: found the scheme {scheme!r}. {hint}", name="store", found=scheme, hint=hint
        )
    hint = f"Write {SHAPES}."
    raise SettingsError(f"cannot use store: found {scheme!r}. {hint}", name="store", found=scheme, hint=hint)


def _path(url: str, rest: str) -> str:
    """Return the file that a ``sqlite://`` URL names: what follows the third slash."""
    path = unquote(rest[1:]) if rest.startswith("/") else ""
    if "?" in rest or path.strip("/") == "" or path.endswith("/") or path == ":memory:":
        hint = f"Write {SHAPES}."
        raise SettingsError(f"cannot use store: found no file in {url!r}. {hint}", name="store", found=url, hint=hint)
    return path
