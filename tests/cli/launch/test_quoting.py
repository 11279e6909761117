"""What ``session-mw env`` prints: whatever a value is, the shell has it afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw.cli.launch.quoting import Shell, rendered

VALUES = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30), max_size=8)
NASTY = ["'", "''", "\\", "\\'", '"$(touch x)`id`"', "a\nb\n", "!!", "~", "* ?", "\u2019", "é\t", "-n", "$HOME", ""]

PRINTING = {
    "bash": "bash -c",
    "zsh": "zsh -fc",
    "fish": "fish --no-config -c",
}


def read_back(shell: Shell, values: list[str]) -> list[str]:
    """Let a real shell evaluate the text, and return the variables that a child of it has."""
    found = {f"V{number}": value for number, value in enumerate(values)}
    text = rendered(found, shell, "mark")
    child = "env -0"
    pipe = f"cat | source\n{child}" if shell == "fish" else f'eval "$(cat)"\n{child}'
    done = subprocess.run(
        [*PRINTING[shell].split(), pipe],
        input=text.encode(),
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
        capture_output=True,
        check=True,
    )
    pairs = dict(pair.split("=", 1) for pair in done.stdout.decode("utf-8", "surrogateescape").split("\0") if pair)
    return [pairs[name] for name in found]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_bash_has_every_value_as_it_was(values: list[str]) -> None:
    """``eval "$(session-mw env)"`` in a real bash gives back any text."""
    assert values == read_back("bash", values)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_have_nasty_values_as_they_were(shell: Shell) -> None:
    """The same for values that shells make something of."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")

    assert NASTY == read_back(shell, NASTY)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_every_value_as_it_was(shell: Shell) -> None:
    """The property of bash, for zsh and fish."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(VALUES)
    def holds(values: list[str]) -> None:
        assert values == read_back(shell, values)

    holds()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_no_more_is_unset(shell: Shell) -> None:
    """None takes a variable away."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    text = rendered({"GONE": None}, shell, "mark")
    environ = {"PATH": os.environ["PATH"], "GONE": "x"}
    done = subprocess.run([*PRINTING[shell].split(), f"{text}\nenv"], env=environ, capture_output=True)

    assert b"GONE" not in done.stdout


def test_powershell_doubles_what_ends_a_string() -> None:
    """PowerShell takes four characters for a single quote, so each is doubled."""
    assert "$env:A = 'it''s \u2019\u2019 $x `y'\n" == rendered({"A": "it's \u2019 $x `y"}, "powershell", "mark")
    assert "Remove-Item -ErrorAction Ignore Env:A\n" == rendered({"A": None}, "powershell", "mark")


@given(VALUES)
def test_github_file_is_read_as_github_does(values: list[str]) -> None:
    """Lines between a mark that is in no value, as GitHub documents for ``$GITHUB_ENV``."""
    found = {f"V{number}": value for number, value in enumerate(values)}
    lines = rendered(found, "github", "a-mark").split("\n")
    read: dict[str, str] = {}
    while len(lines) > 1:
        name, _, mark = lines.pop(0).partition("<<")
        end = lines.index(mark)
        read[name] = "\n".join(lines[:end])
        del lines[: end + 1]

    assert found == read


@given(VALUES)
def test_json(values: list[str]) -> None:
    """One object, null for what is to be unset."""
    found: dict[str, str | None] = {f"V{number}": value for number, value in enumerate(values)}

    assert {**found, "GONE": None} == json.loads(rendered({**found, "GONE": None}, "json", "mark"))
