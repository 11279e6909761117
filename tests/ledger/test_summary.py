"""Sums, samples and forgetting: the same in every ledger."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw._core import names
from session_mw.exceptions import FilterError, StoreUnavailable
from session_mw.ledger import Forgotten, Group, Ledger, RingLedger, Sampling, Summing, open_ledger, read_filter
from session_mw.ledger.samples import metric_named
from session_mw.ledger.summary import natural
from tests.ledger.support import cells, end, healthy, late, make, start, turn
from tests.ledger.test_filters import NOW, sessions, unhurried

BYS: list[tuple[str, ...]] = [
    (),
    ("type",),
    ("metadata.a",),
    ("user", "metadata.b"),
    ("turns",),
    ("started",),
    ("channel",),
]
METRICS = ["cost", "tokens", "latency", "satisfaction", "resolution", "errors", "turns", "duration", "score:helpful"]


def check_alike(ledgers: list[Ledger], described: list[dict[str, Any]]) -> None:
    for ledger in ledgers:
        ledger.emit([end(f"s{number}", **one) for number, one in enumerate(described)])
    for by in BYS:
        asked = Summing(read_filter("turns:<3", NOW), by)
        answers = [ledger.summary(asked) for ledger in ledgers]
        assert all(answers[0] == other for other in answers), by
        assert sum(group.sessions for group in answers[0]) == len(ledgers[0].sessions(where=asked.where))
    asks = Sampling("metadata.a", ("5", "a", "true"), tuple(METRICS))
    found = [sorted(map(repr, ledger.samples(asks))) for ledger in ledgers]
    assert all(found[0] == other for other in found)


@settings(unhurried, max_examples=15)
@given(described=st.lists(sessions, max_size=6))
def test_sums_and_samples_are_the_same_in_a_file_and_in_memory(described: list[dict[str, Any]]) -> None:
    """Over anything, by anything."""
    described = [_without_floats(one) for one in described]
    with tempfile.TemporaryDirectory() as folder:
        ledgers = [make(kind, folder) for kind in ("memory", "sqlite")]
        check_alike(ledgers, described)
        ledgers[1].close()


@settings(unhurried, max_examples=5)
@given(described=st.lists(sessions, max_size=6))
def test_sums_and_samples_are_the_same_in_postgresql_and_in_memory(described: list[Any], pg_emptied: str) -> None:
    """The same for the server."""
    ledger = open_ledger(pg_emptied)
    ledger.forget_older_than(2**60, 1_000)
    check_alike([RingLedger(), ledger], [_without_floats(one) for one in described])
    ledger.close()


def _without_floats(one: dict[str, Any]) -> dict[str, Any]:
    """As the name of a group a number with a fraction is written differently by each database."""
    kept = {key: value for key, value in one["attributes"].items() if not isinstance(value, float)}
    return {**one, "attributes": kept}


def told(ledger: Ledger) -> None:
    """Tell of two sessions of v10, one of v9, one of no version, one of nobody's, and a bot's."""
    version = {"a": "v10", "b": "v10", "c": "v9"}
    outcomes = {"a": "resolved", "b": "escalated", "c": "none"}
    for name in "abcde":
        said: dict[str, Any] = {names.SESSION_TYPE: "chat"}
        if name in version:
            said |= {names.SESSION_PROMPT_VERSION: version[name], names.SESSION_OUTCOME: outcomes[name]}
            said |= {names.SESSION_USER_SATISFACTION: 0.5, "session.score.helpful": 1}
        user, cost = (None if name == "d" else f"u_{'abc'.find(name) // 2}"), (None if name == "b" else 500_000)
        ledger.emit(
            [end(name, attributes=said, user_id=user, cost_microusd=cost, confirmed=name != "e", reason="user_exit")]
        )


def test_groups_come_in_natural_order_with_their_sums(ledger: Ledger) -> None:
    """v9 before v10, none last; what is unknown is counted apart."""
    told(ledger)
    nine, ten, none = ledger.summary(Summing(by=("prompt_version",)))

    assert [("v9",), ("v10",), (None,)] == [nine.key, ten.key, none.key]
    assert Group(
        ("v10",), sessions=2, users=1, anonymous=0, turns=6, failed=2, with_errors=2, duration_ms=120_000, tokens=280,
        counted=2, cost_microusd=500_000, priced=1, latency_ms=1_800, finished=6, resolved=1, settled=2,
    ) == ten  # fmt: skip
    assert (0.5, 300.0) == (ten.resolution_rate, ten.avg_turn_latency_ms)
    assert (None, 0, 1) == (nine.resolution_rate, nine.settled, none.anonymous)


def test_sum_over_nothing_is_one_group_of_nothing(ledger: Ledger) -> None:
    """Unless it is grouped."""
    assert [((), 0, None)] == [(one.key, one.sessions, one.avg_turn_latency_ms) for one in ledger.summary(Summing())]
    assert [] == ledger.summary(Summing(by=("type",)))


def test_unconfirmed_sessions_are_summed_when_asked_for(ledger: Ledger) -> None:
    """As lists have it."""
    told(ledger)

    assert 4 == ledger.summary(Summing())[0].sessions
    assert 5 == ledger.summary(Summing(include_unconfirmed=True))[0].sessions


@pytest.mark.parametrize("name", ["source", "has_errors", "resolved", ""])
def test_unknown_field_is_told(name: str) -> None:
    """Its name, and what may have been meant."""
    with pytest.raises(FilterError, match="no field"):
        Summing(by=(name,))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["v10", "v9", "v1"], ["v1", "v9", "v10"]),
        (["b", None, "a"], ["a", "b", None]),
        (["v1.10", "v1.9", "1", "10", "2"], ["1", "2", "10", "v1.9", "v1.10"]),
        (["5", "\u0663"], ["\u0663", "5"]),  # an Arabic 3
    ],
)
def test_natural_order(given: list[str | None], expected: list[str | None]) -> None:
    """As people count."""
    assert expected == sorted(given, key=natural)


@pytest.mark.parametrize(
    ("metric", "ten"),
    [
        ("cost", [(0.5, 1.0), None]),
        ("tokens", [(140.0, 1.0)] * 2),
        ("latency", [(900.0, 3.0)] * 2),
        ("resolution", [(1.0, 1.0), (0.0, 1.0)]),
        ("errors", [(1.0, 1.0)] * 2),
        ("turns", [(3.0, 1.0)] * 2),
        ("duration", [(60_000.0, 1.0)] * 2),
        ("satisfaction", [(0.5, 1.0)] * 2),
        ("score:helpful", [(1.0, 1.0)] * 2),
    ],
)
def test_samples_say_what_is_known(ledger: Ledger, metric: str, ten: list[Any]) -> None:
    """The numerator and the denominator of each session; None where there is nothing to say."""
    told(ledger)
    found = ledger.samples(Sampling("prompt_version", ("v10", "v9"), (metric,)))

    assert ["v10", "v10", "v9"] == sorted(one.arm for one in found)
    assert sorted(repr((one,)) for one in ten) == sorted(repr(one.values) for one in found if one.arm == "v10")
    assert metric != "resolution" or [(None,)] == [one.values for one in found if one.arm == "v9"]


def test_session_of_two_versions_is_marked(ledger: Ledger) -> None:
    """Its turns say so; another field does not look at them."""
    told(ledger)
    for number, version in enumerate(["v9", "v10"], 1):
        ledger.write_turns([turn("a", number, attributes={names.SESSION_PROMPT_VERSION: version})])
    ledger.write_turns([turn("b", number, attributes={names.SESSION_PROMPT_VERSION: "v10"}) for number in (1, 2)])
    found = ledger.samples(Sampling("prompt_version", ("v10", "v9")))

    assert 1 == sum(one.mixed for one in found) and 3 == len(found)
    assert not any(one.mixed for one in ledger.samples(Sampling("type", ("chat",))))


def test_sums_that_take_too_long_are_refused(pg_emptied: str, tmp_path: Path) -> None:
    """Half a sum is no answer; the next question is answered as ever."""
    for ledger in (make("sqlite", tmp_path), open_ledger(pg_emptied)):
        told(ledger)
        with pytest.raises(StoreUnavailable, match="longer than 0 s"):
            ledger.summary(Summing(seconds=0))
        with pytest.raises(StoreUnavailable, match="longer than 0 s"):
            ledger.samples(Sampling("type", ("a",), seconds=0))
        assert 4 == ledger.summary(Summing())[0].sessions
        ledger.close()


# -- forgetting


def several(ledger: Ledger) -> None:
    """Two sessions of one user, one of them twice, and one of another."""
    ledger.emit([end("s1"), end("s1", generation=2), start("s2"), end("other", user_id="u_2"), late("s1", tokens_in=5)])
    ledger.write_turns([turn("s1", n) for n in (1, 2, 3)])
    ledger.write_turns([turn("other", 1)])


def test_user_is_forgotten(ledger: Ledger) -> None:
    """With turns, attributes and late usage; others stay, and a second time there is nothing left."""
    several(ledger)

    assert Forgotten(sessions=3, turns=3, late_usage=1, active=1) == ledger.forget(user_id="u_1")
    assert Forgotten() == ledger.forget(user_id="u_1")
    assert ["other"] == [row.session_id for row in ledger.sessions()]
    assert 1 == len(ledger.turns("other"))


def test_session_is_forgotten(ledger: Ledger) -> None:
    """One of a user, in all its generations; not when it is another user's."""
    several(ledger)

    assert Forgotten() == ledger.forget(user_id="u_2", session_id="s1")
    assert 2 == ledger.forget(user_id="u_1", session_id="s1").sessions
    assert {"s2", "other"} == {row.session_id for row in ledger.sessions()}
    assert 1 == ledger.forget(session_id="other").sessions


