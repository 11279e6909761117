"""``session-mw compare``: what is said of groups, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from session_mw._core import names
from session_mw.cli.looking.compare import _values
from session_mw.ledger import open_ledger
from tests.cli.looking.history import run
from tests.ledger.support import T0, end

MINUTE = 60_000


def versions(url: str, users: int, *more: str, **changes: Any) -> None:
    """v9 and v10, two sessions a user, at the same times; the second costs a tenth less. Further ones cost the same."""
    ledger = open_ledger(url)
    for version, cost in (("v9", 100_000), ("v10", 90_000), *((one, 100_000) for one in more)):
        said = {names.SESSION_PROMPT_VERSION: version, names.SESSION_USER_SATISFACTION: 0.5, **changes}
        ledger.emit(
            [
                end(
                    f"{version}-{n}",
                    user_id=f"{version}{n // 2}",
                    cost_microusd=cost + 100 * (n % 7),
                    started_ms=T0 + n * MINUTE,
                    last_ms=T0 + (n + 1) * MINUTE,
                    attributes=said,
                )
                for n in range(2 * users)
            ]
        )
    ledger.close()


def test_compare_tells_the_difference(mine: str) -> None:
    """Of means, with an interval over users, and of medians; nothing is called a winner."""
    versions(mine, 20)
    words = ["compare", "v9", "v10", "--all-time", "--ledger", mine]
    found, shown = json.loads(run(*words, "--json").stdout), run(*words).stdout
    (pair,) = found["pairs"]
    cost = pair["metrics"][0]

    assert ("v9", 20, 40) == (pair["a"]["name"], cost["a"]["users"], cost["a"]["sessions"])
    assert ("v10", 20, 40) == (pair["b"]["name"], cost["b"]["users"], cost["b"]["sessions"])
    assert -0.01 == pytest.approx(cost["difference"]["value"])
    assert cost["difference"]["interval"][0] < -0.01 < cost["difference"]["interval"][1]
    assert 0.0 == cost["chance_b_is_larger"]
    assert "difference v10 - v9: -$0.0100, 95 % interval -$0.0101 to -$0.0099\n" in shown
    assert "of medians v10 - v9: -$0.0100, 95 % interval " in shown
    assert (
        "v9 costs $0.1003 a session on average, v10 $0.0903: 9.97 % less (95 % interval 9.87 % to 10.07 % less)."
        in shown
    )
    assert "tokens per session\t140\t140\t0\t0 to 0\t99 %, p = 1\n" in shown, "all quantities, wider by Holm"
    assert "! v9: 20 users only" in shown and "* This can be looked at any day." in shown
    assert "winner" not in shown and "better" not in shown


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("tokens", "v9\t12\t24\t140\t"),
        ("latency", "v9\t12\t24\t300 ms\t"),
        ("satisfaction", "v9\t12\t24\t0.500\t"),
        ("resolution", "v9\t12\t24\t0.0 %\t-\t-\n"),
        ("errors", "v9\t12\t24\t100.0 %\t-\t-\n"),
        ("turns", "v9\t12\t24\t3.00\t"),
        ("duration", "v9\t12\t24\t1m 00s\t"),
        ("score:helpful", "v9\t0\t0\t-\t-\t-\n"),
    ],
)
def test_compare_by_every_metric(mine: str, metric: str, expected: str) -> None:
    """Each is shown in its unit; what nobody knows is counted, not guessed."""
    versions(mine, 12)
    result = run("compare", "v9", "v10", "--metric", metric, "--only", "--all-time", "--ledger", mine)

    assert 0 == result.exit_code, result.output
    assert expected in result.stdout and "cost per session" not in result.stdout
    assert (metric == "score:helpful") == ("left out: 24 of v9, 24 of v10." in result.stdout)


def test_compare_several_with_the_first(mine: str) -> None:
    """Values go on until the filter begins; their intervals share one risk."""
    versions(mine, 20, "v11")
    words = ["compare", "v9", "v10", "v11", "type:chat", "OR", "cost:>0", "--only", "--all-time", "--ledger", mine]
    found = json.loads(run(*words, "--json").stdout)

    assert ["v9", "v10", "v11"] == found["values"]
    assert [("v9", "v10"), ("v9", "v11")] == [(one["a"]["name"], one["b"]["name"]) for one in found["pairs"]]
    assert 2 == found["comparisons_that_share_the_risk"]["of_the_metric"]
    assert found["pairs"][0]["metrics"][0]["difference"]["confidence"] == pytest.approx(0.975)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("v3 v10", 2),
        ("v3 type:chat", 1),
        ("v3 cost > 5", 1),
        ("v3 last 7 days", 1),
        ("v3 today", 1),
        ("v3 -type:chat", 1),
        ("v3 (type:chat)", 1),
        ("v3 NOT type:chat", 1),
        ("v3 type IN [chat]", 1),
        ("v3 type NOT IN [chat]", 1),
        ("2026-01-15 v1.2_rc", 2),
        ("", 0),
    ],
)
def test_values_end_where_the_filter_begins(words: str, values: int) -> None:
    """At the first word that is a condition, or the begin of one."""
    split = tuple(words.split())

    assert (split[:values], split[values:]) == _values(split)


def test_compare_says_whether_users_were_shared_out_as_intended(mine: str) -> None:
    """Only where that is given, in any unit; the 95th percentiles likewise."""
    versions(mine, 12)
    words = ["compare", "v9", "v10", "--only", "--all-time", "--ledger", mine]

    assert "shared out" not in run(*words).stdout and "95th" not in run(*words).stdout
    shown = run(*words, "--split", "50:50", "--p95").stdout
    assert "* Shared out as intended: 12 to 12 users where 50 to 50 % were meant (p = 1)." in shown
    assert "of 95th percentiles v10 - v9: -$0.0100, no interval" in shown
    for split in ("half", "50", "50:0", "1:1:1"):
        result = run(*words, "--split", split)
        assert 2 == result.exit_code and "split" in result.stderr


def test_compare_only_when_both_ran(mine: str) -> None:
    """Unless the whole period is asked for; each is said. The history has one more of v10, of another time."""
    versions(mine, 20)
    ledger = open_ledger(mine)
    late = {"started_ms": T0 + 1_000 * MINUTE, "last_ms": T0 + 1_001 * MINUTE}
    ledger.emit([end("late", user_id="x", attributes={names.SESSION_PROMPT_VERSION: "v10"}, **late)])
    ledger.close()
    words = ["compare", "v9", "v10", "--only", "--all-time", "--ledger", mine]

    assert "when both ran; sessions outside of it, left out: 2 of v10." in run(*words).stdout
    assert "v10\t20\t40\t" in run(*words).stdout
    whole = run(*words, "--whole-period").stdout
    assert "Compared over the whole period" in whole and "v10\t21\t41\t" in whole


def test_compare_names_the_values_there_are(url: str) -> None:
    """In the order in which people count."""
    result = run("compare", "v2", "v3", "--ledger", url)

    assert 1 == result.exit_code
    assert "no session has prompt_version 'v3'. There is: v2, v10" in result.stderr


def test_compare_refuses_what_cannot_be_compared(url: str) -> None:
    """As a command line that is not understood."""
    for words, message in (
        (("v2", "v2"), "2 to 12 different values"),
        (("v2", "v10", "--metric", "price"), "there is no metric 'price'"),
        (("v2", "v10", "--by", "promt_version"), "there is no field 'promt_version'"),
        (("v2", "v10", "trace_cont:>5"), "there is no field 'trace_cont'"),
    ):
        result = run("compare", *words, "--ledger", url)
        assert 2 == result.exit_code and message in result.stderr


def test_help_says_how_to_read_it() -> None:
    """What an interval is, whose units are users, and that nothing wins."""
    text = " ".join(run("compare", "--help").stdout.split())

    for words in (
        "where the true difference lies, 95 times in 100",
        "Users are the units",
        "Nothing is called a winner",
    ):
        assert words in text
