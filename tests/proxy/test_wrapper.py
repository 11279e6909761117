"""The wrapper around LiteLLM, with another application in LiteLLM's place."""

from __future__ import annotations

import logging

import pytest

from session_mw._core.scope import present
from session_mw.integrations.litellm.naming import Namer
from session_mw.settings import SessionSettings
from session_mw.testing import FakeClock
from tests.proxy.support import ELSEWHERE, HERE, OPENCODE, SECRET, UUID, Upstream, ask, proxy, said, token

TRUSTED = {"trusted_peers": ("127.0.0.1",)}
LABELS = {"x_session_type": "code-review", "x_session_prompt_version": "v2", "x_session_name": "auth%20module"}
SHOWN = {"session.type": "code-review", "session.prompt_version": "v2", "session.name": "auth module"}
LAUNCHED = "code-review-20251101-143022-a3f2b1"


@pytest.fixture(autouse=True)
def no_phoenix_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own variables name no session here."""
    for name in ("PHOENIX_SESSION_ID", "PHOENIX_SESSION_TYPE", "PHOENIX_SESSION_NAME", "PHOENIX_PROMPT_VERSION"):
        monkeypatch.delenv(name, raising=False)


def test_a_signed_token_names_the_session_and_brings_its_labels() -> None:
    """Where a secret is shared, the token is enough, from anywhere."""
    clock, upstream = FakeClock(), Upstream()
    ask(proxy(upstream, clock), peer=ELSEWHERE, x_session_token=token(LAUNCHED, clock()), **LABELS)
    (seen,) = upstream.seen

    assert {"session.id": LAUNCHED, **SHOWN}.items() <= seen["stamp"].items()
    assert LAUNCHED == seen["headers"]["x-litellm-session-id"]


def test_the_user_that_a_token_is_bound_to_stands_on_spans() -> None:
    """As a pseudonym; nobody else's word about a user is taken."""
    clock, upstream, user = FakeClock(), Upstream(), f"u_{7:032x}"
    app = proxy(upstream, clock, **TRUSTED)
    ask(app, x_session_token=token("s-1", clock(), user=user))
    ask(app, x_session_id="s-2", x_user_id="admin")

    assert [user, None] == [seen["stamp"].get("user.id") for seen in upstream.seen]


def test_the_token_does_not_reach_litellm() -> None:
    """LiteLLM writes every X- header onto its spans; also where the token is worth nothing."""
    clock, upstream = FakeClock(), Upstream()
    app = proxy(upstream, clock)
    ask(app, x_session_token=token("s-1", clock()))
    ask(app, x_session_token="rubbish")
    ask(app, path="/key/generate", x_session_token=token("s-1", clock()))

    assert [False, False, False] == ["x-session-token" in seen["headers"] for seen in upstream.seen]


@pytest.mark.parametrize(
    ("options", "peer", "named"),
    [(TRUSTED, HERE, True), (TRUSTED, ELSEWHERE, False), ({}, HERE, False)],
    ids=["trusted", "another", "nobody is trusted"],
)
def test_a_bare_id_counts_from_trusted_peers_only(
    options: dict[str, object], peer: tuple[str, int], named: bool
) -> None:
    """Without a secret, the address decides; labels of others are not read either."""
    upstream = Upstream()
    ask(proxy(upstream, **options), peer=peer, x_session_id="cr-1", **LABELS)

    assert ({"session.id": "cr-1", **SHOWN}.items() <= upstream.seen[0]["stamp"].items()) is named
    assert ({} == upstream.seen[0]["stamp"]) is not named


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_claude_code_session_id": UUID}, UUID),
        ({"session_id": UUID, "user_agent": "codex_cli_rs/0.169.0"}, UUID),
        ({"x_session_id": OPENCODE}, OPENCODE),
        ({"x_litellm_session_id": UUID}, UUID),
    ],
    ids=["claude code", "codex", "opencode", "litellm"],
)
def test_an_agents_own_id_names_the_session_when_nothing_better_came(headers: dict[str, str], expected: str) -> None:
    """As it is, from anybody: the agent's own telemetry says the same id."""
    upstream = Upstream()
    ask(proxy(upstream), peer=ELSEWHERE, **headers)

    assert {"session.id": expected, "agent.session.id": expected}.items() <= upstream.seen[0]["stamp"].items()


def test_beside_something_better_an_agents_id_is_kept_apart() -> None:
    """And only for the request that brought it."""
    clock, upstream = FakeClock(), Upstream()
    app, signed = proxy(upstream, clock), token(LAUNCHED, clock())
    ask(app, x_session_token=signed, x_claude_code_session_id=UUID)
    ask(app, x_session_token=signed)

    assert [LAUNCHED, LAUNCHED] == [seen["stamp"]["session.id"] for seen in upstream.seen]
    assert [UUID, None] == [seen["stamp"].get("agent.session.id") for seen in upstream.seen]