def test_nobody_is_not_everybody(ledger: Ledger) -> None:
    """To name nothing must not delete everything."""
    several(ledger)
    for nothing in (None, ""):
        with pytest.raises(ValueError, match="no user and no session was named"):
            ledger.forget(user_id=nothing, session_id=nothing)

    assert 4 == len(ledger.sessions())


def test_much_is_forgotten_in_parts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """More sessions and turns than one transaction takes: all of them go, all are counted."""
    for module in ("sqlite", "postgres"):
        monkeypatch.setattr(f"session_mw.ledger.{module}.FORGET_SESSIONS", 2)
        monkeypatch.setattr(f"session_mw.ledger.{module}.FORGET_TURNS", 3)
    ledger.emit([end(f"s{n}") for n in range(5)])
    ledger.write_turns([turn(f"s{n}", number) for n in range(5) for number in (1, 2)])

    assert Forgotten(sessions=5, turns=10) == ledger.forget(user_id="u_1")
    assert [] == ledger.sessions()


def test_nothing_of_a_forgotten_user_is_left_in_the_file(path: Path) -> None:
    """Not even where SQLite keeps what may be overwritten."""
    user = "u_" + "7" * 32
    ledger = open_ledger(f"sqlite:///{path}")
    secrets = {names.SESSION_NAME: "a-name-to-forget", "metadata.secret": "a-value-to-forget"}
    ledger.emit([end(f"gone-{n}", user_id=user, attributes=secrets) for n in range(300)])
    ledger.emit([end("stays", user_id="u_2")])
    ledger.write_turns([turn(f"gone-{n}", attributes={"said": "a-word-to-forget"}) for n in range(300)])
    assert 300 == ledger.forget(user_id=user).sessions
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    ledger.close()

    assert healthy(path) and b"stays" in left
    assert not any(word in left for word in (user.encode(), b"gone-", b"to-forget"))
    assert not any(user in str(value) for _, _, value in cells(path))


def test_samples_of_unknown_metric_are_told() -> None:
    """With those that there are."""
    for name in ("price", "score", "score:"):
        with pytest.raises(FilterError, match="Compare by one of cost"):
            metric_named(name)
