"""Pages in ``AppTest``: the real runner, without a server."""

from __future__ import annotations

from typing import Any

HEAD = """
import streamlit as st
from session_mw import current_session, current_turn
from session_mw.integrations.streamlit import track_session
from tests.streamlit.support import SEEN
"""

CHAT = """
def pressed():
    SEEN.append(("callback", current_session().id, current_turn().number))

session = track_session(type="support", prompt_version="v2")
SEEN.append(("run", session.id, session.turn_number))
st.button("press", on_click=pressed)
st.slider("heat", 0, 10, 3, key="heat")
st.text_input("name", key="name")
if question := st.chat_input("ask", key="ask"):
    st.write(question)
"""

PAGE = """
session = track_session(metadata={"room": "kitchen"})
SEEN.append((session.id, session.user_id, session.previous_id))
if st.button("clear"):
    st.session_state.clear()
if st.button("leave"):
    session.end()
if st.button("end"):
    from session_mw import end_session
    end_session(reason="completed")
if st.button("identify"):
    session.identify("jane")
st.chat_input("ask")
"""

SEEN: list[Any] = []  # what pages have seen, in order


def opened(body: str, user: dict[str, Any] | None = None) -> Any:
    """Open a page, as a browser's first request does."""
    from streamlit.testing.v1 import AppTest

    import session_mw.integrations.streamlit  # noqa: F401  # where a server imports it: before any run

    SEEN.clear()
    page = AppTest.from_string(HEAD + body, default_timeout=30)
    page.user = user or {}
    return fine(page.run())


def needs_users() -> None:
    """Skip where ``AppTest`` cannot say who the user is."""
    import inspect

    import pytest
    from streamlit.testing.v1.local_script_runner import LocalScriptRunner

    if "user_info" not in inspect.signature(LocalScriptRunner).parameters:
        pytest.skip("the AppTest of this Streamlit has no user")


def fine(page: Any) -> Any:
    """Return *page*, which has shown no exception."""
    assert [] == [error.message for error in page.exception]
    return page


def press(page: Any, label: str) -> Any:
    """Press a button, and let the page run."""
    (button,) = [each for each in page.button if each.label == label]
    return button.click().run()


def say(page: Any, text: str) -> Any:
    """Send a message, and let the page run."""
    return page.chat_input[0].set_value(text).run()
