"""
What a finished span of any instrumentation says about usage: tokens, cost, and what kind of work it was.

Rule 1: input tokens include those read from and written to a prompt cache, output tokens include those of reasoning,
whatever the convention at hand says; the parts are kept beside the sum.
Rule 2: unknown is None. No model call takes nothing in, so a 0 for input is a place holder, and unknown as well.
Rule 3: nothing here raises. Values come from anybody's code: text, truth values, negative, infinite and absurdly large
ones are passed over as if they were absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from .usage_kinds import KIND_KEYS, kind_of, step_of
from .usage_names import (
    APART,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    CURRENCY,
    INPUT,
    LANGFUSE_COST,
    LANGFUSE_USAGE,
    MLFLOW_COST,
    MLFLOW_USAGE,
    MODEL,
    OUTPUT,
    PROVIDER,
    REASONING,
    RESPONSE_ID,
    TOTAL,
)

MAX_TOKENS: Final = 1_000_000_000  # of one call; the longest contexts are of some ten millions
MAX_USD: Final = 1_000_000  # of one call
MAX_JSON: Final = 16 * 1024  # characters; what is read here takes some hundred
MAX_TEXT: Final = 256  # characters of a name or id

_OBJECTS: Final = frozenset({LANGFUSE_USAGE, LANGFUSE_COST, MLFLOW_USAGE, MLFLOW_COST})
_USAGE_KEYS: Final = _OBJECTS.union(INPUT, OUTPUT, TOTAL, *COST)
ASKED_FOR: Final = _USAGE_KEYS | KIND_KEYS  # a span without any of them tells nothing, see ``tells``


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """
    Tokens of one model call. None means unknown.

    Attributes:
        input_tokens: All that went in, cached ones included.
        output_tokens: All that came out, reasoning included.
        cache_read_tokens: Of the input: read from a prompt cache.
        cache_write_tokens: Of the input: written to one.
        reasoning_tokens: Of the output: never shown.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


NO_TOKENS: Final = TokenUsage()


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What a finished span says.

    Attributes:
        kind: ``model``, ``embedding``, ``agent`` or ``tool``; empty for anything else.
        tokens: What it used.
        cost_microusd: What it says that it cost, millionths of a US dollar.
        provider: Whose model.
        model: The model that answered, else the one that was asked.
        response_id: Of the provider's answer: two spans about one answer have the same.
        step: Name of the agent or tool, empty for other kinds.
    """

    kind: str = ""
    tokens: TokenUsage = NO_TOKENS
    cost_microusd: int | None = None
    provider: str | None = None
    model: str | None = None
    response_id: str | None = None
    step: str = ""

    @property
    def priceable(self) -> bool:
        """Whether model and all tokens are known. A call priced by half of them would be a guess."""
        tokens = self.tokens
        if self.model is None or tokens.input_tokens is None:
            return False
        return tokens.output_tokens is not None or self.kind == "embedding"


def tells(attributes: Mapping[str, Any]) -> bool:
    """Return whether ``read`` would find a call or usage: a quick look, since most spans say nothing."""
    if not _USAGE_KEYS.isdisjoint(attributes):
        return True
    return not KIND_KEYS.isdisjoint(attributes) and bool(kind_of(attributes))


def read(attributes: Mapping[str, Any], name: str) -> Reading | None:
    """
    Return what a finished span says, None when it says nothing about usage.

    Args:
        attributes: Of the span.
        name: Of the span; the last resort for the name of an agent or tool.
    """
    kind = kind_of(attributes)
    provider = _text(attributes, PROVIDER)
    tokens = _tokens(attributes, kind, provider)
    cost = _cost(attributes)
    if not kind and cost is None and tokens is NO_TOKENS:
        return None
    return Reading(
        kind,
        tokens,
        cost,
        provider,
        _text(attributes, MODEL),
        _text(attributes, RESPONSE_ID),
        step_of(attributes, kind, name) if kind in ("agent", "tool") else "",
    )


def microusd(value: object) -> int | None:
    """Return US dollars in whole millionths; None for what is no amount."""
    if isinstance(value, Decimal):
        valid = value.is_finite() and 0 <= value <= MAX_USD
    else:
        valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_USD
    return round(value * 1_000_000) if valid else None  # type: ignore[operator]


def count_of(value: object) -> int | None:
    """Return a number of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= MAX_TOKENS or value != int(value):
        return None
    return int(value)


def _tokens(attributes: Mapping[str, Any], kind: str, provider: str | None) -> TokenUsage:
    details = _json(attributes, LANGFUSE_USAGE)
    if details is not None:
        return _langfuse(details)
    mlflow = _json(attributes, MLFLOW_USAGE)
    if mlflow is not None:
        return _named(mlflow, _apart_by_name(MLFLOW_USAGE, provider))
    found = (
        _first(attributes, INPUT),
        _first(attributes, OUTPUT),
        _first(attributes, CACHE_READ),
        _first(attributes, CACHE_WRITE),
        _first(attributes, REASONING),
    )
    return _normalised(*found, total=_first(attributes, TOTAL), embedding=kind == "embedding")