@pytest.mark.parametrize("named_by", ["token", "agent"])
def test_after_a_break_the_session_has_the_same_id(named_by: str) -> None:
    """A shell or an agent says one id for hours: what ended meanwhile goes on as its next generation."""
    clock, upstream = FakeClock(), Upstream()
    app = proxy(upstream, clock)
    headers = {"x_session_token": token(UUID, clock())} if named_by == "token" else {"x_claude_code_session_id": UUID}
    ask(app, **headers)
    clock.advance(seconds=40 * 60)
    ask(app, **headers)
    record = app.middleware.engine.store.read(UUID)

    assert [UUID, UUID] == [seen["stamp"]["session.id"] for seen in upstream.seen]
    assert record is not None
    assert (2, 1) == (record.generation, record.turns)


def test_nobody_joins_anothers_session_by_a_guessed_name() -> None:
    """An id of no tool's form gets the mark of whoever sent it; a trusted peer's is taken as it is."""
    upstream = Upstream()
    app = proxy(upstream, **TRUSTED)
    ask(app, peer=HERE, x_litellm_session_id=LAUNCHED)
    for key in ("Bearer sk-a", "Bearer sk-b", "Bearer sk-a"):
        ask(app, peer=ELSEWHERE, x_litellm_session_id=LAUNCHED, authorization=key)
    as_it_is, first, second, again = (seen["stamp"]["session.id"] for seen in upstream.seen)

    assert LAUNCHED == as_it_is
    assert first == again != second
    assert {first, second}.isdisjoint({LAUNCHED})
    assert first.endswith("-" + LAUNCHED) and "sk-a" not in first


def test_the_proxys_own_variables_are_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the seed's container had them; a header wins."""
    monkeypatch.setenv("PHOENIX_SESSION_ID", LAUNCHED)
    monkeypatch.setenv("PHOENIX_SESSION_TYPE", "ci-pipeline")
    monkeypatch.setenv("PHOENIX_PROMPT_VERSION", "v1")
    monkeypatch.setenv("PHOENIX_SESSION_NAME", "nightly")
    upstream, clock = Upstream(), FakeClock()
    app = proxy(upstream, clock)
    ask(app, peer=ELSEWHERE)
    ask(app, peer=ELSEWHERE, x_session_token=token("s-2", clock()))
    own = {"session.id": LAUNCHED, "session.type": "ci-pipeline", "session.prompt_version": "v1"}

    assert {**own, "session.name": "nightly"}.items() <= upstream.seen[0]["stamp"].items()
    assert "s-2" == upstream.seen[1]["stamp"]["session.id"]
    assert "session.name" not in upstream.seen[1]["stamp"]


def test_what_the_launcher_sends_is_one_session(caplog: pytest.LogCaptureFixture) -> None:
    """Token, bare id, LiteLLM's own header and labels say the same; nothing is hinted."""
    clock, upstream = FakeClock(), Upstream()
    app, signed = proxy(upstream, clock), token(LAUNCHED, clock())
    ask(app, peer=ELSEWHERE, x_session_token=signed, x_session_id=LAUNCHED, x_litellm_session_id=LAUNCHED, **LABELS)

    assert {"session.id": LAUNCHED, **SHOWN}.items() <= upstream.seen[0]["stamp"].items()
    assert "agent.session.id" not in upstream.seen[0]["stamp"]
    assert not any("OpenTelemetry SDK" in line for line in caplog.messages)


def test_who_names_no_session_gets_none() -> None:
    """A session for each request would be no session; nothing is changed on the way, and no token is issued."""
    upstream = Upstream()
    response = ask(proxy(upstream), authorization="Bearer sk-a")

    assert {} == upstream.seen[0]["stamp"]
    assert "x-litellm-session-id" not in upstream.seen[0]["headers"]
    assert "x-session-token" not in response.headers


@pytest.mark.parametrize("path", ["/key/generate", "/v1/messages/count_tokens", "/health/liveliness", "/v1/models"])
def test_only_model_calls_belong_to_sessions(path: str) -> None:
    """Management, counting and looking around are no turns."""
    clock, upstream = FakeClock(), Upstream()
    ask(proxy(upstream, clock), path=path, x_session_token=token("s-1", clock()))

    assert {} == upstream.seen[0]["stamp"]


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/v1/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/root/v1/messages",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
    ],
)
def test_every_dialects_model_calls_do(path: str) -> None:
    """OpenAI's, Azure's, Anthropic's and Gemini's, behind any root path."""
    clock, upstream = FakeClock(), Upstream()
    ask(proxy(upstream, clock), path=path, x_session_token=token("s-1", clock()))

    assert "s-1" == upstream.seen[0]["stamp"]["session.id"]


def test_forged_baggage_names_nothing() -> None:
    """Entries of ours that nobody signed are taken out, also where the request goes on without a session."""
    upstream = Upstream()
    ask(proxy(upstream), peer=ELSEWHERE, baggage="session.id=evil,tenant=t1")

    assert {} == upstream.seen[0]["stamp"]
    assert "tenant=t1" == upstream.seen[0]["headers"]["baggage"]


