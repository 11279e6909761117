"""What a tracked page has: a session, turns, its user. The rest takes longer: ``test_turns``, ``test_sessions``."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw import hash_user_id
from tests.hierarchy.support import Script

from .support import CHAT, PAGE, SEEN, fine, needs_users, opened, press, say

pytestmark = pytest.mark.filterwarnings("default")  # what Streamlit warns of is not ours


def attributes(script: Script, name: str) -> list[dict[str, Any]]:
    return [dict(span.attributes or {}) for span in script.named(name)]


def test_turn_each_thing_that_the_user_does(script: Script) -> None:
    """A message, a button, a slider and a text are a turn each; the page load and a rerun without any are none."""
    page = opened(CHAT)
    say(page, "hello")
    press(page, "press")
    page.slider[0].set_value(7).run()
    page.text_input[0].set_value("Jane").run()
    fine(page.run())

    assert [None, 1, 2, 3, 4, None] == [number for kind, _, number in SEEN if kind == "run"]
    assert [1, 2, 3, 4] == [one["turn.number"] for one in attributes(script, "turn")]
    assert 4 == script.ended()["session.total_turns"]


def test_turn_begins_before_callbacks(script: Script) -> None:
    """A widget's callback runs before the script's first line, and in the same turn."""
    page = opened(CHAT)
    press(page, "press")

    (called,) = [seen for seen in SEEN if seen[0] == "callback"]
    assert ("callback", SEEN[-1][1], 1) == called
    assert ("run", 1) == (SEEN[-1][0], SEEN[-1][2])


def test_session_begins_with_the_page(script: Script) -> None:
    """Its start is reported with the first run, before anybody has done anything; later runs find it."""
    page = opened(PAGE)
    script.sweep()
    starts = script.sink.named("session.start")
    for text in ("one", "two"):
        fine(say(page, text))

    assert [SEEN[0][0]] == [event.attributes["session.id"] for event in starts]
    assert 1 == len({seen[0] for seen in SEEN})
    end = script.ended()
    assert (2, "idle_timeout", "kitchen") == (
        end["session.total_turns"],
        end["session.end_reason"],
        end["metadata.room"],
    )
    assert 1 == len(script.sink.named("session.start"))


def test_user_who_logs_out_ends_the_session(script: Script) -> None:
    """What follows is another session, and nobody's."""
    needs_users()
    page = opened(PAGE, {"is_logged_in": True, "email": "jane@example.org"})
    say(page, "one")
    page.user = {"is_logged_in": False}
    fine(say(page, "two"))
    script.sweep()

    (end,) = script.ends()
    assert ("user_exit", 1) == (end.attributes["session.end_reason"], end.attributes["session.total_turns"])
    assert (True, None) == (SEEN[-1][0] != SEEN[0][0], SEEN[-1][1])
    assert [hash_user_id("jane@example.org"), None] == [
        (s.attributes or {}).get("user.id") for s in script.named("turn")
    ]
