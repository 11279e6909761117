"""The types of WSGI (PEP 3333), so that no framework is needed for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

KEY = "session_mw"  # ours in the environ
