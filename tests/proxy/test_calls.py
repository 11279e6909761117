"""Which requests at the proxy are turns: what LiteLLM lets in, and nothing that it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw._core.scope import present
from session_mw.integrations.litellm.calls import current_call
from session_mw.integrations.litellm.proxy import Proxy
from session_mw.testing import FakeClock
from tests.proxy.support import ELSEWHERE, UUID, ask, proxy, said, token

REFUSED = [400, 401, 403, 404, 422, 429]


class Gate:
    """
    An application in LiteLLM's place, that refuses or lets in.

    Args:
        status: Of its answers.
        hook: Whether it runs LiteLLM's hooks before a model call.
        breaks: Name of what breaks the answer off, as LiteLLM's log of a failure tells.
    """

    def __init__(self, status: int, hook: bool = False, breaks: str = "") -> None:
        self.status, self.hook, self.breaks = status, hook, breaks
        self.before: list[dict[str, Any]] = []
        self.turns: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        session, call = present(), current_call.get()
        self.before.append({} if session is None else dict(session.stamp))
        if self.hook and call is not None:
            await call.let_in()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        self.turns.append(session and session.turn)
        if self.breaks and call is not None:
            call.failed(self.breaks)
        await send({"type": "http.response.body", "body": b"{}"})


def read(app: Proxy, session_id: str) -> Any:
    """Return what the store has of a session, after all that is in the background."""
    app.flush()
    app.middleware.engine.drain()
    return app.middleware.engine.store.read(session_id)


@pytest.mark.parametrize("status", REFUSED)
def test_what_is_refused_begins_no_session(status: int) -> None:
    """It is no turn, no token goes out with it, and spans said only what was presented."""
    gate, clock = Gate(status), FakeClock()
    app = proxy(gate, clock)
    response = ask(app, peer=ELSEWHERE, x_claude_code_session_id=UUID)

    assert status == response.status_code
    assert "x-session-token" not in response.headers
    assert UUID == gate.before[0]["session.id"] and "turn.number" not in gate.before[0]
    assert [None] == gate.turns
    assert read(app, UUID) is None


@pytest.mark.parametrize("status", REFUSED)
def test_what_is_refused_extends_no_session(status: int) -> None:
    """Somebody without a key keeps nobody's session alive, and counts nothing in it."""
    gate, clock = Gate(200), FakeClock()
    app = proxy(gate, clock)
    signed = token("s-1", clock())
    ask(app, x_session_token=signed)
    before = read(app, "s-1")
    seen = (before.turns, before.last_ms, before.completed, before.failed)
    gate.status = status
    clock.advance(seconds=600)
    ask(app, x_session_token=signed)
    after = read(app, "s-1")

    assert seen == (after.turns, after.last_ms, after.completed, after.failed)


def test_what_is_refused_is_counted_and_told_to_doctor() -> None:
    """By status, in the echo."""
    gate, clock = Gate(401), FakeClock()
    app = proxy(gate, clock)
    signed = token("s-1", clock())
    ask(app, x_session_token=signed)
    ask(app, x_session_token=signed)
    gate.status = 429
    ask(app, x_session_token=signed)
    ask(app, path="/key/generate", x_session_token=signed)
    told = said(ask(app, path="/session-mw/echo", method="GET", x_session_token=signed))

    assert {"401": 2, "429": 1} == told["litellm"]["refused"]


@pytest.mark.parametrize(("status", "failed"), [(200, 0), (401, 1), (429, 1), (500, 1)])
def test_what_is_let_in_is_a_turn_and_fails_with_the_models_status(status: int, failed: int) -> None:
    """After LiteLLM's hooks a 401 or 429 is the model's provider's: a turn that failed."""
    gate, clock = Gate(status, hook=True), FakeClock()
    app = proxy(gate, clock)
    ask(app, x_session_token=token("s-1", clock()))
    record = read(app, "s-1")

    assert (1, 1 - failed, failed) == (record.turns, record.completed, record.failed)
    assert [None if status == 200 else str(status)] == [turn.error for turn in gate.turns]


def test_without_the_hook_an_answer_begins_the_turn() -> None:
    """Whatever path LiteLLM takes to a model: a response that is no error was a call; its number is on it at once."""
    gate, clock = Gate(200), FakeClock()
    app = proxy(gate, clock)
    response = ask(app, x_claude_code_session_id=UUID)

    assert [1] == [turn.number for turn in gate.turns]
    assert "x-session-token" in response.headers
    assert 1 == read(app, UUID).turns


