"""
What a session, a conversation, a turn and every step inside have in common: each is a ``with`` block, an ``async
with`` block, and a decorator for functions of four kinds (plain, async, generator, async generator).

Rule 1: what is opened in a context is closed in that context. Generators get a context of their own, a copy of the one
    they were called in, and every step of theirs runs in it: between two steps nothing of theirs is visible to whoever
    pulls them, and it does not matter who that is, or whether they are ever finished.
Rule 2: entering costs store operations at most where a session or a turn begins; the two worlds differ in who drives.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from .._core.scope import SessionScope, current_scope
from ..context.steps import Steps, Within

H = TypeVar("H")
F = TypeVar("F", bound=Callable[..., Any])


class Block(Generic[H]):
    """
    Base of all blocks. A block object can be entered again after it was left, not before; a decorated function makes
    one for each call.
    """

    def enter(self) -> H:
        """Open it, in the calling context."""
        raise NotImplementedError

    def leave(self, error: BaseException | None) -> None:
        """Close it, in the context it was opened in."""
        raise NotImplementedError

    async def enter_async(self) -> H:
        """Open it without blocking the event loop."""
        return self.enter()

    async def leave_async(self, error: BaseException | None) -> None:
        """Close it without blocking the event loop."""
        self.leave(error)

    def fresh(self, arguments: Callable[[], dict[str, Any]] | None = None) -> Block[H]:
        """
        Return an unopened block of the same kind.

        Args:
            arguments: What the decorated function is called with, by name, for those who want to know.
        """
        return copy.copy(self)

    def __enter__(self) -> H:
        return self.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(error)

    async def __aenter__(self) -> H:
        return await self.enter_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave_async(error)

    def answered(self, value: Any) -> None:
        """Learn what the decorated function returned."""

    def __call__(self, function: F) -> F:
        """Run each call of *function* inside a block of its own."""
        return decorated(function, self)


def check_unopened(block: Block[Any], opened: object) -> None:
    """
    Refuse to open a block that is open.

    Raises:
        RuntimeError: Two tasks or threads would close each other's.
    """
    if opened:
        raise RuntimeError(
            f"cannot enter this {type(block).__name__}: it is open already. Make one for each `with`; a decorated "
            "function makes its own."
        )


def decorated(function: F, block: Block[Any]) -> F:
    """Return *function* with each call inside a fresh copy of *block*."""
    if inspect.isasyncgenfunction(function):
        return cast(F, _async_generator(function, block))
    if inspect.isgeneratorfunction(function):
        return cast(F, _generator(function, block))
    if inspect.iscoroutinefunction(function):
        return cast(F, _coroutine(function, block))
    return cast(F, _plain(function, block))


def _named(function: Callable[..., Any], args: Any, kwargs: Any) -> Callable[[], dict[str, Any]]:
    def arguments() -> dict[str, Any]:
        try:
            bound = inspect.signature(function).bind(*args, **kwargs).arguments
        except (TypeError, ValueError):  # a wrong call says so itself; some builtins have no signature
            return {}
        return {name: value for name, value in bound.items() if name not in ("self", "cls")}

    return arguments


def _plain(function: Callable[..., Any], block: Block[Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with (mine := block.fresh(_named(function, args, kwargs))):
            value = function(*args, **kwargs)
            mine.answered(value)
            return value

    return run


def _coroutine(function: Callable[..., Any], block: Block[Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        async with (mine := block.fresh(_named(function, args, kwargs))):
            value = await function(*args, **kwargs)
            mine.answered(value)
            return value

    return run


def _generator(function: Callable[..., Any], block: Block[Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        context, mine = contextvars.copy_context(), block.fresh(_named(function, args, kwargs))
        generator = context.run(function, *args, **kwargs)
        context.run(mine.enter)
        error: BaseException | None = None
        try:
            return (yield from Steps(context, generator))
        except BaseException as raised:
            error = raised
            raise
        finally:
            context.run(mine.leave, error)

    return run


def _async_generator(function: Callable[..., Any], block: Block[Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        context, mine = contextvars.copy_context(), block.fresh(_named(function, args, kwargs))
        generator = context.run(function, *args, **kwargs)
        await Within(context, mine.enter_async())
        error: BaseException | None = None
        try:
            step = generator.asend(None)
            while True:
                try:
                    value = await Within(context, step)
                except StopAsyncIteration:
                    return
                try:
                    sent = yield value
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    step = generator.athrow(thrown)
                else:
                    step = generator.asend(sent)
        except BaseException as raised:
            error = raised
            raise
        finally:
            await Within(context, generator.aclose())
            await Within(context, mine.leave_async(error))

    return run


class Placed:
    """
    A scope and an OpenTelemetry context made current, until ``leave``.

    Args:
        scope: None hides the session that is current.
        context: None leaves OpenTelemetry's as it is.
    """

    __slots__ = ("_context_token", "_scope", "_scope_token", "_task", "_thread")

    def __init__(self, scope: SessionScope | None, context: Context | None) -> None:
        self._scope = scope
        self._thread, task = _who_is_here()
        self._task = None if task is None else weakref.ref(task)
        self._scope_token = current_scope.set(scope)
        self._context_token = None if context is None else otel_context.attach(context)

    def leave(self) -> None:
        """
        Make current what was before.

        In another context (the end of an async generator that was left half-way) that cannot be done: then whoever
        opened it undoes it, when the session is asked for there. Tasks that were started inside keep their session.
        """
        try:
            current_scope.reset(self._scope_token)
        except ValueError:
            if self._scope is not None and self._around is not self._scope:
                self._scope.stray = self
            return
        if self._context_token is not None:
            otel_context.detach(self._context_token)

    def undo(self) -> SessionScope | None:
        """Return what is current here without it, and see to it that it is."""
        thread, task = _who_is_here()
        if thread != self._thread or task is not (None if self._task is None else self._task()):
            return self._scope
        around = self._around
        if current_scope.get() is self._scope:
            current_scope.set(around)
            if self._context_token is not None:
                before = self._context_token.old_value
                otel_context.attach(before if isinstance(before, Context) else Context())
        return around if around is None or around.stray is None else around.stray.undo()

    @property
    def _around(self) -> SessionScope | None:
        before = self._scope_token.old_value
        return before if isinstance(before, SessionScope) else None


def _who_is_here() -> tuple[int, asyncio.Task[Any] | None]:
    """Return the thread that runs, and its task if it has one."""
    loop = asyncio._get_running_loop()
    return threading.get_ident(), None if loop is None else asyncio.current_task(loop)
