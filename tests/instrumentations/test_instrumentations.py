"""
What real instrumentations report is counted once: for every call, streamed or not, alone and several at a time.

Each row runs in a process of its own against a model server that keeps books; the books are the truth.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.instrumentations import cases
from tests.instrumentations.accounts import used
from tests.instrumentations.fake_models import ModelServer
from tests.instrumentations.installed import asked_for, missing, of_this_kind, version
from tests.instrumentations.rows import IN_MICROUSD, OUT_MICROUSD, ROWS, Row, Tokens, book
from tests.instrumentations.running import Runs
from tests.instrumentations.table import PROPERTY, Line

IN_KEYS = ("gen_ai.usage.input_tokens", "llm.token_count.prompt")
OUT_KEYS = ("gen_ai.usage.output_tokens", "llm.token_count.completion")


TAKE_SECONDS = ("langchain", "traceloop", "pydantic-ai")  # to import and set up


def marks(row: Row) -> list[pytest.MarkDecorator]:
    """One quick instrumentation at a time in every run; what several make of one call, and others, before landing."""
    later = len(row.packages) > 1 or any(word in row.name for word in TAKE_SECONDS)
    return [pytest.mark.landing] if later else []


ALL = [
    pytest.param(row, case, id=f"{row.name}: {case}", marks=marks(row))
    for row in ROWS
    for case in cases.NAMES[row.calls]
]
pytestmark = pytest.mark.timeout(180)  # the first test of a row waits for its process
EVERY_ROW = [pytest.param(row, id=row.name, marks=marks(row)) for row in ROWS]


@pytest.fixture
def outcome(runs: Runs, row: Row) -> Any:
    """What the row's process printed; skipped where its packages are not."""
    lacking = missing(row.packages)
    if lacking:
        pytest.skip(lacking)
    return runs.outcome(row)


@pytest.fixture
def told(outcome: Any, case: str) -> Any:
    """One case of it, made without a mistake of ours."""
    told = outcome.cases[case]

    assert told["failure"] is None, f"{told['failure']}\n{outcome.stderr[-2000:]}"
    return told


def seen(told: Any) -> str:
    """Return what stood on the spans, a line each, for whoever has to find out why."""
    return "\n" + "\n".join(
        f"{span['name']} < {span['parent']} ({span['scope']}{', failed' if span['error'] else ''}) {span['attributes']}"
        for span in told["spans"]
    )


def counted(told: Any) -> Tokens:
    """Return what the session's end says."""
    (end,) = told["end"]
    return end.get("session.total_input_tokens"), end.get("session.total_output_tokens")


def reported(told: Any) -> int:
    """Return the sum over all spans, as somebody would have it who adds up what is there."""
    keys = (*IN_KEYS, *OUT_KEYS)
    return sum(span["attributes"].get(key, 0) for span in told["spans"] for key in keys)


@pytest.mark.parametrize(("row", "case"), ALL)
def test_tokens_counted(row: Row, case: str, told: Any, models: ModelServer, record_property: Any) -> None:
    """Counted is what the server wrote down, each call once, to the token; what nobody reported stays absent."""
    entries = models.accounts.book(book(row.name, case))
    expected, found = row.expected(case, entries), counted(told)
    books, calls = sum(used(entries)), sum(entry.status == 200 for entry in entries)
    untold = books if case in row.untold else 0
    line = Line(
        row.name,
        row.packages,
        row.streamed(case),
        calls,
        books,
        untold,
        reported(told),
        sum(filter(None, found)),
        expected == found,
    )
    record_property(PROPERTY, line.as_values())

    assert calls
    assert expected == found, seen(told)
    assert [] == told["late"]


@pytest.mark.parametrize(("row", "case"), ALL)
def test_cost_counted(row: Row, case: str, told: Any, models: ModelServer) -> None:
    """Every call is priced once, to the micro-dollar: by what a span says that it cost, else by its tokens."""
    tokens_in, tokens_out = row.expected(case, models.accounts.book(book(row.name, case)))
    said = [span["attributes"]["operation.cost"] for span in told["spans"] if "operation.cost" in span["attributes"]]
    expected = sum(round(cost * 1_000_000) for cost in said)
    if not said and tokens_in is not None:
        expected = IN_MICROUSD * tokens_in + OUT_MICROUSD * (tokens_out or 0)
    (end,) = told["end"]
    found = end.get("session.total_cost_usd")

    assert expected == (0 if found is None else round(found * 1_000_000)), seen(told)
    assert (tokens_in is None) == (found is None)


