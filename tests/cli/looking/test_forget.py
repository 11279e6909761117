"""``session-mw ledger forget``: whom it finds, and that it asks."""

from __future__ import annotations

import json

import pytest

from session_mw._core.identity import derive_key, hash_user_id
from session_mw.ledger import open_ledger
from tests.cli.looking.history import JANE, ids, run
from tests.ledger.support import end

SECRET = "a-secret-of-at-least-sixteen-bytes-for-tests"


def left(url: str) -> set[str]:
    return set(ids(run("list", "--all-time", "--unconfirmed", "--json", "--ledger", url)))


EVERYTHING = {"chat-1", "review-1", "open-1", "old-1", "bot-1"}


def test_forget_by_pseudonym_needs_no_key(mine: str) -> None:
    """What the history shows can be given as it is."""
    result = run("ledger", "forget", "--user", JANE, "--yes", "--ledger", mine)

    assert (0, "forgot 1 session, 3 turns\n") == (result.exit_code, result.stdout)
    assert EVERYTHING - {"chat-1"} == left(mine)


@pytest.mark.parametrize("name", ["SECRET_KEY", "USER_HASH_KEY"])
def test_forget_by_the_application_s_id_needs_the_key(mine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pseudonym is made as the workers make it."""
    user = hash_user_id("jane@example.com", derive_key(SECRET.encode(), "user-hash"))
    ledger = open_ledger(mine)
    ledger.emit([end("hers", user_id=user)])
    ledger.close()
    without = run("ledger", "forget", "--user", "jane@example.com", "--yes", "--ledger", mine)
    monkeypatch.setenv(f"SESSION_MW_{name}", SECRET)
    found = ids(run("list", "--all-time", "--json", "--ledger", mine, 'user:"jane@example.com"'))
    result = run("ledger", "forget", "--user", "jane@example.com", "--yes", "--json", "--ledger", mine)

    assert 2 == without.exit_code and "SESSION_MW_USER_HASH_KEY or SESSION_MW_SECRET_KEY" in without.stderr
    assert ["hers"] == found
    assert {"sessions": 1, "turns": 0, "late_usage": 0, "active": 0} == json.loads(result.stdout)
    assert left(mine) == EVERYTHING


def test_forget_where_no_pseudonyms_are_made(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id is looked for as it is; one that goes on is told of."""
    monkeypatch.setenv("SESSION_MW_USER_ID_MODE", "plain")
    result = run("ledger", "forget", "--user", "u_2", "--yes", "--ledger", mine)

    assert "forgot 1 session, 0 turns\n" == result.stdout
    assert "1 of these had not ended" in result.stderr
    assert EVERYTHING - {"open-1"} == left(mine)


def test_forget_asks_first(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody can answer; elsewhere it wants --yes. Nothing is deleted before."""
    silent = run("ledger", "forget", "--session", "chat-1", "--ledger", mine)
    monkeypatch.setattr("session_mw.cli.looking.forget.can_ask", lambda: True)
    no = run("ledger", "forget", "--session", "chat-1", "--ledger", mine, input="n\n")
    assert (2, 1) == (silent.exit_code, no.exit_code)
    assert "this deletes 1 session" in silent.stderr and "Delete 1 session for good?" in no.stderr
    assert EVERYTHING == left(mine)

    assert 0 == run("ledger", "forget", "--session", "chat-1", "--ledger", mine, input="y\n").exit_code
    assert EVERYTHING - {"chat-1"} == left(mine)


def test_forget_of_nobody_known_says_so(mine: str) -> None:
    """It does not ask, and is no error: a second run is like the first."""
    result = run("ledger", "forget", "--session", "nobody", "--ledger", mine)

    assert (0, "forgot 0 sessions, 0 turns\n") == (result.exit_code, result.stdout)
