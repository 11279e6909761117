"""Chat models that answer what they are told to, and say what they used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCall
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

MODEL = "parrot-1"


class Model(BaseChatModel):
    """
    Answers from a list, by how often it was asked in this thread of messages.

    Attributes:
        answers: Each a text, a tool's name (``"!search"``), or an exception to raise; the last is repeated.
        tokens: Input and output tokens of each answer.
    """

    answers: list[Any]
    tokens: tuple[int, int] = (100, 10)

    @property
    def _llm_type(self) -> str:
        return "parrot"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "zoo", "ls_model_name": MODEL, "ls_model_type": "chat"}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _answer(self, messages: list[Any]) -> Any:
        last = next((n for n, one in enumerate(reversed(messages)) if one.type == "human"), len(messages))
        asked = sum(one.type == "ai" for one in messages[len(messages) - last :])
        answer = self.answers[min(asked, len(self.answers) - 1)]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _message(self, answer: str) -> dict[str, Any]:
        calls = [ToolCall(name=name, args={"q": "lamp"}, id=f"call-{name}") for name in answer.split("!")[1:]]
        used = {"input_tokens": self.tokens[0], "output_tokens": self.tokens[1], "total_tokens": sum(self.tokens)}
        return {"content": "" if calls else answer, "tool_calls": calls, "usage_metadata": used}

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        message = AIMessage(**self._message(self._answer(messages)))
        return ChatResult(generations=[ChatGeneration(message=message)])


class Streaming(Model):
    """The same, a word at a time."""

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        said = self._message(self._answer(messages))
        for word in said["content"].split():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
        chunks = [{"name": c["name"], "args": '{"q": "lamp"}', "id": c["id"], "index": 0} for c in said["tool_calls"]]
        last = AIMessageChunk(content="", tool_call_chunks=chunks, usage_metadata=said["usage_metadata"])
        yield ChatGenerationChunk(message=last)
