"""``session-mw compare``: what is said of two groups, and what is not."""

from __future__ import annotations

import json

import pytest

from session_mw._core import names
from session_mw.ledger import open_ledger
from tests.cli.looking.history import run
from tests.ledger.support import end


def versions(url: str, users: int) -> None:
    """Two versions, two sessions a user; the second costs a tenth more."""
    ledger = open_ledger(url)
    for version, cost in (("v9", 100_000), ("v10", 110_000)):
        said = {names.SESSION_PROMPT_VERSION: version, names.SESSION_USER_SATISFACTION: 0.5}
        ledger.emit(
            [
                end(f"{version}-{n}", user_id=f"{version}{n // 2}", cost_microusd=cost + 100 * (n % 7), attributes=said)
                for n in range(2 * users)
            ]
        )
    ledger.close()


def test_compare_tells_the_difference(mine: str) -> None:
    """Of means, with an interval over users; nothing is called a winner."""
    versions(mine, 20)
    words = ["compare", "v9", "v10", "--all-time", "--ledger", mine]
    found, shown = json.loads(run(*words, "--json").stdout), run(*words).stdout

    assert ("v9", 20, 40, "v10", 20, 40) == tuple(
        found[arm][name] for arm in "ab" for name in ("name", "users", "sessions")
    )
    assert (
        0.0100 == pytest.approx(found["difference"])
        and found["interval"][0] < found["difference"] < found["interval"][1]
    )
    assert 1.0 == found["chance_b_is_larger"]
    assert "difference v10 - v9: +$0.0100, 95 % interval $0.0099 to $0.0101" in shown
    assert "v9: 20 users only" in shown and "Looking every day" in shown
    assert "winner" not in shown and "better" not in shown


@pytest.mark.parametrize("metric", ["tokens", "latency", "satisfaction", "resolution", "score:helpful"])
def test_compare_by_every_metric(mine: str, metric: str) -> None:
    """Each is shown in its unit; what nobody knows is counted, not guessed."""
    versions(mine, 12)
    result = run("compare", "v9", "v10", "--metric", metric, "--all-time", "--ledger", mine)

    assert 0 == result.exit_code, result.output
    unknown = metric == "score:helpful"
    assert unknown == ("left out: 24." in result.stdout)
    assert {"tokens": "140", "latency": "300 ms", "satisfaction": "0.500", "resolution": "0.0%"}.get(
        metric, "-"
    ) in result.stdout


def test_compare_names_the_values_there_are(url: str) -> None:
    """In the order in which people count."""
    result = run("compare", "v2", "v3", "--ledger", url)

    assert 1 == result.exit_code
    assert "no session has prompt_version 'v3'. There is: v2, v10" in result.stderr
