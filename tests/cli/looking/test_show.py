"""``session-mw show``: one session, turn by turn."""

from __future__ import annotations

import json

from session_mw._core import names
from session_mw.ledger import open_ledger
from tests.cli.looking.history import run
from tests.ledger.support import end


def test_unknown_session_is_told(url: str) -> None:
    """Exit code 1, one line."""
    result = run("show", "nobody", "--ledger", url)

    assert (1, "") == (result.exit_code, result.stdout)
    assert "no session 'nobody' is in the history" in result.stderr


def test_show_draws_turns_on_an_axis(url: str) -> None:
    """Idle time is collapsed, errors are marked in words, each turn has its tokens and cost."""
    result = run("show", "chat-1", "--ledger", url)
    lines = result.stdout.splitlines()

    assert 0 == result.exit_code
    assert 'chat-1  chat · v2 · "async-refactor"' == lines[0]
    assert "1h 00m · 3 turns · 3 traces · 1 error · 140 tokens (in 100, out 40) · $1.25" in lines[2]
    assert ["1  greet", "2  search"] == [
        line[3:].rstrip()[: len(name) + 3] for line, name in zip(lines[5:7], ["greet", "search"], strict=True)
    ]
    assert "59m 48s idle" in lines[7]
    assert lines[8].startswith("   3!") and lines[8].endswith("error TimeoutError")
    assert all("120    $0.0300" in line for line in (lines[5], lines[6], lines[8]))
    assert "\x1b" not in result.stdout


def test_show_tells_of_turns_that_are_missing(url: str) -> None:
    """What is not in the history is not taken for idle time."""
    result = run("show", "review-1", "--ledger", url)

    assert "no turns are in the history" in result.stdout
    assert "the history has 0 of 1 turns" in result.stderr


def test_show_has_the_generation_that_was_asked_for(mine: str) -> None:
    """The newest, unless told which."""
    ledger = open_ledger(mine)
    ledger.emit([end("chat-1", generation=2, turns=9)])
    ledger.close()
    found = [run("show", "chat-1", "--json", "--ledger", mine, *more) for more in ([], ["--generation", "1"])]

    assert [(2, 9), (1, 3)] == [(one["generation"], one["turn_count"]) for one in (json.loads(r.stdout) for r in found)]


def test_hostile_text_does_not_reach_the_terminal(mine: str) -> None:
    """Escape sequences and direction marks are shown, not obeyed."""
    ledger = open_ledger(mine)
    ledger.emit([end("evil", attributes={names.SESSION_NAME: "\x1b[2J\u202eevil", names.SESSION_TYPE: "a\tb\nc"})])
    ledger.close()
    for words in (["show", "evil"], ["list", "--all-time"], ["stats", "--by", "name", "--all-time"]):
        said = run(*words, "--ledger", mine).stdout
        assert "\x1b" not in said and "\u202e" not in said
    assert "\\x1b[2J\\u202eevil" in run("show", "evil", "--ledger", mine).stdout


# -- stats and compare
