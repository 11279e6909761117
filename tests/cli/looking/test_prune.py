"""``session-mw ledger prune``: what is old goes, by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from session_mw._core import names
from session_mw.ledger import open_ledger
from tests.cli.looking.history import ids, made, run
from tests.ledger.support import T0, turn
from tests.stores.pg_server import schema


@pytest.fixture(params=["sqlite", "postgresql"])
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A history of one test, in each kind of database."""
    with ExitStack() as stack:
        found = f"sqlite:///{tmp_path}/history.db"
        if request.param == "postgresql":
            found = stack.enter_context(schema(request.getfixturevalue("pg_server")))
        made(found)
        yield found


def left(url: str) -> set[str]:
    return set(ids(run("list", "--all-time", "--unconfirmed", "--json", "--ledger", url)))


def test_prune_deletes_by_last_activity(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch by batch, until nothing is left that is as old."""
    monkeypatch.setattr("session_mw.cli.looking.prune.BATCH", 1)
    year = run("ledger", "prune", "--older-than", "90d", "--yes", "--ledger", mine)
    after_year = left(mine)
    hour = run("ledger", "prune", "--older-than", "1h", "--yes", "--json", "--ledger", mine)

    assert (0, "deleted 1 session\n") == (year.exit_code, year.stdout), year.output
    assert {"chat-1", "review-1", "open-1", "bot-1"} == after_year
    assert 3 == json.loads(hour.stdout)["sessions"]
    assert {"open-1"} == left(mine)


def test_prune_content_leaves_all_else(mine: str) -> None:
    """What was said in old turns goes, the turns stay."""
    ledger = open_ledger(mine)
    ledger.write_turns([turn("said-1", number, attributes={names.TURN_MESSAGES: "[]"}) for number in (1, 2)])
    result = run("ledger", "prune", "--older-than", "1d", "--content", "--yes", "--ledger", mine)
    turns = ledger.turns("said-1", content=True)
    ledger.close()

    assert (0, "deleted what was said in 2 turns\n") == (result.exit_code, result.stdout), result.output
    assert [(T0 + 1_000, False, {}), (T0 + 2_000, False, {})] == [(t.started_ms, t.captured, t.content) for t in turns]


def test_prune_asks_first(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked, it has to be said that nobody needs to be; no is no."""
    unasked = run("ledger", "prune", "--older-than", "90d", "--ledger", mine)
    monkeypatch.setattr("session_mw.cli.looking.prune.can_ask", lambda: True)
    denied = run("ledger", "prune", "--older-than", "90d", "--ledger", mine, input="n\n")

    assert (2, 1) == (unasked.exit_code, denied.exit_code)
    assert "Delete all sessions that were last active before 20" in denied.stderr
    assert "old-1" in left(mine)


@pytest.mark.parametrize("age", ["90", "0s", "90 days", "-1d", ""])
def test_prune_reads_ages_as_settings_do(age: str, tmp_path: Path) -> None:
    """A number alone is seconds; what is no duration is refused."""
    url = f"sqlite:///{tmp_path}/history.db"
    made(url)
    result = run("ledger", "prune", "--older-than", age, "--yes", "--ledger", url)

    assert (0 if age in ("90", "0s") else 2) == result.exit_code
