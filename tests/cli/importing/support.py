"""OTLP as other SDKs write it, for tests of the import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import Result

from session_mw.ledger import Ledger, open_ledger
from tests.cli.looking.history import run

T0_NS = 1_760_000_000 * 10**9  # 9 October 2025
MS = 1_000_000


def value(found: Any) -> dict[str, Any]:
    """Return a value as OTLP/JSON has it."""
    if isinstance(found, bool):
        return {"boolValue": found}
    if isinstance(found, int):
        return {"intValue": str(found)}
    if isinstance(found, float):
        return {"doubleValue": found}
    if isinstance(found, list):
        return {"arrayValue": {"values": [value(item) for item in found]}}
    return {"stringValue": found}


def pairs(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON has them."""
    return [{"key": key, "value": value(found)} for key, found in said.items()]


def span(
    trace: int, number: int, parent: int = 0, name: str = "span", at: int = 0, ms: int = 100, **more: Any
) -> dict[str, Any]:
    """
    Return a span.

    Args:
        trace: Of its trace's id.
        number: Of its id within the trace.
        parent: Of its parent; 0 for a root.
        name: Its name.
        at: Milliseconds from ``T0_NS`` to its begin.
        ms: Its length.
        more: ``said``, its attributes; ``failed``; ``events``.
    """
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{trace * 1000 + number:016x}",
        "parentSpanId": f"{trace * 1000 + parent:016x}" if parent else "",
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(T0_NS + at * MS),
        "endTimeUnixNano": str(T0_NS + (at + ms) * MS),
        "attributes": pairs(more.get("said", {})),
        "events": [{"name": key, "attributes": pairs(said)} for key, said in more.get("events", ())],
        "status": {"code": 2} if more.get("failed") else {},
    }


def request(*spans: dict[str, Any], scope: str = "app", service: str = "shop") -> dict[str, Any]:
    """Return an export request of one library of one service."""
    resource = {"attributes": pairs({"service.name": service})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": [*spans]}]}]}


def events(*records: tuple[str, int, dict[str, Any]]) -> dict[str, Any]:
    """Return an export request of log records: name, milliseconds from ``T0_NS``, attributes."""
    logs = [
        {"eventName": name, "timeUnixNano": str(T0_NS + at * MS), "attributes": pairs(said)}
        for name, at, said in records
    ]
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": logs}]}]}


def lines(path: Path, *requests: Any) -> str:
    """Write requests to a file, one a line; return its name."""
    path.write_text("".join(json.dumps(one) + "\n" for one in requests), encoding="utf-8")
    return str(path)


def bring(url: str, *words: str, **more: Any) -> Result:
    """Import, and expect that it works."""
    result = run("ledger", "import", *words, "--ledger", url, **more)
    assert 0 == result.exit_code, result.output
    return result


def opened(url: str) -> Ledger:
    """Return the history at *url*."""
    return open_ledger(url)
