"""The five types of ASGI 3 (https://asgi.readthedocs.io), so that no framework is needed for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]  # each framework types its own in another way

KEY = "session_mw"  # ours in the connection scope; "session" belongs to the frameworks
