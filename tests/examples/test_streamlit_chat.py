"""The Streamlit example's pages: what they show, and what comes out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hierarchy.conftest import _outside, script
from tests.hierarchy.support import Script
from tests.streamlit.clients import Client
from tests.streamlit.conftest import _streamlit
from tests.streamlit.serving import serving
from tests.streamlit.test_server import cookie_of

__all__ = ["_outside", "_streamlit", "script"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "streamlit_chat"
pytestmark = [
    pytest.mark.landing,  # a streamed answer has Streamlit import pandas
    pytest.mark.filterwarnings("default"),  # what Streamlit warns of is not ours
]


@pytest.fixture(autouse=True)
def _alone(_streamlit: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pages find their ``model`` beside them, and nobody else does."""
    import session_mw.integrations.streamlit  # noqa: F401

    monkeypatch.syspath_prepend(str(EXAMPLE))
    import model

    monkeypatch.setattr(model, "SECONDS_PER_WORD", 0)
    yield
    del sys.modules["model"]


def opened(name: str) -> Any:
    from streamlit.testing.v1 import AppTest

    return fine(AppTest.from_file(str(EXAMPLE / name), default_timeout=30).run())


def fine(page: Any) -> Any:
    assert [] == [error.message for error in page.exception]
    return page


def press(page: Any, label: str) -> None:
    (button,) = [each for each in page.button if each.label == label]
    fine(button.click().run())


def test_quick_start(script: Script) -> None:
    """Two questions are two turns, with what the agent did in them."""
    page = opened("quick_start.py")
    for question in ("Where is order 1042?", "And 1043?"):
        fine(page.text_input[0].set_value(question).run())

    assert "Order 1043 is a floor lamp, on its way." in page.markdown[0].value
    assert page.caption[0].value.endswith("turn 2")
    assert ["order", "order"] == [(span.attributes or {})["turn.intent"] for span in script.named("turn")]
    end = script.ended()
    assert (2, 24) == (end["session.total_turns"], end["session.total_tokens"])


def test_chat(script: Script) -> None:
    """Questions are turns, buttons are none; what the user thinks, and that it is solved, stands on the end."""
    page = opened("chat.py")
    for question in ("Hello", "Where is 1042?"):
        fine(page.chat_input[0].set_value(question).run())
    first = page.sidebar.markdown[0].value
    press(page, "Solved")
    fine(page.chat_input[0].set_value("1043").run())
    script.sweep()

    assert "2 turns" in first
    (end,) = script.ends()
    said = tuple(end.attributes[f"session.{name}"] for name in ("end_reason", "outcome", "total_turns"))
    assert ("completed", "resolved", 2) == said
    assert ["user", "assistant"] == [message.name for message in page.chat_message]
    assert "1 turns" in page.sidebar.markdown[0].value


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_application_serves_the_chat(tmp_path: Path) -> None:
    """``asgi.py`` by uvicorn, from another directory, where Streamlit has applications: the page loads, and chats."""
    import streamlit as st

    if not hasattr(st, "App"):
        pytest.skip("this Streamlit has no st.App (1.57)")
    with serving(tmp_path, "", apps=EXAMPLE) as server:
        tab = Client(server.port, Cookie=cookie_of(server))
        tab.run()
        texts = tab.say("Where is 1042?")
        tab.close()

    assert "Order 1042 is a desk lamp, delivered on Monday." in [text.strip() for text in texts]
    assert any("1 turns, " in text for text in texts)
