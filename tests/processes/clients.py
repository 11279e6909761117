"""Clients that go on talking while servers come and go, and know exactly what they were told."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.patience import PATIENCE

TURNS = 12  # of a session, before a client begins another


@dataclass
class Talk:
    """
    One session, as its client sees it.

    Attributes:
        ids: Every session id that it was told: one, if nothing went wrong.
        turns: The numbers of the turns that were answered, in order; None for one that nobody counted.
        unanswered: Requests that were sent, and never answered.
    """

    ids: list[str] = field(default_factory=list)
    turns: list[int | None] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    cookie: str = ""


class Client:
    """
    Holds one session after another, each request over a connection of its own.

    Args:
        port: On loopback.
        name: Begins the ids of its requests.
    """

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name
        self._sent = 0
        self.refused = 0  # nobody listened: nothing was sent
        self.strange: list[str] = []  # answers that are none of the application's
        self.pids: list[int] = []
        self.threads: list[list[str]] = []
        self.talks: list[Talk] = []

    def talk(self, over: threading.Event) -> None:
        """Hold sessions until *over*, and the present one to its end."""
        while not over.is_set():
            talk = Talk()
            self.talks.append(talk)
            while len(talk.turns) < TURNS:
                if not self.ask(talk):
                    time.sleep(0.02)

    def ask(self, talk: Talk) -> bool:
        """Send one request; False when it was not answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20 * PATIENCE)
        try:
            connection.connect()
        except OSError:
            self.refused += 1
            return False
        self._sent += 1
        request_id = f"{self._name}-{self._sent}"
        headers = {"X-Request": request_id, "Connection": "close", "Content-Length": "0"}
        if talk.cookie:
            headers["Cookie"] = talk.cookie
        try:
            connection.request("POST", "/chat", headers=headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            talk.unanswered.append(request_id)
            return False
        finally:
            connection.close()
        return self._hear(talk, response, body)

    def _hear(self, talk: Talk, response: http.client.HTTPResponse, body: bytes) -> bool:
        if response.status != 200:
            self.strange.append(f"{response.status} {body[:200]!r}")
            return False
        said: dict[str, Any] = json.loads(body)
        talk.cookie = (response.getheader("Set-Cookie") or talk.cookie).split(";")[0]
        if said["id"] not in talk.ids:
            talk.ids.append(said["id"])
        talk.turns.append(said["turn"])
        self.threads.append(said["threads"])
        self.pids.append(said["pid"])  # last: who counts answers counts these
        return True


class Crowd:
    """
    Several clients at once, in threads, for a ``with`` block.

    Args:
        port: On loopback.
        count: How many.
    """

    def __init__(self, port: int, count: int) -> None:
        self.clients = [Client(port, f"c{number}") for number in range(count)]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=c.talk, args=(self._over,), daemon=True) for c in self.clients]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    @property
    def answers(self) -> int:
        """How many requests were answered so far."""
        return sum(len(client.pids) for client in self.clients)

    @property
    def talks(self) -> list[Talk]:
        """All sessions."""
        return [talk for client in self.clients for talk in client.talks]

    def hear(self, more: int, seconds: float = 30) -> set[int]:
        """Wait for so many *more* answers, and return which processes gave them."""
        before = [len(client.pids) for client in self.clients]
        count, limit = self.answers + more, time.monotonic() + seconds * PATIENCE
        while self.answers < count:
            assert time.monotonic() < limit, f"{count - self.answers} answers are missing; {self.strange}"
            time.sleep(0.01)
        return {pid for client, n in zip(self.clients, before, strict=True) for pid in client.pids[n:]}

    @property
    def strange(self) -> list[str]:
        """Answers that are none of the application's."""
        return [text for client in self.clients for text in client.strange]

    def finish(self, seconds: float = 30) -> None:
        """Let every client end the session that it holds."""
        self._over.set()
        for thread in self._threads:
            thread.join(seconds * PATIENCE)
            assert not thread.is_alive(), f"a client waits for ever; {self.strange}"
