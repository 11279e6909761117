"""How long a session lasts, and whose it is."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from session_mw import hash_user_id
from tests.hierarchy.support import Script

from .support import PAGE, SEEN, fine, needs_users, opened, press, say

pytestmark = pytest.mark.filterwarnings("default")  # what Streamlit warns of is not ours


def test_session_outlives_the_state_of_its_page(script: Script) -> None:
    """A page that clears ``st.session_state`` ("new chat") goes on in the same session, where Streamlit's has one."""
    needs_users()  # earlier ones keep no fragments from run to run in AppTest, and a page is found by these
    page = opened(PAGE)
    fine(press(page, "clear"))
    fine(say(page, "hello"))

    assert 1 == len({seen[0] for seen in SEEN})


def test_sessions_of_two_pages_are_two(script: Script) -> None:
    """Each has its own, however they take turns."""
    pages = [opened(PAGE) for _ in range(3)]
    SEEN.clear()
    for number in range(3):
        for page in pages:
            fine(say(page, f"message {number}"))

    ids = [seen[0] for seen in SEEN]
    assert ids[:3] * 3 == ids
    assert 3 == len(set(ids))


@pytest.mark.parametrize(("way", "reason"), [("leave", "user_exit"), ("end", "completed")])
def test_session_that_the_page_ends(script: Script, way: str, reason: str) -> None:
    """It ends with the turn in which that is said; whoever goes on is in the next one."""
    page = opened(PAGE)
    press(page, way)
    fine(say(page, "hello"))

    before, after = SEEN[0][0], SEEN[-1]
    assert (True, before) == (after[0] != before, after[2])
    script.sweep()
    (end,) = script.ends()
    assert (before, reason, 1) == tuple(end.attributes[f"session.{key}"] for key in ("id", "end_reason", "total_turns"))


def test_session_after_a_long_pause(script: Script) -> None:
    """The page is still there, and the session has idled out: the next turn begins another, linked."""
    page = opened(PAGE)
    say(page, "one")
    script.sweep(31)
    say(page, "two")
    fine(say(page, "three"))

    first, second = SEEN[0][0], SEEN[-1][0]
    assert (first, second) == (SEEN[-1][2], SEEN[-2][0])
    script.sweep(31)
    assert {first: 1, second: 2} == {e.key[0]: e.attributes["session.total_turns"] for e in script.ends()}
    assert 2 == len(script.sink.named("session.start"))


def test_session_is_kept_by_what_is_no_turn(script: Script) -> None:
    """Who moves sliders that make no turns is there: the session does not idle out."""
    page = opened("""
track_session(turn=False)
SEEN.append(current_session().id)
st.slider("heat", 0, 100, 3)
""")
    for value in (10, 20, 30):
        script.clock.advance(seconds=20 * 60)
        fine(page.slider[0].set_value(value).run())
    script.sweep(29)

    assert [] == script.ends()
    assert 0 == script.ended(minutes=2)["session.total_turns"]


def test_user_of_streamlit(script: Script) -> None:
    """``st.user`` says who it is; what leaves is a pseudonym, on the first span already."""
    needs_users()
    page = opened(PAGE, {"email": "jane@example.org", "is_logged_in": True})
    fine(say(page, "hello"))

    pseudonym = hash_user_id("jane@example.org")
    assert {pseudonym} == {span.attributes["user.id"] for span in script.spans if span.attributes}
    assert pseudonym == script.ended()["user.id"]
    assert "jane" not in str([span.attributes for span in script.spans])


@pytest.mark.parametrize("user", [{"email": "test@example.com"}, {"is_logged_in": False, "email": "a@b.cd"}])
def test_user_whom_streamlit_does_not_know(script: Script, user: dict[str, object]) -> None:
    """Nobody logged in, or the placeholder that stands for everybody on a developer's machine."""
    fine(say(opened(PAGE, user), "hello"))

    assert "user.id" not in script.ended()


def test_user_who_logs_in_keeps_the_session(script: Script) -> None:
    """The turns before are theirs."""
    needs_users()
    page = opened(PAGE, {"is_logged_in": False})
    say(page, "one")
    page.user = {"is_logged_in": True, "email": "jane@example.org"}
    fine(say(page, "two"))

    end = script.ended()
    assert (2, hash_user_id("jane@example.org")) == (end["session.total_turns"], end["user.id"])


