"""Stores by URL."""

from __future__ import annotations

from collections.abc import Callable

from .._core.ops import AsyncSessionStore, SessionStore
from .._core.store_clock import StoreClock
from .._settings.errors import BadValue
from .._settings.redis_url import SCHEMES as REDIS_SCHEMES
from .._settings.sqlite_url import read_sqlite_url
from .._sqlite import REQUEST_MS
from ..exceptions import SettingsError
from .direct import DirectStore
from .memory import MemoryStore
from .sqlite import AsyncSqliteStore, SqliteStore

FILES = "sqlite:///sessions.db (relative) or sqlite:////var/lib/app/sessions.db (absolute)"
SHAPES = (
    f"memory://, {FILES}, postgresql://user@host/name, redis://host:6379/0 (rediss:// with TLS) "
    "or redis+cluster://host:7000"
)


def open_store(url: str, *, clock: Callable[[], int] | None = None) -> tuple[SessionStore, AsyncSessionStore]:
    """
    Return the two faces of the store that *url* names. Nothing is opened before the first use.

    Args:
        url: ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute/path.db`` (``?timeout=``,
            seconds that a request may wait for other writers), ``postgresql://...``,
            ``redis://host:6379/0``, ``rediss://`` or ``redis+cluster://host:7000,other:7000``.
        clock: Returns milliseconds since the epoch, for tests; by default this machine's, with a server the server's.
            A ``StoreClock`` is a worker's: a server decides by its own all the same.

    Raises:
        SettingsError: The URL names no store that this release has.
        MissingDependency: The store's driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    theirs = None if isinstance(clock, StoreClock) else clock
    if separator and scheme == "memory" and rest == "":
        memory = MemoryStore(clock)
        return memory, DirectStore(memory)
    if separator and scheme == "sqlite":
        sqlite = _sqlite(url, clock)
        return sqlite, AsyncSqliteStore(sqlite)
    if separator and scheme == "postgresql":
        from .postgres import AsyncPostgresStore, PostgresStore  # needs psycopg

        postgres = PostgresStore(url, theirs)
        return postgres, AsyncPostgresStore(postgres)
    if separator and scheme in REDIS_SCHEMES:
        from .redis import AsyncRedisStore, RedisStore  # its driver is optional

        shared = RedisStore(url, theirs)
        return shared, AsyncRedisStore(shared)
    hint = f"Write {SHAPES}."
    raise SettingsError(f"cannot use store: found {scheme!r}. {hint}", name="store", found=scheme, hint=hint)


def _sqlite(url: str, clock: Callable[[], int] | None) -> SqliteStore:
    """Return the store in the file that *url* names."""
    try:
        path, seconds = read_sqlite_url(url)
    except BadValue as error:
        hint = f"Write {SHAPES}."
        text = f"cannot use store: found {error.found or 'no file'} in {url!r}. {hint}"
        raise SettingsError(text, name="store", found=url, hint=hint) from error
    return SqliteStore(path, clock, busy_timeout_ms=REQUEST_MS if seconds is None else max(1, round(seconds * 1000)))
