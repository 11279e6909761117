"""
The rows of the table: which instrumentation makes which calls, and what is expected to be counted.

The rule is one for all: what was counted is what stands in the server's books, each call once, however many spans told
of it. What departs from the rule stands here, case by case, with its reason: nothing else may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .accounts import Entry, used

# Whole micro-dollars a token, so that every sum is exact.
IN_MICROUSD = 3
OUT_MICROUSD = 15

Tokens = tuple["int | None", "int | None"]

NOT_ASKED = "the stream says what was used only when asked to"
LEFT = "the client left before the stream said what was used"
NO_SPAN = "no span is made for this call"
TWICE = "the tokens that a stream's first event names are in the sum a second time"

_UNTOLD_OPENAI = {
    "chat, streamed, usage not asked for": NOT_ASKED,
    "chat, streamed, client left": LEFT,
}
_UNTOLD_LANGCHAIN = {"OpenAI, streamed, usage not asked for": NOT_ASKED, "embeddings": NO_SPAN}

# The client makes spans of its own unless told not to. Rows that are to show an instrumentation alone tell it.
QUIET_CLIENT = {"ANTHROPIC_OPEN_TELEMETRY": "false"}
CLIENT = "com.anthropic.sdk.python"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """
    One process.

    Attributes:
        name: Shown in the table.
        packages: Distributions that make its spans.
        scopes: The tracers' names: each has to have made a span, or an instrumentation did nothing, silently.
        instrumentors: Functions of ``instrumentors`` to call.
        calls: The module that makes the calls.
        untold: Cases that no span tells the usage of, and why. Nothing may be counted then.
        twice: Cases with ``TWICE``: counted is what was reported, a little more than what was used.
        agents: Agent runs that spans tell of, by case; none elsewhere.
        tools: Whether spans tell of the tools that ran.
        env: Added to the process's environment.
    """

    name: str
    packages: tuple[str, ...]
    scopes: tuple[str, ...]
    instrumentors: tuple[str, ...]
    calls: str
    untold: Mapping[str, str] = field(default_factory=dict)
    twice: tuple[str, ...] = ()
    agents: Mapping[str, int] = field(default_factory=dict)
    tools: bool = False
    env: Mapping[str, str] = field(default_factory=dict)

    def expected(self, case: str, book: Iterable[Entry]) -> Tokens:
        """Return the input and output tokens that have to be counted for *case*; None is unknown."""
        if case in self.untold:
            return None, None
        entries = tuple(book)
        tokens_in, tokens_out = used(entries)
        if case in self.twice:
            tokens_out += sum(entry.announced for entry in entries)
        return tokens_in, tokens_out or None  # embeddings have no output, and nobody says that they had

    def streamed(self, case: str) -> bool:
        """Whether *case* reads its answers as they come."""
        return "stream" in case


def book(row: str, case: str) -> str:
    """Return the name of the server's book for one case of one row."""
    return re.sub(r"[^a-z0-9]+", "-", f"{row} {case}".lower())


_PYDANTIC_AGENTS = {
    "OpenAI": 1,
    "OpenAI, streamed": 1,
    "OpenAI responses": 1,
    "Anthropic": 1,
    "Anthropic, streamed": 1,
    "agent with a tool on OpenAI": 1,
    "agent with a tool on OpenAI, streamed": 1,
    "agent with a tool on Anthropic": 1,
    "agent with a tool on Anthropic, streamed": 1,
    "agent in an agent": 2,
    "five at once": 5,
    "two refused, one answered": 3,
}
_TRACELOOP_AGENTS = {
    "agent on OpenAI": 1,
    "agent on OpenAI, streamed": 1,
    "agent on Anthropic": 1,
    "agent on Anthropic, streamed": 1,
    "graph of two nodes": 1,
}
_STREAMED_MESSAGES = (
    "messages, streamed",
    "messages, streamed, sync",
    "messages, stream helper",
    "tools, streamed",
    "after the answer, streamed",
)

