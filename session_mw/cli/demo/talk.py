"""The visitors: real HTTP, one cookie jar each, all at the same time."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from .errors import DemoError
from .script import Away, Login, Logout, Say, Sitting, Step, Visitor, sittings_of

PAUSE_SECONDS = 0.25  # nobody types faster
STAGGER_SECONDS = 0.1
AWAY_MARGIN_SECONDS = 0.5

# What a browser sends with a page load, and with what a page's script asks for. (W3C Fetch Metadata.)
PAGE_LOAD = {"Accept": "text/html", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
FETCH = {"Accept": "*/*", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}

# Each request on a connection of its own: the workers take turns, also within a session.
NEW_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)

Tell = Callable[[str, str], None]


@dataclass
class Seen:
    """
    What the application told a visitor of one sitting.

    Attributes:
        sitting: What the script says of it.
        conversation: The conversation's id, chosen by the client.
        session_id: As answered.
        user_id: As answered: a pseudonym. None while nobody is logged in.
    """

    sitting: Sitting
    conversation: str
    session_id: str | None = None
    user_id: str | None = None


class Browser:
    """
    One visitor's browser.

    Args:
        visitor: Who uses it.
        client: Keeps its cookies.
        idle_seconds: After so long without a visit a session ends.
        tell: Told what happens, by visitor.
    """

    def __init__(self, visitor: Visitor, client: httpx.AsyncClient, idle_seconds: float, tell: Tell) -> None:
        self._visitor = visitor
        self._client = client
        self._idle_seconds = idle_seconds
        self._tell = tell
        self._sittings = list(sittings_of(visitor))
        self._history: list[dict[str, str]] = []
        self.seen: list[Seen] = []

    async def play(self) -> list[Seen]:
        """Do what the script says, and return what was answered."""
        self._next_sitting(new_conversation())
        await self._get("/", PAGE_LOAD)
        for step in self._visitor.steps:
            await asyncio.sleep(PAUSE_SECONDS)
            await self._do(step)
        return self.seen

    async def _do(self, step: Step) -> None:
        if isinstance(step, Say):
            await self._say(step)
        elif isinstance(step, Login):
            await self._log_in(step)
        elif isinstance(step, Logout):
            await self._post("/logout", {})
            self._tell(self._visitor.name, "has logged out")
        elif isinstance(step, Away):
            self._tell(self._visitor.name, f"is away for more than {self._idle_seconds:.0f} seconds")
            await asyncio.sleep(self._idle_seconds + AWAY_MARGIN_SECONDS)
            self._next_sitting(self.seen[-1].conversation)  # the thread goes on; the session does not

    def _next_sitting(self, conversation: str) -> None:
        self.seen.append(Seen(self._sittings[len(self.seen)], conversation))

    async def _log_in(self, step: Login) -> None:
        self._tell(self._visitor.name, f"logs in as {step.user}")
        now = self.seen[-1]
        self._learn(await self._post("/login", {"user": step.user}))
        if now.sitting.login != step.user:
            self._history = []
            self._next_sitting(new_conversation())

    async def _say(self, step: Say) -> None:
        self._tell(self._visitor.name, f"“{step.text}”")
        body = {"message": step.text, "history": self._history}
        if step.stream:
            answer = await self._stream(body, step.leave_after)
        else:
            said = await self._post("/chat", body)
            answer = str(said["answer"])
            self._learn(said)
        self._history += [{"role": "user", "content": step.text}, {"role": "assistant", "content": answer}]
        if step.leave_after is None:
            self._learn(await self._get("/session", FETCH))

    async def _stream(self, body: dict[str, Any], leave_after: int | None) -> str:
        """Read an answer word by word; return what was read of it."""
        words: list[str] = []
        headers = {**FETCH, "Accept": "text/event-stream", "X-Conversation-ID": self.seen[-1].conversation}
        async with self._client.stream("POST", "/chat/stream", json=body, headers=headers) as response:
            self._expect(response)
            event = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "done":
                    self._learn(json.loads(line.removeprefix("data: ")))
                elif line.startswith("data: "):
                    words.append(json.loads(line.removeprefix("data: ")))
                    self._tell(self._visitor.name, f"hears “{''.join(words)}”")
                if leave_after is not None and len(words) >= leave_after:
                    self._tell(self._visitor.name, "is gone")
                    break
        return "".join(words)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {**FETCH, "X-Conversation-ID": self.seen[-1].conversation}
        response = await self._client.post(path, json=body, headers=headers)
        return dict(self._expect(response).json())

    async def _get(self, path: str, headers: dict[str, str]) -> dict[str, Any]:
        response = self._expect(await self._client.get(path, headers=headers))
        return dict(response.json()) if "json" in response.headers.get("content-type", "") else {}

    def _expect(self, response: httpx.Response) -> httpx.Response:
        if response.status_code != 200:
            asked = f"{response.request.method} {response.request.url.path}"
            raise DemoError(f"cannot go on with {self._visitor.name}: {asked} answered {response.status_code}.")
        return response

    def _learn(self, answer: dict[str, Any]) -> None:
        """Note what an answer says of the session."""
        now = self.seen[-1]
        now.session_id = answer.get("session_id") or now.session_id
        now.user_id = answer.get("user") or now.user_id


async def hold_conversations(url: str, visitors: Iterable[Visitor], idle_seconds: float, tell: Tell) -> list[Seen]:
    """
    Let all *visitors* talk to the application at *url*, and return what it told them.

    Raises:
        DemoError: If a request is answered with anything but success, or not at all.
    """

    async def one(visitor: Visitor, delay: float) -> list[Seen]:
        await asyncio.sleep(delay)
        headers = {"Accept-Language": "en-GB"}
        async with httpx.AsyncClient(
            base_url=url, headers=headers, limits=NEW_CONNECTIONS, timeout=20, trust_env=False
        ) as client:
            try:
                return await Browser(visitor, client, idle_seconds, tell).play()
            except httpx.HTTPError as error:
                raise DemoError(f"cannot go on with {visitor.name}: {type(error).__name__}: {error}.") from error

    talks = (one(visitor, index * STAGGER_SECONDS) for index, visitor in enumerate(visitors))
    return [seen for talk in await asyncio.gather(*talks) for seen in talk]


def new_conversation() -> str:
    """Return an id as a chat page makes one: long enough to be nobody else's, so that it is kept as it is."""
    return f"conversation-{secrets.token_hex(8)}"
