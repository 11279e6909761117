"""
arq: the session of whoever enqueues a job goes on in the worker that runs it.

    pool = instrument_pool(await create_pool(...))       # where jobs are enqueued

    @instrument_worker                                   # where they run
    class WorkerSettings: ...

An entry beside a job's arguments carries it: a worker that knows nothing of us does not see it, and a job's function
never does. The broker is not trusted: entries are signed, and a worker believes them when they verify.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from .._hierarchy.carried import FIELDS, Carried, carrier
from ..exceptions import MissingDependency
from ..telemetry.notices import once

try:
    from arq import ArqRedis
except ImportError as error:
    raise MissingDependency("session_mw.integrations.arq", "arq", "arq") from error

logger = logging.getLogger("session_mw")

_KEY = "session_mw"
_JOB, _RESULT = "f", "s"  # keys of arq's own: the function's name; whether it succeeded, in results only
# What came with the job that this task of the worker is about to run.
_received: ContextVar[Mapping[str, str] | None] = ContextVar("session_mw_arq_received", default=None)

_Settings = TypeVar("_Settings")
_Hook = Callable[[dict[Any, Any]], Any]


def instrument_pool(pool: ArqRedis) -> ArqRedis:
    """
    Carry the current session along with every job that *pool* enqueues.

    Args:
        pool: Keeps its serializer (pickle, where it has none). A second time changes nothing.

    Returns:
        The same pool.
    """
    pool.job_serializer = _writing(pool.job_serializer)
    return pool


def instrument_worker(settings: _Settings | None = None, *, trusted: bool = False) -> Any:
    """
    Let the jobs of a worker continue the sessions of whoever enqueued them; a decorator.

    Spans and log records of a job carry session, user, conversation and turn. The turn is the sender's: none is
    counted. Tokens used by the job are added to the session, through a store that both share. Jobs that are retried,
    or enqueue others through ``ctx["redis"]``, hand it on.

    Args:
        settings: Class or mapping of a worker's settings; serializers and hooks in it go on working.
        trusted: Whether to believe jobs without a signature. By default ``baggage_key`` (or ``secret_key``) has to be
            the sender's, and the job younger than ``absolute_timeout``.

    Returns:
        The same *settings*.
    """
    if settings is None:
        return lambda given: instrument_worker(given, trusted=trusted)
    place = settings if isinstance(settings, dict) else _Attributes(settings)
    if not isinstance(place.get("job_deserializer"), _Reading):
        place["job_serializer"] = _writing(place.get("job_serializer"))
        place["job_deserializer"] = _Reading(place.get("job_deserializer"))
        place["on_job_start"] = _beginning(place.get("on_job_start"), trusted)
        place["on_job_end"] = _ending(place.get("on_job_end"))
    return settings


class _Attributes:
    """A class of settings, read and written as a mapping."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def get(self, name: str) -> Any:
        found = self._owner.__dict__.get(name)  # arq looks there too, and nowhere else
        return found.__func__ if isinstance(found, staticmethod) else found

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)


class _Writing:
    """Serializes as before, jobs with what carries the session."""

    def __init__(self, inner: Callable[[dict[str, Any]], bytes] | None) -> None:
        self._inner = inner or pickle.dumps

    def __call__(self, data: dict[str, Any]) -> bytes:
        if _JOB in data and _RESULT not in data:
            carried = carrier()
            if carried:
                data = {**data, _KEY: carried}
        return self._inner(data)


class _Reading:
    """Deserializes as before, and keeps what came with a job for its beginning."""

    def __init__(self, inner: Callable[[bytes], dict[str, Any]] | None) -> None:
        self._inner = inner or pickle.loads

    def __call__(self, raw: bytes) -> dict[str, Any]:
        data = self._inner(raw)
        _received.set(_fields(data))
        return data


def _writing(inner: Any) -> _Writing:
    return inner if isinstance(inner, _Writing) else _Writing(inner)


def _fields(data: Any) -> Mapping[str, str]:
    """Return what came along: strings by known names, whatever else was written there."""
    found = data.get(_KEY) if isinstance(data, dict) else None
    if not isinstance(found, Mapping):
        return {}
    return {field: found[field] for field in FIELDS if isinstance(found.get(field), str)}


def _beginning(hook: _Hook | None, trusted: bool) -> _Hook:
    async def on_job_start(ctx: dict[Any, Any]) -> None:
        try:
            block = Carried(_received.get() or {}, trusted=trusted)
            await block.enter_async()
            ctx[_KEY] = block
        except Exception as error:
            _failed("begin", error)
        if hook is not None:
            await hook(ctx)

    return on_job_start


def _ending(hook: _Hook | None) -> _Hook:
    async def on_job_end(ctx: dict[Any, Any]) -> None:
        try:
            if hook is not None:
                await hook(ctx)
        finally:
            await _leave(ctx)

    return on_job_end


async def _leave(ctx: dict[Any, Any]) -> None:
    try:
        block = ctx.pop(_KEY, None)
        if isinstance(block, Carried):
            await block.leave_async(None)
    except Exception as error:
        _failed("end", error)


def _failed(what: str, error: Exception) -> None:
    kind = type(error).__name__
    once(
        f"arq:{what}:{kind}",
        logger.error,
        "cannot %s the session of a job: %s: %s. It runs without.",
        what,
        kind,
        error,
    )