ROWS = (
    Row(
        "openinference-openai",
        ("openinference-instrumentation-openai",),
        ("openinference.instrumentation.openai",),
        ("openinference_openai",),
        "calls_openai",
        untold=_UNTOLD_OPENAI,
    ),
    Row(
        "openinference-anthropic",
        ("openinference-instrumentation-anthropic",),
        ("openinference.instrumentation.anthropic",),
        ("openinference_anthropic",),
        "calls_anthropic",
        env=QUIET_CLIENT,
    ),
    Row(
        "openinference-langchain",
        ("openinference-instrumentation-langchain",),
        ("openinference.instrumentation.langchain",),
        ("openinference_langchain",),
        "calls_langchain",
        untold=_UNTOLD_LANGCHAIN,
        tools=True,
        env=QUIET_CLIENT,
    ),
    Row(
        "openai-v2",
        ("opentelemetry-instrumentation-openai-v2",),
        ("opentelemetry.util.genai.handler", "opentelemetry.instrumentation.openai_v2"),
        ("otel_openai_v2",),
        "calls_openai",
        untold={**_UNTOLD_OPENAI, "responses": NO_SPAN, "responses, streamed": NO_SPAN},
    ),
    Row(
        "openai-v2, latest conventions",
        ("opentelemetry-instrumentation-openai-v2",),
        ("opentelemetry.util.genai.handler", "opentelemetry.instrumentation.openai_v2"),
        ("otel_openai_v2",),
        "calls_openai",
        untold={**_UNTOLD_OPENAI, "responses": NO_SPAN, "responses, streamed": NO_SPAN},
        env={"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"},
    ),
    Row(
        "genai-openai",
        ("opentelemetry-instrumentation-genai-openai",),
        ("opentelemetry.util.genai.handler",),
        ("otel_genai_openai",),
        "calls_openai",
        untold=_UNTOLD_OPENAI,
    ),
    Row(
        "traceloop openai",
        ("opentelemetry-instrumentation-openai",),
        ("opentelemetry.instrumentation.openai.v1",),
        ("traceloop_openai",),
        "calls_openai",
        untold=_UNTOLD_OPENAI,
    ),
    Row(
        "traceloop anthropic",
        ("opentelemetry-instrumentation-anthropic",),
        ("opentelemetry.instrumentation.anthropic",),
        ("traceloop_anthropic",),
        "calls_anthropic",
        twice=_STREAMED_MESSAGES,
        env=QUIET_CLIENT,
    ),
    Row(
        "traceloop langchain",
        ("opentelemetry-instrumentation-langchain",),
        ("opentelemetry.instrumentation.langchain",),
        ("traceloop_langchain",),
        "calls_langchain",
        untold=_UNTOLD_LANGCHAIN,
        agents=_TRACELOOP_AGENTS,
        tools=True,
        env=QUIET_CLIENT,
    ),
    Row(
        "pydantic-ai",
        ("pydantic-ai-slim",),
        ("pydantic-ai",),
        ("pydantic_ai",),
        "calls_pydantic_ai",
        agents=_PYDANTIC_AGENTS,
        tools=True,
        env=QUIET_CLIENT,
    ),
    Row("anthropic's own", ("anthropic",), (CLIENT,), (), "calls_anthropic"),
    # Several at once: every call is told of by two or three spans, and counted once.
    Row(
        "openinference-anthropic over anthropic's own",
        ("openinference-instrumentation-anthropic", "anthropic"),
        ("openinference.instrumentation.anthropic", CLIENT),
        ("openinference_anthropic",),
        "calls_anthropic",
    ),
    Row(
        "traceloop anthropic over anthropic's own",
        ("opentelemetry-instrumentation-anthropic", "anthropic"),
        ("opentelemetry.instrumentation.anthropic", CLIENT),
        ("traceloop_anthropic",),
        "calls_anthropic",
    ),
    Row(
        "openinference-openai and openai-v2",
        ("openinference-instrumentation-openai", "opentelemetry-instrumentation-openai-v2"),
        ("openinference.instrumentation.openai", "opentelemetry.util.genai.handler"),
        ("openinference_openai", "otel_openai_v2"),
        "calls_openai",
        untold=_UNTOLD_OPENAI,
    ),
    Row(
        "openinference-langchain over anthropic's own",
        ("openinference-instrumentation-langchain", "anthropic"),
        ("openinference.instrumentation.langchain", CLIENT),
        ("openinference_langchain",),
        "calls_langchain",
        untold=_UNTOLD_LANGCHAIN,
        tools=True,
    ),
    Row(
        "openinference-langchain, -openai, -anthropic",
        (
            "openinference-instrumentation-langchain",
            "openinference-instrumentation-openai",
            "openinference-instrumentation-anthropic",
        ),
        (
            "openinference.instrumentation.langchain",
            "openinference.instrumentation.openai",
            "openinference.instrumentation.anthropic",
        ),
        ("openinference_langchain", "openinference_openai", "openinference_anthropic"),
        "calls_langchain",
        untold={"OpenAI, streamed, usage not asked for": NOT_ASKED},
        tools=True,
    ),
    Row(
        "traceloop langchain, openai, anthropic",
        (
            "opentelemetry-instrumentation-langchain",
            "opentelemetry-instrumentation-openai",
            "opentelemetry-instrumentation-anthropic",
        ),
        (
            "opentelemetry.instrumentation.langchain",
            "opentelemetry.instrumentation.openai.v1",
        ),
        ("traceloop_langchain", "traceloop_openai", "traceloop_anthropic"),
        "calls_langchain",
        untold={"OpenAI, streamed, usage not asked for": NOT_ASKED},
        agents=_TRACELOOP_AGENTS,
        tools=True,
    ),
    Row(
        "pydantic-ai over openinference-openai, -anthropic",
        (
            "pydantic-ai-slim",
            "openinference-instrumentation-openai",
            "openinference-instrumentation-anthropic",
        ),
        ("pydantic-ai", "openinference.instrumentation.openai", "openinference.instrumentation.anthropic"),
        ("pydantic_ai", "openinference_openai", "openinference_anthropic"),
        "calls_pydantic_ai",
        agents=_PYDANTIC_AGENTS,
        tools=True,
    ),
)
