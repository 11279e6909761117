"""What a launched agent sends is believed by a service of one's own that shares the secret, and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from session_mw import SessionSettings, current_session
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.cli.launch.carried import proof_of
from session_mw.cli.launch.choosing import Label
from session_mw.cli.launch.headers import BAGGAGE_HEADER
from session_mw.cli.launch.variables import Proof, applied, changes
from session_mw.clients.processes import continued_session

SECRET = "a-secret-of-at-least-sixteen-bytes-for-tests"
LABEL = Label("code-review-1", "code-review", "v2", "auth modüle")


def settings(secret: str = SECRET, **more: Any) -> SessionSettings:
    return SessionSettings(_env_file=None, secret_key=secret, cookie_secure=False, cookie_name="s", **more)


def launched(proof: Proof | None = None) -> dict[str, str]:
    """Return the environment of an agent that talks to a proxy next door."""
    environ = {"ANTHROPIC_BASE_URL": "http://localhost:4000"}
    made = proof or proof_of(settings(), True, LABEL, 1, environ, True)
    return applied(environ, changes(environ, LABEL, made, outer=None))


def sent(without: str = "") -> dict[str, str]:
    """Return the headers that Claude Code sends, as it reads them; without one of them."""
    lines = launched()["ANTHROPIC_CUSTOM_HEADERS"].split("\n")
    return {name: value for name, _, value in (line.partition(": ") for line in lines) if name != without}


async def messages(request: Request) -> JSONResponse:
    session = current_session()
    assert session is not None
    return JSONResponse([session.id, session.type, session.prompt_version, session.name])


def answered(headers: dict[str, str], **more: Any) -> list[str | None]:
    app = Starlette(routes=[Route("/v1/messages", messages, methods=["POST"])])
    with TestClient(SessionTrackingMiddleware(app, settings(**more))) as client:
        found: list[str | None] = client.post("/v1/messages", headers=headers).json()
    return found


def test_signed_baggage_brings_the_whole_session() -> None:
    """Id, type, version and name arrive in a service that shares the secret."""
    assert ["code-review-1", "code-review", "v2", "auth modüle"] == answered(sent())


def test_token_alone_brings_the_session() -> None:
    """A service that issues tokens in headers takes the id of the token."""
    assert "code-review-1" == answered(sent(without=BAGGAGE_HEADER), issue="both")[0]


@pytest.mark.parametrize("issue", ["cookie", "both"])
def test_another_secret_believes_nothing(issue: str) -> None:
    """Where the secret is another, the session is one of the service's own."""
    found = answered(sent(), secret="another-secret-of-at-least-sixteen-bytes", issue=issue)

    assert "code-review-1" != found[0] and found[1] != "code-review"


def test_child_process_continues_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """``continued_session()`` in a launched script believes the signed BAGGAGE of its environment."""
    for name, text in (("SESSION_MW_SECRET_KEY", SECRET), ("SESSION_MW_STORE", "memory://")):
        monkeypatch.setenv(name, text)
    with continued_session(launched()) as session:
        assert session is not None
        assert ("code-review-1", "v2") == (session.id, session.prompt_version)
