"""
Real coding agents, each set up as README says: ``session-mw config``, its variables, a made-up key.

``SESSION_MW_TEST_AGENTS`` names a folder where they are installed, those of npm and those of PyPI:

    npm install @anthropic-ai/claude-code @openai/codex @google/gemini-cli opencode-ai
    python -m venv . && bin/pip install aider-chat

They are their makers' and stay there: nothing of them belongs to this project.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.launch.desk import Desk

VARIABLE = "SESSION_MW_TEST_AGENTS"
QUIET = {"NO_PROXY": "*", "TERM": "xterm", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Agent:
    """
    A coding agent.

    Attributes:
        name: Of its command.
        words: Before the prompt.
        environ: What its user exports, beside the proxy's address.
        address: Variable of that address; none where the configuration has it.
        set_up: Writes its configuration on a desk, for a proxy at a URL.
        has_id: Whether it sends a session id of its own.
    """

    name: str
    words: tuple[str, ...]
    environ: dict[str, str]
    address: str | None = None
    set_up: Callable[[Desk, str], None] = lambda desk, url: None
    has_id: bool = True

    def variables(self, url: str) -> dict[str, str]:
        """Return what its user exports, for a proxy at *url*."""
        return {**QUIET, **self.environ, **({} if self.address is None else {self.address: url})}


def _codex(desk: Desk, url: str) -> None:
    _written(desk, ".codex/config.toml", _printed(desk, "codex", url))


def _opencode(desk: Desk, url: str) -> None:
    _written(desk, ".config/opencode/opencode.json", _printed(desk, "opencode", url))
    first = desk.run("opencode", "session", "list")  # makes its database: two that do so at once disturb each other
    assert 0 == first.returncode, first.stderr


def _gemini(desk: Desk, url: str) -> None:
    said = _printed(desk, "gemini", url).splitlines()[-1].removeprefix("# ")
    _written(
        desk, ".gemini/settings.json", json.dumps({**json.loads(said), "privacy": {"usageStatisticsEnabled": False}})
    )


def _printed(desk: Desk, name: str, url: str) -> str:
    done = desk.run("session-mw", "config", name, "--url", f"{url}/v1")
    assert 0 == done.returncode, done.stderr
    return done.stdout


def _written(desk: Desk, path: str, text: str) -> None:
    place = desk.home / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


CLAUDE = Agent(
    "claude",
    ("--model", "claude-sonnet-4-5", "-p"),
    {
        "ANTHROPIC_API_KEY": "sk-ant-fake-key-for-this-machine",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    },
    "ANTHROPIC_BASE_URL",
)
CODEX = Agent("codex", ("exec", "--skip-git-repo-check", "-m", "gpt-5-codex"), {"OPENAI_API_KEY": "fake"}, None, _codex)
GEMINI = Agent(
    "gemini",
    ("-m", "gemini-2.5-pro", "-p"),
    {"GEMINI_API_KEY": "fake", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
    "GOOGLE_GEMINI_BASE_URL",
    _gemini,
    has_id=False,
)
OPENCODE = Agent(
    "opencode",
    ("run", "--model", "anthropic/claude-sonnet-4-5"),
    {"ANTHROPIC_API_KEY": "fake", "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"},
    None,
    _opencode,
)
# aider's file holds the headers of one session, so it is written inside of it.
_WRITTEN = "session-mw config aider > $PHOENIX_SESSION_ID.yml && exec"
AIDER = Agent(
    "aider",
    ("--yes-always", "--no-git", "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--message"),
    {"ANTHROPIC_API_KEY": "fake", "AIDER_MODEL": "anthropic/claude-sonnet-4-5", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    "ANTHROPIC_API_BASE",
    has_id=False,
)
ALL = (CLAUDE, CODEX, GEMINI, OPENCODE, AIDER)


def command_of(agent: Agent, prompt: str) -> list[str]:
    """Return the command line of one question, as it stands behind ``session-mw run --``."""
    if agent is AIDER:
        line = f'{_WRITTEN} aider --model-settings-file $PHOENIX_SESSION_ID.yml "$@"'
        return ["sh", "-c", line, "aider", *agent.words, prompt]
    return [agent.name, *agent.words, prompt]


def installed(agent: Agent) -> Path:
    """Return an agent's command; skip the test where it is not installed."""
    folder = os.environ.get(VARIABLE)
    places = [] if folder is None else [Path(folder, "node_modules", ".bin"), Path(folder, "bin")]
    found = next((place / agent.name for place in places if (place / agent.name).exists()), None)
    if found is None:
        pytest.skip(f"{agent.name} is not installed: see tests/agents/installed.py, and name the folder by {VARIABLE}")
    return found.absolute()


def desk_with(agent: Agent, folder: Path, url: str) -> Desk:
    """Return a desk in *folder* where *agent* is installed and set up for the proxy at *url*."""
    command = installed(agent)
    folder.mkdir(parents=True, exist_ok=True)
    desk = Desk(folder)
    (desk.bin / agent.name).unlink(missing_ok=True)  # the stub
    (desk.bin / agent.name).symlink_to(command)
    node = shutil.which("node")
    if node is not None and agent is not AIDER:
        desk.environ["PATH"] += f":{Path(node).parent}"
    desk.environ |= agent.variables(url)
    agent.set_up(desk, url)
    return desk
