"""
A chat's sessions in a real Phoenix, read back by its own API: its page shows what we and the model counted.

``SESSION_MW_TEST_PHOENIX`` names its command (``pip install arize-phoenix`` in an environment of its own).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.shared.books import Books
from session_mw.cli.demo.receiver import Receiver
from tests.backends.crowd import Visit, visits
from tests.backends.running import WORDS, Told, run
from tests.backends.spellings import SPELLINGS
from tests.e2e.servers import environment, free_port, serving
from tests.e2e.test_agent_chat import come_in, history, settled
from tests.examples.bills import sessions_of
from tests.examples.visitors import visitors
from tests.proxy.phoenix import Phoenix, phoenix

pytestmark = [pytest.mark.slow, pytest.mark.real_backend, pytest.mark.timeout(600)]

VISITS, TURNS = 60, 300
LISTED = """
query($id: ID!, $c: String) { node(id: $id) { ... on Project {
  sessionCount(sessionFilterCondition: $c)
  sessions(first: 1000, sessionFilterCondition: $c) { edges { node {
    sessionId startTime endTime numTraces numTracesWithError userId firstInput { value } lastOutput { value }
    tokenUsage { prompt completion total } costSummary { total { cost } } } } } } } }
"""


@dataclass(frozen=True)
class Sent:
    """What went to a project of Phoenix', and what we know of it."""

    backend: Phoenix
    project: str
    planned: list[Visit]
    told: Told

    def listed(self, where: str | None = None) -> dict[str, dict[str, Any]]:
        """Return Phoenix' sessions by id."""
        node = self.backend.asked(LISTED, id=self.backend.project(self.project), c=where)["node"]
        found = {edge["node"]["sessionId"]: edge["node"] for edge in node["sessions"]["edges"]}
        assert len(found) == node["sessionCount"]
        return found

    def until(self, turns: int) -> None:
        """Wait until so many turns are there, and every session's end."""
        limit = time.monotonic() + 180
        self.backend.until(self.project, bool)
        ends = 'name == "session.end"'
        while (there := sum(one["numTraces"] for one in self.listed().values())) < turns or (
            self.backend.spans(self.project, ends)["recordCount"] < len(self.planned)
        ):
            assert time.monotonic() < limit, f"{there} turns of {turns} have come"
            time.sleep(0.5)

    def traces(self) -> list[dict[str, Any]]:
        """Return Phoenix' traces with their spans."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": "200", "include_spans": "true", **({"cursor": cursor} if cursor else {})}
            answer = httpx.get(
                f"{self.backend.url}/v1/projects/{self.project}/traces", params=params, timeout=60
            ).json()
            found, cursor = found + answer["data"], answer["next_cursor"]
        return found


def send(backend: Phoenix, folder: Path, number: int, turns: int, **settings: str) -> Sent:
    """Let users come to a chat that exports to a project of its own, and wait until it is all there."""
    project, planned = f"chat-{time.time_ns()}", visits(number, turns, seed=11)
    resource = {"OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={project}"}
    sent = Sent(backend, project, planned, Told({}, {}, 0))
    told = run(
        folder,
        f"{backend.url}/v1/traces",
        planned,
        resource,
        sent.until,
        STAMP_SPANS="turns",
        **WORDS,
        **settings,
    )
    return replace(sent, told=told)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """One Phoenix for all tests."""
    with phoenix(tmp_path_factory.mktemp("phoenix")) as found:
        yield found


@pytest.fixture(scope="module")
def sent(backend: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Sixty sessions with content."""
    return send(backend, tmp_path_factory.mktemp("chat"), VISITS, TURNS, CAPTURE_CONTENT="true")


def test_sessions_and_turns(sent: Sent) -> None:
    """Every session is there, and no other; each of its traces is a turn; those that failed are marked."""
    found = sent.listed()

    assert {visit.session for visit in sent.planned} == set(found) == set(sent.told.sessions)
    assert {visit.session: len(visit.says) for visit in sent.planned} == {k: v["numTraces"] for k, v in found.items()}
    assert {visit.session: visit.failed for visit in sent.planned} == {
        k: v["numTracesWithError"] for k, v in found.items()
    }
    assert TURNS == sum(row.turns for row in sent.told.sessions.values())
    print(
        f"Phoenix: {VISITS} sessions sent, {len(found)} read back, {sum(v['numTraces'] for v in found.values())} turns"
    )


