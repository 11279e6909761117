"""
Seed 003, "Langfuse Session Tracking Guide": every sample with its own calls.

``langfuse_manager`` is ours under the sample's name, so that whoever has such code changes its import and nothing else.
What needs Streamlit is in ``test_seed_003_streamlit.py``.
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from session_mw import current_session, end_session, hash_user_id
from session_mw import session_manager as langfuse_manager
from tests.hierarchy.support import Script, trace_of

from .support import Agent, everything


def whose(script: Script, name: str) -> list[tuple[Any, Any]]:
    """Return session and user of the spans of that name."""
    shown = [span.attributes or {} for span in script.named(name)]
    return [(one.get("session.id"), one.get("user.id")) for one in shown]


# -- Quick Start


def test_seed_003_quick_start_set_a_session(script: Script) -> None:
    """Whatever follows is in it."""
    session_id = "session-123"
    user_id = "user-456"

    langfuse_manager.set_session(session_id, user_id=user_id)
    script.work()

    assert [("session-123", hash_user_id("user-456"))] == whose(script, "work")


def test_seed_003_quick_start_all_traces_automatically_tagged(script: Script) -> None:
    """The sample's three calls, and any other instrumentation's span: all carry the session, no text is kept."""
    langfuse_manager.set_session("session-123", user_id="user-456")

    with langfuse_manager.trace_span("user_query"):
        script.work()

    langfuse_manager.trace_agent_step(
        step_type="think",
        input_data="user input",
        output_data="agent thought",
    )

    langfuse_manager.trace_mcp_call(
        server_name="llama-mcp",
        query="search query",
        response="search results",
    )

    for name in ("user_query", "work", "agent_step think", "execute_tool llama-mcp"):
        assert [("session-123", hash_user_id("user-456"))] == whose(script, name)
    assert ("think", 10, 13) == tuple(
        script.shown("agent_step think")[f"agent.step.{key}"] for key in ("type", "input_length", "output_length")
    )
    assert (12, 14) == tuple(
        script.shown("execute_tool llama-mcp")[f"mcp.{key}_length"] for key in ("query", "response")
    )
    assert [] == [text for text in ("agent thought", "search query", "search results") if text in everything(script)]


def test_seed_003_quick_start_clear_session(script: Script) -> None:
    """What follows is in none; the session itself ends when it is idle, or is ended."""
    langfuse_manager.set_session("session-123", user_id="user-456")
    langfuse_manager.clear_session()
    script.work()

    assert [(None, None)] == whose(script, "work")
    assert "idle_timeout" == script.ended("session-123")["session.end_reason"]


# -- API Reference


def test_seed_003_api_set_session(script: Script) -> None:
    """``set_session(session_id, user_id=None)``: the user may be left out, given by position, or by name."""
    langfuse_manager.set_session("session-abc123", user_id="user-xyz")
    assert ("session-abc123", hash_user_id("user-xyz")) == _current()
    langfuse_manager.set_session("session-abc124", "user-xyz")
    assert ("session-abc124", hash_user_id("user-xyz")) == _current()
    langfuse_manager.set_session("session-abc125")
    assert ("session-abc125", None) == _current()


def _current() -> tuple[str | None, str | None]:
    return langfuse_manager.current_session_id, langfuse_manager.current_user_id


def test_seed_003_api_set_user(script: Script) -> None:
    """``set_user(user_id)``: the session stays, and is that user's from its beginning."""
    langfuse_manager.set_session("session-abc123")
    langfuse_manager.set_user("user-xyz")
    with langfuse_manager.trace_span("user_query"):
        pass

    assert [("session-abc123", hash_user_id("user-xyz"))] == whose(script, "user_query")
    end = script.ended()
    assert (hash_user_id("user-xyz"), 1) == (end["user.id"], end["session.generation"])


def test_seed_003_api_clear_session(script: Script) -> None:
    """``clear_session()``: session and user are gone; calling it again does nothing."""
    langfuse_manager.set_session("session-abc123", user_id="user-xyz")
    for _ in range(2):
        langfuse_manager.clear_session()
        assert (None, None) == _current()


