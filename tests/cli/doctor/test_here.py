"""``session-mw doctor --only here``: each thing that a session needs on this machine, broken on purpose, and named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from session_mw.cli.app import command
from session_mw.telemetry import notices
from tests.e2e.servers import free_port


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user of their own, in a directory of their own, in no session and no build."""
    for name in list(os.environ):
        if name.startswith(("SESSION_MW_", "OTEL_", "PHOENIX_", "ANTHROPIC_", "CI", "GITHUB_", "GITLAB_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SHELL", "/bin/bash")
    notices.reset()
    return tmp_path


def doctor(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(command, ["doctor", *words], env=environ)


def with_agent(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Put an agent where one is looked for."""
    agent = home / "claude"
    agent.write_text("#!/bin/sh\n")
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", str(home))


def test_nothing_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, store, agent and shell as they should be; what is optional is said and not wrong."""
    with_agent(monkeypatch, home)
    result = doctor("--only", "here", "--json")
    found = {finding["check"]: finding["status"] for finding in json.loads(result.stdout)}

    assert 0 == result.exit_code
    optional = {"secret": "warn", "variables": "warn"}
    assert {"settings": "ok", "store": "ok", "agent": "ok", "shell": "ok", **optional} == found


@pytest.mark.parametrize(
    ("environ", "name", "said"),
    [
        ({"SESSION_MW_STORE": "sqlite:////no/such/folder/x.db"}, "store", "/no/such/folder/x.db"),
        ({"SESSION_MW_IDEL_TIMEOUT": "3"}, "settings", "idle_timeout"),
        ({"XDG_STATE_HOME": "/proc/none"}, "store", "/proc/none"),
        ({"PATH": "/nonexistent"}, "agent", "not in PATH"),
        ({"PHOENIX_SESSION_ID": "by-hand"}, "variables", "ANTHROPIC_CUSTOM_HEADERS"),
        ({"PHOENIX_SESSION_ID": "a b"}, "variables", "is no session id"),
    ],
    ids=["store", "settings", "state", "agent", "variables", "id"],
)
def test_what_is_wrong_is_named(environ: dict[str, str], name: str, said: str) -> None:
    """Each is broken on purpose, and named."""
    result = doctor("--only", "here", "--json", **environ)
    (finding,) = [finding for finding in json.loads(result.stdout) if finding["check"] == name]

    assert (1, "fail") == (result.exit_code, finding["status"])
    assert said in finding["found"]


def test_which_proxy_may_know_is_told() -> None:
    """A proxy elsewhere gets no signed headers, and one is told which setting changes that."""
    result = doctor("--only", "here", ANTHROPIC_BASE_URL="https://llm.example.com")

    assert "SESSION_MW_PROPAGATE_TO" in result.stdout


def test_variables_inside_of_a_session_are_right() -> None:
    """With what env prints in the environment."""
    printed = CliRunner().invoke(command, ["env", "--shell", "json"])
    variables = {name: text for name, text in json.loads(printed.stdout).items() if text is not None}
    result = doctor("--only", "here", "--json", **variables)
    (finding,) = [finding for finding in json.loads(result.stdout) if finding["check"] == "variables"]

    assert "ok" == finding["status"]


def test_without_a_limit_both_are_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First this machine, then the way from it."""
    with_agent(monkeypatch, home)
    nowhere = f"http://127.0.0.1:{free_port()}"
    result = doctor("--proxy", nowhere, "--back-end", nowhere, "--json", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere)
    found = {finding["check"]: finding["status"] for finding in json.loads(result.stdout)}

    assert 1 == result.exit_code
    here = ["settings", "store", "secret", "variables", "agent", "shell"]
    assert [*here, "proxy", "otlp http", "back end"] == list(found)
    assert "fail" == found["proxy"]
