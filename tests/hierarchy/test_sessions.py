"""``session_context``: extended while it lives, started otherwise, one user, one trace a turn."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from session_mw import SettingsError, configure, current_session, current_turn, hash_user_id, session_context, turn
from session_mw._hierarchy.hosts import engine_of
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.testing import FakeClock, RecordingSink

from .support import SECRET, Script, id_of, parent_of, trace_of


def test_session_is_extended_while_it_lives(script: Script) -> None:
    """The same id five minutes later is the same session, and its second turn."""
    with session_context(session_id="sess-123"):
        assert 1 == current_turn().number  # type: ignore[union-attr]
    script.clock.advance(seconds=300)
    with session_context(session_id="sess-123"):
        assert 2 == current_turn().number  # type: ignore[union-attr]

    end = script.ended()
    assert ("sess-123", 1, 2) == (end["session.id"], end["session.generation"], end["session.total_turns"])
    assert 300_000 == end["session.duration_ms"]


def test_session_after_its_end_is_a_new_generation(script: Script) -> None:
    """The id is kept; what follows an end is told apart by its generation, and linked to nothing."""
    for _ in range(2):
        with session_context(session_id="sess-123"):
            pass
        script.sweep(31)

    ends = [event.attributes for event in script.ends()]
    assert [1, 2] == [end["session.generation"] for end in ends]
    assert ["sess-123"] * 2 == [end["session.id"] for end in ends]
    assert len(ends) == len({end["log.record.uid"] for end in ends})
    assert [None, None] == [end.get("session.previous_id") for end in ends]


def test_session_that_expired_unseen_is_a_new_generation(script: Script) -> None:
    """Nobody swept in between: the touch itself finds that the session is over."""
    for _ in range(2):
        with session_context(session_id="sess-123"):
            pass
        script.clock.advance(seconds=1860)
    script.sweep()

    assert [1, 2] == sorted(event.key[1] for event in script.ends())


def test_session_without_an_id_gets_one(script: Script) -> None:
    """Without an id a session is made, each time another one."""
    with session_context() as first:
        pass
    with session_context() as second:
        pass

    assert first.id != second.id
    assert len(first.id) == 32


def test_session_both_ways_of_naming_a_user_are_one_user(script: Script) -> None:
    """A pseudonym that ``hash_user_id`` made is recognised: the session goes on."""
    with session_context("s-1", user_id="user-456"):
        pass
    with session_context("s-1", user_id=hash_user_id("user-456")):
        pass

    assert 2 == script.ended()["session.total_turns"]


@pytest.mark.parametrize("nobody", [None, "", "anonymous"])
def test_session_of_nobody(script: Script, nobody: object) -> None:
    """Nobody is identified by these, and no user stands anywhere."""
    with session_context("s-1", user_id=nobody):
        script.work()

    assert "user.id" not in script.shown("work")
    assert "user.id" not in script.ended()


def test_session_of_another_user_ends_and_begins_anew(script: Script) -> None:
    """A session never holds two users: the second one's turn is the next generation of the same id."""
    with session_context("s-1", user_id="a"):
        pass
    with session_context("s-1", user_id="b"):
        script.work()
    script.sweep(31)

    first, second = (event.attributes for event in script.ends())
    assert ("replaced", 1, hash_user_id("a")) == (first["session.end_reason"], 1, first["user.id"])
    assert ("idle_timeout", 2, hash_user_id("b")) == (
        second["session.end_reason"],
        second["session.generation"],
        second["user.id"],
    )
    assert hash_user_id("b") == script.shown("work")["user.id"]


def test_session_without_a_user_continues_that_of_a_user(script: Script) -> None:
    """The application vouches for its id: leaving the user out, at any time, changes nothing."""
    with session_context("s-1", user_id="a"):
        pass
    script.clock.advance(seconds=600)
    with session_context("s-1"):
        script.work()

    assert hash_user_id("a") == script.shown("work")["user.id"]
    assert 2 == script.ended()["session.total_turns"]


