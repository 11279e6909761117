"""What clients send, checked and bounded once for all chats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

MAX_MESSAGE = 4_000  # characters
MAX_HISTORY = 40  # messages before the new one
MAX_CONVERSATION_ID = 200  # characters, as long as session-mw lets an id be

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_MESSAGE)]


class Message(BaseModel):
    """One earlier message of the conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["user", "assistant"]
    content: Text


class ChatRequest(BaseModel):
    """
    A new message, and the conversation so far.

    The client keeps the history and sends it along, so that any worker can answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: Text
    history: list[Message] = Field(default=[], max_length=MAX_HISTORY)

    def messages(self) -> list[dict[str, str]]:
        """List the conversation as the model takes it, the new message last."""
        earlier = [{"role": message.role, "content": message.content} for message in self.history]
        return [*earlier, {"role": "user", "content": self.message}]


class LoginRequest(BaseModel):
    """Who is there. A real application checks a password here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


def problems(error: ValidationError) -> list[str]:
    """
    Say what is wrong with a request, without repeating what was sent.

    Sent text may hold what JSON cannot carry back (NaN, lone surrogates), and an answer that fails to
    serialize would turn a client's mistake into a server error.
    """
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return [describe(item["loc"], item["msg"]) for item in found]


def describe(location: tuple[int | str, ...], message: str) -> str:
    """Write one problem as ``history.0.role: what is wrong``; names a client invented are left out."""
    known = {"body", "message", "history", "role", "content", "user"}
    path = ".".join(str(part) for part in location if isinstance(part, int) or part in known)
    return f"{path}: {message}" if path else message
