"""A chat model without a key and without a network: it knows orders, and counts what it reads and says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult

NAME = "clerk-1"
ORDER = re.compile(r"\b\d{4}\b")


class Clerk(BaseChatModel):
    """Looks orders up, asks for refunds when told to, and repeats what the tools said."""

    @property
    def _llm_type(self) -> str:
        return "clerk"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        """Say which model this is, as every chat model of LangChain's does."""
        return {"ls_provider": "example", "ls_model_name": NAME, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Take the tools for granted."""
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        message = answer(messages)
        read, said = (sum(len(str(one.content).split()) for one in part) for part in (messages, [message]))
        message.usage_metadata = {"input_tokens": read, "output_tokens": said, "total_tokens": read + said}
        return ChatResult(generations=[ChatGeneration(message=message)])


def answer(messages: Sequence[BaseMessage]) -> AIMessage:
    """Return what the clerk says next: a tool to call, or words."""
    last = messages[-1]
    if last.type == "tool":
        return AIMessage(str(last.content))
    orders = ORDER.findall(" ".join(str(one.content) for one in messages if one.type == "human"))
    if not orders:
        return AIMessage("Tell me the number of your order, please.")
    wanted = "refund" if "back" in str(last.content) else "look_up_order"
    return AIMessage("", tool_calls=[ToolCall(name=wanted, args={"order": orders[-1]}, id=f"call-{len(messages)}")])
