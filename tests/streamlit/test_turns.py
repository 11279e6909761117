"""Which runs are turns, and how they go."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw.integrations.streamlit.interaction import Interaction, Rule, is_turn
from tests.hierarchy.support import Script, trace_of

from .support import CHAT, SEEN, fine, opened, press, say

pytestmark = pytest.mark.filterwarnings("default")  # what Streamlit warns of is not ours


def attributes(script: Script, name: str) -> list[dict[str, Any]]:
    return [dict(span.attributes or {}) for span in script.named(name)]


def test_turn_is_a_trace_of_its_own(script: Script) -> None:
    """``turn`` inside ``session``, nothing around, and nothing of the run before."""
    page = opened(CHAT)
    for text in ("one", "two"):
        say(page, text)

    roots, turns = script.named("session"), script.named("turn")
    assert [None, None] == [root.parent for root in roots]
    assert [trace_of(root) for root in roots] == [trace_of(turn) for turn in turns]
    assert 2 == len({trace_of(turn) for turn in turns})
    known = attributes(script, "session")[0]
    assert ("support", "v2", "web") == tuple(known[f"session.{key}"] for key in ("type", "prompt_version", "channel"))


def test_turn_knows_the_length_of_a_message(script: Script) -> None:
    """Of what was written into the chat, the length; of a button nothing."""
    page = opened(CHAT)
    say(page, "hello there")
    press(page, "press")

    assert [11, None] == [one.get("turn.input_length") for one in attributes(script, "turn")]
    assert "hello there" not in str([span.attributes for span in script.spans])


@pytest.mark.parametrize("script", [{"capture_content": True}], indirect=True)
def test_turn_keeps_a_message_where_content_is_captured(script: Script) -> None:
    """With ``capture_content`` the words stand on the turn's span."""
    say(opened(CHAT), "hello there")

    assert "hello there" == script.shown("turn")["input.value"]


WAYS_OUT = """
track_session()
if st.button("rerun"):
    st.rerun()
if st.button("stop"):
    st.stop()
if st.button("fail"):
    raise ValueError("no")
@st.fragment
def part():
    if st.button("fragment"):
        SEEN.append(("fragment", current_turn().number))
    if st.button("fragment fails"):
        raise KeyError("no")
part()
"""


@pytest.mark.parametrize("way", ["rerun", "stop", "fragment"])
def test_turn_that_the_page_leaves_early(script: Script, way: str) -> None:
    """``st.rerun()`` and ``st.stop()`` are no errors, and the run after ``st.rerun()`` is no second turn."""
    fine(press(opened(WAYS_OUT), way))

    (turn,) = attributes(script, "turn")
    assert (1, None) == (turn["turn.number"], turn.get("error.type"))
    end = script.ended()
    assert (1, 1, 0) == tuple(end[f"session.{key}_turns"] for key in ("total", "completed", "failed"))


@pytest.mark.parametrize(("way", "error"), [("fail", "ValueError"), ("fragment fails", "KeyError")])
def test_turn_in_which_the_page_raises(script: Script, way: str, error: str) -> None:
    """It has failed, by what was raised, in the script or in a fragment; the page shows it as ever."""
    page = press(opened(WAYS_OUT), way)

    assert 1 == len(page.exception)
    assert error == script.shown("turn")["error.type"]
    assert 1 == script.ended()["session.failed_turns"]


def test_turn_of_a_fragment(script: Script) -> None:
    """A fragment that runs by itself is in the session, and a turn like any other run."""
    press(opened(WAYS_OUT), "fragment")

    assert [("fragment", 1)] == SEEN


RULES = """
session = track_session(turn={rule})
SEEN.append(session.turn_number)
st.button("press", key="press")
st.slider("heat", 0, 10, 3, key="heat")
st.chat_input("ask", key="ask")
"""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("['ask', 'heat']", [1, None, 2]),
        ("lambda did: did.pressed", [1, 2, None]),
        ("lambda did: 1 / 0", [1, 2, 3]),  # one that fails makes it a turn, and one log line says so
    ],
)
def test_turn_as_the_page_says(script: Script, rule: str, expected: list[int | None]) -> None:
    """The page may say what a turn is."""
    page = opened(RULES.format(rule=rule))
    say(page, "hello")
    press(page, "press")
    fine(page.slider[0].set_value(7).run())

    assert [None, *expected] == SEEN


MESSAGE = Interaction(frozenset({"ask"}), pressed=True, message="hello")
SLIDER = Interaction(frozenset({"heat"}))


@pytest.mark.parametrize(
    ("rule", "message", "slider"),
    [
        (None, True, True),
        (True, True, True),
        (False, False, False),
        ("ask", True, False),
        (("heat", "other"), False, True),
        (lambda did: did.message == "hello", True, False),
    ],
)
def test_turn_rule(rule: Rule, message: bool, slider: bool) -> None:
    """All, none, the key of a widget, several, a function."""
    assert (message, slider) == (is_turn(rule, MESSAGE, known=True), is_turn(rule, SLIDER, known=True))


def test_turn_rule_for_a_page_that_was_not_known() -> None:
    """Values that a browser brings back with a new connection are no turn; what was pressed is."""
    assert not is_turn(None, Interaction(frozenset({"name"})), known=False)
    assert is_turn(None, Interaction(frozenset({"ask"}), pressed=True), known=False)
    assert "secret" not in repr(Interaction(message="secret"))


def test_turn_after_the_run_that_has_imported_us(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around the very first run of a process nothing of ours could be: the next one is known all the same."""
    from session_mw.integrations.streamlit import tracking

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "current_run", lambda: None)
        page = opened(CHAT)
    fine(page.text_input[0].set_value("Jane").run())

    assert [(1, SEEN[0][1])] == [(number, session_id) for _, session_id, number in SEEN[1:]]


BLOCKS = """
from session_mw import agent_run, conversation, session_manager, tool_call, turn
track_session()
if question := st.chat_input("ask"):
    with conversation("thread-of-twenty-characters", topic="lamps"), turn(intent="question"), agent_run("helper"):
        with tool_call("search"):
            pass
    with session_manager.trace_span("after"):
        pass
"""


def test_turn_is_what_blocks_inside_join(script: Script) -> None:
    """``turn()`` and ``conversation()`` name the run's own turn, and open no second one."""
    page = opened(BLOCKS)
    for text in ("one", "two"):
        fine(say(page, text))

    turns = attributes(script, "turn")
    assert [1, 2] == [one["turn.number"] for one in turns]
    assert [(1, "thread-of-twenty-characters"), (2, "thread-of-twenty-characters")] == [
        (one["conversation.turn_number"], one["conversation.id"]) for one in turns
    ]
    assert [("question", 1, "search")] * 2 == [
        (one["turn.intent"], one["turn.tool_calls"], one["turn.action"]) for one in turns
    ]
    assert [1, 2] == [one["turn.number"] for one in attributes(script, "after")]
    assert 2 == script.ended()["session.total_turns"]
