"""Clients whose sessions end soon, and who know exactly what they were told."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass

from tests.patience import PATIENCE

IDLE = 0.4  # seconds after which a session ends
USERS = 12


@dataclass
class Asked:
    """
    One request, as its client sees it.

    Attributes:
        request_id: Names it in the application's notes.
        presented: The session whose token it carried; None for a first one.
        session_id: What the answer named; None when there was none.
        turn: Number in the answer; None when nobody counted it, or there was no answer.
    """

    request_id: str
    presented: str | None
    session_id: str | None = None
    turn: int | None = None


class Talker(threading.Thread):
    """
    Holds one short session after another, each request over a connection of its own; in a thread.

    Args:
        port: On loopback.
        name: Begins the ids of its requests.
        over: When it stops, after the session that it holds.
    """

    def __init__(self, port: int, name: str, over: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._port, self._over = port, over
        self._random = random.Random(name)
        self._cookie, self._session_id = "", None  # type: str, str | None
        self.asked: list[Asked] = []
        self.strange: list[str] = []  # answers that are none of the application's
        self.pids: set[int] = set()

    def run(self) -> None:
        """Talk."""
        while not self._over.is_set():
            self._talk()

    def _talk(self) -> None:
        self._cookie, self._session_id = "", None
        dice = self._random
        user = f"user-{dice.randrange(USERS)}" if dice.random() < 0.7 else ""
        for _ in range(dice.randint(1, 6)):
            self._ask({"X-User": user} if user else {})
            # Some come back just when their session ends.
            late = dice.random() < 0.1
            time.sleep(IDLE * dice.uniform(0.9, 1.2) if late else dice.uniform(0, 0.03))
        if dice.random() < 0.1:
            self._ask({"X-Over": "1"} | ({"X-User": user} if user else {}))

    def _ask(self, more: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30 * PATIENCE)
        try:
            connection.connect()
        except OSError:  # nobody listens: nothing was sent
            return
        asked = Asked(f"{self.name}-{len(self.asked)}", self._session_id)
        self.asked.append(asked)
        headers = {"X-Request": asked.request_id, "Connection": "close", "Content-Length": "0", **more}
        if self._cookie:
            headers["Cookie"] = self._cookie
        try:
            connection.request("POST", "/chat", headers=headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
        if response.status != 200:
            self.strange.append(f"{response.status} {body[:200]!r}")
            return
        self._hear(asked, response, json.loads(body))

    def _hear(self, asked: Asked, response: http.client.HTTPResponse, said: dict[str, object]) -> None:
        self._cookie = (response.getheader("Set-Cookie") or self._cookie).split(";")[0]
        asked.session_id, asked.turn = said["id"], said["turn"]  # type: ignore[assignment]
        self._session_id = asked.session_id
        self.pids.add(said["pid"])  # type: ignore[arg-type]
