"""``turn`` and ``conversation``: what is counted once, what has a trace of its own, and what nobody else sees."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import propagate

from session_mw import (
    conversation,
    current_conversation,
    current_session,
    current_turn,
    session_context,
    set_session,
    turn,
)

from .support import Script, id_of, parent_of, trace_of


def numbers(script: Script, name: str = "work") -> list[tuple[object, object]]:
    """Return turn number and conversation of the spans of that name, in order."""
    shown = [span.attributes or {} for span in script.named(name)]
    return [(one.get("turn.number"), one.get("conversation.id")) for one in shown]


def test_turn_takes_the_implied_one_over(script: Script) -> None:
    """A session's block is one exchange; the first turn that is named inside is that one."""
    with session_context("s-1"):
        with turn(intent="ask") as first:
            script.clock.advance(ms=5)
            script.work()
        with turn() as second:
            script.work()

    assert (1, 2) == (first.number, second.number)
    assert [(1, "s-1"), (2, "s-1")] == numbers(script)
    end = script.ended()
    assert (2, 2, 0) == (end["session.total_turns"], end["session.completed_turns"], end["session.failed_turns"])


def test_turns_of_one_session_have_a_trace_each(script: Script) -> None:
    """Back ends take a trace for a turn: the second one begins another, linked to the session's span."""
    with session_context("s-1"):
        for _ in range(3):
            with turn():
                script.work()

    first, second, third = script.named("turn")
    session = script.only("session")
    assert id_of(session) == parent_of(first)
    assert [None, None] == [parent_of(second), parent_of(third)]
    assert [[id_of(session)]] * 2 == [[link.context.span_id for link in span.links] for span in (second, third)]
    assert 3 == len({trace_of(span) for span in (first, second, third)})


def test_turn_in_a_turn_is_the_same(script: Script) -> None:
    """Whoever opens a turn below one that is open joins it."""
    with session_context("s-1"), turn() as outer, turn(role="assistant") as inner:
        script.work()

    assert outer.id == inner.id
    assert 1 == len(script.named("turn"))
    assert "assistant" == script.shown("turn")["turn.role"]
    assert 1 == script.ended()["session.total_turns"]


def test_turn_without_a_session_opens_one(script: Script) -> None:
    """It lasts as long as the turn."""
    with turn() as only:
        session = current_session()
        assert session is not None
        script.work()

    assert current_session() is None
    assert [(1, session.id)] == numbers(script)
    assert (1, session.id) == (only.number, script.ended()["session.id"])


def test_turn_that_fails_is_counted_as_failed(script: Script) -> None:
    """Its span says what failed; the session's end says that one did."""
    with session_context("s-1"):
        with pytest.raises(RuntimeError), turn():
            raise RuntimeError("no answer")
        with turn():
            pass

    failed, well = script.named("turn")
    assert ("ERROR", "UNSET") == (failed.status.status_code.name, well.status.status_code.name)
    assert "RuntimeError" == (failed.attributes or {})["error.type"]
    end = script.ended()
    assert (2, 1, 1, "errored") == tuple(
        end[f"session.{key}"] for key in ("total_turns", "completed_turns", "failed_turns", "status")
    )


@pytest.mark.parametrize("error", ["ModelOverloaded", LookupError("jane@example.org was not found")], ids=str)
def test_turn_that_says_it_failed(script: Script, error: Any) -> None:
    """Nothing has to be raised where a stream has begun: its name stands on the span, and no message."""
    with session_context("s-1"), turn() as mine:
        mine.fail(error)

    shown = script.shown("turn")
    name = error if isinstance(error, str) else "LookupError"
    assert (name, "ERROR") == (shown["error.type"], script.only("turn").status.status_code.name)
    assert "jane" not in repr(script.only("turn").to_json())
    end = script.ended()
    assert ("errored", 1) == (end["session.status"], end["session.failed_turns"])


def test_turns_in_parallel_are_numbered_and_apart(script: Script) -> None:
    """Tasks of one session: each turn has its number, its trace and its usage; the session has the sum."""

    async def one(number: int) -> int | None:
        async with turn() as mine:
            await asyncio.sleep(0)
            mine.add_usage(input_tokens=number, output_tokens=1)
            script.work(f"work-{mine.number}")
            return mine.number

    async def main() -> list[int | None]:
        async with session_context("s-1"):
            return list(await asyncio.gather(*(one(number) for number in range(10))))

    assert list(range(1, 11)) == sorted(asyncio.run(main()), key=lambda n: n or 0)
    for number in range(1, 11):
        assert [(number, "s-1")] == numbers(script, f"work-{number}")
    assert 10 == len({trace_of(span) for span in script.named("turn")})
    end = script.ended()
    assert (10, 45, 10) == tuple(
        end[f"session.{key}"] for key in ("total_turns", "total_input_tokens", "total_output_tokens")
    )


