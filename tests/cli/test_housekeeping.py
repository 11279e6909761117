"""``session-mw store stats``, ``scrub`` and ``revive``, over real stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from session_mw._core.lifecycle import MAX_ATTEMPTS
from session_mw._core.ops import Claim, End, StoreStats, Touch
from session_mw._core.records import Limits
from session_mw.cli.app import command
from session_mw.cli.housekeeping import lag_ms
from session_mw.stores import open_store

LIMITS = Limits(1_800_000, 86_400_000, 600_000, 60_000)


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests names no store."""
    monkeypatch.delenv("SESSION_MW_STORE", raising=False)


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store, and under ``url`` what the option is given."""
    if request.param == "redis":
        url = f"{request.getfixturevalue('redis_url')}?socket_timeout=5"
    else:
        url = f"sqlite:///{tmp_path}/live.db" if request.param == "sqlite" else request.getfixturevalue("pg_emptied")
    opened: Any = open_store(url)[0]
    if request.param == "postgresql":
        opened._database._ms[False] = 20_000  # a loaded machine
    opened.url = url
    opened.stats()
    yield opened
    opened.close()


def run(name: str, *more: str) -> Result:
    return CliRunner().invoke(command, ["store", name, *more])


def ended(store: Any, many: int, prefix: str = "s") -> list[tuple[str, int]]:
    """Let so many sessions begin and end."""
    names = [f"{prefix}{number}" for number in range(many)]
    for name in names:
        store.touch(Touch(None, name, LIMITS))
        store.end(End(name, "completed"))
    return [(name, 1) for name in names]


def set_aside(store: Any, keys: list[tuple[str, int]]) -> None:
    """Refuse ends until they are tried no more."""
    for attempt in range(MAX_ATTEMPTS + 1):
        assert len(keys) == len(store.claim(Claim(f"t{attempt}", LIMITS, 500, 30_000)).records)
        store.nack(keys, f"t{attempt}", 0)


def test_stats_tell_what_there_is(store: Any) -> None:
    """A line each, or one JSON object with the same."""
    keys = ended(store, 3)
    set_aside(store, keys)
    ended(store, 5, "waits")
    store.touch(Touch(None, "alive", LIMITS))
    lines, found = run("stats", "--store", store.url), json.loads(run("stats", "--store", store.url, "--json").stdout)

    assert 0 == lines.exit_code
    assert ["live", "ended", "claimed", "dead", "tombstones", "lag"] == [
        line.split()[0] for line in lines.stdout.splitlines()
    ]
    assert "3  (session-mw store revive lets them be reported)" in lines.stdout
    assert (1, 5, 0, 3) == tuple(found[name] for name in ("live", "ended", "claimed", "dead"))
    assert found["lag_ms"] >= 0 and found["now_ms"] > 0


@pytest.mark.parametrize(
    ("stats", "lag"),
    [(StoreStats(), 0), (StoreStats(oldest_due_ms=1, now_ms=1001), 1000), (StoreStats(oldest_due_ms=9, now_ms=5), 0)],
)
def test_lag_is_how_long_the_oldest_has_been_due(stats: StoreStats, lag: int) -> None:
    """By the store's own clock; nothing is due before its time."""
    assert lag == lag_ms(stats)


def test_scrub_removes_all_that_has_expired(store: Any) -> None:
    """Batch by batch until none is left; what has not expired stays."""
    keys = ended(store, 1205)
    claimed = 0
    while records := store.claim(Claim("mine", LIMITS, 5000, 30_000)).records:  # SQLite's come a hundred at a time
        claimed += len(records)
    assert 1205 == claimed
    store.ack(keys[:1203], "mine", -1)
    store.ack(keys[1203:], "mine", 3_600_000)
    result = run("scrub", "--store", store.url, "--json")

    assert 0 == result.exit_code, result.output
    repaired = {"repaired": 0} if store.name == "redis" else {}
    assert {"removed": 1203, **repaired} == json.loads(result.stdout)
    assert 2 == store.stats().tombstones


def test_scrub_finds_sessions_that_no_queue_knows(redis_url: str) -> None:
    """Redis evicted, or somebody deleted keys: they are put back, unless it is told not to look."""
    store: Any = open_store(redis_url)[0]
    for name in ("a", "b", "c"):
        store.touch(Touch(None, name, LIMITS))
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*client.scan_iter("*:q"))
    without, again = run("scrub", "--store", redis_url, "--no-repair"), run("scrub", "--store", redis_url)
    live = store.stats().live
    store.close()

    assert "removed 0\n" == without.stdout
    assert "removed 0, repaired 3\n" == again.stdout
    assert 3 == live


def test_revive_lets_ends_be_reported_again(store: Any) -> None:
    """All that were set aside, batch by batch; the next claim has them, and a second run finds none."""
    keys = ended(store, 12)
    set_aside(store, keys)
    assert (0, 12) == (len(store.claim(Claim("none", LIMITS, 500, 30_000)).records), store.stats().dead)
    first, again = run("revive", "--store", store.url), run("revive", "--store", store.url, "--json")

    assert (0, "revived 12\n") == (first.exit_code, first.stdout)
    assert {"revived": 0} == json.loads(again.stdout)
    assert 12 == len(store.claim(Claim("next", LIMITS, 500, 30_000)).records)


@pytest.mark.parametrize("name", ["stats", "scrub", "revive"])
def test_store_has_to_be_named_and_there(name: str, tmp_path: Path) -> None:
    """A mistake is one line; no file is made by looking into it."""
    nothing, memory = run(name), run(name, "--store", "memory://")
    missing = run(name, "--store", f"sqlite:///{tmp_path}/none.db")
    unreachable = run(name, "--store", "redis://me:hunter2@127.0.0.1:1/0")

    assert [2, 2, 1, 1] == [one.exit_code for one in (nothing, memory, missing, unreachable)]
    assert "no store was named" in nothing.output and "memory:// lives" in memory.output
    assert missing.output.startswith("Error: there is no file") and not (tmp_path / "none.db").exists()
    assert 1 == unreachable.output.count("\n") and "hunter2" not in unreachable.output


@pytest.mark.parametrize("name", ["migrate", "stats", "scrub", "revive"])
def test_help_shows_how_it_is_used(name: str) -> None:
    """Each command of the group has a summary and says what its options do."""
    found: Any = command.commands["store"]
    one = found.commands[name]

    assert 0 == run(name, "--help").exit_code
    assert one.get_short_help_str(limit=200).endswith(".")
    assert all(option.help for option in one.params)
