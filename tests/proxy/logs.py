"""
LiteLLM's own logs of what it did, from a LiteLLM that nothing of ours is around.

Its spend logs go into a database of Prisma's, whose engine is no Python package; the row that would go there is made
by the function of LiteLLM's that makes it, and written to a file. Its standard logging payload is what LiteLLM gives
to every callback that writes files or buckets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Runs inside LiteLLM's process, named in its configuration: ``callbacks: ["writing.writer"]``.
CODE = """
import json
import os
from pathlib import Path

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

FOLDER = Path(os.environ["HOME"])


def write(name, what):
    with (FOLDER / name).open("a") as out:
        out.write(json.dumps(what, default=str) + "\\n")


class Writer(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        write("payloads.jsonl", kwargs["standard_logging_object"])
        write("spend.jsonl", get_logging_payload(kwargs, response_obj, start_time, end_time))

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        write("payloads.jsonl", kwargs["standard_logging_object"])


writer = Writer()
"""


def writing(folder: Path) -> str:
    """Put the callback beside the configuration; return its name there."""
    (folder / "writing.py").write_text(CODE)
    return "writing.writer"


def written(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return what was written so far."""
    path = folder / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
