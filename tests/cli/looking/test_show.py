"""``session-mw show``: one session, turn by turn."""

from __future__ import annotations

import json

from session_mw._core import names
from session_mw._core.records import UsageRecord
from session_mw.ledger import open_ledger
from tests.cli.looking.history import run
from tests.ledger.support import T0, end, turn


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


def test_show_has_a_line_for_each_call(mine: str) -> None:
    """Below its turn, on the same axis, further in what was made in an agent's run; what failed is marked."""
    ledger = open_ledger(mine)
    at = T0 + 1_000
    calls = [
        UsageRecord("agent", at, 9_000, "helper", span_id="a" * 16),
        UsageRecord("model", at, 4_000, "chat", "big-1", parent_id="a" * 16, input_tokens=10, cost_microusd=5_000),
        UsageRecord("tool", at + 5_000, 5_000, "se\x1barch", status="error", error_type="Time\u202eout"),
        *(UsageRecord("tool", at + 9_999, 1, f"t{n}") for n in range(11)),
    ]
    ledger.write_turns([turn("calls", latency_ms=10_000, usages=tuple(calls))])
    ledger.close()
    result = run("show", "calls", "--ledger", mine)
    lines = result.stdout.splitlines()[6:]

    assert ["agent helper", "model big-1", r"tool se\x1barch"] == [" ".join(line[6:].split()[:2]) for line in lines[:3]]
    assert lines[0].index("agent") + 1 == lines[1].index("model")
    assert lines[1].endswith(" 4.0 s        10    $0.0050")
    assert lines[2].startswith("    !") and lines[2].endswith(r"error Time\u202eout")
    assert "2 more calls" == lines[12].strip()
    starts = [line.index("\N{BLACK SMALL SQUARE}") for line in lines[:3]]
    assert starts[0] == starts[1] < starts[2]


def test_show_as_json_carries_calls_and_what_was_said(mine: str) -> None:
    """All of them, by the names that the viewer's JSON has."""
    ledger = open_ledger(mine)
    call = UsageRecord("model", T0, 5, "chat", "big-1", input_tokens=10)
    ledger.write_turns([turn("calls", usages=(call,), attributes={"input.value": "hello"})])
    ledger.close()
    (one,) = json.loads(run("show", "calls", "--json", "--ledger", mine).stdout)["turns"]

    assert ({"input.value": "hello"}, True, {}) == (one["content"], one["captured"], one["attributes"])
    assert [("model", "big-1", 10, None)] == [
        (call["kind"], call["model"], call["input_tokens"], call["cost_usd"]) for call in one["calls"]
    ]


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