@pytest.mark.parametrize(("counts", "turn"), [(False, None), (True, 7)], ids=["the owner counts", "count_for_others"])
def test_usage_of_a_session_is_counted_by_its_owner(counts: bool, turn: int | None) -> None:
    """Rule 3: who hands its session on by baggage has seen the same answer; here no turn takes usage then."""
    turns: list[object] = []

    def look() -> None:
        scope = present()
        turns.append(scope is not None and scope.turn is not None)

    upstream = Upstream(look)
    app = proxy(upstream, count_for_others=counts, **TRUSTED)
    ask(app, baggage="session.id=theirs,turn.number=7")

    assert [counts] == turns
    assert {"session.id": "theirs", "turn.number": 7}.items() <= upstream.seen[0]["stamp"].items()


@pytest.mark.parametrize("holds", [True, False], ids=["a token that holds", "another key's"])
def test_a_token_goes_before_baggage_that_came_beside_it(holds: bool) -> None:
    """The launcher sends both: its sessions are counted here. Baggage is taken where the token is worth nothing."""
    clock, turns = FakeClock(), []

    def look() -> None:
        scope = present()
        turns.append(scope is not None and scope.turn is not None)

    upstream = Upstream(look)
    signed = token("launched", clock(), SECRET if holds else "another-secret-0123456789-0123456789-0123456789")
    ask(proxy(upstream, clock, **TRUSTED), x_session_token=signed, baggage="session.id=handed-on,tenant=t1")

    assert ["launched" if holds else "handed-on"] == [seen["stamp"]["session.id"] for seen in upstream.seen]
    assert [holds] == turns
    assert "tenant=t1" == upstream.seen[0]["headers"]["baggage"]


def test_each_injection_is_a_debug_line(caplog: pytest.LogCaptureFixture) -> None:
    """In the words that the seed's troubleshooting looks for."""
    clock = FakeClock()
    with caplog.at_level(logging.DEBUG, "session_mw"):
        ask(proxy(Upstream(), clock), x_session_token=token(LAUNCHED, clock()), **LABELS)
    lines = [line for line in caplog.messages if line.startswith("[LOGGING] Injected session")]

    assert f"[LOGGING] Injected session_id from header: {LAUNCHED}" == lines[0]
    assert "[LOGGING] Injected session_prompt_version from header: v2" in lines
    assert not any(token(LAUNCHED, clock()) in line for line in caplog.messages)


def test_an_injection_from_the_environment_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the seed, word for word."""
    monkeypatch.setenv("PHOENIX_SESSION_ID", "test-session-1762066447")
    monkeypatch.setenv("PHOENIX_SESSION_TYPE", "debug-test")
    with caplog.at_level(logging.DEBUG, "session_mw"):
        ask(proxy(Upstream()), peer=ELSEWHERE)

    assert "[LOGGING] Injected session_id from env: test-session-1762066447" in caplog.messages
    assert "[LOGGING] Injected session_type from env: debug-test" in caplog.messages


def test_the_echo_tells_trusted_callers_what_arrived() -> None:
    """Who brings a verified token is told how its session was named; no session begins by asking."""
    clock, upstream = FakeClock(), Upstream()
    app = proxy(upstream, clock)
    asked = {"path": "/session-mw/echo", "method": "GET", "peer": ELSEWHERE}
    answer = said(ask(app, **asked, x_session_token=token(LAUNCHED, clock()), x_claude_code_session_id=UUID, **LABELS))

    assert "token" == answer["named_by"]
    assert {"session.id": LAUNCHED, "agent.session.id": UUID, **SHOWN} == answer["session"]
    assert app.middleware.engine.store.read(LAUNCHED) is None
    assert [] == upstream.seen


def test_the_echo_tells_others_only_why_they_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 403 says that there is a wrapper, and nothing of the proxy or its variables."""
    monkeypatch.setenv("PHOENIX_SESSION_ID", LAUNCHED)
    clock = FakeClock()
    app = proxy(Upstream(), clock)
    forged = token("s-1", clock(), secret="another-secret-0123456789-0123456789-0123456789")
    response = ask(app, path="/session-mw/echo", method="GET", peer=ELSEWHERE, x_session_token=forged)

    assert 403 == response.status_code
    assert {"wrapper": "session-mw", "refused": ["other_key"]} == said(response)


def test_settings_that_somebody_chose_stay() -> None:
    """A proxy's defaults are defaults."""
    settings = SessionSettings(_env_file=None, secret_key=SECRET, issue="both", turn_paths=("/mine",))
    chosen = proxy(Upstream(), **{name: getattr(settings, name) for name in settings.model_fields_set})

    assert "both" == chosen.middleware.engine.settings.issue
    assert ("/mine",) == tuple(chosen.middleware.engine.settings.turn_paths or ())
    assert isinstance(chosen._namer, Namer)