def test_seed_003_api_current_session_id(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    """A property, as the sample prints it."""
    langfuse_manager.set_session("session-abc123")
    session = langfuse_manager.current_session_id
    print(f"Current session: {session}")

    assert "Current session: session-abc123\n" == capsys.readouterr().out


def test_seed_003_api_current_user_id(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    """A property; what it gives is the pseudonym, so that printing it tells nobody who it is."""
    langfuse_manager.set_session("session-abc123", user_id="user-xyz")
    user = langfuse_manager.current_user_id
    print(f"Current user: {user}")

    assert f"Current user: {hash_user_id('user-xyz')}\n" == capsys.readouterr().out


# -- Best Practices


def test_seed_003_best_practice_generate_unique_session_ids(script: Script) -> None:
    """One id for everyone is caught where users are known: another user is another generation, never the same one."""
    for user in ("user-a", "user-b"):
        session_id = f"chat-{uuid.uuid4().hex[:8]}"
        langfuse_manager.set_session(session_id, user_id=user)
        langfuse_manager.set_session("session-1", user_id=user)
        with langfuse_manager.trace_span("user_query"):
            pass
    script.sweep(31)

    same = sorted((e.key[1], e.attributes["user.id"]) for e in script.ends() if e.key[0] == "session-1")
    assert [(1, hash_user_id("user-a")), (2, hash_user_id("user-b"))] == same
    assert 2 == len({event.key[0] for event in script.ends() if event.key[0].startswith("chat-")})


def test_seed_003_best_practice_include_meaningful_prefixes() -> None:
    """Ids of yours are kept as they are; those that are made here take a prefix from the settings."""
    script = Script(session_id_prefix="chat-")
    for prefix in ("chat", "research", "admin"):
        langfuse_manager.set_session(f"{prefix}-{uuid.uuid4().hex[:8]}")
        script.work()
    prefixes = [str(session).partition("-")[0] for session, _ in whose(script, "work")]

    assert ["chat", "research", "admin"] == prefixes
    from session_mw import session_context

    langfuse_manager.clear_session()
    with session_context() as session:
        assert session.id.startswith("chat-")


def test_seed_003_best_practice_set_session_early(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """Set after some operations: what is open by then is stamped all the same, and one line says to set it earlier."""
    langfuse_manager.set_session("warm-up")
    langfuse_manager.clear_session()
    with script.tracer.start_as_current_span("request"):
        script.work("do_stuff")
        langfuse_manager.set_session("session-123")
        script.work("later")

    assert [("session-123", None)] == whose(script, "request") == whose(script, "later")
    assert [(None, None)] == whose(script, "do_stuff")
    assert 1 == caplog.text.count("Set the session before the first span")


@pytest.mark.parametrize(("given", "known"), [("user-456", True), ("anonymous", False), (None, False)])
def test_seed_003_best_practice_include_user_id(script: Script, given: str | None, known: bool) -> None:
    """With a user the session is theirs; "anonymous" is nobody, as none is: no crowd of one name in the statistics."""
    langfuse_manager.set_session("session-123", user_id=given)
    with langfuse_manager.trace_span("user_query"):
        pass

    assert known is ("user.id" in script.ended())


def test_seed_003_best_practice_clean_up_on_session_end(script: Script) -> None:
    """``clear_session`` leaves it; ``end_session`` also says that it is over, and why."""

    def on_session_end() -> None:
        end_session(reason="user_exit")
        langfuse_manager.clear_session()

    langfuse_manager.set_session("session-123")
    with langfuse_manager.trace_span("user_query"):
        pass
    on_session_end()
    script.sweep()

    (end,) = script.ends()
    assert ("user_exit", 1) == (end.attributes["session.end_reason"], end.attributes["session.total_turns"])
    assert current_session() is None


def test_seed_003_best_practice_clean_up_that_is_forgotten(script: Script) -> None:
    """Nobody inherits what a thread of a pool left behind: a job in a context of its own begins outside."""
    import contextvars

    def job(number: int) -> tuple[str | None, str | None]:
        before = _current()
        langfuse_manager.set_session(f"session-{number}", user_id=f"user-{number}")
        return before

    with ThreadPoolExecutor(1) as pool:
        before = [pool.submit(contextvars.copy_context().run, job, number).result() for number in range(3)]

    assert [(None, None)] * 3 == before
    assert (None, None) == _current()


# -- Troubleshooting


def test_seed_003_troubleshooting_sessions_not_grouping(script: Script) -> None:
    """Set before the traces, with one id: everything is in one session, over pauses, processes' runs and threads."""
    for _ in range(3):
        langfuse_manager.set_session("session-123")
        with langfuse_manager.trace_span("user_query"):
            Agent().process("hello")
        langfuse_manager.clear_session()
        script.clock.advance(seconds=600)

    assert {"session-123"} == {(span.attributes or {}).get("session.id") for span in script.spans}
    assert 3 == len({trace_of(span) for span in script.spans}) == script.ended()["session.total_turns"]


def test_seed_003_troubleshooting_missing_traces_in_session(script: Script) -> None:
    """What ended before the session was set has none; an error in a trace loses neither it nor its session."""
    script.work("before")
    langfuse_manager.set_session("session-123")
    with pytest.raises(RuntimeError), langfuse_manager.trace_span("user_query"):
        raise RuntimeError("no answer")

    assert [(None, None)] == whose(script, "before")
    assert [("session-123", None)] == whose(script, "user_query")
    assert "ERROR" == script.only("user_query").status.status_code.name
    assert ("errored", 1) == tuple(script.ended()[f"session.{key}"] for key in ("status", "failed_turns"))


def test_seed_003_troubleshooting_missing_traces_of_plain_threads(script: Script) -> None:
    """A thread that does not carry the context is outside of the session; in a pool, a job says what it belongs to."""

    def job() -> None:
        langfuse_manager.set_session("session-123")
        script.work("told")

    langfuse_manager.set_session("session-123")
    for target in (lambda: script.work("plain"), job):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    assert [(None, None)] == whose(script, "plain")
    assert [("session-123", None)] == whose(script, "told")


def test_seed_003_troubleshooting_duplicate_sessions(script: Script) -> None:
    """Each id is a session; one that two users share is never mixed: the first one's ends, replaced."""
    for session_id, user in (("a", "user-1"), ("b", "user-1"), ("shared", "user-1"), ("shared", "user-2")):
        langfuse_manager.set_session(session_id, user_id=user)
        with langfuse_manager.trace_span("user_query"):
            pass
    script.sweep(31)

    ends = {event.key: (event.attributes["user.id"], event.attributes["session.end_reason"]) for event in script.ends()}
    one, two = hash_user_id("user-1"), hash_user_id("user-2")
    assert {
        ("a", 1): (one, "idle_timeout"),
        ("b", 1): (one, "idle_timeout"),
        ("shared", 1): (one, "replaced"),
        ("shared", 2): (two, "idle_timeout"),
    } == ends
    assert [("shared", one), ("shared", two)] == whose(script, "user_query")[2:]
