"""
SQLite files that several threads and processes share.

What goes wrong with SQLite under a web server, and what is done about it here:

* A connection must not cross a fork, and a child that opens the file anew while its parent's connections were open is
  not safe either (SQLite keeps its locks per process and inode): https://sqlite.org/howtocorrupt.html 2.6. So
  connections are opened on first use, and those that rest are closed before every fork.
* A locked database makes SQLite sleep, up to the whole timeout, wherever it was called. Here it sleeps 4 ms at most;
  the rest of the time budget is spent in short, jittered sleeps of our own, and an event loop can go elsewhere.
* The connection whose commit fills the log pays for the checkpoint: up to 60 ms of fsync. Requests leave that to the
  background, which commits all the time anyway.
* A file that is no database stays one. It is moved aside and a new one begun: live sessions go on from their tokens.

``ledger`` and ``stores`` share this; each brings its own tables.
"""

from __future__ import annotations

from .connections import WouldWait
from .database import REQUEST_MS, Database, unwritable, writing

__all__ = ["REQUEST_MS", "Database", "WouldWait", "unwritable", "writing"]
