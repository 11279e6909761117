"""Our own I/O (store, history, export) makes no spans."""

from __future__ import annotations

from contextvars import Token
from functools import lru_cache

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.instrumentation.utils import suppress_instrumentation


class suppressed:
    """
    Suppress instrumentation inside a ``with`` block.

    The same marks as ``opentelemetry.instrumentation.utils.suppress_instrumentation``, set at a fifth of its price:
    a turn does this for its store operation.
    """

    __slots__ = ("_token",)

    _token: Token[Context]

    def __enter__(self) -> None:
        self._token = attach(Context({**get_current(), **_marks()}))

    def __exit__(self, *_: object) -> None:
        detach(self._token)


@lru_cache(maxsize=1)
def _marks() -> dict[str, object]:
    """Learn the marks from the library itself: their names are private and have changed before."""
    token = attach(Context())
    try:
        with suppress_instrumentation():
            return dict(get_current())
    finally:
        detach(token)
