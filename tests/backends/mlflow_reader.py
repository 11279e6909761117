"""
Runs in MLflow's environment: prints as JSON what its own client says of an experiment.

    python mlflow_reader.py <url> <experiment id> [filter [brief]]
"""

from __future__ import annotations

import json
import sys
from typing import Any

import mlflow


def trace(found: Any) -> dict[str, Any]:
    """Return one trace: what the list of traces shows, and its spans."""
    info = found.info
    spans = [
        {"name": span.name, "kind": span.span_type, "parent": span.parent_id, "attributes": sorted(span.attributes)}
        for span in found.data.spans
    ]
    return {
        "session": info.trace_metadata.get("mlflow.trace.session"),
        "user": info.trace_metadata.get("mlflow.trace.user"),
        "usage": info.token_usage,
        "cost": getattr(info, "cost", None),
        "request": info.request_preview,
        "response": info.response_preview,
        "state": str(info.state),
        "at_ms": info.timestamp_ms,
        "duration_ms": info.execution_duration,
        "tags": dict(info.tags),
        "spans": spans,
    }


def main(url: str, experiment: str, where: str = "", brief: str = "") -> None:
    """Print version, sessions, traces (unless *brief*), and what its constants call session and user."""
    from mlflow.tracing.constant import SpanAttributeKey as Key

    mlflow.set_tracking_uri(url)
    sessions = mlflow.search_sessions(locations=[experiment], max_results=1000, include_spans=False)
    asked: dict[str, Any] = {"locations": [experiment], "filter_string": where or None, "return_type": "list"}
    traces = [] if brief else mlflow.search_traces(max_results=5000, **asked)
    said = {
        "version": mlflow.__version__,
        "names": [Key.SESSION_ID, Key.USER_ID, Key.INPUTS, Key.OUTPUTS, Key.TRACE_TAG_PREFIX],
        "sessions": {one.id: len(one.traces) for one in sessions},
        "traces": [trace(one) for one in traces],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
