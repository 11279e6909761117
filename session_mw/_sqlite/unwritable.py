"""
Reading a file beside which nothing can be written: on a read-only disk, in somebody else's directory, in an archive.

A file in WAL mode needs two more beside it, also to be read, so SQLite refuses. ``immutable`` reads it as it lies
there, without a look at them or at locks: right as long as nobody changes it. So it is the last resort, and said.

Source:
    https://sqlite.org/wal.html#read_only_databases, https://sqlite.org/uri.html#uriimmutable
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from urllib.parse import quote

logger = logging.getLogger("session_mw")

_CODES = frozenset({3, 8, 14})  # PERM, READONLY, CANTOPEN: https://sqlite.org/rescode.html
_TEXTS = ("readonly", "read-only", "unable to open", "access permission")  # before Python 3.11 there are no codes


class Unwritable:
    """
    Opens a file to read it, where it could not be opened as usual.

    Args:
        path: Of the file.
        prepare: Called with each connection.
    """

    def __init__(self, path: str, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._prepare = prepare
        self._told = False

    def __call__(self, error: sqlite3.Error) -> sqlite3.Connection:
        """
        Return a connection that reads.

        Raises:
            sqlite3.Error: *error*, when that is not what was wrong, or there is no such file.
        """
        if not _cannot_write(error) or not os.access(self._path, os.R_OK):
            raise error
        try:
            return self._open("mode=ro")
        except sqlite3.Error as refused:
            if not _cannot_write(refused):
                raise
        connection = self._open("mode=ro&immutable=1")
        self._tell()
        return connection

    def _open(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(self._path)}?{mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        missing = "What its -wal file holds is missing. " if _size(f"{self._path}-wal") else ""
        text = "%r is read as it is: nothing can be written beside it. %sIf anybody writes to it, this is wrong."
        logger.warning(text, self._path, missing)


def _cannot_write(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF in _CODES if isinstance(code, int) else any(text in str(error) for text in _TEXTS)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
