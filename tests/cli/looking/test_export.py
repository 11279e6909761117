"""``session-mw export``: files that other tools read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from session_mw._core import names
from session_mw._core.records import UsageRecord
from session_mw.ledger import open_ledger
from tests.cli.looking.history import run
from tests.ledger.support import T0, turn


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


def test_export_otlp_has_a_span_for_each_call(mine: str) -> None:
    """Below its turn or the call that made it, under its recorded ids; the usage stands there and nowhere else."""
    calls = (
        UsageRecord("agent", T0 + 1_010, 200, "helper", span_id="a" * 16),
        UsageRecord(
            *("model", T0 + 1_020, 100, "chat", "big-1", "vendor", "b" * 16, "a" * 16, "error", "Timeout", 9),
            *(100, 20, 60, 5, 7, 1_250_000),
        ),
        UsageRecord("tool", T0 + 1_200, 5, "search"),
    )
    ledger = open_ledger(mine)
    ledger.write_turns([turn("calls", usages=calls, attributes={"output.value": "hi"})])
    ledger.close()
    (line,) = run("export", "id:calls", "--format", "otlp", "--ledger", mine).stdout.splitlines()
    spans = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    said = [{one["key"]: next(iter(one["value"].values())) for one in span["attributes"]} for span in spans]

    root, agent, model, *_ = spans
    made = ["turn", "invoke_agent helper", "chat big-1", "execute_tool search", "session.start"]
    assert made == [span["name"] for span in spans]
    assert {root["traceId"]} == {span["traceId"] for span in spans}
    above = [None, root["spanId"], "a" * 16, root["spanId"], root["spanId"]]
    assert above == [span.get("parentSpanId") for span in spans]
    assert (["a" * 16, "b" * 16], 5) == ([agent["spanId"], model["spanId"]], len({span["spanId"] for span in spans}))
    assert ("hi", "calls") == (said[0]["output.value"], said[3]["session.id"])
    assert {"gen_ai.usage.input_tokens": "100", "gen_ai.usage.output_tokens": "20", "llm.cost.total": 1.25} == {
        key: value for key, value in said[2].items() if key.endswith((".input_tokens", ".output_tokens", ".total"))
        and "cache" not in key and "reasoning" not in key
    }  # fmt: skip
    assert not any("usage" in key for one in (said[0], said[1], said[3]) for key in one)
    assert (2, "Timeout", 3) == (model["status"]["code"], model["status"]["message"], model["kind"])
