"""The seed's cost analysis, end to end: a real proxy, a model server, many sessions; then ``stats`` and ``compare``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from click.testing import CliRunner

from session_mw._core.tokens import Claim, TokenCodec
from session_mw.cli.app import command
from tests.proxy.models import model_server
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.support import SECRET

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

USERS = 20
V1, V2 = {}, {"LITELLM_OTEL_V2": "true"}


@dataclass(frozen=True)
class Session:
    """
    One session of somebody.

    Attributes:
        name: Its id.
        user: Number of its user.
        type: Its type.
        version: Its prompt version.
        model: Asked in each turn.
        turns: Tokens in and out of each turn.
    """

    name: str
    user: int
    type: str
    version: str
    model: str
    turns: tuple[tuple[int, int], ...]


def sessions() -> Iterator[Session]:
    """Two versions of code-review for each user, around 2000 and 1500 tokens; the seed's other two insights."""
    for user in range(USERS):
        more = 20 * user - 190  # from -190 to 190, 0 on average
        for version, whole in (("v1", 2000), ("v2", 1500)):
            turns = ((whole - 700 + more, 100), (500, 100))
            yield Session(f"cr-{version}-{user}", user, "code-review", version, "claude-sonnet-4-5", turns)
        yield Session(f"debug-{user}", user, "debugging", "v1", "claude-haiku-4-5", ((50_000, 2000), (30_000, 2000)))
        yield Session(f"doc-{user}", user, "documentation", "v3", "gpt-4o", ((600, 200),))


def signed(session: Session) -> str:
    """Return a token as the launcher signs it: of a session, bound to its user."""
    codec = TokenCodec(SECRET.encode(), (), purpose="header", name="X-Session-Token")
    now = time.time_ns() // 1_000_000
    return codec.dumps(Claim(session.name, now, now, user_id=f"u_{session.user:032x}", provisional=True))


def hold(url: str, session: Session, at: int) -> None:
    """Have a session through the proxy, every other turn streamed."""
    headers = {"X-Session-Token": signed(session), "X-Session-Type": session.type}
    headers["X-Session-Prompt-Version"] = session.version
    with httpx.Client(headers=headers, timeout=120) as client:
        for number, (into, out) in enumerate(session.turns):
            path, body = question(session.model, f"use {into} {out}", (at + number) % 2 == 0)
            if session.model.startswith("gpt") and body["stream"]:
                body["stream_options"] = {"include_usage": True}
            assert 200 == client.post(url + path, json=body).status_code


def run(*arguments: str) -> str:
    """Run session-mw."""
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert 0 == result.exit_code, result.output
    return result.stdout


@pytest.mark.parametrize("telemetry", [V1, V2], ids=["v1", "v2"])
def test_code_review_v1_uses_2000_tokens_on_average_and_v2_1500(
    tmp_path_factory: pytest.TempPathFactory, telemetry: dict[str, str]
) -> None:
    """80 sessions, 140 answers, 8 at a time; debugging costs $0.10, documentation is cheapest with 800 tokens."""
    python, folder = litellm_python(), tmp_path_factory.mktemp("costs")
    with model_server() as (models, asked):
        config(folder, models)
        env = environment(folder, models, SESSION_MW_IDLE_TIMEOUT="30m", LITELLM_LOG="ERROR", **telemetry)
        with proxying(python, env, folder) as url, ThreadPoolExecutor(8) as pool:
            for one in [pool.submit(hold, url, session, at) for at, session in enumerate(sessions())]:
                one.result()
    store = ("--store", f"sqlite:///{folder}/sessions.db")
    text = run("compare", "v1", "v2", "type:code-review", "--metric", "tokens", "--whole-period", *store)
    groups = {one["group"]["type"]: one for one in json.loads(run("stats", "--by", "type", "--json", *store))}
    each = {name: group["total_tokens"] / group["sessions"] for name, group in groups.items()}

    assert 7 * USERS == len(asked)
    assert "2,000" in text and "1,500" in text and "-500" in text
    assert "interval" in text
    assert (0.1, USERS) == (groups["debugging"]["avg_cost_usd"], groups["debugging"]["sessions"])
    assert {"code-review": 1750, "debugging": 84_000, "documentation": 800} == each
    assert "documentation" == min(each, key=lambda name: each[name])