def test_turn_after_the_session_idled_out_is_the_next_generations(script: Script) -> None:
    """A script that waits too long between turns goes on in a new generation of its id."""
    with session_context("s-1"):
        with turn():
            pass
        script.sweep(31)
        with turn() as late:
            script.work()

    assert (1, [(1, "s-1")]) == (late.number, numbers(script))
    script.sweep(31)
    assert [1, 2] == [event.key[1] for event in script.ends()]


def test_turn_of_another_user_is_the_next_sessions(script: Script) -> None:
    """A user switch takes effect with the next turn: the session that has no id of the application's gets a new one."""
    with session_context(user_id="a") as session:
        first = session.id
        with turn():
            session.identify("b")
        with turn():
            second = session.id
            script.work()

    assert first != second
    script.sweep(31)
    ends = {event.key[0]: event.attributes for event in script.ends()}
    assert ("replaced", second) == (ends[first]["session.end_reason"], ends[first]["session.next_id"])
    assert first == ends[second]["session.previous_id"]
    assert ends[first]["user.id"] != ends[second]["user.id"]
    assert ends[second]["user.id"] == script.shown("work")["user.id"]


def test_turn_says_what_it_was_given(script: Script) -> None:
    """What the block and its handle say stands on the span, and what the session's end looks at too."""
    with session_context("s-1"), turn(input_type="question", input_length=150, has_attachments=False) as mine:
        mine.set(output_type="answer", output_length=500, intent="clarification_needed", action="asked_question")

    shown = script.shown("turn")
    expected = {
        "turn.number": 1,
        "turn.role": "user",
        "turn.input_type": "question",
        "turn.input_length": 150,
        "turn.has_attachments": False,
        "turn.output_type": "answer",
        "turn.output_length": 500,
    }
    assert expected == {key: shown[key] for key in expected}
    end = script.ended()
    assert ("clarification_needed", "asked_question") == (
        end["dropoff.last_intent"],
        end["dropoff.agent_last_action"],
    )


# -- conversations


def test_conversation_numbers_its_own_turns(script: Script) -> None:
    """Several in one session: numbers per session and per conversation, in whatever order they come."""
    with session_context("s-1"):
        for conversation_id in ("a", "b", "a", "a", "b"):
            with conversation(conversation_id), turn():
                script.work()

    shown = [span.attributes or {} for span in script.named("turn")]
    found = [
        (one["conversation.id"], one["turn.number"], one["conversation.turn_number"], one["conversation.total_turns"])
        for one in shown
    ]
    assert [("a", 1, 1, 1), ("b", 2, 1, 1), ("a", 3, 2, 2), ("a", 4, 3, 3), ("b", 5, 2, 2)] == found


def test_conversation_is_an_exchange_by_itself(script: Script) -> None:
    """Without turns inside, each block is one."""
    with session_context("s-1"):
        with conversation("a"):
            script.work()
        with conversation("b"):
            script.work()

    assert [(1, "a"), (2, "b")] == numbers(script)
    assert 2 == script.ended()["session.total_turns"]


def test_conversation_goes_on_in_another_session(script: Script) -> None:
    """A thread resumed tomorrow keeps its id and its count."""
    for session_id in ("monday", "tuesday"):
        with session_context(session_id), conversation("thread-1") as thread:
            number = thread.turn_number
            script.work()
        script.sweep(24 * 60)

    assert [(1, "thread-1"), (1, "thread-1")] == numbers(script)
    assert 2 == number


def test_conversation_with_several_turns(script: Script) -> None:
    """Its topic stands on each of them, and nowhere after it."""
    with session_context("s-1"):
        with conversation("c", topic="document_analysis"):
            for _ in range(2):
                with turn():
                    script.work()
        with turn():
            script.work()

    shown = [span.attributes or {} for span in script.named("turn")]
    assert ["document_analysis", "document_analysis", None] == [one.get("conversation.topic") for one in shown]
    assert [(1, "c"), (2, "c"), (3, "s-1")] == numbers(script)
    assert ["s-1"] * 3 == [one["conversation.session_id"] for one in shown]


def test_conversation_inside_another_keeps_to_its_block(script: Script) -> None:
    """A turn has one conversation; another one inside stamps what is inside it, and is counted for itself."""
    with session_context("s-1"), conversation("a"), turn():
        script.work()
        with conversation("b") as other:
            script.work()
            assert 1 == other.turn_number
        script.work()

    assert [(1, "a"), (1, "b"), (1, "a")] == numbers(script)
    assert ("a", 1) == tuple(script.shown("turn")[f"conversation.{key}"] for key in ("id", "turn_number"))


def test_conversation_without_an_id_gets_one(script: Script) -> None:
    """Made once, the same for everything inside."""
    with conversation() as thread:
        with turn():
            script.work()
        assert thread.id == current_conversation().id  # type: ignore[union-attr]

    assert thread.id.startswith("conv-")
    assert [(1, thread.id)] == numbers(script)


