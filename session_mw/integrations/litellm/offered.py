"""
What of LiteLLM is used, looked up by name, each with what goes without it.

LiteLLM promises little about names, and releases often. Nothing here is needed for a request to be served: where a
name is gone, that one thing is left out, and said once. ``tests/proxy/test_offered.py`` asks a real LiteLLM, so that a
release that lacks one is a failing test that says which.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Use:
    """
    One name of LiteLLM's.

    Attributes:
        path: Module and name, ``package.module:Class.method``.
        without: What is left out where it is not there.
        takes: Names that its parameters have, where it is called by us or calls us.
        private: LiteLLM's own business: its absence is no fault of LiteLLM's, and no test fails for it.
    """

    path: str
    without: str
    takes: tuple[str, ...] = ()
    private: bool = False


_HOOKS: Final = "litellm.integrations.custom_logger:CustomLogger"
PHOENIX: Final = "litellm.integrations.arize.arize_phoenix:ArizePhoenixLogger"
IN_MEMORY: Final = "litellm.litellm_core_utils.litellm_logging:_in_memory_loggers"
_LOGGED: Final = ("kwargs", "response_obj", "start_time", "end_time")
_BY_SPANS: Final = "tokens are counted from LiteLLM's spans alone"
_DOUBLED: Final = "arize_phoenix counts tokens twice in Phoenix, and says sessions by the span processor alone"
USES: Final = (
    Use("litellm:callbacks", "LiteLLM calls nothing back: no metadata is merged, and " + _BY_SPANS),
    Use("litellm:logging_callback_manager.add_litellm_callback", "the same", ("callback",)),
    Use(
        f"{_HOOKS}.async_pre_call_hook",
        "no metadata is merged, and a turn begins with the response",
        ("user_api_key_dict", "cache", "data", "call_type"),
    ),
    Use(f"{_HOOKS}.async_logging_hook", "loggers made during a request miss it", ("kwargs", "result", "call_type")),
    Use(f"{_HOOKS}.async_log_success_event", _BY_SPANS, _LOGGED),
    Use(f"{_HOOKS}.async_log_failure_event", "an answer that breaks off half way is no failed turn", _LOGGED),
    Use(f"{PHOENIX}.set_attributes", _DOUBLED, ("span", "kwargs", "response_obj")),
    Use(f"{PHOENIX}.get_tracer_to_use_for_request", "a key's own Phoenix project misses sessions", ("kwargs",)),
    Use(IN_MEMORY, "loggers that a key or a team asks for miss sessions", private=True),
)


def find(path: str) -> Any:
    """Return what stands at *path*, None where nothing does."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def missing(uses: Sequence[Use] = USES) -> list[Use]:
    """Return the names that this LiteLLM does not have, or has with other parameters."""
    return [use for use in uses if not _fits(use)]


def _fits(use: Use) -> bool:
    found = find(use.path)
    if found is None or not use.takes:
        return found is not None
    try:
        has = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False
    return set(use.takes) <= set(has) or any(one.kind is one.VAR_KEYWORD for one in has.values())
