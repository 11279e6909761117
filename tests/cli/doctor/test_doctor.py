"""
``session-mw doctor``: each set-up of the seed's troubleshooting is broken here on purpose, and named.

The proxy is our wrapper, with another application in LiteLLM's place; everything listens on real ports.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from session_mw.cli.app import command
from session_mw.integrations.litellm.proxy import Proxy
from tests.cli.doctor.served import Page, Stage, served
from tests.e2e.servers import free_port
from tests.proxy.support import SECRET, UUID, Upstream, proxy, token

LAUNCHED = "code-review-20251101-143022-a3f2b1"
OTHER = "another-secret-0123456789-0123456789-0123456789"
VARIABLES = ("ANTHROPIC_CUSTOM_HEADERS", "GEMINI_CLI_CUSTOM_HEADERS", "ANTHROPIC_BASE_URL", "PHOENIX_SESSION_ID")
VARIABLES += ("PHOENIX_SESSION_TYPE", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, back_end: str) -> pytest.MonkeyPatch:
    """A shell in which nothing is set but where spans go: to the back end that is there."""
    for name in (*VARIABLES, *(name for name in os.environ if name.startswith("OTEL_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", back_end)
    return monkeypatch


@pytest.fixture(scope="module")
def back_end() -> Iterator[str]:
    """A page of a back end."""
    with served(Page()) as url:
        yield url


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A place for proxies."""
    made = Stage()
    with served(made) as made.url:
        yield made


