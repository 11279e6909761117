"""Server-sent events: one a word, one a tool, one at the end. (WHATWG HTML, "Server-sent events".)"""

from __future__ import annotations

import json

EVENT_STREAM = "text/event-stream"

# A proxy that collects the answer before it passes it on would make a stream pointless.
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def word_event(word: str) -> str:
    """Write a word as an event. Its data is a JSON string, so that the space behind the word arrives."""
    return f"data: {json.dumps(word)}\n\n"


def tool_event(name: str) -> str:
    """Write that a tool was called, as an event named ``tool``."""
    return f"event: tool\ndata: {json.dumps({'name': name})}\n\n"


def done_event(state: dict[str, object]) -> str:
    """Write the last event, named ``done``, with *state* as JSON."""
    return f"event: done\ndata: {json.dumps(state)}\n\n"