def test_user_who_is_another_one_gets_another_session(script: Script) -> None:
    """A session never holds two."""
    needs_users()
    page = opened(PAGE, {"email": "jane@example.org"})
    say(page, "one")
    page.user = {"email": "john@example.org"}
    fine(say(page, "two"))
    script.sweep(31)

    found = [(e.attributes["session.end_reason"], e.attributes["user.id"]) for e in script.ends()]
    people = [hash_user_id(f"{name}@example.org") for name in ("jane", "john")]
    assert [("replaced", people[0]), ("idle_timeout", people[1])] == found
    assert people == [(span.attributes or {})["user.id"] for span in script.named("turn")]
    assert (SEEN[-1][0] != SEEN[0][0], SEEN[0][0]) == (True, SEEN[-1][2])


def test_user_whom_the_page_names(script: Script) -> None:
    """It goes before ``st.user``; who is named no more has left."""
    page = opened("""
session = track_session(st.session_state.get("who"))
SEEN.append((session.id, session.user_id))
if st.button("in"):
    st.session_state.who = "jane"
    st.rerun()
if st.button("out"):
    del st.session_state.who
    st.rerun()
st.chat_input("ask")
""")
    press(page, "in")
    fine(say(page, "hello"))
    fine(press(page, "out"))

    jane = hash_user_id("jane")
    assert [None, None, jane, jane, jane, None] == [user for _, user in SEEN]
    assert [True, True, True, True, False] == [a[0] == b[0] for a, b in itertools.pairwise(SEEN)]
    script.sweep()
    assert ["user_exit"] == [event.attributes["session.end_reason"] for event in script.ends()]


def test_user_who_is_repeated_in_metadata(script: Script) -> None:
    """In no run does it leave as it is."""
    page = opened("""
track_session("jane-1234", metadata={"account": "jane-1234", "plan": "free"})
st.chat_input("ask")
""")
    for text in ("one", "two"):
        fine(say(page, text))

    end = script.ended()
    assert (hash_user_id("jane-1234"), "free") == (end["metadata.account"], end["metadata.plan"])
    assert "jane-1234" not in str([span.attributes for span in script.spans])


def test_session_that_the_page_has_set_by_hand(script: Script) -> None:
    """``set_session`` keeps its word: the page's runs are turns of that session from then on."""
    page = opened("""
from session_mw import session_manager
if "ready" not in st.session_state:
    st.session_state.ready = True
    session_manager.set_session("chat-12345678")
SEEN.append(track_session().id)
st.chat_input("ask")
""")
    for text in ("one", "two"):
        fine(say(page, text))

    assert ["chat-12345678"] * 3 == SEEN
    assert 2 == script.ended("chat-12345678")["session.total_turns"]


def test_state_that_has_to_be_serializable(script: Script) -> None:
    """Streamlit can be told to see to it that everything in ``st.session_state`` can be pickled: what is ours can."""
    from streamlit import config

    config.set_option("runner.enforceSerializableSessionState", True)
    try:
        page = opened(PAGE)
        for text in ("one", "two"):
            fine(say(page, text))
    finally:
        config.set_option("runner.enforceSerializableSessionState", False)

    assert 2 == script.ended()["session.total_turns"]


def test_page_as_a_plain_script(script: Script) -> None:
    """``python page.py``, as Streamlit calls a bare run: a session like any script's."""
    from session_mw import turn
    from session_mw.integrations.streamlit import track_session

    session = track_session("jane")
    with turn():
        pass

    assert (session.id, session.user_id) == (track_session("jane").id, hash_user_id("jane"))
    assert 1 == script.ended()["session.total_turns"]


@pytest.mark.parametrize("timeout", ["soon", -1, timedelta(days=-1)])
def test_disconnect_timeout_that_is_none(script: Script, timeout: object) -> None:
    """It is said at once, where it is written."""
    from session_mw.integrations.streamlit.leaving import _seconds

    with pytest.raises(ValueError, match="duration"):
        _seconds(timeout)
