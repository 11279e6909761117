"""
The first seed's A/B test, the whole way: sessions are launched, the proxy counts, ``stats`` and ``compare`` tell.

The agent is a stub with Claude Code's name, which asks as Claude Code does; launcher, proxy and Phoenix are real.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.agents.ground import Ground
from tests.cli.launch.desk import Desk

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(300)]

REVIEWS, OTHERS = 12, 4  # sessions of each version; of each other kind. Fewer than 10 give no interval
# Asks once for each "use IN OUT" in its prompt: claude -p "use 1300 200, use 400 100" --model NAME
AGENT = f"""#!{sys.executable} -S
import json, os, re, sys, urllib.request
prompt, model = sys.argv[2], sys.argv[4]
headers = dict(line.split(": ", 1) for line in os.environ["ANTHROPIC_CUSTOM_HEADERS"].splitlines())
for question in re.findall(r"use \\d+ \\d+", prompt):
    body = {{"model": model, "max_tokens": 99, "messages": [{{"role": "user", "content": question}}]}}
    address, headers["content-type"] = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", "application/json"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    print(urllib.request.urlopen(request, timeout=60).status)
"""


def lines() -> Iterator[list[str]]:
    """Two versions of code-review around 2,000 and 1,500 tokens; dear debugging, cheap documentation."""
    for at in range(REVIEWS):
        more = 40 * at - 20 * (REVIEWS - 1)  # 0 on average
        for version, whole in (("v1", 2000), ("v2", 1500)):
            prompt = f"use {whole - 700 + more} 100, use 500 100"
            yield ["-t", "code-review", "-v", version, prompt, "--model", "claude-sonnet-4-5"]
    for _ in range(OTHERS):
        yield ["-t", "debugging", "-v", "v1", "use 50000 2000, use 30000 2000", "--model", "claude-haiku-4-5"]
        yield ["-t", "documentation", "-v", "v3", "use 600 200", "--model", "claude-haiku-4-5"]


def told(desk: Desk, *words: str) -> str:
    """Run a command to its end; return what it says."""
    done = desk.run(*words)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_code_review_v1_uses_2000_tokens_on_average_and_v2_1500(ground: Ground, tmp_path: Path) -> None:
    """And the seed's other two: debugging costs $0.10 a session, documentation is the cheapest."""
    desk = Desk(tmp_path)
    desk.program("claude", AGENT)
    desk.environ |= {**ground.environ, "ANTHROPIC_BASE_URL": ground.url, "NO_PROXY": "*"}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda words: told(desk, "claude-session", *words), lines()))
    text = told(desk, "session-mw", "compare", "v1", "v2", "type:code-review", "--metric", "tokens", "--whole-period")
    groups = {
        one["group"]["type"]: one for one in json.loads(told(desk, "session-mw", "stats", "--by", "type", "--json"))
    }
    mine = {name: groups[name] for name in ("code-review", "debugging", "documentation")}
    found = ground.phoenix.until(ground.project, lambda sessions: _tokens(sessions, "documentation-") >= 800 * OTHERS)
    by_version = {
        version: ground.phoenix.cost(
            ground.project,
            f'attributes["session.type"] == "code-review" and attributes["session.prompt_version"] == "{version}"',
        )["tokens"]
        for version in ("v1", "v2")
    }

    assert "code-review v1 uses 2,000 tokens on average, v2 1,500: 25 % less (95 % interval " in text
    assert {"code-review": 2 * REVIEWS, "debugging": OTHERS, "documentation": OTHERS} == {
        name: group["sessions"] for name, group in mine.items()
    }
    assert {"code-review": 1750, "debugging": 84_000, "documentation": 800} == {
        name: group["total_tokens"] / group["sessions"] for name, group in mine.items()
    }
    assert 0.1 == mine["debugging"]["avg_cost_usd"]
    assert "documentation" == min(mine, key=lambda name: mine[name]["avg_cost_usd"])
    assert {"v1": 2000 * REVIEWS, "v2": 1500 * REVIEWS} == by_version
    assert 2 * REVIEWS == sum(name.startswith("code-review-2") for name in found)


def _tokens(sessions: dict[str, dict[str, Any]], begin: str) -> float:
    """Return the tokens of the sessions whose id begins so."""
    return sum(one["tokenUsage"]["total"] or 0 for name, one in sessions.items() if name.startswith(begin))