def test_session_metadata_is_kept_and_filterable(script: Script) -> None:
    """Each entry is an attribute of its own, in the event and in the history; what is deep is JSON."""
    given: dict[str, Any] = {"source": "web", "device": "mobile", "locale": "en-US", "n": 3, "deep": {"a": [1]}}
    with session_context(session_id="sess-abc123", user_id="user-456", metadata=given):
        pass

    end = script.ended()
    kept = {key: end[f"metadata.{key}"] for key in given}
    assert {**given, "deep": '{"a": [1]}'} == kept
    row = script.engine.history.session("sess-abc123")
    assert row is not None
    assert "web" == row.attributes["metadata.source"]


def test_session_takes_more_metadata_later(script: Script) -> None:
    """What a later block says is added, and replaces what had the same name."""
    with session_context("s-1", metadata={"source": "web", "step": 1}):
        pass
    with session_context("s-1", metadata={"step": 2}, prompt_version="v2", name="later"):
        script.work()

    end = script.ended()
    assert ("web", 2, "v2") == (end["metadata.source"], end["metadata.step"], end["session.prompt_version"])
    assert "v2" == script.shown("work")["session.prompt_version"]


@pytest.mark.parametrize(
    "wrong", ["", "a b", "x" * 201, ".hidden", "jane@example.org", "a/b", "a\nb"], ids=lambda text: repr(text[:12])
)
def test_session_id_that_cannot_be_one_raises(script: Script, wrong: str) -> None:
    """A programmer's mistake raises at once, and the message does not repeat what may be personal."""
    with pytest.raises(ValueError, match="cannot use this session id") as raised:
        session_context(session_id=wrong)

    assert not wrong or wrong not in str(raised.value)


def test_session_spans_stand_below_the_current_one(script: Script) -> None:
    """Where a script has a span of its own, session and turn stand inside it."""
    with script.tracer.start_as_current_span("job"), session_context("s-1"):
        script.work()

    job, session, turn, work = (script.only(name) for name in ("job", "session", "turn", "work"))
    assert [id_of(job), id_of(session), id_of(turn)] == [parent_of(session), parent_of(turn), parent_of(work)]


def test_session_in_itself_is_joined(script: Script) -> None:
    """The same id again, or none, extends what is open: no second turn, no second span."""
    with session_context("s-1") as outer, session_context("s-1", user_id="a"), session_context() as inner:
        script.work()

    assert outer.id == inner.id
    assert 1 == len(script.named("session")) == len(script.named("turn"))
    assert 1 == script.ended()["session.total_turns"]


def test_session_in_another_has_a_trace_of_its_own(script: Script) -> None:
    """A trace has one session: another one inside begins a trace, linked to where it was opened."""
    with session_context("s-1"):
        around = trace.get_current_span().get_span_context().span_id
        with session_context("s-2"):
            script.work("inner")
        script.work("outer")

    assert ("s-2", "s-1") == (script.shown("inner")["session.id"], script.shown("outer")["session.id"])
    assert trace_of(script.only("inner")) != trace_of(script.only("outer"))
    (inner,) = [span for span in script.named("session") if (span.attributes or {})["session.id"] == "s-2"]
    assert [around] == [link.context.span_id for link in inner.links]


def test_session_ended_inside_goes_on_as_the_next(script: Script) -> None:
    """``session.end()`` ends it with the block; the next block of the id is a new generation."""
    with session_context("s-1") as session:
        session.end("completed")
    script.sweep()
    with session_context("s-1"):
        pass

    script.sweep(31)

    ends = [event.attributes for event in script.ends()]
    assert ["completed", "idle_timeout"] == [end["session.end_reason"] for end in ends]
    assert [(1, 1), (2, 1)] == [(end["session.generation"], end["session.total_turns"]) for end in ends]


def test_sessions_side_by_side_do_not_mix(script: Script) -> None:
    """Fifty tasks with a session each: every span has its own."""

    async def talk(number: int) -> None:
        async with session_context(f"s-{number}", user_id=f"user-{number}"):
            for _ in range(3):
                await asyncio.sleep(0)
                script.work(f"work-{number}")

    async def main() -> None:
        await asyncio.gather(*(talk(number) for number in range(50)))

    asyncio.run(main())

    for number in range(50):
        spans = script.named(f"work-{number}")
        assert {(f"s-{number}", hash_user_id(f"user-{number}"))} == {
            ((span.attributes or {})["session.id"], (span.attributes or {})["user.id"]) for span in spans
        }


