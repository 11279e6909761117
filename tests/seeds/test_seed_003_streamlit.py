"""
Seed 003, "Streamlit Integration": both samples in real Streamlit, over reruns and in several browsers at once.

What replaces them is tested in ``tests/streamlit``.
"""

from __future__ import annotations

from typing import Any

import pytest

from session_mw import hash_user_id
from tests.hierarchy.support import Script, trace_of
from tests.streamlit.conftest import _streamlit

__all__ = ["_streamlit"]

pytest.importorskip("streamlit", reason="streamlit is not installed: pip install 'session-mw[streamlit]' runs these")
pytestmark = pytest.mark.filterwarnings("default")  # what Streamlit warns of is not ours

IMPORTS = """
import streamlit as st
import uuid
from session_mw import session_manager as langfuse_manager
from tests.seeds.support import Agent
your_agent = Agent()
"""

SESSION_STATE = (
    IMPORTS
    + """
# Initialize session ID in Streamlit session state
if 'session_id' not in st.session_state:
    st.session_state.session_id = f"streamlit-{uuid.uuid4().hex[:8]}"

    # Optional: Get user ID from authentication
    st.session_state.user_id = st.user.get("id", "anonymous")

    # Set the Langfuse session
    langfuse_manager.set_session(
        st.session_state.session_id,
        user_id=st.session_state.user_id
    )

# Now all traces in this Streamlit session will be grouped
def process_user_query(query):
    with langfuse_manager.trace_span("streamlit_query"):
        # Process query - automatically tagged with session
        result = your_agent.process(query)
        return result

if query := st.text_input("query"):
    st.write(process_user_query(query))
st.caption(str(langfuse_manager.current_session_id))
"""
)

CHAT = (
    IMPORTS
    + """
# Initialize session on first run
if 'messages' not in st.session_state:
    st.session_state.messages = []
    st.session_state.session_id = f"chat-{uuid.uuid4().hex[:8]}"
    langfuse_manager.set_session(st.session_state.session_id)

# Display chat history
for message in st.session_state.messages:
    with st.chat_message(message["role"]):
        st.markdown(message["content"])

# Chat input
if prompt := st.chat_input("What would you like to know?"):
    # Add user message
    st.session_state.messages.append({"role": "user", "content": prompt})

    # Process with automatic session tracking
    with langfuse_manager.trace_span("chat_message",
                                      metadata={"message_count": len(st.session_state.messages)}):
        response = your_agent.process(prompt)

    # Add assistant message
    st.session_state.messages.append({"role": "assistant", "content": response})
"""
)

EARLY = (
    IMPORTS
    + """
def generate_session_id():
    return f"early-{uuid.uuid4().hex[:8]}"

if 'initialized' not in st.session_state:
    st.session_state.initialized = True
    langfuse_manager.set_session(generate_session_id())

if st.button("leave"):
    langfuse_manager.clear_session()
elif st.button("ask"):
    from session_mw import current_session, tool_call, turn
    with turn():
        with tool_call("search"):
            pass
    current_session().outcome("resolved")
"""
)


def browser(page: str, user: dict[str, Any] | None = None) -> Any:
    """Open a page, as a browser's first request does."""
    from streamlit.testing.v1 import AppTest

    opened = AppTest.from_string(page, default_timeout=30)
    if user is not None:
        opened.user = user
    return fine(opened.run())


def fine(page: Any) -> Any:
    assert [] == [error.message for error in page.exception]
    return page


def session_of(page: Any) -> str:
    return str(page.session_state["session_id"])


def shown(script: Script, name: str, session_id: str) -> list[dict[str, Any]]:
    """Return the attributes of a session's spans of that name, in order."""
    found = [dict(span.attributes or {}) for span in script.named(name)]
    return [one for one in found if one.get("session.id") == session_id]


