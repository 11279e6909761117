"""What an agent of this shell would send."""

from __future__ import annotations

import pytest

from session_mw.cli.doctor.probes import agent_headers


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
