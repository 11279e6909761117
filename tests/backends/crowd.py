"""Users of the chat: who comes, what they say, and what they heard. The same seed, the same users."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field

import httpx

SEATS = 8  # at a time
DITHERS = 1.0  # seconds from the last answer to logging out, well under the idle timeout
FAILING = "[500] why?"  # the model server fails at that


@dataclass
class Visit:
    """
    One sitting of one user.

    Attributes:
        user: Who.
        kind: ``session.type``.
        version: ``session.prompt_version``.
        name: ``session.name``; None for none.
        says: The messages, in order; each is a turn.
        page: Whether the page is loaded first.
        logs_out: Whether the user says that it is over; all others idle out.
        session: Its id, once known.
        answers: What was answered, in order; None for an error.
    """

    user: str
    kind: str
    version: str
    name: str | None
    says: list[str]
    page: bool
    logs_out: bool
    session: str = ""
    answers: list[str | None] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many turns fail."""
        return self.says.count(FAILING)


def visits(number: int, turns: int, seed: int) -> list[Visit]:
    """
    Plan visits.

    Args:
        number: Of visits, by a third as many users.
        turns: Of all visits together; each has at least one.
        seed: Of the random generator.
    """
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, turns), number - 1))
    planned = []
    for at, (left, right) in enumerate(zip([0, *cuts], [*cuts, turns], strict=True)):
        says = [f"question {at}-{one}: where are the lamps?" for one in range(right - left)]
        if len(says) > 2 and at % 6 == 0:
            says[1] = FAILING
        kind, version = ("code-review", "debugging")[at % 2], ("v1", "v2")[at // 2 % 2]
        user, name = f"user-{at % (number // 3)}", "async-refactor" if at % 4 == 0 else None
        planned.append(Visit(user, kind, version, name, says, at % 3 == 0, at % 5 == 0))
    return planned


async def come_in(url: str, planned: list[Visit]) -> None:
    """Let all come, some at a time, each with cookies of their own."""
    seats = asyncio.Semaphore(SEATS)

    async def one(visit: Visit) -> None:
        async with (
            seats,
            httpx.AsyncClient(base_url=url, timeout=60, headers={"x-user": visit.user}) as browser,
        ):
            await _stay(visit, browser)

    await asyncio.gather(*map(one, planned))


async def _stay(visit: Visit, browser: httpx.AsyncClient) -> None:
    if visit.page:
        (await browser.get("/", headers={"sec-fetch-mode": "navigate", "accept": "text/html"})).raise_for_status()
    history: list[dict[str, str]] = []
    for at, message in enumerate(visit.says):
        body = {"message": message, "history": history[-4:], "kind": visit.kind, "version": visit.version}
        body |= {"name": visit.name}
        headers = {"x-conversation-id": f"thread-{visit.user}-{at // 4}"}
        streamed = at % 2 == 1 and message != FAILING
        answer = await browser.post("/chat/stream" if streamed else "/chat", json=body, headers=headers)
        assert answer.status_code == (502 if message == FAILING else 200), answer.text
        visit.answers.append(None if message == FAILING else _heard(visit, answer))
        if message != FAILING:
            history += [{"role": "user", "content": message}, {"role": "assistant", "content": visit.answers[-1] or ""}]
    if visit.logs_out:
        await asyncio.sleep(DITHERS)
        (await browser.post("/logout")).raise_for_status()


def _heard(visit: Visit, answer: httpx.Response) -> str:
    lines = answer.text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")] or [answer.json()]
    visit.session = events[-1]["session"]
    return "".join(event.get("answer", "") for event in events)
