"""
What is done with a database, without doing it: a generator yields batches of statements and is sent their rows.

A batch is one round trip. Connections are in autocommit mode; a work that needs a transaction says BEGIN and COMMIT.
One that raises, or whose statement fails, in between has its connection closed: the server rolls back.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

R = TypeVar("R")

Rows = list[tuple[Any, ...]]
Statement = tuple[bytes, Sequence[Any] | Mapping[str, Any] | None]  # bytes: the text is constant, never data
Batch = Sequence[Statement]
Work = Generator[Batch, list[Rows], R]

BEGIN: Statement = (b"BEGIN", None)
COMMIT: Statement = (b"COMMIT", None)
# What it commits may be lost with the server's last moments (about 0.6 s), never torn: three times as fast.
RELAXED: Statement = (b"SELECT set_config('synchronous_commit', 'off', true)", None)


def plain(text: str | None) -> str | None:
    """Return *text* as PostgreSQL takes it: no NUL, no lone surrogates."""
    if text is None or text.isprintable():  # the usual case: neither is printable
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
