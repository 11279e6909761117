"""A large file: how long it takes, and that it does not matter to the memory how large it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.importing.support import request, span

SPANS = 100_000
MOST_MB = 200  # of it, imports take 80
RUN = """
import resource, sys, time
from session_mw.cli import main
began = time.process_time()
try:
    main(sys.argv[1:])
except SystemExit as stopped:
    assert not stopped.code, stopped.code
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform != "darwin" else 1024 * 1024)
print(time.process_time() - began, peak)
"""


def traces(count: int) -> Iterator[list[dict[str, Any]]]:
    """Yield traces of five spans, four to a session: of a server, a chain, a model with its words, a client, a tool."""
    for trace in range(1, count // 5 + 1):
        at = trace // 4 * 1_000 + trace % 4 * 60_000
        whose = {"session.id": f"s{trace // 4}", "user.id": f"u{trace % 500}"}
        words = {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "x" * 200,
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "y" * 400,
        }
        used = {"llm.model_name": "gpt-4o", "llm.token_count.prompt": 120, "llm.token_count.completion": 30}
        yield [
            span(trace, 1, 0, "POST /chat", at, 900, said={"http.route": "/chat"}),
            span(trace, 2, 1, "agent", at + 10, 800, said={**whose, "openinference.span.kind": "CHAIN"}),
            span(trace, 3, 2, "llm", at + 20, 600, said={**whose, "openinference.span.kind": "LLM", **used, **words}),
            span(trace, 4, 3, "POST", at + 30, 500, said={"http.request.method": "POST"}),
            span(
                trace, 5, 2, "tool", at + 650, 100, said={**whose, "openinference.span.kind": "TOOL", "tool.name": "t"}
            ),
        ]


def as_lines(path: Path) -> None:
    """Write a request of a hundred traces a line."""
    batch: list[dict[str, Any]] = []
    with path.open("w") as file:
        for number, spans in enumerate(traces(SPANS), 1):
            batch += spans
            if not number % 100:
                file.write(json.dumps(request(*batch)) + "\n")
                batch = []


def as_document(path: Path) -> None:
    """Write one request in one line."""
    head, tail = json.dumps(request()).split('"spans": []')
    with path.open("w") as file:
        file.write(head + '"spans": [')
        for number, spans in enumerate(traces(SPANS)):
            file.write((", " if number else "") + json.dumps(spans)[1:-1])
        file.write("]" + tail)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("write", [as_lines, as_document], ids=["lines", "document"])
def test_a_large_file_fits_into_a_small_memory(write: Any, tmp_path: Path) -> None:
    """A hundred thousand spans, 70 MB; -s shows spans a second of processor time, and the peak."""
    file = tmp_path / "traces.json"
    write(file)
    words = ["ledger", "import", str(file), "--ledger", f"sqlite:///{tmp_path}/history.db"]
    run = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=800)
    assert 0 == run.returncode, run.stderr[-2000:]
    summary, measured = run.stdout.splitlines()
    seconds, peak_mb = map(float, measured.split())
    print(
        f"{file.stat().st_size / 1e6:.0f} MB: {SPANS / seconds:,.0f} spans/s of processor time, peak {peak_mb:.0f} MB"
    )

    assert f"{SPANS // 5:,} turns ({SPANS // 5:,} new) from {SPANS:,} spans; skipped 0 lines" in summary
    assert peak_mb < MOST_MB
