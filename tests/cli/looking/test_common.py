"""What all commands that look at the history share: how they are asked, and how they fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import session_mw
from session_mw._core import names
from session_mw.cli.looking import COMMANDS, show
from session_mw.cli.looking.common import plain, shown_ms, shown_usd
from session_mw.ledger import open_ledger
from tests.cli.looking.history import run
from tests.ledger.support import end

ROOT = Path(session_mw.__file__).parents[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["list", "trace_cont:>5"],
            "there is no field 'trace_cont'. Did you mean 'trace_count'?\n  trace_cont:>5\n  ^^^^^^^^^^\n",
        ),
        (["list", "type:chat", "cost:>x"], "column 17: 'cost' needs an amount in US dollars, such as 1.50, found 'x'."),
        (["stats", "OR"], "OR needs a condition before it"),
        (["list", "--sort", "price"], "nothing is sorted by 'price'"),
        (
            ["stats", "--by", "type,prompt_versoin"],
            "no field 'prompt_versoin' to group by. Did you mean 'prompt_version'?",
        ),
        (["compare", "a", "b", "--metric", "price"], "Compare by one of cost, tokens"),
        (["compare", "a", "b", "--by", "prize"], "no field 'prize'"),
        (["export", "--format", "csv", "a ("], "not closed"),
        (["tail", "a ("], "not closed"),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["ledger", "forget"], "nobody was named"),
    ],
)
def test_command_line_that_is_not_understood(words: list[str], says: str, mine: str) -> None:
    """Exit code 2, nothing on standard output, the place marked."""
    result = run(*words, "--ledger", mine)

    assert (2, "") == (result.exit_code, result.stdout)
    assert says in result.stderr


@pytest.mark.parametrize(
    "words",
    [["list"], ["show", "x"], ["stats"], ["compare", "a", "b"], ["tail"], ["ledger", "forget", "--session", "x"]],
)
def test_history_has_to_be_named_and_there(words: list[str], tmp_path: Path) -> None:
    """A mistake is one line; no file is made by looking into it."""
    nothing, memory = run(*words), run(*words, "--ledger", "memory://")
    redis, missing = run(*words, "--store", "redis://h/0"), run(*words, "--ledger", f"sqlite:///{tmp_path}/none.db")

    assert [2, 2, 2, 1] == [one.exit_code for one in (nothing, memory, redis, missing)]
    assert "no history was named" in nothing.stderr and "memory:// lives" in memory.stderr
    assert "redis:// keeps no history" in redis.stderr
    assert missing.output.startswith("Error: there is no file") and not (tmp_path / "none.db").exists()


def test_history_of_the_store_is_its_own(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere: the ledger, or the store's database; from the environment too."""
    assert "chat-1" in run("list", "--store", mine).stdout
    monkeypatch.setenv("SESSION_MW_STORE", "redis://cache/0")
    monkeypatch.setenv("SESSION_MW_LEDGER", mine)
    assert "chat-1" in run("list").stdout


@pytest.mark.parametrize("found", [*COMMANDS[:-1], *COMMANDS[-1].commands.values()], ids=lambda one: str(one.name))
def test_help_shows_how_it_is_used(found: click.Command) -> None:
    """An example each, and what every option does."""
    text = " ".join((found.help or "").split())

    assert "Example" in text and "session-mw " in text
    assert all(option.help for option in found.params if isinstance(option, click.Option))
    assert show in COMMANDS


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (4_200, "4.2 s"),
        (724_000, "12m 04s"),
        (11_400_000, "3h 10m"),
        (187_200_000, "2d 4h"),
    ],
)
def test_lengths_of_time_for_people(ms: int | None, expected: str) -> None:
    """Two units at most."""
    assert expected == shown_ms(ms)


@pytest.mark.parametrize(("usd", "expected"), [(None, "-"), (0, "$0.00"), (0.00123, "$0.0012"), (1234.5, "$1,234.50")])
def test_money_for_people(usd: float | None, expected: str) -> None:
    """No price is no zero."""
    assert expected == shown_usd(usd)


def test_plain_text_stays_as_it_is() -> None:
    """Other scripts are no attack."""
    assert ("Grüße 你好", "a\\x07b") == (plain("Grüße 你好"), plain("a\x07b"))


def test_output_that_takes_no_unicode_is_no_failure(mine: str) -> None:
    """Names are shown as far as they can be; JSON loses nothing."""
    ledger = open_ledger(mine)
    ledger.emit([end("names", attributes={names.SESSION_NAME: "你好"})])
    ledger.close()

    def said(*words: str) -> bytes:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "SESSION_MW_LEDGER": mine}
        done = subprocess.run([sys.executable, "-m", "session_mw", *words], capture_output=True, env=environment)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    assert b'"??"' in said("show", "names") and b"####" in said("show", "chat-1")
    assert "你好" == json.loads(said("show", "names", "--json"))["name"]