def test_an_answer_that_breaks_off_is_a_failed_turn() -> None:
    """Its status was 200 by then."""
    gate, clock = Gate(200, hook=True, breaks="APIConnectionError"), FakeClock()
    app = proxy(gate, clock)
    ask(app, x_session_token=token("s-1", clock()))
    record = read(app, "s-1")

    assert (0, 1) == (record.completed, record.failed)
    assert "APIConnectionError" == gate.turns[0].error


@pytest.mark.parametrize(
    ("piece", "failed"),
    [
        (b'event: error\ndata: {"type": "error"}\n\n', 1),
        (b'data: {"error": {"code": "500"}}\n\n', 1),
        (b'data: {"choices": [{"delta": {"content": "event: error"}}]}\n\n', 0),
    ],
    ids=["anthropic", "openai", "words"],
)
def test_a_stream_that_ends_with_an_error_is_a_failed_turn(piece: bytes, failed: int) -> None:
    """As LiteLLM tells its client; its log may come after the last byte, or not at all."""
    clock = FakeClock()

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    app = proxy(streaming, clock)
    ask(app, x_session_token=token("s-1", clock()))

    assert failed == read(app, "s-1").failed


def test_a_turn_begins_once() -> None:
    """The hook runs for each call that LiteLLM makes for a request, and the response begins as well."""
    clock = FakeClock()

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        call = current_call.get()
        assert call is not None
        await call.let_in()
        await call.let_in()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    app = proxy(twice, clock)
    ask(app, x_session_token=token("s-1", clock()))

    assert 1 == read(app, "s-1").turns


def test_the_proxys_own_session_is_not_handed_to_whoever_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """``PHOENIX_SESSION_ID`` names a session for all; its token is for those whom LiteLLM lets in."""
    monkeypatch.setenv("PHOENIX_SESSION_ID", "nightly-1")
    app = proxy(Gate(401))
    response = ask(app, peer=ELSEWHERE)

    assert "x-session-token" not in response.headers
    assert read(app, "nightly-1") is None


def test_a_user_bound_token_of_a_session_that_is_over_goes_on_as_before() -> None:
    """The id may change then, at the moment when the turn begins; what the application sees is the new one."""
    gate, clock = Gate(200, hook=True), FakeClock()
    app = proxy(gate, clock)
    user = f"u_{7:032x}"
    signed = token("s-1", clock(), user=user)
    ask(app, x_session_token=signed)
    clock.advance(seconds=40 * 60)
    response = ask(app, x_session_token=signed)
    codec = app.middleware.engine.policy.header_codec
    assert codec is not None
    claim: Any = codec.loads(
        response.headers["x-session-token"].encode(), now_ms=clock(), skew_ms=1000, max_age_ms=10**9, ahead_ms=0
    )

    assert "s-1" != claim.session_id
    assert user == claim.user_id
    assert 1 == read(app, claim.session_id).turns


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses"),
        ("HEAD", "/v1/messages"),
        ("POST", "/v1/threads/t-1/messages"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/key/generate"),
        ("POST", "/v1/messages/count_tokens"),
        ("GET", "/v1/models"),
        ("GET", "/health/liveliness"),
        ("GET", "/ui/"),
        ("POST", "/v1/files"),
    ],
)
def test_only_routes_that_call_a_model_are_calls(method: str, path: str) -> None:
    """Looking, counting, managing and storing are none."""
    gate, clock = Gate(200), FakeClock()
    app = proxy(gate, clock)
    ask(app, method=method, path=path, x_session_token=token("s-1", clock()))

    assert [{}] == gate.before
    assert read(app, "s-1") is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/moderations",
        "/v1/ocr",
        "/v1/images/edits",
        "/v1/videos",
        "/v1beta/interactions",
        "/anthropic/v1/messages",
        "/bedrock/model/anthropic.claude-v2/converse-stream",
        "/v1/responses/compact",
        "/v2/rerank",
    ],
)
def test_other_routes_that_call_a_model_are_calls_too(path: str) -> None:
    """Also what LiteLLM hands on as it is."""
    gate, clock = Gate(200), FakeClock()
    app = proxy(gate, clock)
    ask(app, path=path, x_session_token=token("s-1", clock()))

    assert 1 == read(app, "s-1").turns


def test_a_clients_own_trace_id_is_kept_and_does_not_name_the_session() -> None:
    """LiteLLM would take it for the session's; here it stands on the turn. What is no text to write down is not."""
    gate, clock = Gate(200, hook=True), FakeClock()
    app = proxy(gate, clock)
    for trace in ("my-trace-7", "x" * 201):
        ask(app, x_session_token=token("s-1", clock()), x_litellm_trace_id=trace)

    assert [{"agent.trace.id": "my-trace-7"}, {}] == [dict(turn.attributes) for turn in gate.turns]
    assert 2 == read(app, "s-1").turns
