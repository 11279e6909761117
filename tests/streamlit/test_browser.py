"""A page in a real browser: what people do, and what Streamlit's own front end does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium

from .serving import Server, serving, soon
from .test_server import APP, has_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("default"),  # what Streamlit warns of is not ours
]

PAGE = """
import streamlit as st
from tests.streamlit import served
from session_mw import current_turn
from session_mw.integrations.streamlit import track_session

session = track_session(disconnect_timeout=0.5)

def pressed():
    served.work("callback")

@st.fragment(run_every=0.1)
def clock():
    st.session_state.ticks = st.session_state.get("ticks", 0) + 1
    served.work("tick", turn=current_turn() is not None)
    if st.button("in fragment"):
        served.work("fragment")

st.button("press", on_click=pressed)
name = st.text_input("name", value="nobody")
file = st.file_uploader("file")
if question := st.chat_input("ask"):
    served.work("answer", of=question)
    st.markdown(f"answered {question}")
st.markdown(f"turn {session.turn_number}")
st.markdown(f"hello {name} {file and file.name}")
clock()
"""
SETUP = "from tests.streamlit import served\nserved.set_up()\n"
CHAT = "textarea[data-testid=stChatInputTextArea]"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, SETUP + PAGE) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Server]:
    if not has_app():
        pytest.skip("this Streamlit has no st.App (1.57)")
    # A reload takes a while on a machine that has other things to do.
    with serving(tmp_path, PAGE.replace("disconnect_timeout=0.5", "disconnect_timeout=8"), APP) as server:
        yield server


def numbers(server: Server, name: str) -> list[int | None]:
    return [span["attributes"].get("turn.number") for span in server.spans(name)]


def test_visit_in_a_browser(chromium: Chromium, server: Server) -> None:
    """Opened, chatted, pressed, written, closed: four turns of one session; a timer's runs are none."""
    with chromium.visitor() as visitor:
        visitor.open(server.url)
        visitor.wait_for("turn None")
        visitor.write(CHAT, "hello")
        visitor.wait_for("answered hello")
        visitor.press("press")
        visitor.wait_for("turn 2")
        visitor.write("input[type=text]", "Jane")
        visitor.wait_for("hello Jane None")
        visitor.press("in fragment")
        soon(lambda: server.spans("fragment"))
        ticks = len(server.spans("tick"))
        soon(lambda: server.spans("tick"), lambda found: len(found) > ticks + 5)
        visitor.close_tab()
        (end,) = server.ends(1)

    assert ([1], [2], [4]) == tuple(numbers(server, name) for name in ("answer", "callback", "fragment"))
    assert [1, 2, 3, 4] == numbers(server, "turn")
    assert {None} == {span["attributes"].get("turn.number") for span in server.spans("tick", turn=False)}
    said = tuple(end[f"session.{name}"] for name in ("end_reason", "total_turns", "channel"))
    assert ("disconnected", 4, "web") == said
    assert {end["session.id"]} == {span["attributes"]["session.id"] for span in server.lines("spans")}
    assert end["session.locale"].startswith("en")


def test_visitors_in_two_browsers(chromium: Chromium, server: Server) -> None:
    """Two people, one of whom loads the page again: three sessions, since nothing tells that it was the same person."""
    with chromium.visitor() as one, chromium.visitor() as two:
        for visitor in (one, two):
            visitor.open(server.url)
        for number in range(3):
            for name, visitor in (("one", one), ("two", two)):
                visitor.write(CHAT, f"{name} {number}")
                visitor.wait_for(f"answered {name} {number}")
        one.reload()
        one.wait_for("turn None")
        one.write(CHAT, "again 0")
        one.wait_for("answered again 0")
        one.close_tab()
        two.close_tab()
        ends = server.ends(3)

    found = {(s["attributes"]["of"].split()[0], s["attributes"]["session.id"]) for s in server.spans("answer")}
    assert (3, 3) == (len(found), len({session_id for _, session_id in found}))
    totals = {end["session.id"]: end["session.total_turns"] for end in ends}
    assert {"one": 3, "two": 3, "again": 1} == {name: totals[session_id] for name, session_id in found}


def test_visitor_with_our_cookie(chromium: Chromium, app: Server) -> None:
    """With the middleware, whoever loads the page again, and uploads a file, goes on in the same session."""
    with chromium.visitor() as visitor:
        visitor.open(app.url)
        visitor.wait_for("turn None")
        visitor.write(CHAT, "hello")
        visitor.wait_for("turn 1")
        visitor.reload()
        visitor.wait_for("turn None")
        visitor.upload("input[type=file]", app.folder / "page.py")
        visitor.wait_for("hello nobody page.py")
        visitor.write(CHAT, "again")
        visitor.wait_for("turn 3")
        cookies = visitor.cookies(app.url)
        visitor.close_tab()
        (end,) = app.ends(1)

    assert "session_mw" in cookies
    assert [1, 3] == numbers(app, "answer")  # the upload was the second: the user did it, its request counts no more
    assert 3 == end["session.total_turns"]
    assert {end["session.id"]} == {span["attributes"]["session.id"] for span in app.spans("session")}
    assert [end["session.id"]] == [start["session.id"] for start in app.events("session.start")]
