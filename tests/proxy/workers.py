"""Workers of a real LiteLLM proxy: which of them served a request, and what they said of the end of sessions."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

HOOK = "session_mw.integrations.litellm:startup"

# Runs inside each worker, as another of LiteLLM's start-up hooks: events go into a file, a line each.
CODE = """
import json
import os
from pathlib import Path

from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

FILE = Path(os.environ["HOME"]) / "events.jsonl"


class Writing:
    def export(self, batch):
        with FILE.open("a") as out:
            for data in batch:
                record = data.log_record
                said = {"event": record.event_name, "pid": os.getpid(), **dict(record.attributes or {})}
                out.write(json.dumps(said, default=str) + "\\n")

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=0):
        return True


def install():
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(Writing()))
    _logs.set_logger_provider(provider)
"""


def telling(folder: Path) -> str:
    """Put the start-up hook beside the configuration; return its name there."""
    (folder / "events.py").write_text(CODE)
    return "events:install"


def told(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the events of a name that any worker has told of."""
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [one for one in map(json.loads, lines) if one["event"] == name]


def ends(folder: Path) -> Counter[str]:
    """Return how often each session's end was told."""
    return Counter(str(one["session.id"]) for one in told(folder, "session.end"))


def worker_of(response: httpx.Response) -> int | None:
    """Return the process that holds the other end of a response's connection, None when it is gone."""
    port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}")}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & _open_files(entry / "fd"):
            return int(entry.name)
    return None


def _open_files(folder: Path) -> set[str]:
    try:
        return {os.readlink(one) for one in folder.iterdir()}
    except OSError:  # it is gone, or somebody else's
        return set()
