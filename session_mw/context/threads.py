"""Identity for threads, executors and queues that do not carry the context."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .steps import Within

F = TypeVar("F", bound=Callable[..., Any])


def copy_context(function: F) -> F:
    """
    Return *function* bound to the present context, for threads and executors that do not carry it.

    Example: ``executor.submit(copy_context(work), item)``. Each call runs in a copy of its own. Of a coroutine function
    every step runs in it, whichever task awaits it: for queues whose consumers serve everybody.
    """
    context = contextvars.copy_context()
    if inspect.iscoroutinefunction(function):
        return cast(F, _coroutine(function, context))

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return context.copy().run(function, *args, **kwargs)

    return cast(F, run)


def _coroutine(function: Callable[..., Any], context: contextvars.Context) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        mine = context.copy()
        return await Within(mine, mine.run(function, *args, **kwargs))

    return run