def test_conversations_in_parallel(script: Script) -> None:
    """Tasks of one session, each in a conversation of its own, several turns in each."""

    async def talk(name: str) -> None:
        async with conversation(name):
            for _ in range(3):
                async with turn():
                    await asyncio.sleep(0)
                    script.work(f"work-{name}")

    async def main() -> None:
        async with session_context("s-1"):
            await asyncio.gather(*(talk(f"c-{number}") for number in range(5)))

    asyncio.run(main())

    for number in range(5):
        assert {f"c-{number}"} == {found[1] for found in numbers(script, f"work-c-{number}")}
    shown = [span.attributes or {} for span in script.named("turn")]
    assert sorted([1, 2, 3] * 5) == sorted(one["conversation.turn_number"] for one in shown)
    assert list(range(1, 16)) == sorted(one["turn.number"] for one in shown)
    assert 15 == script.ended()["session.total_turns"]


@pytest.mark.parametrize("wrong", ["", "a b", "jane@example.org", "x" * 201], ids=lambda text: repr(text[:12]))
def test_conversation_id_that_cannot_be_one_raises(wrong: str) -> None:
    """The message does not repeat what may be personal."""
    with pytest.raises(ValueError, match="cannot use this conversation id") as raised:
        conversation(wrong)

    assert not wrong or wrong not in str(raised.value)


def test_conversation_context_stands_on_its_turn(script: Script) -> None:
    """Tokens, their share of the window, messages; what is not known is absent."""
    with conversation("c") as thread, turn():
        thread.context(current_tokens=4000, new_tokens=500, limit=30_000, messages=10)

    shown = script.shown("turn")
    expected = {
        "conversation.messages_in_context": 10,
        "conversation.context_tokens": 4500,
        "conversation.context_window_pct": 0.15,
        "context.current_tokens": 4000,
        "context.new_tokens": 500,
        "context.limit": 30_000,
        "context.tokens": 4500,
    }
    assert expected == {key: value for key, value in shown.items() if "context" in key}


def test_turns_after_set_session_have_traces_of_their_own(script: Script) -> None:
    """No block, no session span: each turn is a root."""
    set_session("s-1")
    for _ in range(2):
        with turn():
            script.work()

    assert [None, None] == [parent_of(span) for span in script.named("turn")]
    assert [(1, "s-1"), (2, "s-1")] == numbers(script)


# -- any program of blocks

PROGRAM = st.recursive(
    st.just(("work",)),
    lambda inner: st.one_of(
        st.tuples(st.just("turn"), st.lists(inner, max_size=3)),
        st.tuples(st.sampled_from(["conversation:a", "conversation:b"]), st.lists(inner, max_size=3)),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PROGRAM, max_size=4))
def test_any_program_of_blocks_counts_each_turn_once(program: list[Any]) -> None:
    """Whatever is nested in whatever: turn spans, numbers, counters and the session's end agree, nothing stays open."""
    script = Script()
    with session_context("s-1"):
        for part in program:
            _run(script, part)
    assert current_session() is None and current_turn() is None

    shown = [span.attributes or {} for span in script.named("turn")]
    count = len(shown)
    assert list(range(1, count + 1)) == sorted(one["turn.number"] for one in shown)
    end = script.ended()
    assert (count, count, "ok") == tuple(end[f"session.{key}"] for key in ("total_turns", "completed_turns", "status"))
    for name in {one["conversation.id"] for one in shown} - {"s-1"}:
        mine = sorted(one["conversation.turn_number"] for one in shown if one["conversation.id"] == name)
        assert len(set(mine)) == len(mine)
    open_spans = [span for span in script.spans if span.end_time is None]
    assert [] == open_spans
    assert all((span.attributes or {})["session.id"] == "s-1" for span in script.spans)


def _run(script: Script, part: Any) -> None:
    if part[0] == "work":
        script.work()
        return
    block: Any = turn() if part[0] == "turn" else conversation(part[0].split(":")[1])
    with block:
        script.work()
        for inner in part[1]:
            _run(script, inner)


def test_turns_travel_to_other_services(script: Script) -> None:
    """What a line of work sends on is its own conversation and turn, signed; nothing goes to other hosts."""

    def sent(host: str) -> str:
        carrier = {"Host": host}
        propagate.inject(carrier)
        return carrier.get("baggage", "")

    with session_context("s-1", user_id="a"):
        with conversation("c-1"), turn():
            first = sent("orders")
        with conversation("c-2"), turn():
            second = sent("orders")
            outside = sent("api.example.com")

    assert "" == outside
    for number, baggage in ((1, first), (2, second)):
        for entry in ("session.id=s-1", f"gen_ai.conversation.id=c-{number}", f"turn.number={number}", "session.sig="):
            assert entry in baggage
