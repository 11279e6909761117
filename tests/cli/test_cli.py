"""The command itself: help, version, secret, settings, and how it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import session_mw
from session_mw import SessionSettings
from session_mw.cli import main
from session_mw.cli.app import command
from session_mw.cli.settings import table_of
from session_mw.settings import settings_table

ROOT = Path(session_mw.__file__).parents[1]


def run(*words: str) -> Result:
    return CliRunner().invoke(command, list(words), prog_name="session-mw")


def run_without(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a fresh interpreter in which *module* cannot be imported."""
    code = "import sys; sys.modules[sys.argv.pop(1)] = None; from session_mw.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", code, module, *words]
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)


def test_help_names_every_command_and_where_to_begin() -> None:
    """The first screen leads to the demo and lists what there is, and nothing that is not there yet."""
    result = run("--help")

    assert 0 == result.exit_code
    assert "session-mw demo" in result.output
    looking = ["compare", "export", "ledger", "list", "show", "stats", "tail", "view"]
    launching = ["completion", "config", "doctor", "end", "env", "run", "shell", "status", "templates"]
    assert sorted([*looking, *launching, "demo", "secret", "settings", "store", "sweep"]) == sorted(command.commands)


@pytest.mark.parametrize("name", sorted(command.commands))
def test_help_of_a_command_says_what_it_does(name: str) -> None:
    """Each command has a summary for the list, a help text and a description of every option."""
    found = command.commands[name]
    result = run(name, "-h")

    assert 0 == result.exit_code
    assert found.get_short_help_str(limit=200).endswith(".")
    assert all(getattr(option, "help", None) for option in found.params if isinstance(option, click.Option))


def test_version_is_the_package_s() -> None:
    """``--version`` tells the version of the package that runs."""
    assert f"session-mw, version {session_mw.__version__}\n" == run("--version").output


def test_no_command_shows_the_help() -> None:
    """Who types nothing learns what there is."""
    assert "Commands:" in run().output


@pytest.mark.parametrize("words", [("sweep-all",), ("secret", "--fast"), ("demo", "--endpoint", "localhost:4318")])
def test_command_line_that_is_not_understood_exits_with_2(words: tuple[str, ...]) -> None:
    """A wrong command, option or value is exit code 2 and says where help is."""
    result = run(*words)

    assert 2 == result.exit_code
    assert "--help" in result.output


def test_secret_prints_a_key_that_the_settings_take() -> None:
    """Standard output is the key alone, for scripts; how to set it stands on standard error."""
    result = run("secret")
    key = result.stdout.strip()

    assert key.encode() == SessionSettings(secret_key=key).secret_bytes()
    assert f"SESSION_MW_SECRET_KEY={key}" in result.stderr


def test_secret_is_another_each_time() -> None:
    """No two keys are alike."""
    assert 20 == len({run("secret").stdout for _ in range(20)})


def test_settings_lists_all_of_them_a_line_each() -> None:
    """Without a terminal each setting is one line with tabs, so that grep and cut can be used."""
    lines = run("settings").stdout.splitlines()

    assert "name\tdefault\tallowed\tdescription" == lines[0]
    assert ["\t".join(row) for row in settings_table()] == lines[1:]


def test_settings_as_json_name_the_environment() -> None:
    """``--json`` is one document, with the environment variable of each setting."""
    found = {row["name"]: row for row in json.loads(run("settings", "--json").stdout)}

    assert [row[0] for row in settings_table()] == list(found)
    assert "SESSION_MW_IDLE_TIMEOUT" == found["idle_timeout"]["environment"]
    assert "30m" == found["idle_timeout"]["default"]


def test_settings_in_a_terminal_show_brackets_as_they_are() -> None:
    """A bracket in a description is text, never a mark-up that vanishes."""
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(table_of([("a_name", "[]", "[red]", "as ['x']")]))

    assert all(text in capture.get() for text in ("[]", "[red]", "as ['x']"))


@pytest.mark.parametrize("module", ["click", "rich"])
def test_missing_package_is_one_line_with_the_command_that_installs_it(module: str) -> None:
    """Without the extra the command ends with 1 and one line, no traceback."""
    done = run_without(module, "--help")

    assert (1, "") == (done.returncode, done.stdout)
    assert f"session-mw needs {module}: pip install 'session-mw[cli]'\n" == done.stderr


@pytest.mark.parametrize(
    ("module", "package"),
    [("uvicorn", "uvicorn"), ("httpx", "httpx"), ("opentelemetry.proto", "opentelemetry-proto")],
)
def test_demo_without_its_packages_is_one_line(module: str, package: str) -> None:
    """The demo needs more than the command does, and names its own extra."""
    done = run_without(module, "demo")

    assert (1, "") == (done.returncode, done.stdout)
    assert f"Error: session-mw demo needs {package}: pip install 'session-mw[demo]'\n" == done.stderr


def test_import_error_of_ours_is_not_taken_for_a_missing_package() -> None:
    """A module that is missing for another reason is shown as what it is."""
    done = run_without("session_mw.cli.secret", "--help")

    assert 1 == done.returncode
    assert "Traceback" in done.stderr


def test_package_imports_neither_click_nor_rich() -> None:
    """``import session_mw.cli`` costs a program nothing but the module itself."""
    code = "import sys, session_mw.cli; print({'click', 'rich'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)

    assert "set()\n" == done.stdout


def test_python_m_is_the_same_command() -> None:
    """``python -m session_mw`` works where scripts are not on the path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "session_mw", "--version"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=True)

    assert f"session-mw, version {session_mw.__version__}\n" == done.stdout


def test_commands_of_the_distribution_exist() -> None:
    """Each script that pyproject.toml names is a function of the package."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.scripts]")[1].split("\n[")[0]
    scripts = dict(re.findall(r'(?m)^([a-z-]+) = "session_mw\.cli:([a-z_]+)"$', text))

    assert {"session-mw": "main", "claude-session": "claude_session"} == scripts
    assert all(callable(getattr(session_mw.cli, name)) for name in scripts.values())


def test_installed_command_is_main() -> None:
    """The entry point of the distribution leads here."""
    found = {point.name: point for point in entry_points(group="console_scripts")}
    if "session-mw" not in found:
        pytest.skip("the package is not installed, only on the path")

    assert main is found["session-mw"].load()