@pytest.mark.parametrize(("row", "case"), ALL)
def test_agents_and_tools_counted(row: Row, case: str, told: Any) -> None:
    """Agent runs and tool calls are those that spans tell of: a model's wish for a tool is none, the tool's run is."""
    (turn,) = told["turn"]
    expected = row.agents.get(case), (len(told["executed"]) if row.tools else 0) or None
    if case == cases.AFTER:
        expected = None, None  # the turn's span had ended; tokens go to the session, the span is what it was
    found = turn.get("turn.agent_runs"), turn.get("turn.tool_calls")

    assert expected == found, seen(told)


@pytest.mark.parametrize(("row", "case"), ALL)
def test_calls_kept(row: Row, case: str, told: Any, models: ModelServer) -> None:
    """The history has each call of a model once, and together they are what the turn used."""
    columns = [[call[place] for call in told["calls"]] for place in (1, 2, 3)]
    sums = [sum(known) if (known := [one for one in column if one is not None]) else None for column in columns]
    answered = [entry.api for entry in models.accounts.book(book(row.name, case)) if entry.status == 200]
    counted = answered.count("count_tokens")  # for some a model call, for others none
    kept = [call for call in told["calls"] if call[0] in ("model", "embedding")]

    assert told["kept"] == sums, seen(told)
    if len(row.packages) == 1 and case not in (cases.AFTER, cases.REFUSED, *row.untold):
        assert len(answered) - counted <= len(kept) <= len(answered), f"{told['calls']}{seen(told)}"


@pytest.mark.parametrize(("row", "case"), ALL)
def test_errors_counted(row: Row, case: str, told: Any, models: ModelServer) -> None:
    """A call that failed is one error, however many spans it failed; one that a retry saved is none."""
    refused = [entry for entry in models.accounts.book(book(row.name, case)) if entry.status != 200]
    (turn,) = told["turn"]

    assert (len(refused) if case == cases.REFUSED else None) == turn.get("turn.errors"), seen(told)


@pytest.mark.parametrize(("row", "case"), ALL)
def test_untold_is_really_untold(row: Row, case: str, told: Any) -> None:
    """A row is excused from counting a case only where no span says anything; everywhere else some span does."""

    assert (case in row.untold) == (0 == reported(told)), seen(told)


@pytest.mark.parametrize("row", EVERY_ROW)
def test_every_instrumentation_made_spans(row: Row, outcome: Any) -> None:
    """An instrumentation that did nothing, for instance because it does not know this version of a client, is found."""
    seen = {span["scope"] for told in outcome.cases.values() for span in told["spans"]}

    assert set() == set(row.scopes) - seen


@pytest.mark.parametrize("row", EVERY_ROW)
def test_every_case_ran(row: Row, outcome: Any) -> None:
    """What the worker ran is what this file asks about."""

    assert list(cases.NAMES[row.calls]) == list(outcome.cases)


def test_nothing_installed_was_left_out() -> None:
    """Every instrumentation of a model client or agent framework that is installed stands in a row."""
    shown = {package for row in ROWS for package in row.packages}

    assert set() == of_this_kind() - shown


def test_nothing_asked_for_is_missing() -> None:
    """Every package of the extra is installed, unless its own marker says that it cannot be."""
    lacking = [name for name, reason in asked_for().items() if reason is None and version(name) is None]

    assert [] == lacking, f"python -m pip install '.[instrumentations]' ({sys.executable})"


def test_every_package_of_a_row_is_asked_for() -> None:
    """What a row needs stands in the extra: nothing runs by chance only."""
    shown = {package for row in ROWS for package in row.packages}

    assert set() == shown - asked_for().keys()


def test_what_a_row_excuses_exists() -> None:
    """A case that was renamed does not stay excused."""
    for row in ROWS:
        excused = {*row.untold, *row.twice, *row.agents}

        assert set() == excused - set(cases.NAMES[row.calls]), row.name
