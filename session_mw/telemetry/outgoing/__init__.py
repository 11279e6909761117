"""
Wrappers around the clients that send: HTTP (httpx, httpx2, requests, urllib3, aiohttp) and gRPC.

They say where each message goes, since who injects does not know: an unsampled span has no attributes, and ``requests``
passes no Host. They inject nothing themselves, except for the clients of ``session_mw.clients``.

Rule 1: no client library is imported here. What is imported already is wrapped at once, what comes later when it comes.
Rule 2: the host that a message really goes to has the last word: a header that was right for the host before (a
    redirect), or written by who believed a ``Host`` header, is put right.
Rule 3: other instrumentations come before us or after us, and go; both orders end the same (see ``patches``).
Rule 4: nothing here raises, and outside of a session nothing is looked at.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from wrapt import register_post_import_hook

from ..propagator import SessionBaggagePropagator
from . import grpc, http
from .hop import egress
from .patches import Patches, guarded

_HOOKS: dict[str, Callable[[Patches, Any], None]] = {
    "httpx": http.httpx,
    "httpx2": http.httpx,
    "requests.sessions": http.requests,
    "urllib3.connectionpool": http.urllib3,
    "aiohttp.client": http.aiohttp_session,
    "aiohttp.client_reqrep": http.aiohttp_request,
    "grpc._channel": grpc.channel,
    "grpc.aio._channel": grpc.aio_channel,
}

_lock = threading.RLock()
_patches = Patches()
_registered: list[str] = []  # import hooks cannot be taken back: they are set once, and look whether they are wanted


def install(propagator: SessionBaggagePropagator | None) -> None:
    """
    Wrap the clients. Any number of times.

    Args:
        propagator: Knows the policy, and how the entries look. None keeps the one that is known.
    """
    with _lock:
        egress.propagator = propagator or egress.propagator
        egress.instrumented = True
        _cover()


def remove() -> None:
    """Take the wrappers away, as far as ``session_mw.clients`` does not need them."""
    with _lock:
        egress.instrumented = False
        if not egress.carried:
            _patches.undo()


def carry(client: Any) -> None:
    """Inject into whatever *client* sends; see ``session_mw.clients``."""
    with _lock:
        egress.carried.add(client)
        _cover()


def let_go(client: Any) -> None:
    """Inject into nothing of *client* any more."""
    with _lock:
        egress.carried.discard(client)
        if not egress.wanted:
            _patches.undo()


def _cover() -> None:
    for name in _HOOKS:
        if name in _registered:
            if name in sys.modules:
                _arrived(sys.modules[name])
        else:
            _registered.append(name)
            register_post_import_hook(_arrived, name)


def _arrived(module: Any) -> None:
    """Wrap what has been imported."""
    with _lock:
        if egress.wanted:
            guarded(f"wrap {module.__name__}", lambda: _HOOKS[module.__name__](_patches, module))
