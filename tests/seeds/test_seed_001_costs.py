"""
Seed 001, "Cost Analysis": its three insights come out of the README's commands, on the history that the proxy wrote.

The proxy is the wrapper as it is, with what LiteLLM would tell it: tokens and cost of each answer. With a real LiteLLM:
``tests/proxy/test_cost_analysis.py``.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from session_mw import CallableSink, SessionSettings, current_turn
from session_mw.cli.app import command
from session_mw.integrations.litellm.calls import current_call
from session_mw.integrations.litellm.proxy import Proxy
from session_mw.ledger import open_ledger
from tests.proxy.support import SECRET, token
from tests.readme import README

SECTION = README.read_text(encoding="utf-8").split("\n## Coding agents")[1].split("\n## ")[0]
LINES = {line.split()[1]: line for line in SECTION.splitlines() if line.startswith("session-mw ")}
STATS, COMPARE = LINES["stats"], LINES["compare"]
ROUNDS = 22
# Type, prompt version, and of each of its two answers tokens in, tokens out, US dollars.
KINDS = [
    ("code-review", "v1", 900, 100, 0.01),
    ("code-review", "v2", 650, 100, 0.0075),
    ("debugging", "v1", 40_000, 2_000, 0.05),
    ("documentation", "v3", 300, 100, 0.002),
]


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer as a model that uses what it is told to."""
    told, call = json.loads((await receive())["body"]), current_call.get()
    assert call is not None
    await call.let_in()  # as LiteLLM does where it believes the key
    turn = current_turn()
    assert turn is not None
    turn.add_usage(input_tokens=told["in"], output_tokens=told["out"], cost_usd=told["usd"], model="a-model")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def ask(client: httpx.AsyncClient, at: int, kind: tuple[str, str, int, int, float]) -> None:
    """
    Have one session of two answers; code reviews differ by up to 90 tokens from their average.

    Not the first and last ones, which did not run while both versions did.
    """
    type_, version, into, out, usd = kind
    outer = at < 3 or at >= ROUNDS - 3
    more = 0 if outer or type_ != "code-review" else (at % 2 * 2 - 1) * 5 * ((at + 1) // 2)
    signed = token(f"{type_}-{version}-{at}", time.time_ns() // 1_000_000)
    headers = {"X-Session-Token": signed, "X-Session-Type": type_, "X-Session-Prompt-Version": version}
    for _ in range(2):
        body = {"in": into + more, "out": out, "usd": usd}
        assert 200 == (await client.post("/v1/messages", json=body, headers=headers)).status_code


async def ask_all(app: Any) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://proxy") as client:
        for at in range(ROUNDS):
            for kind in KINDS:
                await ask(client, at, kind)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the proxy wrote of 88 sessions."""
    url = f"sqlite:///{tmp_path_factory.mktemp('costs')}/sessions.db"
    settings = SessionSettings(
        _env_file=None, secret_key=SECRET, store=url, sweep="off", event_sink=CallableSink(lambda _: None)
    )
    proxy = Proxy(answering, settings)
    asyncio.run(ask_all(proxy))
    proxy.flush()
    proxy.middleware.engine.drain(30)
    return url


def shown(line: str, store: str, *more: str) -> str:
    """Return what a command of the README prints about *store*."""
    words = shlex.split(line, comments=True)[1:]
    result = CliRunner().invoke(command, [*words, *more, "--store", store], catch_exceptions=False)
    assert 0 == result.exit_code, result.output
    return result.stdout


def by_type(store: str) -> dict[str, dict[str, Any]]:
    return {one["group"]["type"]: one for one in json.loads(shown(STATS, store, "--json"))}


def test_code_review_v1_uses_2000_tokens_on_average_and_v2_1500(store: str) -> None:
    """25 % less, with the interval in which that is known; the README says the sentence as it is printed."""
    text = shown(COMPARE, store)
    sentence = next(line for line in text.splitlines() if line.startswith("code-review v1 uses"))

    assert sentence.startswith("code-review v1 uses 2,000 tokens on average, v2 1,500: 25 % less (95 % interval "), text
    low, high = map(int, re.findall(r"interval (\d+) % to (\d+) % less\)\.", sentence)[0])
    assert 20 <= low < 25 < high <= 30
    assert sentence.partition(" (95")[0] in SECTION


def test_what_a_debugging_session_costs(store: str) -> None:
    """$0.10 on average, as a figure and in the table."""
    found = by_type(store)
    line = next(line for line in shown(STATS, store).splitlines() if line.startswith("debugging\t"))

    assert (ROUNDS, 0.1) == (found["debugging"]["sessions"], found["debugging"]["avg_cost_usd"])
    assert "$0.1000" in line.split("\t")


def test_documentation_is_the_cheapest_type(store: str) -> None:
    """800 tokens on average, the fewest; its cost is the lowest, too."""
    found = by_type(store)
    each = {name: one["avg_tokens"] for name, one in found.items()}
    titles, *lines = [line.split("\t") for line in shown(STATS, store).splitlines()]

    assert {"code-review": 1_750, "debugging": 84_000, "documentation": 800} == each
    assert "documentation" == min(each, key=lambda name: each[name])
    assert "documentation" == min(found, key=lambda name: found[name]["avg_cost_usd"])
    assert {"800"} == {line[titles.index("tokens/session")] for line in lines if line[0] == "documentation"}


def test_nothing_is_estimated(store: str) -> None:
    """Sums are those of the answers: no token more or less."""
    ledger = open_ledger(store)
    rows = ledger.sessions(1_000)
    ledger.close()

    assert ROUNDS * sum(2 * (into + out) for _, _, into, out, _ in KINDS) == sum(
        (row.input_tokens or 0) + (row.output_tokens or 0) for row in rows
    )
