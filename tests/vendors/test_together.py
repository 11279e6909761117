"""
Another SDK and ours in one process: one session everywhere, each call counted once, and its helper wins for what it
names.

Langfuse and OpenInference run here, each with a provider of its own; Langfuse also in processes where it sets the
global one, and forked, before anything lands. The others run with -m slow, in the environment that
SESSION_MW_TEST_SDKS_PYTHON names: a Python with session-mw, fastapi, flask, httpx, logfire, traceloop-sdk and
mlflow-tracing.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.vendors.checks import INSIDE, OURS, SESSIONS, USERS, by_name, spans_of, torn
from tests.vendors.ground import COST_USD, HELPS, ORDERS, SHELLS, Process, every_case
from tests.vendors.sdks import OTHER, THEM

ROOT = Path(__file__).parents[2]
HERE = ("langfuse", "openinference")  # installed with ``dev``
ELSEWHERE = ("logfire", "traceloop", "mlflow")
OWN = "in a process of its own"
pytestmark = pytest.mark.timeout(180)


def rows() -> list[Any]:
    """Each SDK, order, shell, and whether its helper is used."""
    places: list[tuple[str, str, Any]] = [(vendor, "", ()) for vendor in HERE]
    places += [("langfuse", OWN, (pytest.mark.landing,))]
    places += [(vendor, OWN, (pytest.mark.slow,)) for vendor in ("openinference", *ELSEWHERE)]
    return [
        pytest.param(
            vendor, place, order, f"{shell} {helps}", marks=marks, id=f"{vendor} {place} {order} {shell} {helps}"
        )
        for vendor, place, marks in places
        for order in ORDERS
        for shell in SHELLS
        for helps in HELPS
    ]


@functools.cache
def cases(vendor: str, place: str, order: str) -> Any:
    """All cases of a process, run when the first is asked for."""
    return in_process_of_its_own(vendor, order) if place else every_case(Process(vendor, order, own=False))


def in_process_of_its_own(vendor: str, order: str, *how: str) -> Any:
    """Return what the worker prints, or why it cannot run here."""
    python = sys.executable if vendor in HERE else os.environ.get("SESSION_MW_TEST_SDKS_PYTHON")
    if python is None:
        return f"SESSION_MW_TEST_SDKS_PYTHON is not set: no Python with {vendor}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    command = [python, "-m", "tests.vendors.worker", vendor, order, *how]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert 0 == done.returncode, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture
def case(vendor: str, place: str, order: str, which: str) -> Any:
    """What came of the request."""
    found = cases(vendor, place, order)
    if isinstance(found, str):
        pytest.skip(found)
    return found[which]


every = pytest.mark.parametrize(("vendor", "place", "order", "which"), rows())


@every
def test_one_session(case: Any) -> None:
    """No span says two sessions or two users, in whatever dialect; those outside of the helper say the request's."""
    spans = spans_of(case, "before")
    found, mine = by_name(spans, SESSIONS), {case["session"]}

    assert [] == torn(spans, SESSIONS)
    assert [] == torn(spans, USERS)
    assert {name: mine for name in (*OURS, "before", "after") if name in found} == {
        name: ids for name, ids in found.items() if name in (*OURS, "before", "after")
    }
    assert {"session", "turn", "before"} <= found.keys()


@every
def test_helper_wins(case: Any) -> None:
    """Inside the helper spans say what it names; without a helper what the request is."""
    spans = [span for span in spans_of(case, "before") if span["name"] in INSIDE]
    session, user = (OTHER, THEM) if case["wins"] else (case["session"], case["user"])

    assert {span["name"] for span in spans} >= {"inside", "inside the call", "call", "invoke_agent reader"}
    assert {name: {session} for name in by_name(spans, SESSIONS)} == by_name(spans, SESSIONS)
    assert {name: {user} for name in by_name(spans, USERS)} == by_name(spans, USERS)


@every
def test_next_request(case: Any) -> None:
    """What a helper said is over with its request, also in the thread that served it."""
    ids = set().union(*by_name(spans_of(case, "next"), SESSIONS).values())

    assert 1 == len(ids) and ids.isdisjoint({OTHER, case["session"]})


@every
def test_counted_once(case: Any) -> None:
    """Tokens and cost of the call are the request's session's, once, whatever its spans say."""
    (end,) = case["ends"]

    assert (10, 5, COST_USD) == tuple(
        end[f"session.total_{what}"] for what in ("input_tokens", "output_tokens", "cost_usd")
    )


@every
def test_exported_once(case: Any) -> None:
    """The other SDK exports every span of the request, and none twice."""
    ours, theirs = (
        Counter(span["id"] for span in spans_of(case, "before", (of,)) if span["kind"] != "pending_span")
        for of in ("ours", "theirs")
    )

    assert ours == theirs
    assert {1} == set(theirs.values())


@every
def test_log_records(case: Any) -> None:
    """Log records are stamped like the spans around them."""
    inside = OTHER if case["wins"] else case["session"]
    records = [each for each in case["records"] if each["body"] in ("before", "inside")]

    assert 4 == len(records)
    for record in records:
        expected = inside if record["body"] == "inside" else case["session"]
        assert {expected} == {record[key] for key in SESSIONS if key in record}


@every
def test_nothing_to_complain_of(case: Any) -> None:
    """Neither SDK warns of the other."""
    assert [] == case["said"]


@pytest.mark.landing
def test_forked() -> None:
    """A worker that was forked after both were set up is as good as its parent."""
    forked = in_process_of_its_own("langfuse", "theirs first", "forked")["flask helped"]

    assert [] == torn(spans_of(forked, "before"), SESSIONS)
    assert [{OTHER}] == [ids for name, ids in by_name(spans_of(forked, "before"), SESSIONS).items() if name == "call"]
    assert 1 == len(forked["ends"])
    assert [] == forked["said"]
