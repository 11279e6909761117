"""Sessions set by a call: for the calling thread or task and what it starts, and for nobody else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from session_mw import (
    clear_session,
    copy_context,
    current_session,
    current_turn,
    hash_user_id,
    session_context,
    session_manager,
    set_session,
    set_user,
    start_session,
    turn,
)

from .support import Script, parent_of


def shown(script: Script, name: str = "work") -> list[tuple[object, object]]:
    return [
        ((span.attributes or {}).get("session.id"), (span.attributes or {}).get("user.id"))
        for span in script.named(name)
    ]


def test_set_session_stamps_what_follows(script: Script) -> None:
    """Everything from then on, until it is cleared; the session itself goes on."""
    script.work()
    set_session("session-123", user_id="user-456", metadata={"source": "notebook"})
    script.work()
    clear_session()
    script.work()

    assert [(None, None), ("session-123", hash_user_id("user-456")), (None, None)] == shown(script)
    end = script.ended()
    assert ("notebook", 0) == (end["metadata.source"], end["session.total_turns"])


def test_set_session_again_extends(script: Script) -> None:
    """The same id is the same session, with what is new."""
    set_session("s-1")
    set_session("s-1", user_id="a", metadata={"step": 1})
    with turn():
        script.work()

    assert [("s-1", hash_user_id("a"))] == shown(script)
    assert 1 == script.ended()["metadata.step"]


def test_set_session_of_another_id_leaves_the_first(script: Script) -> None:
    """The first one goes on in the store, and ends when nobody comes back."""
    for session_id in ("s-1", "s-2"):
        set_session(session_id)
        with turn():
            script.work()

    assert [("s-1", None), ("s-2", None)] == shown(script)
    script.sweep(31)
    assert {"s-1": 1, "s-2": 1} == {e.key[0]: e.attributes["session.total_turns"] for e in script.ends()}


def test_set_user_later_keeps_the_session(script: Script) -> None:
    """The first user takes the session; its spans from then on carry them."""
    set_session("s-1")
    script.work()
    set_user("a")
    script.work()

    assert [("s-1", None), ("s-1", hash_user_id("a"))] == shown(script)
    assert hash_user_id("a") == session_manager.current_user_id


def test_set_user_of_another_begins_anew(script: Script) -> None:
    """A session never holds two users."""
    set_session("s-1", user_id="a")
    with turn():
        script.work()
    set_user("b")
    with turn():
        script.work()

    assert [("s-1", hash_user_id("a")), ("s-1", hash_user_id("b"))] == shown(script)
    script.sweep(31)
    assert [(1, hash_user_id("a")), (2, hash_user_id("b"))] == sorted(
        (event.key[1], event.attributes["user.id"]) for event in script.ends()
    )


def test_set_user_without_a_session_says_so(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing to put the user on: one log line, no state that waits for a session of somebody else."""
    set_user("jane@example.org")
    set_session("s-1")

    assert session_manager.current_user_id is None
    assert 1 == caplog.text.count("set_user()")
    assert "jane" not in caplog.text


def test_set_session_late_stamps_open_spans_and_says_so_once(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """The span that is current and those around it get the session; others of the process do not."""
    set_session("before")  # the processors are on the provider from the first use on
    clear_session()
    other = script.tracer.start_span("elsewhere")
    for session_id in ("s-1", "s-2"):
        with script.tracer.start_as_current_span("job"), script.tracer.start_as_current_span("step"):
            set_session(session_id)
            script.work()
        clear_session()
    other.end()

    assert [("s-1", None), ("s-2", None)] == shown(script, "job") == shown(script, "step") == shown(script)
    assert [(None, None)] == shown(script, "elsewhere")
    assert 1 == caplog.text.count("Set the session before the first span")


def test_set_session_in_threads(script: Script) -> None:
    """Twenty threads of one pool, one after another in the same thread too: none sees another's session."""

    def task(number: int) -> tuple[object, object]:
        context = contextvars.copy_context()
        return context.run(one, number)

    def one(number: int) -> tuple[object, object]:
        before = session_manager.current_session_id
        set_session(f"s-{number}", user_id=f"user-{number}")
        script.work(f"work-{number}")
        return before, session_manager.current_session_id

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(task, range(20)))

    assert [(None, f"s-{number}") for number in range(20)] == seen
    for number in range(20):
        assert [(f"s-{number}", hash_user_id(f"user-{number}"))] == shown(script, f"work-{number}")
    assert session_manager.current_session_id is None


