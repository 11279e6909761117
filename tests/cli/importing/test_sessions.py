"""Which spans make which turns of which sessions, and what is known of these."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from session_mw._core.identity import is_pseudonym
from session_mw.ledger import Ledger, SessionRow
from tests.cli.importing.support import MS, T0_NS, bring, events, lines, opened, request, span
from tests.cli.looking.history import run
from tests.ledger.support import dump

T0_MS = T0_NS // MS
MINUTE = 60_000


def turn(trace: int, at: int, session: str = "s", **said: Any) -> dict[str, Any]:
    """Return a trace of one span."""
    return request(span(trace, 1, at=at, said={"session.id": session, **said}))


def numbers(ledger: Ledger, session: str = "s") -> list[tuple[int | None, int]]:
    """Return number and begin of a session's turns."""
    return [(one.number, one.started_ms - T0_MS) for one in ledger.turns(session)]


def row_of(ledger: Ledger, session: str = "s") -> SessionRow:
    """Return a session that is there."""
    row = ledger.session(session)
    assert row is not None
    return row


def test_spans_of_many_files_in_any_order_are_put_together(url: str, tmp_path: Path) -> None:
    """A trace may lie in several files, its root behind its children."""
    child = request(span(1, 2, 1, at=10, ms=50, said={"session.id": "s", "user.id": "ann"}))
    later, root = turn(2, MINUTE), request(span(1, 1, ms=200, failed=True, name="POST /chat"))
    bring(url, lines(tmp_path / "a.jsonl", later, child), lines(tmp_path / "b.jsonl", root))
    row = row_of(opened(url))

    assert [(1, 0), (2, MINUTE)] == numbers(opened(url))
    assert (2, 1, 1, 300, "ann") == (row.turns, row.completed, row.failed, row.latency_ms, row.user_id)
    assert "error" == opened(url).turns("s")[0].error_type


def test_days_that_are_over_are_summed_up(url: str, tmp_path: Path) -> None:
    """No application may ever sweep the history, and do it."""
    bring(url, lines(tmp_path / "a.jsonl", turn(1, 0), turn(2, 3 * 86_400_000)))

    assert 0 == opened(url).roll_up(time.time_ns() // MS, 1.0)


def test_the_same_again_changes_nothing_and_more_is_added(url: str, tmp_path: Path) -> None:
    """Also where the session was taken for ended in between: it goes on."""
    usage = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 1}
    first, second = turn(1, 0, **usage), turn(2, MINUTE, **usage)
    short, long = lines(tmp_path / "short.jsonl", first), lines(tmp_path / "long.jsonl", first, second)
    bring(url, short)
    before = (row_of(opened(url)), opened(url).turns("s"))
    bring(url, short)
    again = (row_of(opened(url)), opened(url).turns("s"))
    bring(url, long)
    grown = (row_of(opened(url)), opened(url).turns("s"))
    bring(url, long)
    bring(url, short)

    assert before == again
    assert (1, T0_MS + 100, 10) == (before[0].turns, before[0].last_ms, before[0].input_tokens)
    assert (2, T0_MS + MINUTE + 100, 20) == (grown[0].turns, grown[0].last_ms, grown[0].input_tokens)
    assert ("timed_out", grown[0].last_ms + 30 * MINUTE) == (grown[0].status, grown[0].ended_ms)
    assert grown == (row_of(opened(url)), opened(url).turns("s"))


def test_files_of_different_days_make_one_session(tmp_path: Path) -> None:
    """In whichever order they are read; turns are numbered as they come."""
    one, two = lines(tmp_path / "1.jsonl", turn(1, 0)), lines(tmp_path / "2.jsonl", turn(2, MINUTE))
    sums = []
    for name, files in (("there", (one, two)), ("back", (two, one)), ("both", (two, one))):
        url = f"sqlite:///{tmp_path}/{name}.db"
        for file in files:
            bring(url, file)
        row = row_of(opened(url))
        sums.append((row.started_ms, row.last_ms, row.turns, row.latency_ms, row.status, row.ended_ms))

    assert [(T0_MS, T0_MS + MINUTE + 100, 2, 200, "timed_out", T0_MS + 31 * MINUTE + 100)] * 3 == sums


