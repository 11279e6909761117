"""Generators and coroutines that run in a context of their own, whoever pulls or awaits them."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Generator
from typing import Any


class Steps(Generator[Any, Any, Any]):
    """A generator each of whose steps runs in a context of its own."""

    def __init__(self, context: contextvars.Context, generator: Generator[Any, Any, Any]) -> None:
        self._context = context
        self._generator = generator

    def send(self, value: Any) -> Any:
        return self._context.run(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        return self._context.run(self._generator.throw, *error)

    def close(self) -> None:
        self._context.run(self._generator.close)


class Within:
    """
    Awaits something, every step of it in a context of its own, in the same task: no task is made, so cancellation and
    timeouts of the caller reach it as they should.
    """

    __slots__ = ("_awaited", "_context")

    def __init__(self, context: contextvars.Context, awaited: Awaitable[Any]) -> None:
        self._context = context
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        return Steps(self._context, self._awaited.__await__())
