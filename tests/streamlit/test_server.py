"""Real servers, and many tabs at once: who leaves, who comes back, who is whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from .clients import Client
from .serving import Server, serving, soon

pytestmark = pytest.mark.filterwarnings("default")  # what Streamlit warns of is not ours

PAGE = """
import threading, time
import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx
from tests.streamlit import served
from session_mw import current_session, current_turn
from session_mw.integrations.streamlit import track_session

served.set_up()
session = track_session(disconnect_timeout={timeout})

def pressed():
    served.work("callback", of=st.session_state.get("name", ""))

st.markdown("session " + session.id)
st.markdown("user " + str(session.user_id))
st.button("press", on_click=pressed)
if st.button("clear"):
    st.session_state.clear()
if st.button("slow"):
    for number in range(200):
        st.markdown(f"step {{number}}")
        time.sleep(0.05)
if question := st.chat_input("ask"):
    st.session_state.name = question.split()[0]
    thread = add_script_run_ctx(threading.Thread(target=served.work, args=("thread",), kwargs={{"of": question}}))
    thread.start()
    served.work("answer", of=question)
    thread.join()
    st.markdown(f"answered {{question}} in turn {{session.turn_number}}")
"""

APP = """
import streamlit as st
from starlette.middleware import Middleware
from session_mw.asgi import SessionTrackingMiddleware
from tests.streamlit import served

app = st.App(
    "page.py",
    middleware=[Middleware(SessionTrackingMiddleware, served.SETTINGS, tracer_provider=served.PROVIDER)],
)
"""


def has_app() -> bool:
    streamlit = pytest.importorskip("streamlit", reason="not installed: pip install 'session-mw[streamlit]'")
    return hasattr(streamlit, "App")


def tells_of_closed_tabs() -> bool:
    pytest.importorskip("streamlit", reason="not installed: pip install 'session-mw[streamlit]'")
    from session_mw.integrations.streamlit.leaving import SUPPORTED

    return SUPPORTED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, PAGE.format(timeout=0.5)) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Server]:
    """The page as an application with our middleware: the cookie is its session's."""
    if not has_app():
        pytest.skip("this Streamlit has no st.App (1.57)")
    with serving(tmp_path, PAGE.format(timeout=0.5).replace("served.set_up()", ""), APP) as server:
        yield server


def session_of(texts: list[str]) -> str:
    (found,) = [text.removeprefix("session ") for text in texts if text.startswith("session ")]
    return found


