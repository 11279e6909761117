"""Whatever stands in a file: the command says so and never breaks."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw.cli.importing.documents import read_text
from session_mw.cli.importing.lineage import lineage
from session_mw.cli.importing.otlp import Unreadable, span_of
from tests.cli.importing.support import bring, lines, opened, request, span
from tests.cli.looking.history import run
from tests.ledger.test_properties import unhurried

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
# Words of the protocol, so that what is drawn is nearly right.
keys = st.sampled_from(
    [
        "resourceSpans", "resource", "scopeSpans", "scope", "spans", "resourceLogs", "scopeLogs", "logRecords", "key",
        "value", "attributes", "stringValue", "intValue", "arrayValue", "values", "kvlistValue", "traceId", "spanId",
        "parentSpanId", "name", "startTimeUnixNano", "endTimeUnixNano", "status", "code", "events", "eventName",
        "timeUnixNano", "session.id",
    ]
)  # fmt: skip
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))


@st.composite
def nearly_spans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a request with spans of few ids, whose parents are anywhere, and some of whose fields are anything."""
    spans = []
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, 5))
        one = span(draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(0, 5)), at=at)
        one["name"] = draw(st.sampled_from(["turn", "session", "session.end", "session.start", "x"]))
        said = st.sampled_from(
            [
                "session.id", "session.generation", "turn.number", "turn.latency_ms", "turn.status", "export.made_up",
                "turn.cost_usd", "session.total_turns", "session.duration_ms", "session.end_reason", "user.id",
                "gen_ai.usage.input_tokens", "llm.cost.total", "metadata", "session.imported", "turn.input_tokens",
            ]
        )  # fmt: skip
        kinds = st.sampled_from(["stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue"])
        values = st.dictionaries(kinds, scalars | st.sampled_from(["s1", "1", 2**70, 1e300]), max_size=2)
        one["attributes"] = [{"key": key, "value": value} for key, value in draw(st.dictionaries(said, values)).items()]
        one["attributes"].append({"key": "session.id", "value": {"stringValue": draw(st.sampled_from(["a", "b"]))}})
        one |= draw(st.dictionaries(st.sampled_from(["events", "status", "endTimeUnixNano", "name"]), anything))
        spans.append(one)
    return request(*spans, scope=draw(st.sampled_from(["session_mw", "x"])))


def check_any_json_is_taken_or_named(documents: list[Any]) -> None:
    """Nothing but success, or the command's own failure that nothing could be read."""
    with tempfile.TemporaryDirectory() as folder:
        file = lines(Path(folder) / "t.jsonl", *documents)
        result = run("ledger", "import", file, "--content", "--conversations", "--ledger", f"sqlite:///{folder}/h.db")

    assert result.exit_code == 0 or (result.exit_code, result.stderr.splitlines()[-1]) == (
        1, "Error: nothing could be read"
    ), result.output  # fmt: skip
    assert result.exception is None or isinstance(result.exception, SystemExit)


drawn = st.lists(anything | nearly_spans(), min_size=1, max_size=3)
test_any_json_is_taken_or_named = settings(unhurried, max_examples=5)(
    given(documents=drawn)(check_any_json_is_taken_or_named)
)
test_much_more_json_is_taken_or_named = pytest.mark.timeout(400)(
    pytest.mark.landing(settings(unhurried, max_examples=150)(given(documents=drawn)(check_any_json_is_taken_or_named)))
)


@settings(unhurried, max_examples=25)
@given(document=anything, cut=st.integers(0, 200), indent=st.none() | st.integers(0, 2))
def test_any_text_is_read_to_its_end(document: Any, cut: int, indent: int | None) -> None:
    """Also cut anywhere, as a line or over many."""
    text = json.dumps({"resourceSpans": document}, indent=indent)
    found = [what for _, what in read_text(io.BytesIO(text[: len(text) - cut].encode()))]

    assert all(isinstance(what, (Unreadable, tuple)) for what in found)


@settings(unhurried, max_examples=25)
@given(parents=st.lists(st.integers(0, 12), max_size=10))
def test_whatever_parents_say_it_is_a_tree(parents: list[int]) -> None:
    """Each span once, parents before their children, and from each a way up that ends."""
    spans = [span_of({}, {}, span(1, n, parent)) for n, parent in enumerate(parents, 1)]
    tree = lineage(spans)
    places = {span_id: place for place, span_id in enumerate(tree.spans)}

    assert {one.span_id for one in spans} == set(places)
    assert all(places[above] < places[below] for below, above in tree.parents.items())
    assert all(tree.spans[below].parent_id == above for below, above in tree.parents.items())


@pytest.mark.parametrize("reverse", [False, True], ids=["down", "up"])
def test_spans_one_upon_another_take_no_longer_than_others(reverse: bool, tmp_path: Path, url: str) -> None:
    """Six hundred of them, each with usage: counting looks at those above."""
    said = {"session.id": "s", "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1}
    spans = [span(1, n, n - 1, at=n, ms=10_000 - 2 * n, said=said) for n in range(1, 601)]
    bring(url, lines(tmp_path / "t.jsonl", request(*(reversed(spans) if reverse else spans))))
    row = opened(url).session("s")

    assert row is not None
    assert (1, True) == (row.turns, 0 < (row.input_tokens or 0) < 10)  # an inner one covers those above it


def test_a_value_inside_values_is_left_out() -> None:
    """Five hundred deep."""
    deep: Any = {"stringValue": "x"}
    for _ in range(500):
        deep = {"arrayValue": {"values": [deep]}}
    found = span_of({}, {}, {**span(1, 1), "attributes": [{"key": "a", "value": deep}, {"key": "b", "value": deep}]})

    assert {"a", "b"} == found.attributes.keys()


def test_ids_in_base64_are_ids() -> None:
    """As protobuf's own JSON has them."""
    found = span_of({}, {}, {**span(1, 1), "traceId": "AAAAAAAAAAAAAAAAAAAAAQ==", "spanId": "AAAAAAAAA+k="})

    assert (f"{1:032x}", f"{1001:016x}") == (found.trace_id, found.span_id)
