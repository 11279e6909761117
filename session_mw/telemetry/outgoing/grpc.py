"""
The wrappers around gRPC's channels. gRPC follows no redirects; a call has metadata of its own.

Interceptors of others run before a call, and learn nothing of its target. Synchronous ones inject into metadata that we
see afterwards; asynchronous ones run in a task that is started from inside ours.
"""

from __future__ import annotations

from typing import Any

from ..propagator import HEADER
from .hop import Leaving, corrected, idle, text_of, told, was_injected
from .patches import Function, Patches, guarded

_SYNC = {
    "_UnaryUnaryMultiCallable": ("__call__", "with_call", "future"),
    "_UnaryStreamMultiCallable": ("__call__",),
    "_SingleThreadedUnaryStreamMultiCallable": ("__call__",),
    "_StreamUnaryMultiCallable": ("__call__", "with_call", "future"),
    "_StreamStreamMultiCallable": ("__call__",),
}
_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_ASYNC = (
    "UnaryUnaryMultiCallable",
    "UnaryStreamMultiCallable",
    "StreamUnaryMultiCallable",
    "StreamStreamMultiCallable",
)
_TARGET = "_session_mw_target"


def target_host(target: object) -> str | None:
    """
    Return the host of a channel's target; None when it names several, or something else.

    A socket in the file system leads to this machine.

    Source: gRPC Name Resolution, https://github.com/grpc/grpc/blob/master/doc/naming.md.
    """
    if not isinstance(target, (str, bytes)):
        return None
    text = target.decode("utf-8", "replace") if isinstance(target, bytes) else target
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return "localhost"
    if colon and scheme in ("dns", "ipv4", "ipv6"):
        text = rest.rpartition("/")[2] if rest.startswith("//") else rest
    return None if not text or "," in text or "/" in text else text


def channel(patches: Patches, module: Any) -> None:
    """Cover the synchronous calls."""
    for kind, names in _SYNC.items():
        for name in names:
            patches.cover(getattr(module, kind, object), name, _call)


def _call(original: Function) -> Function:
    def call(self: Any, request: Any, timeout: Any = None, metadata: Any = None, *args: Any, **options: Any) -> Any:
        if idle():
            return original(self, request, timeout, metadata, *args, **options)
        with Leaving(told(lambda: target_host(self._target))) as to:
            new = guarded("prepare a message", lambda: _metadata(metadata, to))
            return original(self, request, timeout, metadata if new is None else new, *args, **options)

    return call


def _metadata(metadata: Any, to: Any) -> Any:
    """Return the metadata put right; None to leave it."""
    pairs = [tuple(pair) for pair in metadata or ()]
    to.asked = to.asked or was_injected(pairs)
    wanted = corrected(text_of([pair[1] for pair in pairs if pair[0] == HEADER]), to)
    if wanted is None:
        return None
    others = [pair for pair in pairs if pair[0] != HEADER]
    return (*others, (HEADER, wanted)) if wanted else tuple(others)


def aio_channel(patches: Patches, module: Any) -> None:
    """Cover the asynchronous calls. Channels that were made before are not known to us, and get nothing."""
    patches.cover(module.Channel, "__init__", _remember)
    for name in _KINDS:
        patches.cover(module.Channel, name, _hand_on)
    for name in _ASYNC:
        patches.cover(getattr(module, name, object), "__call__", _aio_call)


def _remember(original: Function) -> Function:
    def __init__(self: Any, target: Any, *args: Any, **options: Any) -> None:
        original(self, target, *args, **options)
        setattr(self, _TARGET, target)

    return __init__


def _hand_on(original: Function) -> Function:
    def make(self: Any, *args: Any, **options: Any) -> Any:
        made = original(self, *args, **options)
        guarded("remember a channel's target", lambda: setattr(made, _TARGET, getattr(self, _TARGET, None)))
        return made

    return make


def _aio_call(original: Function) -> Function:
    def call(self: Any, *args: Any, **options: Any) -> Any:
        target = getattr(self, _TARGET, None)
        if target is None or idle():
            return original(self, *args, **options)
        with Leaving(told(lambda: target_host(target))):
            return original(self, *args, **options)

    return call