def cookie_of(server: Server) -> str:
    """Load the page, and return the cookie header that the browser would send from then on."""
    with urlopen(Request(f"{server.url}/", headers={"Accept": "text/html", "Sec-Fetch-Dest": "document"})) as answer:
        (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert "session_mw" in cookie.key
    return f"{cookie.key}={cookie.value}"


@pytest.mark.landing
@pytest.mark.timeout(120)
def test_tab_from_its_first_run_to_its_close(server: Server) -> None:
    """One session: each action a turn, callbacks and threads in it, one start, one end when the tab was closed."""
    tab = Client(server.port)
    session_id = session_of(tab.run())
    texts = tab.say("Jane hello")
    tab.press("press")
    tab.press("clear")
    again = session_of(tab.run())
    tab.close()

    assert session_id == again
    assert "answered Jane hello in turn 1" in texts
    spans = {name: server.spans(name, session__id=session_id) for name in ("answer", "thread", "callback", "turn")}
    assert {"answer": [1], "thread": [1], "callback": [2], "turn": [1, 2, 3]} == {
        name: [span["attributes"]["turn.number"] for span in found] for name, found in spans.items()
    }
    assert spans["answer"][0]["trace"] == spans["turn"][0]["trace"] != spans["turn"][1]["trace"]
    if tells_of_closed_tabs():
        (end,) = server.ends(1)
        said = tuple(end[f"session.{name}"] for name in ("id", "end_reason", "total_turns", "status"))
        assert (session_id, "disconnected", 3, "ok") == said
        assert (True, 3) == (end["dropoff.detected"], end["dropoff.last_turn"])
        assert [session_id] == [start["session.id"] for start in server.events("session.start")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_users_at_once_never_mix(server: Server) -> None:
    """Twelve tabs chat at the same time: every span, in threads and callbacks too, is its own user's session."""

    def chat(name: str) -> str:
        tab = Client(server.port)
        session_id = session_of(tab.run())
        for number in range(10):
            assert f"answered {name} {number} in turn {2 * number + 1}" in tab.say(f"{name} {number}")
            assert session_id == session_of(tab.press("press"))
        tab.close()
        return session_id

    names = [f"user{number}" for number in range(12)]
    with ThreadPoolExecutor(len(names)) as pool:
        sessions = dict(zip(names, pool.map(chat, names), strict=True))

    assert len(names) == len(set(sessions.values()))
    for kind in ("answer", "thread", "callback"):
        found = Counter((s["attributes"]["of"].split()[0], s["attributes"]["session.id"]) for s in server.spans(kind))
        assert dict.fromkeys(sessions.items(), 10) == found, kind
    if tells_of_closed_tabs():
        ends = server.ends(len(names))
        assert dict.fromkeys(sessions.values(), 20) == {end["session.id"]: end["session.total_turns"] for end in ends}
        assert len(names) == len(ends)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_tab_that_comes_back(server: Server) -> None:
    """A connection that breaks and is there again in time is nothing: one session, which ends when it is gone."""
    if not tells_of_closed_tabs():
        pytest.skip("this Streamlit does not tell of closed tabs (1.53)")
    tab = Client(server.port)
    session_id = session_of(tab.run())
    tab.close()
    again = Client(server.port, resume=tab.host_id)
    texts = again.run()
    again.say("Jane hello")

    other = Client(server.port)  # comes and goes meanwhile: its end shows that the time of the first is over
    other.run()
    other.close()
    assert session_id == session_of(texts)
    assert [session_id] != [end["session.id"] for end in server.ends(1)]
    again.close()
    assert [1] == [end["session.total_turns"] for end in server.ends(2) if end["session.id"] == session_id]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_tab_that_comes_back_and_does_nothing(server: Server) -> None:
    """The browser is connected again and asks for no run: it is there all the same, until it is closed."""
    if not tells_of_closed_tabs():
        pytest.skip("this Streamlit does not tell of closed tabs (1.53)")
    tab = Client(server.port)
    session_id = session_of(tab.run())
    tab.close()
    again = Client(server.port, resume=tab.host_id)
    other = Client(server.port)
    other.run()
    other.close()
    first = server.ends(1)
    again.close()

    assert session_id not in {end["session.id"] for end in first}
    assert session_id in {end["session.id"] for end in server.ends(2)}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_tab_that_comes_back_too_late(server: Server) -> None:
    """Streamlit still has the page's state, and the session has ended: another one begins, linked to it."""
    if not tells_of_closed_tabs():
        pytest.skip("this Streamlit does not tell of closed tabs (1.53)")
    tab = Client(server.port)
    first = session_of(tab.run())
    tab.say("Jane hello")
    tab.close()
    server.ends(1)
    again = Client(server.port, resume=tab.host_id)
    second = session_of(again.run())
    texts = again.say("Jane again")
    again.close()

    assert "answered Jane again in turn 1" in texts
    assert {first: None, second: first} == {
        start["session.id"]: start.get("session.previous_id") for start in server.events("session.start")
    }
    assert {first: 1, second: 1} == {end["session.id"]: end["session.total_turns"] for end in server.ends(2)}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_run_that_the_user_does_not_wait_for(server: Server) -> None:
    """Who acts while the page still works has two turns: the first was left, which is no error."""
    tab = Client(server.port)
    tab.run()
    tab.press_and_go_on("slow")
    tab.until("step 2")
    tab.press("press")
    turns = soon(lambda: server.spans("turn"), lambda found: len(found) == 2)

    assert [1, 2] == sorted(turn["attributes"]["turn.number"] for turn in turns)
    assert [None, None] == [turn["attributes"].get("error.type") for turn in turns]
    assert 2 == len({turn["trace"] for turn in turns})
    tab.close()
    if tells_of_closed_tabs():
        assert [(2, 0)] == [(e["session.total_turns"], e["session.failed_turns"]) for e in server.ends(1)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_cookie_of_the_application_is_the_session(app: Server) -> None:
    """One person, two tabs, a reload: one session, that of the cookie from the page load; it ends with the last tab."""
    cookie = cookie_of(app)
    one = Client(app.port, Cookie=cookie)
    session_id = session_of(one.run())
    two = Client(app.port, Cookie=cookie)
    texts = [one.say("Jane 1"), two.run() and two.say("Jane 2"), one.say("Jane 3")]
    one.close()
    reloaded = Client(app.port, Cookie=cookie)
    reloaded.run()
    two.close()
    stranger = Client(app.port, Cookie=cookie_of(app))
    strange_id = session_of(stranger.run())
    stranger.close()

    assert [f"answered Jane {n} in turn {n}" in found for n, found in enumerate(texts, 1)] == [True] * 3
    assert {session_id} == {session_of(found) for found in texts}
    assert [strange_id] == [end["session.id"] for end in app.ends(1)]
    reloaded.close()
    (end,) = [end for end in app.ends(2) if end["session.id"] == session_id]
    assert ("disconnected", 3) == (end["session.end_reason"], end["session.total_turns"])
    # Streamlit's own requests and its connection are no spans of ours: the page load is, and what the page does.
    assert {session_id, strange_id} == {span["attributes"]["session.id"] for span in app.spans("session")}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_cookie_that_is_not_ours(app: Server) -> None:
    """Altered, it names nobody: the page has a session of its own."""
    cookie = cookie_of(app)
    honest, forged = Client(app.port, Cookie=cookie), Client(app.port, Cookie=cookie[:-4] + "AAAA")
    ids = {session_of(tab.run()) for tab in (honest, forged)}

    assert 2 == len(ids)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_users_of_the_host(tmp_path: Path) -> None:
    """Whom a proxy in front has logged in is the session's user, by a pseudonym; after a logout nobody is."""
    if not has_app():
        pytest.skip("this Streamlit has no server.trustedUserHeaders")
    headers = '{"X-Forwarded-User": "email"}'
    with serving(tmp_path, PAGE.format(timeout=0.5), server__trustedUserHeaders=headers) as server:
        jane = Client(server.port, X_Forwarded_User="jane@example.org")
        john = Client(server.port, X_Forwarded_User="john@example.org")
        users = [texts[1] for texts in (jane.run(), john.run())]
        again = jane.say("Jane hello")[1]
        jane.close()
        john.close()
        ends = server.ends(2)

    assert 2 == len(set(users)) and again == users[0]
    assert {user.removeprefix("user ") for user in users} == {end["user.id"] for end in ends}
    assert all(user.startswith("user u_") for user in users)
    assert not any("example.org" in (tmp_path / name).read_text() for name in ("spans", "events"))
