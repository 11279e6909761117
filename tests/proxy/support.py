"""What stands in LiteLLM's place in tests without it, and a client that asks it through the wrapper."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx

from session_mw import CallableSink, SessionSettings, current_session
from session_mw._core.scope import present
from session_mw._core.tokens import Claim, TokenCodec
from session_mw.integrations.litellm.proxy import Proxy
from session_mw.testing import FakeClock

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"
UUID = "0d5e7a1e-1111-4222-8333-123456789abc"
OPENCODE = "ses_6f1c2d3e4a5b6c7d8e9f"
MESSAGES = "/v1/messages"
HERE = ("127.0.0.1", 4711)
ELSEWHERE = ("203.0.113.9", 4711)


class Upstream:
    """
    An application in LiteLLM's place.

    Attributes:
        seen: Of each request its path, its headers, and its session's stamp and turn.
        tells: Called at the end of each request, as LiteLLM logs a call.
    """

    def __init__(self, tells: Callable[[], None] = lambda: None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.tells = tells

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        session = present()
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        stamp = {} if session is None else dict(session.stamp)
        handle = current_session()
        self.seen.append({"path": scope["path"], "headers": headers, "stamp": stamp, "type": handle and handle.type})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        self.tells()


def proxy(app: Any, clock: FakeClock | None = None, **overrides: Any) -> Proxy:
    """Return the wrapper around *app*: one secret, a memory store, nothing in the background."""
    options: dict[str, Any] = {"secret_key": SECRET, "sweep": "off", "event_sink": CallableSink(lambda _: None)}
    count = {"count_for_others": overrides.pop("count_for_others")} if "count_for_others" in overrides else {}
    settings = SessionSettings(_env_file=None, **{**options, **overrides})
    return Proxy(app, settings, clock=clock or FakeClock(), **count)


def ask(
    app: Any, *, path: str = MESSAGES, method: str = "POST", peer: tuple[str, int] = HERE, **headers: str
) -> httpx.Response:
    """Ask *app* once; underscores in names of headers are hyphens."""

    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=peer)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy", verify=False) as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    return asyncio.run(asking())


def token(session_id: str, now_ms: int, secret: str = SECRET, user: str | None = None) -> str:
    """Return a token as the launcher signs it, of a session that the proxy's store need not know."""
    codec = TokenCodec(secret.encode(), (), purpose="header", name="X-Session-Token")
    return codec.dumps(Claim(session_id, now_ms, now_ms, turns=1, user_id=user))


def said(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON of a response."""
    answer: dict[str, Any] = json.loads(response.content)
    return answer
