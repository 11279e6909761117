"""
What time it is in an SQLite file: the machine's processes agree about it, whatever its wall clock is set to meanwhile.

The file says how far the time is ahead of the machine's monotonic clock, and in which boot. Whoever finds another
boot's (the machine was started anew) or none sets it by the wall clock. While no session lives it follows the wall.
Where the system tells no boot (not Linux), each process has set its own: they agree unless the wall clock was set
between their starts.
"""

from __future__ import annotations

import sqlite3

from .._core.store_clock import StoreClock
from .._sqlite import unwritable, writing
from . import _live_sql as sql


def agree(connection: sqlite3.Connection, clock: StoreClock) -> None:
    """Take the time that the file tells; where it tells none, write down ours."""
    if clock.boot() is None or _take(connection, clock):
        return
    try:
        with writing(connection):
            if not _take(connection, clock):  # nobody has written meanwhile
                _write(connection, clock)
    except sqlite3.OperationalError as error:
        if not unwritable(error):  # a file that may only be read: nothing begins there, and nothing ends
            raise


def follow(connection: sqlite3.Connection, clock: StoreClock) -> None:
    """Set the time by the wall clock, if there is no session that could end by it."""
    with writing(connection):
        if connection.execute(sql.ANY_SESSION).fetchall()[0][0] == 0:
            clock.set()
            if clock.boot() is not None:
                _write(connection, clock)


def now(connection: sqlite3.Connection, clock: StoreClock) -> int:
    """Return the time for what must not be decided by another: another process may have set it a moment ago."""
    if clock.boot() is not None:
        _take(connection, clock)
    return clock()


def _take(connection: sqlite3.Connection, clock: StoreClock) -> bool:
    found = dict(connection.execute(sql.READ_CLOCK).fetchall())
    return found.get("clock_boot") == clock.boot() and clock.agree(found["clock_ahead_ns"])


def _write(connection: sqlite3.Connection, clock: StoreClock) -> None:
    connection.executemany(sql.SET_CLOCK, [("clock_boot", clock.boot()), ("clock_ahead_ns", clock.ahead_ns)])