def test_session_without_an_sdk_is_counted() -> None:
    """No spans, and the session is tracked all the same."""
    script = Script(recording=False)
    with session_context("s-1", user_id="a") as session:
        assert "s-1" == session.id
    with session_context("s-1"):
        pass

    assert () == script.spans
    assert 2 == script.ended()["session.total_turns"]


def test_session_survives_its_store(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails is said in the log; the block runs, its spans are stamped, nothing is counted."""

    def broken(*_: object) -> None:
        raise OSError("no store today")

    script.engine.store.touch = broken  # type: ignore[method-assign]
    with session_context("s-1", user_id="a"):
        script.work()

    assert "s-1" == script.shown("work")["session.id"]
    assert "turn.number" not in script.shown("work")
    assert "no store today" in caplog.text


def test_later_turn_that_the_store_did_not_count_is_not_completed_either(script: Script) -> None:
    """Its tokens are the session's all the same, and what was said of the session is kept."""
    with session_context("s-1") as session:
        with turn():
            pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(script.engine.store, "touch", lambda ask: 1 / 0)
            with turn() as uncounted:
                uncounted.add_usage(input_tokens=5, output_tokens=2)
                session.set(name="weather")
        with turn() as third:
            assert (None, 2) == (uncounted.number, third.number)

    end = script.ended()
    assert (2, 2, 0) == tuple(end[f"session.{name}_turns"] for name in ("total", "completed", "failed"))
    assert (7, "weather", "ok") == (end["session.total_tokens"], end["session.name"], end["session.status"])


def test_session_in_a_process_with_a_middleware_uses_its_store() -> None:
    """Cron jobs and workers beside an application write where the application reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    middleware = SessionTrackingMiddleware(app, secret_key=SECRET, tracer_provider=TracerProvider())
    middleware.engine.background.hold()
    with session_context("s-1"):
        pass

    assert middleware.engine is engine_of()
    assert middleware.engine.store.read("s-1") is not None


def test_configure_again_replaces(script: Script) -> None:
    """The newest configuration holds for what is opened from then on; an open block stays where it is."""
    with session_context("s-1") as session:
        other = Script()
        assert session.id == current_session().id  # type: ignore[union-attr]
    with session_context("s-2"):
        pass

    assert (None, True) == (script.engine.store.read("s-2"), script.engine.store.read("s-1") is not None)
    assert other.engine.store.read("s-2") is not None


def test_configure_again_with_the_same_changes_nothing() -> None:
    """A page's script is run again and again, a notebook's cell too: its sessions go on."""
    sink, clock = RecordingSink(), FakeClock()
    for number in (1, 2):
        configure(secret_key=SECRET, event_sink=sink, clock=clock)
        engine_of().background.hold()
        with session_context("s-1"):
            assert number == current_turn().number  # type: ignore[union-attr]


def test_configure_with_a_wrong_setting_raises() -> None:
    """At once, and by name."""
    with pytest.raises(SettingsError, match="idle_timeout"):
        configure(secret_key=SECRET, idle_timeout=-1)


def test_session_without_any_configuration_works_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The seeds' samples configure nothing: pseudonyms are made with a key of this machine, and one line says so."""
    monkeypatch.delenv("SESSION_MW_SECRET_KEY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, "session_mw"), session_context("s-1", user_id="a") as session:
        engine_of().background.hold()
        assert hash_user_id("a") == session.user_id

    assert 1 == caplog.text.count("SESSION_MW_SECRET_KEY")


def test_G16_block_in_a_full_store_runs_untracked() -> None:
    """Its spans carry the id that the application gave; it has no turn number, and no end is reported of it."""
    script = Script(max_live=1)
    with session_context(session_id="resident"):
        pass
    with session_context(session_id="visitor", user_id="ann"):
        numbers = [current_turn().number]  # type: ignore[union-attr]
        visitor = current_session().id  # type: ignore[union-attr]
    with session_context(session_id="resident"):
        numbers.append(current_turn().number)  # type: ignore[union-attr]
    script.sweep(31)

    assert ([None, 2], "visitor") == (numbers, visitor)
    assert ["resident"] == [event.attributes["session.id"] for event in script.ends()]