def test_seed_003_streamlit_session_state(script: Script) -> None:
    """The session that the first run sets holds in all later ones; each query is a turn, and a trace of its own."""
    page = browser(SESSION_STATE, {"id": "jane@example.org"})
    for number in range(3):
        fine(page.text_input[0].set_value(f"query {number}").run())
        assert session_of(page) == page.caption[0].value

    mine = shown(script, "streamlit_query", session_of(page))
    assert [1, 2, 3] == [one["turn.number"] for one in mine]
    assert {hash_user_id("jane@example.org")} == {one["user.id"] for one in mine}
    assert 3 == len(shown(script, "invoke_agent helper", session_of(page)))
    assert 3 == len({trace_of(span) for span in script.named("streamlit_query")})
    assert {session_of(page)} == {(span.attributes or {}).get("session.id") for span in script.spans}
    assert 3 == script.ended()["session.total_turns"]


def test_seed_003_streamlit_without_authentication(script: Script) -> None:
    """Whom Streamlit does not know is "anonymous": nobody stands on the spans."""
    page = browser(SESSION_STATE, {})
    fine(page.text_input[0].set_value("query").run())

    assert "anonymous" == page.session_state["user_id"]
    assert "user.id" not in shown(script, "streamlit_query", session_of(page))[0]


def test_seed_003_streamlit_chat_application(script: Script) -> None:
    """Three browsers chat in turns: messages, turns and sessions of each are its own, however they interleave."""
    pages = [browser(CHAT) for _ in range(3)]
    for number in range(4):
        for page in pages:
            fine(page.chat_input[0].set_value(f"message {number}").run())

    assert 3 == len({session_of(page) for page in pages})
    for page in pages:
        mine = shown(script, "chat_message", session_of(page))
        assert [1, 2, 3, 4] == [one["turn.number"] for one in mine]
        assert [1, 3, 5, 7] == [one["metadata.message_count"] for one in mine]
        assert 4 == len(shown(script, "execute_tool search", session_of(page)))
        assert 6 == len(page.chat_message)  # as the sample has it: the last exchange shows with the next run
    script.sweep(31)
    totals = {event.key[0]: event.attributes["session.total_turns"] for event in script.ends()}
    assert {session_of(page): 4 for page in pages} == totals


def test_seed_003_streamlit_chat_after_a_long_pause(script: Script) -> None:
    """Who comes back to an open page after the session ended goes on under the same id, in its next generation."""
    page = browser(CHAT)
    fine(page.chat_input[0].set_value("message").run())
    script.sweep(31)
    fine(page.chat_input[0].set_value("message").run())
    script.sweep(31)

    found = [(event.key, event.attributes["session.total_turns"]) for event in script.ends()]
    assert [((session_of(page), 1), 1), ((session_of(page), 2), 1)] == found


def test_seed_003_streamlit_best_practice_set_session_early(script: Script) -> None:
    """Blocks and handles find it in later runs as the manager does, until it is cleared, in that browser only."""
    one, other = browser(EARLY), browser(EARLY)
    for page in (one, other):
        fine(page.button[1].click().run())
    fine(one.button[0].click().run())
    fine(other.button[1].click().run())

    found = [(span.attributes or {})["session.id"] for span in script.named("execute_tool search")]
    assert found[1] == found[2] != found[0]
    script.sweep(31)
    assert {found[0]: 1, found[1]: 2} == {e.key[0]: e.attributes["session.total_turns"] for e in script.ends()}
    assert {"resolved"} == {event.attributes["session.outcome"] for event in script.ends()}


def test_seed_003_streamlit_where_state_has_to_be_serializable(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Streamlit can be told to see to it that everything in ``st.session_state`` can be pickled: what is ours can."""
    from streamlit import config

    config.set_option("runner.enforceSerializableSessionState", True)
    try:
        page = browser(CHAT)
        for _ in range(2):
            fine(page.chat_input[0].set_value("message").run())
    finally:
        config.set_option("runner.enforceSerializableSessionState", False)

    assert [1, 2] == [one["turn.number"] for one in shown(script, "chat_message", session_of(page))]
