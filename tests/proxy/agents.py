"""
Real coding agents, with made-up keys and a home of their own, run once each with one question.

``SESSION_MW_TEST_AGENTS`` names a folder in which ``npm install @anthropic-ai/claude-code @openai/codex
@google/gemini-cli`` was run. They are their makers' and stay there: nothing of them belongs to this project.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

VARIABLE = "SESSION_MW_TEST_AGENTS"
HEADERS = ("X-Session-Token", "X-Session-Type", "X-Session-Prompt-Version")
CODEX = """
model = "gpt-5-codex"
model_provider = "proxy"
[model_providers.proxy]
name = "proxy"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
env_http_headers = {{{headers}}}
"""


def agent(name: str) -> Path:
    """Return the command of an agent; skip the test where it is not installed."""
    folder = os.environ.get(VARIABLE)
    command = None if folder is None else Path(folder) / "node_modules" / ".bin" / name
    if command is None or not command.exists():
        pytest.skip(f"{name} is not installed: npm install it, and name the folder by {VARIABLE}")
    return command


def run(name: str, home: Path, url: str, headers: Mapping[str, str], prompt: str = "ping") -> str:
    """Run an agent once, in a fresh home; return what it printed."""
    home.mkdir(parents=True)
    command = agent(name)
    env = {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm", "NO_PROXY": "*"}
    words = {"claude": _claude, "codex": _codex, "gemini": _gemini}[name](home, url, headers, env)
    done = subprocess.run(
        [str(command), *words, prompt], env=env, cwd=home, capture_output=True, text=True, timeout=120
    )
    assert 0 == done.returncode, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def _claude(home: Path, url: str, headers: Mapping[str, str], env: dict[str, str]) -> list[str]:
    env |= {"ANTHROPIC_API_KEY": "sk-ant-fake-key-for-this-machine", "ANTHROPIC_BASE_URL": url}
    env |= {"CLAUDE_CONFIG_DIR": str(home / ".claude"), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    env |= {"DISABLE_AUTOUPDATER": "1", "ANTHROPIC_CUSTOM_HEADERS": "\n".join(f"{k}: {v}" for k, v in headers.items())}
    return ["--output-format", "json", "-p"]


def _codex(home: Path, url: str, headers: Mapping[str, str], env: dict[str, str]) -> list[str]:
    variables = {name: name.upper().replace("-", "_") for name in HEADERS}
    written = ", ".join(f'"{name}" = "{variable}"' for name, variable in variables.items())
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(CODEX.format(url=url, headers=written))
    env |= {"OPENAI_API_KEY": "sk-fake", "CODEX_HOME": str(home / ".codex")}
    env |= {variables[name]: value for name, value in headers.items()}
    return ["exec", "--skip-git-repo-check"]


def _gemini(home: Path, url: str, headers: Mapping[str, str], env: dict[str, str]) -> list[str]:
    (home / ".gemini").mkdir()
    chosen = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
    (home / ".gemini" / "settings.json").write_text(json.dumps(chosen))
    env |= {"GEMINI_API_KEY": "fake", "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    env["GEMINI_CLI_CUSTOM_HEADERS"] = ", ".join(f"{k}: {v}" for k, v in headers.items())
    return ["-m", "gemini-2.5-pro", "-p"]
