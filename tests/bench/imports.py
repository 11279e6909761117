"""
What ``import session_mw`` adds to importing its dependencies, each time in a fresh interpreter.

The interpreter first imports every third-party module that the package loads (found out beforehand), then the package:
what it loads of the standard library by itself, and building its models, counts as its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass

FORBIDDEN = frozenset(
    {"aiohttp", "celery", "click", "django", "fastapi", "flask", "grpc", "httpx", "jinja2", "litellm", "psycopg"}
    | {"quart", "redis", "requests", "rich", "sqlite3", "starlette", "streamlit", "uvicorn", "opentelemetry.sdk"}
)

SCOUT = """
import json, sys
import session_mw
paths = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
foreign = [name for name, path in paths.items() if "-packages" in path and name.split(".")[0] != "session_mw"]
print(json.dumps({"foreign": foreign, "loaded": sorted(paths)}))
"""

TIMED = """
import importlib, json, sys, time
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
before, wall = time.process_time_ns(), time.perf_counter_ns()
import session_mw
print(json.dumps({"cpu": time.process_time_ns() - before, "wall": time.perf_counter_ns() - wall}))
"""


@dataclass(frozen=True)
class ImportCost:
    """
    What the import costs.

    Attributes:
        cpu_ms: Median of CPU time added, milliseconds.
        wall_ms: Median of wall time added, milliseconds.
        loads: Frameworks, SDKs and drivers that came along; empty as promised.
    """

    cpu_ms: float
    wall_ms: float
    loads: tuple[str, ...]


def _run(code: str, *arguments: str) -> dict[str, list[str] | int]:
    # -B would hide nothing: byte code is there from the first, scouting run on.
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    result: dict[str, list[str] | int] = json.loads(done.stdout)
    return result


def import_cost(repeats: int = 15) -> ImportCost:
    """Import the package *repeats* times."""
    scouted = _run(SCOUT)
    foreign, loaded = scouted["foreign"], scouted["loaded"]
    assert isinstance(foreign, list)
    assert isinstance(loaded, list)
    times = [_run(TIMED, json.dumps(foreign)) for _ in range(repeats)]
    return ImportCost(
        statistics.median(float(str(t["cpu"])) for t in times) / 1e6,
        statistics.median(float(str(t["wall"])) for t in times) / 1e6,
        tuple(sorted(FORBIDDEN.intersection(loaded))),
    )
