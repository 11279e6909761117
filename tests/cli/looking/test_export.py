"""``session-mw export``: files that other tools read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from session_mw._core import names
from tests.cli.looking.history import run


def test_export_streams_every_session(mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, the oldest first, to a file."""
    monkeypatch.setattr("session_mw.ledger.walking.LARGEST_PAGE", 2)
    target = tmp_path / "out.csv"
    result = run("export", "--format", "csv", "-o", str(target), "--ledger", mine)
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))

    assert (0, "", "4 sessions\n") == (result.exit_code, result.stdout, result.stderr)
    assert ["old-1", "chat-1", "review-1", "open-1"] == [row["session_id"] for row in rows]


def test_export_jsonl_has_the_turns(url: str) -> None:
    """An object a line, as show --json has it."""
    result = run("export", "type:chat", "last", "7", "days", "--format", "jsonl", "--ledger", url)
    (line,) = result.stdout.splitlines()

    assert json.loads(run("show", "chat-1", "--json", "--ledger", url).stdout) == json.loads(line)


def test_export_otlp_is_read_by_the_protocol_itself(url: str) -> None:
    """Spans keep their recorded ids; OpenTelemetry's own messages take every line."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    result = run("export", "chat-1", "--format", "otlp", "--ledger", url)
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    spans = found["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span in spans:  # protobuf's own JSON has bytes in base64, OTLP's in hexadecimal
        assert (32, 16) == (len(span["traceId"]), len(span["spanId"]))
        int(span["traceId"], 16)
    json_format.ParseDict({**found, "resourceSpans": []}, ExportTraceServiceRequest())
    copied = json.loads(line)
    for span in copied["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        span["traceId"], span["spanId"] = "AAAA", "AAAA"
    parsed = json_format.ParseDict(copied, ExportTraceServiceRequest())

    assert [f"{n:032x}" for n in (1, 2)] == [span["traceId"] for span in spans[:2]]
    third = parsed.resource_spans[0].scope_spans[0].spans[2]
    said = {one.key: one.value for one in third.attributes}
    assert (2, "TimeoutError", 30_000_000_000) == (
        third.status.code, third.status.message, third.end_time_unix_nano - third.start_time_unix_nano
    )  # fmt: skip
    assert ("chat-1", 3, "v2") == (
        said[names.SESSION_ID].string_value,
        said[names.TURN_NUMBER].int_value,
        said[names.SESSION_PROMPT_VERSION].string_value,
    )
