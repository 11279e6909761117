"""What ``session-mw env`` prints: whatever a value is, the shell has it afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw.cli.app import command
from session_mw.cli.launch.quoting import Shell, rendered


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


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


POWERSHELL = [
    ("", "''"),
    ("plain", "'plain'"),
    ("it's $x `y` @{z} #!", "'it''s $x `y` @{z} #!'"),
    ("x-a: 1\nx-b: 2", "'x-a: 1'+[char]10+'x-b: 2'"),
    ("\n\r", "''+[char]10+[char]13"),
    ("\u2018\u2019\u201a\u201b", "''+[char]8216+[char]8217+[char]8218+[char]8219"),
    ("caf\xe9 \U0001f680", "'caf'+[char]233+' '+[char]55357+[char]56960"),
]


@pytest.mark.parametrize(("value", "expression"), POWERSHELL, ids=[repr(pair[0]) for pair in POWERSHELL])
def test_powershell(value: str, expression: str) -> None:
    """One line of ASCII: quotes doubled, and what is no printable ASCII by its UTF-16 numbers."""
    assert f"$env:A = {expression}\n" == rendered({"A": value}, "powershell", "mark")


def test_powershell_unsets() -> None:
    """A variable that is not there is no error."""
    assert "Remove-Item -ErrorAction Ignore Env:A\n" == rendered({"A": None}, "powershell", "mark")


PIECE = re.compile(r"'((?:[^']|'')*)'|\[char](\d+)")


@given(VALUES)
def test_powershell_reads_every_value_as_it_was(values: list[str]) -> None:
    """By PowerShell's rules (no PowerShell runs here): a string and characters, added one after the other."""
    lines = rendered({f"V{number}": value for number, value in enumerate(values)}, "powershell", "mark").splitlines()

    assert all(line.isascii() and line.isprintable() for line in lines)
    assert values == [_added(line.partition(" = ")[2]) for line in lines]


def _added(expression: str) -> str:
    """Add up what stands in an expression; nothing but strings, characters and plus signs may."""
    assert re.fullmatch(rf"(?:{PIECE.pattern})(?:\+(?:{PIECE.pattern}))*", expression)
    assert expression.startswith("'")  # else the sum would be one of characters
    units = b"".join(
        int(number).to_bytes(2, "little") if number else text.replace("''", "'").encode("utf-16-le")
        for text, number in PIECE.findall(expression)
    )
    return units.decode("utf-16-le")


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


def test_nobody_gets_a_variable_into_a_build_by_a_value() -> None:
    """The mark is random: no value can end its own lines and begin a variable, read as GitHub's runner does."""
    evil = "x\nmark\nPATH=/evil\nLD_PRELOAD<<mark\n/evil.so\nmark"
    environ = {"ANTHROPIC_CUSTOM_HEADERS": evil, "OTEL_RESOURCE_ATTRIBUTES": "a=b\nsession_mw_0\nPATH=/evil"}
    result = CliRunner().invoke(command, ["env", "--shell", "github", "-n", "n\nPATH=/evil"], env=environ)
    again = CliRunner().invoke(command, ["env", "--shell", "github"])
    names, lines, marks = [], result.stdout.split("\n"), set()
    while lines and lines[0]:
        name, _, mark = lines.pop(0).partition("<<")
        names.append(name)
        marks.add(mark)
        del lines[: lines.index(mark) + 1]

    assert {"PHOENIX_SESSION_ID", "PHOENIX_SESSION_NAME", "ANTHROPIC_CUSTOM_HEADERS"} <= set(names)
    assert {"PATH", "LD_PRELOAD"}.isdisjoint(names)
    assert (1, False) == (len(marks), marks.pop() in again.stdout)


@given(VALUES)
def test_json(values: list[str]) -> None:
    """One object, null for what is to be unset."""
    found: dict[str, str | None] = {f"V{number}": value for number, value in enumerate(values)}

    assert {**found, "GONE": None} == json.loads(rendered({**found, "GONE": None}, "json", "mark"))
