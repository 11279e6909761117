"""Random visitors of the agent's chat, whichever way they reach it, and what they saw; the same ones each time."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

WORDS = "lamp light harbour winter window table corner shade evening brass oak letter".split()


@dataclass(frozen=True, slots=True)
class Ask:
    """One message; who leaves has read so many events of the answer by then."""

    message: str
    leaves_after: int | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation of a visitor."""

    label: str
    asks: tuple[Ask, ...]


@dataclass(slots=True)
class Visitor:
    """
    Somebody with one browser and some conversations in it.

    Attributes:
        threads: Held at the same time, after the first answer.
        user: Who they log in as, None for nobody.
        answers: What they read to the end.
    """

    threads: tuple[Thread, ...]
    user: str | None
    answers: list[Answer] = field(default_factory=list)

    @property
    def asks(self) -> list[Ask]:
        return [ask for thread in self.threads for ask in thread.asks]

    @property
    def leaves(self) -> bool:
        return any(ask.leaves_after is not None for ask in self.asks)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to the end."""

    session_id: str
    turn_number: int
    text: str
    tools: tuple[str, ...]


class Browser(Protocol):
    """A cookie jar, and a way to the chat."""

    async def login(self, user: str) -> None: ...

    async def ask(self, label: str, ask: Ask, history: list[dict[str, str]]) -> str:
        """Return the event stream as far as it was read."""
        ...


def visitors(conversations: int, seed: int) -> list[Visitor]:
    """Make up visitors who hold so many conversations in all."""
    dice, found, left = random.Random(seed), [], conversations
    while left:
        count = min(left, dice.choice((1, 1, 1, 2, 3)))
        # Long enough to be taken for unique by itself, so it stays as it is on the wire.
        threads = tuple(
            Thread(f"conversation-of-visitor-{len(found):04}-{number}", tuple(asks(dice))) for number in range(count)
        )
        found.append(Visitor(threads, dice.choice((None, None, f"user-{dice.randrange(60)}"))))
        left -= count
    return found


def asks(dice: random.Random) -> Iterator[Ask]:
    """Make up what is said in one conversation."""
    for _ in range(dice.choice((1, 2, 3, 3, 4, 6))):
        yield Ask(message(dice), dice.randrange(1, 12) if dice.random() < 0.07 else None)
    if dice.random() < 0.4:
        yield Ask(dice.choice(("Thanks, bye!", "Thank you, that helps.")))


def message(dice: random.Random) -> str:
    """Make up a message: what it takes to answer differs."""
    order, other = dice.randrange(100, 9999), dice.randrange(100, 9999)
    small, few = dice.randrange(99), dice.randrange(9)
    return dice.choice(
        (
            f"Hello, I am visitor {small}",
            f"Where is order {order}?",
            f"Where are my orders {order} and {other}?",
            f"What is {small} * 40 + {few} * 90?",
            f"What is {small} / {few}?",
            f"Track orders {order} and {other}, and what is {small} * 40 - {few}?",
            f"My lamp from order {order} is broken",
            "I am disappointed: " + " ".join(dice.choices(WORDS, k=dice.randrange(5, 60))),
            f"How much is lamp {small}?",
            f"Tell me of the {dice.choice(WORDS)} and the {dice.choice(WORDS)}",
            "I want to speak to a person",
        )
    )


async def visit(visitor: Visitor, browser: Browser) -> None:
    """Say everything: the first message alone, since it begins the session; then all conversations at a time."""
    first, *others = visitor.threads
    history: list[dict[str, str]] = []
    await say(visitor, browser, first, 0, history)
    if visitor.user is not None:
        await browser.login(visitor.user)
    await asyncio.gather(
        converse(visitor, browser, first, history, 1), *(converse(visitor, browser, thread, [], 0) for thread in others)
    )


async def converse(
    visitor: Visitor, browser: Browser, thread: Thread, history: list[dict[str, str]], since: int
) -> None:
    for number in range(since, len(thread.asks)):
        await say(visitor, browser, thread, number, history)


async def say(visitor: Visitor, browser: Browser, thread: Thread, number: int, history: list[dict[str, str]]) -> None:
    """Say one thing; what was answered in whole goes into the history."""
    ask = thread.asks[number]
    answer = read(await browser.ask(thread.label, ask, history))
    history.append({"role": "user", "content": ask.message})
    if answer is not None:
        visitor.answers.append(answer)
        history.append({"role": "assistant", "content": answer.text})
    else:
        assert ask.leaves_after is not None, f"cut off: {ask}"


def read(stream: str) -> Answer | None:
    """Read an event stream; None when its last event is missing."""
    text, tools, done = "", [], None
    for event in stream.split("\n\n")[:-1]:
        kind, data = parsed(event)
        if kind == "done":
            done = data
        elif kind == "tool":
            tools.append(data["name"])
        else:
            text += data
    return done and Answer(done["session_id"], done["turn_number"], text, tuple(tools))


def parsed(event: str) -> tuple[str, Any]:
    fields: Mapping[str, str] = dict(line.split(": ", 1) for line in event.split("\n"))
    return fields.get("event", "word"), json.loads(fields["data"])