def test_set_session_in_tasks(script: Script) -> None:
    """A task's session is its own, and that of the tasks it starts."""

    async def child(name: str) -> None:
        await asyncio.sleep(0)
        script.work(name)

    async def one(number: int) -> None:
        set_session(f"s-{number}")
        await asyncio.gather(*(child(f"work-{number}") for _ in range(3)))

    async def main() -> None:
        await asyncio.gather(*(asyncio.create_task(one(number)) for number in range(10)))
        assert session_manager.current_session_id is None

    asyncio.run(main())

    for number in range(10):
        assert [(f"s-{number}", None)] * 3 == shown(script, f"work-{number}")


def test_set_session_reaches_threads_by_copy_context(script: Script) -> None:
    """A plain thread starts outside; ``copy_context`` takes the session along."""
    set_session("s-1")
    for target in (lambda: script.work("plain"), copy_context(lambda: script.work("carried"))):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    assert [(None, None)] == shown(script, "plain")
    assert [("s-1", None)] == shown(script, "carried")


def test_set_session_inside_a_block_ends_with_it(script: Script) -> None:
    """What is set inside a session's block is undone when the block is left, cleared or not."""
    with session_context("outer"):
        set_session("inner")
        script.work()
    script.work()

    assert [("inner", None), (None, None)] == shown(script)
    assert current_session() is None


def test_set_session_without_id_raises(script: Script) -> None:
    """None clears nothing by accident."""
    with pytest.raises(ValueError, match="clear_session"):
        set_session(None)


def test_set_session_makes_no_turn(script: Script) -> None:
    """Turns are what is opened as such."""
    set_session("s-1")

    assert current_turn() is None


def test_what_is_said_between_turns_is_kept(script: Script) -> None:
    """A score given, a user named, after the answer was read: no turn has to follow for it to count."""
    set_session("s-1")
    with turn():
        pass
    session = current_session()
    assert session is not None
    session.score("thumb", 1)
    session.outcome("resolved")
    set_user("a")
    set_session("s-1", metadata={"step": 2})
    clear_session()

    end = script.ended()
    assert (1, "resolved", hash_user_id("a"), 2, 1) == (
        end["session.score.thumb"],
        end["session.outcome"],
        end["user.id"],
        end["metadata.step"],
        end["session.total_turns"],
    )


def test_what_is_said_between_turns_holds_against_what_was_said_before(script: Script) -> None:
    """The last word counts, whichever side of a turn's end it was said on."""
    set_session("s-1")
    session = current_session()
    assert session is not None
    session.outcome("none")
    with turn():
        session.outcome("escalated")
    assert "escalated" == _stored(script)
    session.outcome("resolved")
    assert "resolved" == _stored(script)


def _stored(script: Script) -> object:
    record = script.engine.store.read("s-1")
    assert record is not None
    return record.attributes["session.outcome"]


def test_session_ended_by_its_handle_between_turns(script: Script) -> None:
    """It ends at once; a turn that follows is the next generation's."""
    set_session("s-1")
    with turn():
        pass
    session = current_session()
    assert session is not None
    session.end("completed")
    script.sweep()
    assert ["completed"] == [event.attributes["session.end_reason"] for event in script.ends()]
    with turn() as again:
        pass

    assert 1 == again.number
    script.sweep(31)
    assert [1, 2] == sorted(event.key[1] for event in script.ends())


def test_another_user_between_turns_gets_the_next_session(script: Script) -> None:
    """Also where the session's id is none of the application's: the turn that follows is not the first user's."""
    first = start_session(user_id="a")
    with turn():
        pass
    set_user("b")
    with turn():
        script.work()

    ((second, user),) = shown(script)
    assert (hash_user_id("b"), True) == (user, second != first)
    script.sweep(31)
    ends = {event.key[0]: event.attributes for event in script.ends()}
    found = {key: (end["user.id"], end["session.total_turns"]) for key, end in ends.items()}
    assert {first: (hash_user_id("a"), 1), second: (hash_user_id("b"), 1)} == found


