"""Real agents on two terminals at once: by Phoenix' API their sessions are two, each with all that belongs to it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from session_mw.integrations.litellm.agents import unmistakable
from tests.agents.ground import Ground
from tests.agents.installed import ALL, CLAUDE, CODEX, OPENCODE, Agent, command_of, desk_with
from tests.cli.launch.desk import Desk, eventually

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(300)]

SECONDS = 120.0  # that an agent may take, on a machine that has other things to do
# Micro-dollars for a token in and out.
PRICES = {"sonnet": (3, 15), "haiku": (1, 5), "codex": (1.25, 10), "gemini": (1.25, 10)}


@dataclass(frozen=True)
class Wish:
    """What somebody asks for on one terminal: type, version, name, tokens in and out of each answer."""

    type: str
    version: str
    name: str
    into: int
    out: int

    @property
    def prompt(self) -> str:
        """What the agent is told: the model server reads the tokens from it."""
        return f"use {self.into} {self.out}"

    @property
    def options(self) -> tuple[str, ...]:
        """For the launcher."""
        return "-t", self.type, "-v", self.version, "-n", self.name


def wishes(agent: Agent) -> tuple[Wish, Wish]:
    """Return two of an agent's own: what they ask is asked by nobody else."""
    at = 1 + ALL.index(agent)
    left = Wish(f"code-review-{agent.name}", "v1", "auth module", 1500 + at, 300)
    return left, Wish(f"debugging-{agent.name}", "v2", "é, with comma", 900 + at, 100)


def line_of(agent: Agent, wish: Wish) -> list[str]:
    """Return what is typed: ``claude-session`` for Claude Code, ``session-mw run`` for the others."""
    if agent is CLAUDE:
        return ["claude-session", *wish.options, wish.prompt, "--model", "claude-sonnet-4-5"]
    return ["session-mw", "run", *wish.options, "--", *command_of(agent, wish.prompt)]


def at_once(desk: Desk, ground: Ground, lines: list[list[str]], **more: str) -> list[str]:
    """Run each line on a terminal of its own, all at the same time; return what stands on them in the end."""
    with ExitStack() as stack:
        open_ = [stack.enter_context(desk.terminal(*line, **ground.environ, **more)) for line in lines]
        codes = [terminal.wait(SECONDS) for terminal in open_]
        seen = [terminal.seen for terminal in open_]
    assert [0] * len(lines) == codes, seen
    return seen


def session_of(screen: str) -> str:
    """Return the id of the session that a launcher says has ended."""
    found = re.search(r"session (\S+) ended", screen)
    assert found is not None, screen
    return found[1]


def sums(ground: Ground, wish: Wish) -> tuple[int, float]:
    """Return the tokens that the model server has answered with, and their price in US dollars."""
    models = ground.models_asked(wish.prompt)
    prices = [next(price for word, price in PRICES.items() if word in model) for model in models]
    cost = sum(wish.into * into + wish.out * out for into, out in prices)
    return len(models) * (wish.into + wish.out), pytest.approx(cost / 1e6, abs=2e-6)  # a ledger has whole micro-dollars


@pytest.mark.parametrize("agent", ALL, ids=[agent.name for agent in ALL])
def test_two_terminals_are_two_sessions(ground: Ground, agent: Agent, tmp_path: Path) -> None:
    """Types, versions, names, tokens and costs are each session's own, and every answer counts once, everywhere."""
    _two_terminals(ground, agent, tmp_path)


def test_two_terminals_are_two_sessions_with_litellms_newer_telemetry(newer: Ground, tmp_path: Path) -> None:
    """The same, with LITELLM_OTEL_V2."""
    _two_terminals(newer, CLAUDE, tmp_path)


def _two_terminals(ground: Ground, agent: Agent, folder: Path) -> None:
    desk, both = desk_with(agent, folder, ground.url), wishes(agent)
    screens = at_once(desk, ground, [line_of(agent, wish) for wish in both])
    ids = [session_of(screen) for screen in screens]
    found = ground.phoenix.until(
        ground.project,
        lambda sessions: all(
            id_ in sessions and sessions[id_]["tokenUsage"]["total"] == sums(ground, wish)[0]
            for id_, wish in zip(ids, both, strict=True)
        ),
    )

    assert all("pong" in screen for screen in screens)
    for id_, wish in zip(ids, both, strict=True):
        _in_phoenix(ground, id_, wish, found[id_])
        _in_the_history(ground, id_, wish, agent)
        _in_the_events(ground, id_, wish)


