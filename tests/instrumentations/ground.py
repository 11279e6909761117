"""What a case is given to work with."""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

OPENAI_MODEL = "gpt-5-mini"
ANTHROPIC_MODEL = "claude-sonnet-5"
EMBEDDING_MODEL = "text-embedding-3-small"
QUESTION = "When are the lamps lit?"
KEY = "no-key-is-needed-here"


@dataclass
class Ground:
    """
    Where the model is, and a list of the tools that ran.

    Attributes:
        url: The model server's, with the name of this case's book.
        executed: Tools that the application ran, in order.
        later: What the application goes on doing when the answer is out.
    """

    url: str
    executed: list[str] = field(default_factory=list)
    later: list[Coroutine[Any, Any, None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def openai_url(self) -> str:
        """What an OpenAI client takes for its base URL."""
        return self.url + "/v1"

    def look_up(self, place: str) -> str:
        """Run the tool ``look_up``: what is known of a place."""
        with self._lock:
            self.executed.append("look_up")
        return f"{place}: dusk is at six"