def test_what_is_said_between_turns_survives_its_store(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails is said in the log, and nowhere else."""

    def broken(*_: object) -> None:
        raise OSError("no store today")

    set_session("s-1")
    script.engine.store.add = broken  # type: ignore[method-assign]
    session = current_session()
    assert session is not None
    session.outcome("resolved")

    assert "no store today" in caplog.text


def test_session_after_an_end_knows_its_metadata_and_no_outcome(script: Script) -> None:
    """What a session is known by goes on with the id; what happened in it does not."""
    set_session("s-1", metadata={"source": "cron"})
    with turn():
        pass
    session = current_session()
    assert session is not None
    session.outcome("resolved")
    session.end("completed")
    with turn():
        pass
    script.sweep(31)

    first, second = (event.attributes for event in script.ends())
    assert ("cron", "cron") == (first["metadata.source"], second["metadata.source"])
    assert ("confirmed", "implied") == (first["session.outcome_source"], second["session.outcome_source"])


# -- the manager


def test_manager_traces_a_turn_a_span(script: Script) -> None:
    """Each span at the top is an exchange with the user; what is inside is part of it."""
    session_manager.set_session("session-123", user_id="user-456")
    for _ in range(2):
        outer = session_manager.trace_span("user_query", metadata={"message_count": 3})
        with outer, session_manager.trace_span("inner"):
            script.work()

    first, second = script.named("turn")
    assert [None, None] == [parent_of(first), parent_of(second)]
    for name in ("user_query", "inner", "work"):
        assert [1, 2] == [(span.attributes or {})["turn.number"] for span in script.named(name)]
    assert [3, 3] == [(span.attributes or {})["metadata.message_count"] for span in script.named("user_query")]
    assert 2 == script.ended()["session.total_turns"]


def test_manager_without_a_session_traces_plainly(script: Script) -> None:
    """No session is made up."""
    with session_manager.trace_span("user_query"):
        session_manager.trace_agent_step("think", "a", "b")

    assert [] == script.named("turn")
    assert [(None, None)] == shown(script, "user_query")


@pytest.mark.parametrize("capture", [False, True])
def test_manager_tells_of_steps_with_lengths(capture: bool) -> None:
    """What was said stands there only where content is captured; its length always does."""
    script = Script(capture_content=capture)
    session_manager.set_session("s-1")
    session_manager.trace_agent_step(step_type="think", input_data="user input", output_data={"plan": [1, 2]})
    session_manager.trace_mcp_call(server_name="llama-mcp", query="search query", response="search results")

    step, call = script.shown("agent_step think"), script.shown("execute_tool llama-mcp")
    assert ("think", 10, 16) == tuple(step[f"agent.step.{key}"] for key in ("type", "input_length", "output_length"))
    assert ("llama-mcp", 12, 14) == (call["mcp.server.name"], call["mcp.query_length"], call["mcp.response_length"])
    assert "s-1" == step["session.id"] == call["session.id"]
    content = {key: value for key, value in {**step, **call}.items() if key.endswith(("value", "arguments", "result"))}
    if not capture:
        assert {} == content
    else:
        assert ("search query", "search results") == (content["input.value"], content["output.value"])
        assert ("user input", '{"plan": [1, 2]}') == (step["input.value"], step["output.value"])


def test_manager_mcp_calls_are_tool_calls(script: Script) -> None:
    """They count in the turn they are told in."""
    session_manager.set_session("s-1")
    with session_manager.trace_span("user_query"):
        session_manager.trace_mcp_call("a", "q", "r")
        session_manager.trace_mcp_call("b", "q", "r")

    assert (2, "b") == tuple(script.shown("turn")[key] for key in ("turn.tool_calls", "turn.action"))


def test_manager_properties_outside_are_none(script: Script) -> None:
    """Reading them never raises."""
    assert (None, None) == (session_manager.current_session_id, session_manager.current_user_id)
    session_manager.set_session("s-1")
    assert ("s-1", None) == (session_manager.current_session_id, session_manager.current_user_id)
    session_manager.set_user("a")
    assert hash_user_id("a") == session_manager.current_user_id
    session_manager.clear_session()
    assert (None, None) == (session_manager.current_session_id, session_manager.current_user_id)


def test_manager_decorates(script: Script) -> None:
    """``trace_span`` is a decorator too, each call a turn."""

    @session_manager.trace_span("streamlit_query")
    def process(query: str) -> str:
        return query.upper()

    session_manager.set_session("s-1")
    assert ["A", "B"] == [process("a"), process("b")]
    assert [1, 2] == [(span.attributes or {})["turn.number"] for span in script.named("streamlit_query")]


def test_usage_outside_of_turns_is_the_sessions(script: Script) -> None:
    """A model called while a session is set and no turn is open: its tokens are the session's."""
    set_session("s-1")
    with script.tracer.start_as_current_span("chat m") as span:
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5})

    end: dict[str, Any] = script.ended()
    assert (5, 0) == (end["session.total_tokens"], end["session.total_turns"])
