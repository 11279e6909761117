"""Marks on handlers: a turn, or none, whatever the rule says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])
TURN_MARK = "__session_mw_turn__"


@overload
def turn_endpoint(mark: F, /) -> F: ...


@overload
def turn_endpoint(mark: bool = True) -> Callable[[F], F]: ...


def turn_endpoint(mark: F | bool = True) -> Any:
    """
    Mark a handler as a turn, or not, whatever the rule says.

    Example: ``@turn_endpoint`` on a GET handler that answers a question, ``@turn_endpoint(False)`` on a POST handler
    that only saves a draft. Works where the framework's routes can be looked up before the handler runs: FastAPI,
    Starlette, Flask, Django. Put it nearest to the function.
    """
    if callable(mark):
        return _mark(mark, True)
    return functools.partial(_mark, value=mark)


in_use = False


def _mark(function: F, value: bool) -> F:
    global in_use
    in_use = True
    setattr(function, TURN_MARK, value)
    return function


def mark_of(endpoint: object) -> bool | None:
    """Return the mark of a handler, None when it has none."""
    mark = getattr(endpoint, TURN_MARK, None)
    return mark if isinstance(mark, bool) else None