def _normalised(
    into: int | None,
    out: int | None,
    cache_read: int | None,
    cache_write: int | None,
    reasoning: int | None,
    *,
    total: int | None = None,
    apart: bool = False,
    embedding: bool = False,
) -> TokenUsage:
    """Return token counts by Rule 1 and 2."""
    if total is not None:
        into, out = _completed(into, out, total, embedding)
    cached = (cache_read or 0) + (cache_write or 0)
    if into is not None and cached and (apart or _apart(into, out, cached, total)):
        into += cached
    if out is not None and reasoning is not None and reasoning > out:
        out += reasoning  # part of it would be no more than it
    into = into or None
    if into is None and not out:
        return NO_TOKENS
    return TokenUsage(into, out, cache_read, cache_write, reasoning)


def _completed(into: int | None, out: int | None, total: int, embedding: bool) -> tuple[int | None, int | None]:
    """Return input and output, the missing one worked out. A total alone tells the input of an embedding only."""
    if into is None and out is None:
        return (total if embedding else None), None
    if into is None and out is not None and total >= out:
        return total - out, out
    if into is not None and out is None and total >= into and not embedding:
        return into, total - into
    return into, out


def _apart(into: int, out: int | None, cached: int, total: int | None) -> bool:
    """Return whether the numbers themselves say that cached tokens are not part of *into*."""
    return cached > into or (total is not None and total == into + (out or 0) + cached)


def _apart_by_name(convention: str, provider: str | None) -> bool:
    name = (provider or "").strip('"').lower()
    return (convention, name.rpartition(".")[2]) in APART


def _langfuse(details: Mapping[str, Any]) -> TokenUsage:
    """
    Read ``usage_details``: buckets that add up, or the usage object of OpenAI's API as it is.

    Source:
        Langfuse's own LangChain handler, which takes the parts out of ``input`` and ``output`` before it writes them.
    """
    if "prompt_tokens" in details or "completion_tokens" in details:
        return _named(details, apart=False)
    sums: dict[str, int | None] = {}
    for key, value in details.items():
        number = count_of(value)
        if number is None:
            continue
        for part in _buckets(key.lower()):
            sums[part] = (sums.get(part) or 0) + number
    into, out = sums.get("input"), sums.get("output")
    parts = (sums.get("read"), sums.get("write"), sums.get("reasoning"))
    return _normalised(into, out, *parts, total=count_of(details.get("total")))


def _buckets(key: str) -> list[str]:
    """Return what a key of Langfuse's adds to."""
    if "input" in key:
        if "cach" not in key:
            return ["input"]
        return ["input", "write" if "creation" in key or "write" in key else "read"]
    if "output" in key:
        return ["output", "reasoning"] if "reasoning" in key else ["output"]
    return []


def _named(details: Mapping[str, Any], apart: bool) -> TokenUsage:
    """Read a usage object with the names of OpenAI's, Anthropic's or MLflow's."""
    into = _first(details, ("input_tokens", "prompt_tokens"))
    out = _first(details, ("output_tokens", "completion_tokens"))
    inside = _mapping(details, "prompt_tokens_details", "input_tokens_details")
    outside = _mapping(details, "completion_tokens_details", "output_tokens_details")
    cache_read = _first({**inside, **details}, ("cache_read_input_tokens", "cached_tokens"))
    cache_write = _first(details, ("cache_creation_input_tokens", "cache_write_input_tokens"))
    reasoning = _first({**outside, **details}, ("reasoning_tokens",))
    total = _first(details, ("total_tokens",))
    return _normalised(into, out, cache_read, cache_write, reasoning, total=total, apart=apart)


def _cost(attributes: Mapping[str, Any]) -> int | None:
    for key, parts in ((LANGFUSE_COST, "total"), (MLFLOW_COST, "total_cost")):
        details = _json(attributes, key)
        if details is not None:
            whole = microusd(details.get(parts))
            return whole if whole is not None else _sum(details, tuple(details), microusd)
    for keys in COST:
        found = _sum(attributes, keys, microusd)
        if found is not None and (keys[0] != "gen_ai.usage.cost.amount" or _in_dollars(attributes)):
            return found
    return None


def _in_dollars(attributes: Mapping[str, Any]) -> bool:
    return bool(attributes.get(CURRENCY, "USD") == "USD")


def _sum(found: Mapping[str, Any], keys: tuple[str, ...], number: Callable[[object], int | None]) -> int | None:
    """Return the sum of those that are there, None when none is."""
    numbers = [value for key in keys if key in found and (value := number(found[key])) is not None]
    return sum(numbers) if numbers else None


def _first(found: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        if key in found:
            value = count_of(found[key])
            if value is not None:
                return value
    return None


def _text(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT:
            return value
    return None


def _mapping(found: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = found.get(key)
        if isinstance(value, dict):
            return value
    return {}


def _json(attributes: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """Return an attribute that holds an object, as JSON or (from SDK 1.45 on) as it is."""
    value = attributes.get(key)
    if isinstance(value, str) and len(value) <= MAX_JSON:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None
