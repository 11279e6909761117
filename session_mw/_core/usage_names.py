"""
Under which names each convention writes tokens, cost, model and provider onto a span; the first that is there counts.

Sources: OpenTelemetry's conventions for generative AI (``gen_ai.*``: cached tokens SHOULD be part of the input), the
constants of openinference-semantic-conventions 0.1 and opentelemetry-semantic-conventions-ai 0.5, the attribute names
of MLflow 3, Langfuse 3 to 5, Logfire, OpenLIT, Laminar, AgentOps and the Vercel AI SDK as their releases write them.
"""

from __future__ import annotations

from typing import Final

INPUT: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",  # its older name, in OpenTelemetry and OpenLLMetry
    "llm.token_count.prompt",  # OpenInference
    "llm.usage.prompt_tokens",  # OpenLLMetry's first releases
    "ai.usage.inputTokens",  # Vercel AI SDK 5
    "ai.usage.promptTokens",
    "ai.usage.tokens",  # of an embedding
    "decision.token_count.input",
)
OUTPUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
    "decision.token_count.output",
)
TOTAL: Final = (
    "gen_ai.usage.total_tokens",
    "llm.token_count.total",
    "llm.usage.total_tokens",
    "ai.usage.totalTokens",
)
CACHE_READ: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",  # OpenLLMetry before 0.5 of its constants
    "gen_ai.usage.input_tokens.cached",  # Sentry
    "gen_ai.usage.details.cache_read_tokens",  # pydantic-ai
    "llm.token_count.prompt_details.cache_read",
    "llm.token_count.prompt_details.cache_input",
    "ai.usage.cachedInputTokens",
)
CACHE_WRITE: Final = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",  # the name before that
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
)
REASONING: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.output_tokens.reasoning",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "ai.usage.reasoningTokens",
)
LANGFUSE_USAGE: Final = "langfuse.observation.usage_details"
MLFLOW_USAGE: Final = "mlflow.chat.tokenUsage"
LANGFUSE_COST: Final = "langfuse.observation.cost_details"
MLFLOW_COST: Final = "mlflow.llm.cost"
CURRENCY: Final = "gen_ai.usage.cost.currency"

# US dollars: one number, or the sum of two. The first that is there counts.
COST: Final = (
    ("llm.cost.total",),
    ("llm.cost.prompt", "llm.cost.completion"),
    ("gen_ai.usage.cost",),
    ("gen_ai.usage.total_cost",),
    ("gen_ai.usage.cost.amount",),  # proposed to OpenTelemetry; counts when the currency is USD
    ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost"),
    ("operation.cost",),  # Logfire, pydantic-ai
)

PROVIDER: Final = (
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "llm.system",
    "ai.model.provider",
    "mlflow.llm.provider",
    "mlflow.message.format",
)
MODEL: Final = (
    "gen_ai.response.model",
    "llm.response.model_name",
    "ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "embedding.model_name",
    "ai.model.id",
    "langfuse.observation.model.name",
    "mlflow.llm.model",
)
RESPONSE_ID: Final = ("gen_ai.response.id", "llm.response.id", "ai.response.id")

# Who writes Anthropic's numbers as its API gives them, where input_tokens are those that no cache was involved in.
# https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#tracking-cache-performance
# All others seen add the cached ones up before they write: OpenInference (anthropic 3.1, langchain 0.1.80), OpenLLMetry
# (anthropic 0.62), pydantic-ai 2. Arithmetic tells the rest: see _apart.
APART: Final = frozenset({(MLFLOW_USAGE, "anthropic"), (MLFLOW_USAGE, "bedrock")})