def wrapped(*exports: str, **options: Any) -> Proxy:
    """Return the wrapper, with LiteLLM as it should be or without a telemetry callback."""
    made = proxy(Upstream(), lambda: time.time_ns() // 1_000_000, **options)
    made._echo._state = lambda: {"callbacks": [], "telemetry": list(exports)}
    return made


def headers(secret: str = SECRET, session_id: str = LAUNCHED) -> str:
    """Return what the launcher puts into an agent's environment."""
    lines = [f"X-Session-Token: {token(session_id, time.time_ns() // 1_000_000, secret)}"]
    return "\n".join([*lines, "X-Session-Type: code-review", "X-Session-Prompt-Version: v2"])


def examined(proxy_url: str, page: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Run the command; return its exit status, and of each check its status, what was found and what to mend."""
    words = ["doctor", "--only", "way", "--proxy", proxy_url, "--back-end", page, "--json"]
    result = CliRunner().invoke(command, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    found = json.loads(result.output)
    return result.exit_code, {one["check"]: (one["status"], one["found"], one["mend"]) for one in found}


def test_a_way_that_works_is_told_to_work(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Nothing to mend, exit status 0."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers())
    shell.setenv("PHOENIX_SESSION_ID", LAUNCHED)
    url = stage.shows(wrapped("arize_phoenix"))
    status, found = examined(url, back_end)

    assert 0 == status
    assert {"ok"} == {one[0] for one in found.values()}
    assert ["proxy", "wrapper", "headers", "export", "otlp http", "back end"] == list(found)
    assert f"{LAUNCHED} arrives, by token" == found["headers"][1]


def test_container_is_not_running(back_end: str) -> None:
    """Seed, "Session Not Appearing", 1. What lies behind it is not guessed at."""
    status, found = examined(f"http://127.0.0.1:{free_port()}", back_end)

    assert 1 == status
    assert "fail" == found["proxy"][0] and "nothing answers" in found["proxy"][1] and "start it" in found["proxy"][2]
    assert {"wrapper", "headers", "export"}.isdisjoint(found)


def test_container_does_not_come_up(stage: Stage, back_end: str) -> None:
    """Seed, "Container Not Restarting": something listens, and is not well."""
    url = stage.shows(Page(503))
    _, found = examined(url, back_end)

    assert "fail" == found["proxy"][0] and "503" in found["proxy"][1]


def test_session_variables_are_not_set(stage: Stage, back_end: str) -> None:
    """Seed, "Session Not Appearing", 2: neither here nor in the proxy."""
    url = stage.shows(wrapped("arize_phoenix", trusted_peers=("127.0.0.1",)))
    status, found = examined(url, back_end)

    assert 1 == status
    assert "fail" == found["headers"][0]
    assert "no header arrives, and the proxy has no PHOENIX_SESSION_ID" in found["headers"][1]
    assert "session-mw run" in found["headers"][2]


def test_spans_have_no_session_because_the_proxy_is_bare(
    shell: pytest.MonkeyPatch, stage: Stage, back_end: str
) -> None:
    """Seed, "Session Not Appearing", 3: a stock LiteLLM."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers())
    url = stage.shows(Upstream())
    _, found = examined(url, back_end)

    assert "fail" == found["wrapper"][0] and "without session_mw" in found["wrapper"][1]
    assert "session_mw.integrations.litellm:app" in found["wrapper"][2]
    assert "session_mw.integrations.litellm:startup" in found["wrapper"][2]


def test_spans_are_not_exported(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Seed, "Session Not Appearing", 3: no callback in the configuration."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers())
    url = stage.shows(wrapped())
    _, found = examined(url, back_end)

    assert "ok" == found["headers"][0]
    assert "fail" == found["export"][0] and "arize_phoenix" in found["export"][2]


def test_two_telemetry_callbacks_are_a_note(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """LiteLLM tells of each answer as often as it is asked to."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers())
    status, found = examined(stage.shows(wrapped("arize_phoenix", "otel")), back_end)

    assert 0 == status
    assert "warn" == found["export"][0] and "arize_phoenix and otel" in found["export"][1]


def test_session_id_is_not_unique(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Seed, "Session ID Not Unique": everybody is in the session that the proxy was started with."""
    shell.setenv("PHOENIX_SESSION_ID", "everybodys")
    url = stage.shows(wrapped("arize_phoenix", trusted_peers=("127.0.0.1",)))
    _, found = examined(url, back_end)

    assert "fail" == found["headers"][0]
    assert "all clients share the proxy's own PHOENIX_SESSION_ID, everybodys" in found["headers"][1]
    assert "no restart is needed" in found["headers"][2]


def test_headers_of_an_earlier_session(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Variables that were set one by one, and not all of them anew."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers(session_id="earlier"))
    url = stage.shows(wrapped("arize_phoenix"))
    shell.setenv("PHOENIX_SESSION_ID", LAUNCHED)
    _, found = examined(url, back_end)

    assert "fail" == found["headers"][0]
    assert LAUNCHED in found["headers"][1] and "earlier arrives" in found["headers"][1]
    assert "session-mw env" in found["headers"][2]


def test_a_secret_that_is_not_shared(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """The proxy was started with another key; the token is in none of the lines."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers(OTHER))
    url = stage.shows(wrapped("arize_phoenix"))
    _, found = examined(url, back_end)

    assert "fail" == found["headers"][0] and "another key" in found["headers"][1]
    assert "SESSION_MW_SECRET_KEY" in found["headers"][2]
    assert not any(headers(OTHER).split()[1] in line for one in found.values() for line in one)


@pytest.mark.parametrize("days", [-400, 1], ids=["expired", "from_future"])
def test_a_token_of_another_time(shell: pytest.MonkeyPatch, stage: Stage, back_end: str, days: int) -> None:
    """A shell that is open for too long, or clocks that differ."""
    signed = token(LAUNCHED, time.time_ns() // 1_000_000 + days * 86_400_000)
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", f"X-Session-Token: {signed}")
    url = stage.shows(wrapped("arize_phoenix"))
    _, found = examined(url, back_end)

    assert "fail" == found["headers"][0] and "the token is refused" in found["headers"][1]
    assert "start a new session" in found["headers"][2] and "clocks" in found["headers"][2]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("", "hold no session headers"), ("X-Session-ID: cr-1", "are not believed (untrusted)")],
    ids=["no headers", "an id without a signature"],
)
def test_who_is_not_believed_is_told_why(
    shell: pytest.MonkeyPatch, stage: Stage, back_end: str, sent: str, expected: str
) -> None:
    """Neither a token nor a trusted peer."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", sent)
    url = stage.shows(wrapped("arize_phoenix"))
    _, found = examined(url, back_end)

    assert "fail" == found["headers"][0] and expected in found["headers"][1]


class Without:
    """
    Something between a client and the proxy that passes not all headers on.

    Args:
        app: The proxy.
        dropped: Names of headers, in lower case.
    """

    def __init__(self, app: Any, *dropped: str) -> None:
        self.app, self.dropped = app, {name.encode() for name in dropped}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [pair for pair in scope.get("headers", ()) if pair[0] not in self.dropped]
        await self.app({**scope, "headers": headers}, receive, send)


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)], ids=["nobody is trusted", "this machine is"])
def test_headers_that_get_lost_on_the_way(
    shell: pytest.MonkeyPatch, stage: Stage, back_end: str, trusted: tuple[str, ...]
) -> None:
    """What arrives is believed, or refused for a reason: a token that is neither did not arrive."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers())
    url = stage.shows(Without(wrapped("arize_phoenix", trusted_peers=trusted), "x-session-token"))
    status, found = examined(url, back_end)

    assert 1 == status
    assert "fail" == found["headers"][0] and "X-Session-Token of this shell do not arrive" in found["headers"][1]
    assert "nginx" in found["headers"][2] and url in found["headers"][2]


def test_headers_that_get_lost_beside_the_proxys_own_session(
    shell: pytest.MonkeyPatch, stage: Stage, back_end: str
) -> None:
    """The session that is found is the proxy's own, and the cause is what lies between."""
    shell.setenv("PHOENIX_SESSION_ID", "everybodys")
    app = wrapped("arize_phoenix", trusted_peers=("127.0.0.1",))
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-session-id: cr-1")
    _, found = examined(stage.shows(Without(app, "x-session-id")), back_end)

    assert "x-session-id of this shell do not arrive" in found["headers"][1]


def test_header_that_cannot_be_sent(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """The agent's request would fail: the wrapper is not said to be missing."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", f"{headers()}\nX Team: a")
    _, found = examined(stage.shows(wrapped("arize_phoenix")), back_end)

    assert "fail" == found["wrapper"][0] and "do not get to the proxy (400)" in found["wrapper"][1]
    assert "ANTHROPIC_CUSTOM_HEADERS" in found["wrapper"][2]


def test_text_of_any_language_in_a_header(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Claude Code sends it as UTF-8; so does the doctor."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", f"{headers()}\nX-Team: 日本")
    status, found = examined(stage.shows(wrapped("arize_phoenix")), back_end)

    assert (0, "ok") == (status, found["headers"][0])


@pytest.mark.parametrize(
    ("status", "said", "mend"),
    [
        (404, "is no LiteLLM proxy", "--proxy URL"),
        (401, "wants credentials (401)", "let requests through"),
        (403, "wants credentials (403)", "let requests through"),
        (307, "leads on to https://llm.example.com/", "name the place itself"),
    ],
)
def test_what_answers_is_not_the_proxy(stage: Stage, back_end: str, status: int, said: str, mend: str) -> None:
    """Another program, a gate in front of it, or a redirect, which agents do not follow."""
    _, found = examined(stage.shows(Page(status)), back_end)

    assert "fail" == found["proxy"][0]
    assert said in found["proxy"][1] and mend in found["proxy"][2]
    assert "wrapper" not in found


class Locked:
    """
    The proxy, with keys.

    Args:
        app: Whatever needs no key.
        key: That is taken.
    """

    def __init__(self, app: Any, key: str) -> None:
        self.app, self.key, self.shown = app, key, []  # type: ignore[var-annotated]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode()
        if given:
            self.shown.append((scope["path"], given))
        if scope["path"] != "/v1/models" or given == f"Bearer {self.key}":
            await self.app(scope, receive, send)
        else:
            await Page(401)(scope, receive, send)


@pytest.mark.parametrize(
    ("key", "expected"),
    [("sk-right", ("ok", "takes")), ("sk-wrong", ("fail", "refuses ANTHROPIC_AUTH_TOKEN (401)"))],
)
def test_agents_key(
    shell: pytest.MonkeyPatch, stage: Stage, back_end: str, key: str, expected: tuple[str, str]
) -> None:
    """The key that the agent would send is tried where it would send it, and is in no line."""
    app = Locked(wrapped("arize_phoenix"), "sk-right")
    url = stage.shows(app)
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers())
    shell.setenv("ANTHROPIC_AUTH_TOKEN", key)
    shell.setenv("ANTHROPIC_BASE_URL", url)
    status, found = examined(url, back_end)

    assert (int(key == "sk-wrong"), expected[0]) == (status, found["key"][0])
    assert expected[1] in found["key"][1] and key not in str(found)
    assert [("/v1/models", f"Bearer {key}")] == app.shown


def test_agents_key_is_shown_to_nobody_else(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """A proxy that the agent's variable does not name is not told the key."""
    app = Locked(wrapped("arize_phoenix"), "sk-right")
    url = stage.shows(app)
    shell.setenv("ANTHROPIC_AUTH_TOKEN", "sk-right")
    shell.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    _, found = examined(url, back_end)

    assert ([], False) == (app.shown, "key" in found)


def test_only_the_agents_own_id_is_a_note(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """It works, and is nobody's workflow."""
    shell.setenv("GEMINI_CLI_CUSTOM_HEADERS", f"x-claude-code-session-id: {UUID}, x-other: 1")
    url = stage.shows(wrapped("arize_phoenix", trusted_peers=("127.0.0.1",)))
    status, found = examined(url, back_end)

    assert 0 == status
    assert "warn" == found["headers"][0] and UUID in found["headers"][1]


def test_a_session_without_labels_is_a_note(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Nothing to filter by."""
    shell.setenv("ANTHROPIC_CUSTOM_HEADERS", headers().splitlines()[0])
    url = stage.shows(wrapped("arize_phoenix"))
    status, found = examined(url, back_end)

    assert 0 == status
    assert "warn" == found["labels"][0] and "session.type and session.prompt_version" in found["labels"][1]


def test_otlp_port_is_closed(shell: pytest.MonkeyPatch, stage: Stage, back_end: str) -> None:
    """Seed, "nc -zv localhost 4317": the port that the environment names."""
    port = free_port()
    shell.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    shell.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    status, found = examined(back_end, back_end)

    assert 1 == status
    assert ("fail", f"nothing listens at 127.0.0.1:{port} (Connection refused)") == found["otlp grpc"][:2]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in found["otlp grpc"][2]


def test_phoenix_is_not_running() -> None:
    """Seed, "curl http://localhost:6006"."""
    page = f"http://127.0.0.1:{free_port()}"
    status, found = examined(page, page)

    assert 1 == status
    assert "fail" == found["back end"][0] and "does not answer" in found["back end"][1]
    assert "phoenix serve" in found["back end"][2]


@pytest.mark.parametrize(("status", "expected"), [(401, "warn"), (403, "warn"), (500, "fail")])
def test_page_of_the_back_end_that_is_not_shown(stage: Stage, back_end: str, status: int, expected: str) -> None:
    """Where it wants a log-in it runs; MLflow says 403 to a name of the machine that it does not know."""
    _, found = examined(back_end, stage.shows(Page(status)))

    assert expected == found["back end"][0] and str(status) in found["back end"][1]


def test_people_are_told_in_lines(back_end: str) -> None:
    """A mark, the check, what was found; below it what to mend."""
    result = CliRunner().invoke(command, ["doctor", "--only", "way", "--proxy", back_end, "--back-end", back_end])
    lines = result.output.splitlines()

    assert 1 == result.exit_code
    assert f"ok    proxy      {back_end} answers" == lines[0]
    assert lines[1].startswith("FAIL  wrapper    the proxy runs without session_mw")
    assert lines[2].strip().startswith("-> run it with")


def test_something_that_speaks_no_http_is_no_crash(back_end: str) -> None:
    """It is told, as whatever else is wrong there; a URL that is none is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_babble, args=(server,), daemon=True)
        thread.start()
        _, found = examined(f"http://127.0.0.1:{server.getsockname()[1]}", back_end)
        thread.join()
    refused = CliRunner().invoke(command, ["doctor", "--proxy", "localhost:4000"])

    assert 2 == refused.exit_code
    assert "is no http or https URL" in refused.output
    assert "fail" == found["proxy"][0] and "nothing answers" in found["proxy"][1]


def _babble(server: socket.socket) -> None:
    """Answer one connection with what is no HTTP."""
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"220 mail.example ESMTP\r\n")
