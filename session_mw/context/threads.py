"""Identity for threads and executors that do not carry the context."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def copy_context(function: F) -> F:
    """
    Return *function* bound to the present context, for threads and executors that do not carry it.

    Example: ``executor.submit(copy_context(work), item)``. Each call runs in a copy of its own.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return context.copy().run(function, *args, **kwargs)

    return cast(F, run)
