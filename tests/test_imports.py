"""
What an import of this package may cost: a fresh interpreter loads it and reports what came along.

Rule 1: importing loads no framework, SDK or driver, even where they are installed.
Rule 2: importing starts nothing: no thread, no file, no socket.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TypedDict

import pytest

OPTIONAL = frozenset(
    {
        "aiohttp",
        "celery",
        "click",
        "django",
        "fastapi",
        "flask",
        "grpc",
        "httpx",
        "jinja2",
        "langgraph",
        "litellm",
        "opentelemetry.exporter",
        "opentelemetry.sdk",
        "psycopg",
        "redis",
        "requests",
        "rich",
        "streamlit",
        "uvicorn",
    }
)

REPORT = """
import importlib, json, os, sys, threading

def open_files():
    return sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []

before = open_files()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({
    "modules": sorted(sys.modules),
    "threads": [thread.name for thread in threading.enumerate()],
    "new_files": len(open_files()) - len(before),
}))
"""


class Report(TypedDict):
    """What an interpreter holds after its imports."""

    modules: list[str]
    threads: list[str]
    new_files: int


def import_in_a_fresh_interpreter(*names: str) -> Report:
    """Import *names* in a new process and return what it then holds."""
    command = [sys.executable, "-W", "error::ImportWarning", "-c", REPORT, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout)
    return report


ENTRY_POINTS = [
    pytest.param(("session_mw",), id="root"),
    pytest.param(("session_mw.asgi",), id="asgi"),
    pytest.param(("session_mw.wsgi",), id="wsgi"),
    pytest.param(("session_mw", "session_mw.asgi", "session_mw.wsgi"), id="all"),
]


@pytest.mark.parametrize("names", ENTRY_POINTS)
def test_import_loads_no_framework_sdk_or_driver(names: tuple[str, ...]) -> None:
    """An optional dependency is imported in the one module named for it, never by the root or the shells."""
    report = import_in_a_fresh_interpreter(*names)

    assert set() == OPTIONAL & set(report["modules"])


@pytest.mark.parametrize("names", ENTRY_POINTS)
def test_import_starts_nothing(names: tuple[str, ...]) -> None:
    """Importing opens no file and starts no thread."""
    report = import_in_a_fresh_interpreter(*names)

    assert ["MainThread"] == report["threads"]
    assert 0 == report["new_files"]


def test_optional_modules_are_installed_here() -> None:
    """The rule above means something only where what it forbids could have been imported."""
    report = import_in_a_fresh_interpreter("click", "django", "fastapi", "flask", "opentelemetry.sdk")

    assert {"click", "django", "fastapi", "flask", "opentelemetry.sdk"} <= set(report["modules"])
