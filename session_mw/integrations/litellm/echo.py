"""
``GET .../session-mw/echo``: what of a session arrived here, for ``session-mw doctor``.

Only whoever brings a verified token, or comes from a trusted peer, is told. Everybody else learns that there is a
wrapper, and of what came why it is not believed; nothing of the proxy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..._core import names
from ..._core.admission import admit
from ...asgi.types import Receive, Scope, Send
from .naming import Namer, id_of

if TYPE_CHECKING:
    from ..._engine import Engine
    from ...asgi import SessionTrackingMiddleware

PATH: Final = "/session-mw/echo"


class Echo:
    """
    Answers what arrived.

    Args:
        engine: Of the middleware.
        namer: Names sessions as for any request.
        middleware: Reads requests.
        state: What is told of LiteLLM.
    """

    def __init__(
        self, engine: Engine, namer: Namer, middleware: SessionTrackingMiddleware, state: Callable[[], dict[str, Any]]
    ) -> None:
        self._engine = engine
        self._namer = namer
        self._middleware = middleware
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. No session is begun or extended, nothing is stored."""
        status, answer = self.answer(scope)
        body = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        """Return status and body."""
        engine = self._engine
        facts = self._middleware.read(scope)
        found = admit(facts, engine.policy, engine.clock())
        refused = sorted({event.reason for event in found.rejected})
        if found.claim is None and found.remote is None and engine.policy.peers.judge(facts) != "trusted":
            return 403, {"wrapper": "session-mw", "refused": refused}
        by = self._namer.name(facts, found)
        said = {} if found.said is None else {name: str(value) for name, value in found.said.items()}
        if found.remote is not None:
            said = {**{k: v for k, v in found.remote.items() if k in names.EVERYWHERE}, **said}
        return 200, {
            "wrapper": "session-mw",
            "refused": refused,
            "named_by": by,
            "session": {names.SESSION_ID: id_of(found), **said},
            "environment": {"session_id": self._namer.own_id, "labels": dict(self._namer.own_labels)},
            "store": engine.store.name,
            "litellm": self._state(),
        }
