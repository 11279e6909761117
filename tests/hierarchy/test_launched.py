"""A script takes the session that its process was started in; a server takes nobody's."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from session_mw import SessionSettings, session_context
from session_mw._hierarchy.runs import HOST
from session_mw.asgi import SessionTrackingMiddleware
from tests.hierarchy.support import SECRET, Script

GIVEN = {
    "PHOENIX_SESSION_ID": "code-review-20251101-143022-a3f2b1",
    "PHOENIX_SESSION_TYPE": "code-review",
    "PHOENIX_PROMPT_VERSION": "v2",
    "PHOENIX_SESSION_NAME": "auth module",
}


@pytest.fixture(autouse=True)
def _started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, HOST, raising=False)  # other tests import it
    for name, text in GIVEN.items():
        monkeypatch.setenv(name, text)


def test_script_continues_the_session_of_its_process(script: Script) -> None:
    """Id and labels are the launcher's, also in the next block: it is one session, of two turns."""
    for _ in range(2):
        with session_context() as session:
            assert ("code-review", "v2", "auth module") == (session.type, session.prompt_version, session.name)

    assert (GIVEN["PHOENIX_SESSION_ID"], 2) == (session.id, script.ended()["session.total_turns"])


def test_what_the_call_says_wins(script: Script) -> None:
    """Arguments before variables: another label, another session, a user of its own."""
    with session_context(prompt_version="v9") as session:
        assert ("v9", "code-review") == (session.prompt_version, session.type)
    with session_context("chat-7") as session:
        assert ("chat-7", "batch", None) == (session.id, session.type, session.name)
    with session_context(user_id="user-456") as session:
        assert GIVEN["PHOENIX_SESSION_ID"] != session.id


def test_variables_win_over_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings say what nobody else says, as for the launcher."""
    monkeypatch.delenv("PHOENIX_SESSION_NAME")
    Script(session_type="by-settings", prompt_version="v0", session_name="by-settings")
    with session_context() as session:
        assert ("code-review", "v2", "by-settings") == (session.type, session.prompt_version, session.name)


@pytest.mark.parametrize("text", ["", "a b", "../x"])
def test_id_that_can_be_none_is_nobodys(script: Script, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that holds no session id says nothing."""
    monkeypatch.setenv("PHOENIX_SESSION_ID", text)
    with session_context() as session:
        assert text != session.id and "batch" == session.type


def test_server_makes_no_session_of_all_its_users(script: Script) -> None:
    """Started in such a shell, a process with a middleware names its sessions itself."""

    async def app(*_: object) -> None: ...

    serving = SessionTrackingMiddleware(app, SessionSettings(secret_key=SECRET))
    with session_context() as session:
        assert GIVEN["PHOENIX_SESSION_ID"] != session.id
    serving.engine.drain(0)


def test_streamlit_makes_no_session_of_all_its_users(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a host that runs one script for several users."""
    host = ModuleType(HOST)
    host.get_script_run_ctx = lambda suppress_warning=False: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, HOST, host)
    with session_context() as session:
        assert GIVEN["PHOENIX_SESSION_ID"] != session.id
