"""
Langfuse: which spans its SDK sends.

By itself it sends its own spans, those of instrumentations that it knows, and whatever has an attribute ``gen_ai.*``.
Inside a session every span has one, ``gen_ai.conversation.id``: so the spans of the web framework, of HTTP clients and
databases would be sent as well.
"""

from __future__ import annotations

from typing import Any

from .._core import names
from ..telemetry._library import LIBRARY_NAME


def model_spans(span: Any) -> bool:
    """
    Return whether Langfuse should get *span*: what it takes by itself, leaving out our stamp, and what we make.

    Use: ``Langfuse(should_export_span=model_spans)``. Session and turn spans, steps and their model calls arrive, in
    whatever order both SDKs are set up; spans of the server and of databases do not.

    Args:
        span: Of the SDK, ended or just started.

    Raises:
        ImportError: If langfuse is not installed.

    Source:
        langfuse 5.0, ``_client/span_filter.py``, and ``langfuse.span_filter``.
    """
    try:
        from langfuse.span_filter import is_known_llm_instrumentor, is_langfuse_span
    except ImportError as error:
        raise ImportError("model_spans() needs Langfuse's SDK, 4 or later: pip install 'langfuse>=4'") from error
    scope = span.instrumentation_scope
    if scope is not None and scope.name == LIBRARY_NAME:
        return True
    said = (key for key in span.attributes or () if key.startswith("gen_ai.") and key != names.GEN_AI_CONVERSATION_ID)
    return is_langfuse_span(span) or is_known_llm_instrumentor(span) or any(said)