def test_a_root_that_comes_later_makes_no_second_turn(url: str, tmp_path: Path) -> None:
    """A turn that is a trace is known by it."""
    child = span(1, 2, 1, said={"session.id": "s"})
    bring(url, lines(tmp_path / "a.jsonl", request(child)))
    result = bring(url, lines(tmp_path / "b.jsonl", request(span(1, 1, ms=500), child)))

    assert "1 turn (0 new)" in result.stdout
    assert 1 == row_of(opened(url)).turns


def test_a_span_counts_once_however_often_it_was_exported(url: str, tmp_path: Path) -> None:
    """Retries write it twice."""
    said = {"session.id": "s", "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 10}
    one = request(span(1, 1, said=said))
    bring(url, lines(tmp_path / "a.jsonl", one, one))

    assert (1, 10) == (row_of(opened(url)).turns, row_of(opened(url)).input_tokens)


def test_several_sessions_in_a_trace_have_their_own_spans(url: str, tmp_path: Path) -> None:
    """A batch: what stands above all of them belongs to none, what stands below one to it."""
    result = bring(
        url,
        lines(
            tmp_path / "a.jsonl",
            request(
                span(1, 1, name="batch", ms=900),
                span(1, 2, 1, ms=100, said={"session.id": "a"}),
                span(1, 3, 2, said={"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 7}),
                span(1, 4, 1, at=200, ms=150, said={"session.id": "b"}),
            ),
        ),
    )

    assert [(7, 100), (None, 150)] == [
        (row_of(opened(url), s).input_tokens, row_of(opened(url), s).latency_ms) for s in "ab"
    ]
    assert "1 span without a session" in result.stdout


def test_turn_spans_of_our_own_are_the_turns(url: str, tmp_path: Path) -> None:
    """Then exactly these: no page load, and no trace of another service that carries the id only."""
    mine = {"session.id": "s", "session.type": "chat", "user.id": "u", "gen_ai.conversation.id": "s"}
    of_turn = {**mine, "turn.number": 4, "turn.id": "t", "turn.intent": "pay", "turn.latency_ms": 90}
    model = {**mine, "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 10}
    spans = [
        span(1, 1, name="POST /chat"),
        span(1, 2, 1, name="session", said={**mine, "session.channel": "web"}),
        span(1, 3, 2, name="turn", at=5, ms=91, said=of_turn),
        span(2, 1, name="session", at=MINUTE, said=mine),
    ]
    others = [span(1, 4, 3, said=model), span(3, 1, at=2 * MINUTE, said=mine)]
    bring(url, lines(tmp_path / "a.jsonl", request(*spans, scope="session_mw"), request(*others, scope="openai")))
    (only,) = opened(url).turns("s")
    row = row_of(opened(url))

    assert (4, T0_MS + 5, 90, "pay", 10, None) == (
        only.number, only.started_ms, only.latency_ms, only.intent, only.input_tokens, only.conversation_id
    )  # fmt: skip
    assert {"session.type": "chat", "turn.intent": "pay"} == only.attributes
    assert ("chat", "web", 4, 1) == (row.type, row.channel, row.turns, row.completed)


def test_an_end_with_its_totals_has_the_last_word(url: str, tmp_path: Path) -> None:
    """As when the ledger hears it live, from a log record or from a span."""
    end = {
        "session.id": "s", "session.total_turns": 5, "session.completed_turns": 5, "session.failed_turns": 0,
        "session.end_reason": "user_exit", "session.duration_ms": 9_000, "session.idle_time_ms": 0,
        "session.total_input_tokens": 77, "session.total_cost_usd": 0.25, "session.outcome": "resolved",
    }  # fmt: skip
    rows = []
    as_span = request(span(1, 9, 1, name="session.end", at=9_000, ms=0, said=end), scope="session_mw")
    for name, told in (("log", events(("session.end", 9_000, end))), ("span", as_span)):
        url = f"sqlite:///{tmp_path}/{name}.db"
        bring(url, lines(tmp_path / f"{name}.jsonl", turn(1, 0), told))
        row = row_of(opened(url))
        rows.append(
            (row.turns, row.input_tokens, row.cost_microusd, row.end_reason, row.outcome, row.status, row.ended_ms)
        )

    assert [(5, 77, 250_000, "user_exit", "resolved", "ended", T0_MS + 9_000)] * 2 == rows


@pytest.mark.parametrize("first_told", ["session.start", "session.end"])
def test_turns_belong_to_the_life_of_an_id_that_they_began_in(first_told: str, url: str, tmp_path: Path) -> None:
    """An id that was used again is another session; live spans do not say which, its events do."""
    end = {"session.id": "s", "session.total_turns": 1, "session.completed_turns": 1, "session.end_reason": "user_exit"}
    second = {**end, "session.generation": 2, "session.duration_ms": 1_000}
    at = {"session.start": 100_000, "session.end": 101_000}[first_told]
    turns = [(1, 0), (2, 100_000)]
    spans = [span(n, 1, name="turn", at=at, said={"session.id": "s", "turn.number": 1}) for n, at in turns]
    ends = [
        span(
            1, 2, 1, name="session.end", at=100, ms=0, said={**end, "session.generation": 1, "session.duration_ms": 100}
        ),
        span(2, 2, 1, name=first_told, at=at, ms=0, said=second),
    ]
    bring(url, lines(tmp_path / "a.jsonl", request(*spans, *ends, scope="session_mw")))
    ledger = opened(url)

    assert [[0], [100_000]] == [[t.started_ms - T0_MS for t in ledger.turns("s", life)] for life in (1, 2)]
    assert [(1, 1), (2, 1)] == [(row.generation, row.turns) for row in reversed(ledger.sessions())]


def test_events_of_other_sdks_say_when_and_nothing_else(url: str, tmp_path: Path) -> None:
    """By the semantic conventions a session.end has no totals: the turns are counted."""
    told = events(
        ("session.start", -5_000, {"session.id": "s", "session.previous_id": "r"}),
        ("session.end", 60_000, {"session.id": "s"}),
    )
    bring(url, lines(tmp_path / "a.jsonl", told, turn(1, 0), turn(2, 1_000)))
    row = row_of(opened(url))

    assert ("ended", None, 2, 200, "r") == (row.status, row.end_reason, row.turns, row.latency_ms, row.previous_id)
    assert (T0_MS - 5_000, T0_MS + 60_000, T0_MS + 60_000) == (row.started_ms, row.last_ms, row.ended_ms)


def test_a_session_of_just_now_is_active(url: str, tmp_path: Path) -> None:
    """Until nobody came back for as long as was said."""
    now = time.time_ns() // MS - T0_MS
    file = lines(tmp_path / "a.jsonl", turn(1, now - 10 * MINUTE))
    bring(url, file)
    early = row_of(opened(url)).status
    bring(url, file, "--idle", "5m")

    assert ("active", "timed_out") == (early, row_of(opened(url)).status)


def test_a_live_history_keeps_its_ends(url: str, tmp_path: Path) -> None:
    """What the application's own ledger was told is not counted again."""
    from tests.ledger.support import end
    from tests.ledger.support import turn as told

    ledger = opened(url)
    ledger.write_turns([told("s", number, started_ms=T0_MS) for number in (1, 2, 3)])
    ledger.emit([end("s")])
    before = row_of(ledger)
    span_of = [span(0, number, name="turn", said={"session.id": "s", "turn.number": number}) for number in (1, 2, 3)]
    spans = [{**one, "traceId": "a" * 32, "spanId": f"{n:016x}"} for n, one in enumerate(span_of, 1)]
    result = bring(url, lines(tmp_path / "a.jsonl", request(*spans, scope="session_mw")))

    assert "1 session (0 new), 3 turns (0 new)" in result.stdout
    assert before == row_of(ledger)


def test_users_stay_as_they_are_unless_pseudonyms_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are made with the workers' key, in turns and in events; one that is there already is left."""
    told = events(("session.start", 0, {"session.id": "s", "user.id": "annabel.lee"}))
    file = lines(tmp_path / "a.jsonl", turn(1, 0, **{"user.id": "annabel.lee"}), told)
    bring(f"sqlite:///{tmp_path}/plain.db", file)
    without_key = run("ledger", "import", file, "--hash-users", "--ledger", f"sqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("SESSION_MW_USER_HASH_KEY", "0123456789abcdefghijklmnopqrstuv")
    bring(f"sqlite:///{tmp_path}/hashed.db", file, "--hash-users")
    bring(f"sqlite:///{tmp_path}/hashed.db", file, "--hash-users")
    user = row_of(opened(f"sqlite:///{tmp_path}/hashed.db")).user_id or ""

    assert "annabel.lee" == row_of(opened(f"sqlite:///{tmp_path}/plain.db")).user_id
    assert is_pseudonym(user)
    assert (2, True) == (without_key.exit_code, "SESSION_MW_USER_HASH_KEY" in without_key.stderr)
    assert b"annabel.lee" not in (tmp_path / "hashed.db").read_bytes()


def test_failures_are_told_by_their_type_and_never_by_a_message(url: str, tmp_path: Path) -> None:
    """Messages repeat what was said."""
    raised = [("exception", {"exception.type": "TimeoutError", "exception.message": "no answer to 'my card 4111'"})]
    spans = [
        {**span(1, 1, failed=True, events=raised, said={"session.id": "a"}), "status": {"code": 2, "message": "4111"}},
        span(2, 1, failed=True, said={"session.id": "b", "http.response.status_code": 502}),
        span(3, 1, failed=True, said={"session.id": "c", "error.type": "rate_limit"}),
    ]
    bring(url, lines(tmp_path / "a.jsonl", request(*spans)))
    types = {row.session_id: opened(url).turns(row.session_id)[0].error_type for row in opened(url).sessions()}

    assert {"a": "TimeoutError", "b": "502", "c": "rate_limit"} == types
    assert b"4111" not in (tmp_path / "history.db").read_bytes()


def test_sessions_come_in_the_order_in_which_they_began(url: str, tmp_path: Path) -> None:
    """Whatever the order of the file."""
    file = lines(tmp_path / "a.jsonl", turn(1, MINUTE, "late"), turn(2, 0, "early"), turn(3, 30_000, "middle"))
    bring(url, file)

    assert ["late", "middle", "early"] == [row.session_id for row in opened(url).sessions()]


def test_the_other_commands_show_what_was_imported(url: str, tmp_path: Path) -> None:
    """List, filter and detail need nothing more."""
    bring(url, lines(tmp_path / "a.jsonl", turn(1, 0), turn(2, MINUTE)))
    found = run("list", "service.name", "=", "shop", "session.imported = true", "--all-time", "--ledger", url)
    shown = run("show", "s", "--ledger", url)

    assert (0, 0) == (found.exit_code, shown.exit_code), found.output
    assert found.stdout.splitlines()[1].startswith("s\t")
    assert 2 == len(re.findall(r"(?m)^ +[12] ", shown.stdout)), shown.stdout


def test_postgresql_gets_the_same(pg_emptied: str, tmp_path: Path) -> None:
    """What the two databases say afterwards is alike, and again changes nothing."""
    usage = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 10, "user.id": "ann"}
    file = lines(tmp_path / "a.jsonl", turn(1, 0, **usage), turn(2, MINUTE), turn(3, 0, "other"))
    here = f"sqlite:///{tmp_path}/history.db"
    for url in (here, pg_emptied, pg_emptied):
        bring(url, file)

    assert dump(opened(here), "s", "other") == dump(opened(pg_emptied), "s", "other")
    assert (2, 10, "ann") == (
        row_of(opened(pg_emptied)).turns, row_of(opened(pg_emptied)).input_tokens, row_of(opened(pg_emptied)).user_id
    )  # fmt: skip
