"""What findings mean, without looking at anything: ports that nobody named."""

from __future__ import annotations

import pytest

from session_mw.cli.doctor.findings import Answer, Port, Seen, diagnose
from session_mw.cli.doctor.probes import agent_headers

DOWN = Answer(error="Connection refused")


@pytest.mark.parametrize(
    ("grpc", "http", "page", "expected"),
    [
        (True, True, False, ["ok", "ok"]),
        (True, False, False, ["ok", "warn"]),
        (False, False, True, ["warn", "warn"]),
        (False, False, False, ["fail", "fail"]),
    ],
    ids=["both", "one", "the back end takes spans itself", "nowhere"],
)
def test_a_port_that_nobody_named_is_missed_only_when_spans_go_nowhere(
    grpc: bool, http: bool, page: bool, expected: list[str]
) -> None:
    """Phoenix takes OTLP over HTTP at its own port, and gRPC at 4317; a collector both at theirs."""
    ports = (Port("grpc", "localhost:4317", grpc, False), Port("http", "localhost:4318", http, False))
    seen = Seen("http://p", DOWN, DOWN, ports=ports, page="http://b", back_end=Answer(200) if page else DOWN)

    assert expected == [one.status for one in diagnose(seen) if one.check.startswith("otlp")]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ANTHROPIC_CUSTOM_HEADERS": "A: 1\nB:2\nnonsense\n: 3"}, {"A": "1", "B": "2"}),
        ({"GEMINI_CLI_CUSTOM_HEADERS": "a: 1, b: x:y"}, {"a": "1", "b": "x:y"}),
        ({"ANTHROPIC_CUSTOM_HEADERS": "A: 1", "GEMINI_CLI_CUSTOM_HEADERS": "b: 2"}, {"A": "1"}),
        ({}, {}),
    ],
)
def test_headers_are_read_as_the_agents_read_them(environ: dict[str, str], expected: dict[str, str]) -> None:
    """Claude Code's one to a line, Gemini's with commas; a line without a colon is dropped, as Claude Code does."""
    assert expected == agent_headers(environ)