def test_tokens(sent: Sent) -> None:
    """Phoenix, our history and the model's books say the same of every session."""
    said = {k: (v["tokenUsage"]["prompt"], v["tokenUsage"]["completion"]) for k, v in sent.listed().items()}

    assert {k: sent.told.tokens(k) for k in sent.told.books} == said
    assert {k: (row.input_tokens, row.output_tokens) for k, row in sent.told.sessions.items()} == said
    print(f"Phoenix: {sum(map(sum, said.values())):.0f} tokens, as billed")


def test_cost(sent: Sent) -> None:
    """The cost is the same; ours is rounded to a millionth of a dollar at each call."""
    found = sent.listed()
    for session_id, row in sent.told.sessions.items():
        assert row.cost_microusd is not None
        theirs = found[session_id]["costSummary"]["total"]["cost"]
        assert abs(theirs - row.cost_microusd / 1e6) <= 0.5e-6 * len(sent.told.books[session_id]) + 1e-12
    ours = sum(row.cost_microusd or 0 for row in sent.told.sessions.values()) / 1e6
    print(f"Phoenix: {sum(v['costSummary']['total']['cost'] for v in found.values()):.6f} USD, ours {ours:.6f}")


def test_users(sent: Sent) -> None:
    """A session's user is the pseudonym, the same in each session of one user."""
    users = {k: v["userId"] for k, v in sent.listed().items()}
    of = {
        visit.user: {users[other.session] for other in sent.planned if other.user == visit.user}
        for visit in sent.planned
    }

    assert {k: row.user_id for k, row in sent.told.sessions.items()} == users
    assert all(len(pseudonyms) == 1 for pseudonyms in of.values()) and len(of) == VISITS // 3
    assert not set(of) & set(users.values())


def test_first_input_and_last_output(sent: Sent) -> None:
    """A session begins with what its user wrote first, and ends with what was answered last."""
    found = sent.listed()
    for visit in sent.planned:
        node = found[visit.session]
        assert visit.says[0] == node["firstInput"]["value"]
        assert (visit.answers[-1] or "") == node["lastOutput"]["value"]


def test_latency_of_a_trace_is_its_turns(sent: Sent) -> None:
    """The spans session.start and session.end stand inside of a turn's time: no trace lasts longer than its root."""
    traces = sent.traces()
    names = [span["name"] for one in traces for span in one["spans"]]
    ends = [one for one in traces if any(span["name"] == "session.end" for span in one["spans"])]

    assert (VISITS, VISITS) == (names.count("session.start"), names.count("session.end"))
    for one in ends:
        (root,) = [span for span in one["spans"] if span["parent_id"] is None]
        over = datetime.fromisoformat(one["end_time"]) - datetime.fromisoformat(root["end_time"])
        assert over.total_seconds() <= 0.001, "a turn's end is known to the millisecond"


def test_compare_prompt_versions(sent: Sent) -> None:
    """The two questions of seed 001: cost and tokens of each version, and which is cheaper, by Phoenix' own sums."""
    by_version = {}
    for version in ("v1", "v2"):
        where = f'attributes["session.prompt_version"] == "{version}"'
        mine = [row for row in sent.told.sessions.values() if row.prompt_version == version]
        cost, sessions = sent.backend.cost(sent.project, where), sent.listed(where)
        assert {row.session_id for row in mine} == set(sessions)
        assert sum(row.total_tokens or 0 for row in mine) == cost["tokens"]
        by_version[version] = cost["tokens"] / len(sessions)

    assert by_version["v1"] != by_version["v2"]
    print(f"Phoenix: tokens a session, v1 {by_version['v1']:.1f}, v2 {by_version['v2']:.1f}")