def _in_phoenix(ground: Ground, id_: str, wish: Wish, found: dict[str, Any]) -> None:
    tokens, cost = sums(ground, wish)
    by_type = f'attributes["session.type"] == "{wish.type}"'
    by_both = f'{by_type} and attributes["session.prompt_version"] == "{wish.version}"'
    words = f'session.type == "{wish.type}" and session.prompt_version == "{wish.version}"'

    assert (tokens, cost) == (found["tokenUsage"]["total"], found["costSummary"]["total"]["cost"])
    assert {id_} == set(ground.phoenix.sessions(ground.project, by_type))
    assert {id_} == set(ground.phoenix.sessions(ground.project, by_both))
    assert (tokens, cost) == tuple(ground.phoenix.cost(ground.project, by_both)[key] for key in ("tokens", "cost"))
    assert (
        tokens == ground.phoenix.spans(ground.project, f'{words} and session.name == "{wish.name}"')["tokenCountTotal"]
    )


def _in_the_history(ground: Ground, id_: str, wish: Wish, agent: Agent) -> None:
    row, (tokens, cost) = ground.row(id_), sums(ground, wish)
    own = row.attributes.get("agent.session.id")

    assert (wish.type, wish.version, wish.name) == (row.type, row.prompt_version, row.name)
    assert (tokens, cost) == (row.total_tokens, (row.cost_microusd or 0) / 1e6)
    assert agent.has_id is isinstance(own, str)
    if own is not None:
        own_in_phoenix = ground.phoenix.spans(ground.project, f'attributes["agent"]["session"]["id"] == "{own}"')
        assert tokens == own_in_phoenix["tokenCountTotal"]


def _in_the_events(ground: Ground, id_: str, wish: Wish) -> None:
    start, end = ground.events(id_)
    tokens, cost = sums(ground, wish)

    assert ("session.start", "session.end") == (start.event_name, end.event_name)
    assert (0, tokens, cost) == tuple(
        end.attributes[key] for key in ("process.exit.code", "session.total_tokens", "session.total_cost_usd")
    )


@pytest.mark.parametrize("agent", [CLAUDE, CODEX, OPENCODE], ids=["claude", "codex", "opencode"])
def test_without_a_launcher_an_agents_own_id_is_its_session(ground: Ground, agent: Agent, tmp_path: Path) -> None:
    """Nobody has to launch anything: what the agent calls its session is one, also in the history."""
    desk = desk_with(agent, tmp_path, ground.url)
    wish = Wish("", "", "", 700 + ALL.index(agent), 70)
    before = set(ground.phoenix.sessions(ground.project))
    (screen,) = at_once(desk, ground, [command_of(agent, wish.prompt)])
    found = ground.phoenix.until(
        ground.project, lambda s: any(s[id_]["tokenUsage"]["total"] == sums(ground, wish)[0] for id_ in set(s) - before)
    )
    (id_,) = set(found) - before

    assert "pong" in screen
    assert unmistakable(id_)
    assert sums(ground, wish)[0] == eventually(lambda: ground.row(id_).total_tokens)


def test_the_launchers_events_are_spans_where_a_back_end_takes_no_logs(ground: Ground, tmp_path: Path) -> None:
    """Phoenix has one session.start and one session.end of the session, with its totals and the agent's exit code."""
    desk, wish = desk_with(CLAUDE, tmp_path, ground.url), Wish("told", "v1", "spans", 810, 80)
    phoenix = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{ground.phoenix.url}/v1/traces"}
    phoenix |= {"OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={ground.project}"}
    (screen,) = at_once(desk, ground, [line_of(CLAUDE, wish)], SESSION_MW_LIFECYCLE_SPANS="always", **phoenix)
    mine = f'attributes["session"]["id"] == "{session_of(screen)}"'
    tokens, code = f'attributes["session"]["total_tokens"] == {sums(ground, wish)[0]}', "process.exit.code == 0"

    assert 1 == eventually(lambda: ground.spans_anywhere(f'{mine} and name == "session.end"'))
    assert 1 == ground.spans_anywhere(f'{mine} and name == "session.start"')
    assert 1 == ground.spans_anywhere(f'{mine} and name == "session.end" and {tokens} and {code}')