def lasted(session: dict[str, Any]) -> int:
    """Return how long a session is to Phoenix, milliseconds: from its first turn, where ours begins with the page."""
    begin, end = (datetime.fromisoformat(session[name]) for name in ("startTime", "endTime"))
    return int((end - begin) / timedelta(milliseconds=1))


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda one: one.seed)
def test_filter_spellings(sent: Sent, spelling: Any) -> None:
    """Each spelling of the seeds, as Phoenix takes it today, finds the sessions and spans that it should."""
    visit = next(visit for visit in sent.planned if visit.user == "user-1")
    pseudonym = str(sent.told.sessions[visit.session].user_id)
    given = {"pseudonym": pseudonym, "yesterday": (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()}
    there = sent.listed()
    rows = {k: replace(row, duration_ms=lasted(there[k])) for k, row in sent.told.sessions.items()}
    verdicts = {k: spelling.fits(row, pseudonym) for k, row in rows.items()}
    mine = {k: sent.told.sessions[k] for k, verdict in verdicts.items() if verdict}
    unsure = {k for k, verdict in verdicts.items() if verdict is None}

    assert mine
    assert set(mine) - unsure == set(sent.listed(spelling.sessions.format(**given))) - unsure
    if spelling.spans:
        found = sent.backend.spans(sent.project, spelling.spans.format(**given))
        assert sum(row.total_tokens or 0 for row in mine.values()) == found["tokenCountTotal"]
        assert found["recordCount"] > sum(row.turns for row in mine.values())


@pytest.mark.parametrize(
    "where", ['session.type = "code-review"', 'session.type = "a" AND session.prompt_version = "b"']
)
def test_spelling_of_the_seed_is_refused(sent: Sent, where: str) -> None:
    """The spellings of seed 001, as they stand there, are no expressions of Phoenix' today: hence the table."""
    with pytest.raises(AssertionError, match="nvalid"):
        sent.backend.spans(sent.project, where)


def test_without_content_nothing_was_said(backend: Phoenix, tmp_path: Path) -> None:
    """``capture_content`` is off by default: sessions have no first input, no last output; all else is the same."""
    sent = send(backend, tmp_path, 6, 18)
    found = sent.listed()

    assert {(None, None)} == {(node["firstInput"], node["lastOutput"]) for node in found.values()}
    assert {v.session: len(v.says) for v in sent.planned} == {k: v["numTraces"] for k, v in found.items()}
    assert {k: sum(sent.told.tokens(k)) for k in found} == {k: v["tokenUsage"]["total"] for k, v in found.items()}


def test_agent_of_the_examples(backend: Phoenix, tmp_path: Path) -> None:
    """
    An agent by OpenTelemetry's own conventions: tokens are the provider's, and no span's sum is added to another's.

    Its span repeats what its calls used; tools run, calls fail and are billed all the same, people leave in the middle.
    """
    crowd, project, port = visitors(24, seed=3), f"agent-{time.time_ns()}", free_port()
    with Receiver() as elsewhere:  # Phoenix takes no logs and no metrics
        env = environment(tmp_path, elsewhere.url, STAMP_SPANS="turns") | {"CHAT_WORD_MS": "1"}
        env |= {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{backend.url}/v1/traces"}
        env |= {"OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={project}"}
        with serving(["uvicorn", "examples.agent_chat.app:app", "--port", str(port)], env, tmp_path, port) as url:
            asyncio.run(come_in(url, crowd))
            settled(elsewhere, len(crowd), 60)
        ended = [record.attributes for record in elsewhere.records() if record.event_name == "session.end"]
    turns = history(tmp_path / "sessions.db", [str(end["session.id"]) for end in ended])
    books = Books(tmp_path / "books.jsonl").entries()
    billed = {
        session_id: sum(
            entry.input_tokens + entry.output_tokens
            for entry in books
            if entry.conversation in {thread.label for thread in visitor.threads}
        )
        for session_id, visitor in sessions_of(crowd, turns).items()
    }
    found = backend.until(
        project, lambda found: sum(one["tokenUsage"]["total"] or 0 for one in found.values()) >= sum(billed.values())
    )

    assert billed == {k: one["tokenUsage"]["total"] for k, one in found.items()}
    assert {k: len(rows) for k, rows in turns.items()} == {k: one["numTraces"] for k, one in found.items()}
    print(f"Phoenix: an agent's {len(found)} sessions, {sum(billed.values())} tokens, as billed")
