"""The sampler alone: what it goes by, how many it keeps, and what it says of itself."""

from __future__ import annotations

import json
import math
import random
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import _configuration
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from session_mw import SessionRatioSampler
from session_mw._core.early import Desk
from session_mw._core.identity import make_session_id, sampling_key_of
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.early import looked_at
from tests.telemetry.support import Spans, make_policy, make_scope

RATIOS = (0.01, 0.05, 0.1, 0.5, 0.9)
BYTES = random.Random(2024)
OWN = [make_session_id(BYTES.randbytes(24)) for _ in range(20_000)]
GIVEN = [f"sess-{number}" for number in range(20_000)]
ALL_ONES = (1 << 128) - 1


def kept(sampler: Any, context: Context | None = None, trace_id: int = 0, **attributes: Any) -> bool:
    """Return whether a span that begins in *context* is kept."""
    result = sampler.should_sample(context, trace_id, "POST", None, attributes or None)
    return bool(result.decision is sampling.Decision.RECORD_AND_SAMPLE)


def under(*, sampled: bool, remote: bool, state: TraceState | None = None) -> Context:
    """Return a context with a parent in it."""
    parent = SpanContext(1, 1, remote, TraceFlags(int(sampled)), state)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


@pytest.mark.parametrize("ids", [OWN, GIVEN], ids=["own ids", "the application's ids"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_share_of_the_sessions(ratio: float, ids: list[str]) -> None:
    """Of 20,000 sessions the share that was asked for, within five standard deviations; the ids are the same always."""
    sampler = SessionRatioSampler(ratio)
    found = sum(sampler.keeps(one) for one in ids)

    assert abs(found - ratio * len(ids)) <= 5 * math.sqrt(len(ids) * ratio * (1 - ratio))


@given(st.binary(min_size=24, max_size=24), st.floats(0, 1), st.floats(0, 1))
def test_kept_at_one_ratio_kept_at_every_higher_one(entropy: bytes, one: float, other: float) -> None:
    """So a service that keeps 5 % keeps nothing that one which keeps 10 % drops."""
    session_id, (low, high) = make_session_id(entropy), sorted((one, other))

    assert SessionRatioSampler(low).keeps(session_id) <= SessionRatioSampler(high).keeps(session_id)


@given(st.binary(min_size=24, max_size=24), st.binary(min_size=24, max_size=24), st.floats(0, 1))
def test_successors_are_kept_alike(entropy: bytes, later: bytes, ratio: float) -> None:
    """A rotated session's id keeps its key, also with a prefix; so does the successor of an application's own id."""
    sampler = SessionRatioSampler(ratio)
    for first in (make_session_id(entropy), "sess-" + entropy.hex()):
        second = make_session_id(later, keep=first, prefix="chat")
        third = make_session_id(entropy, keep=second)

        assert sampler.keeps(first) is sampler.keeps(second) is sampler.keeps(third)


@pytest.mark.parametrize(
    ("key", "ratio", "keeps"), [(0, 1, True), (0, 0.5, False), (1 << 55, 0.5, True), (-1, 0, False)]
)
def test_threshold(key: int, ratio: float, keeps: bool) -> None:
    """R >= T is kept, with T the share that is dropped of 2**56 (OpenTelemetry, probability sampling)."""
    key %= 1 << 56
    session_id = make_session_id(key.to_bytes(7, "big") + bytes(17))

    assert key == sampling_key_of(session_id)
    assert keeps is SessionRatioSampler(ratio).keeps(session_id)


def test_running_session_decides() -> None:
    """The one in the context, else the one that runs; what the trace's id is counts for nothing."""
    sampler = SessionRatioSampler(0.5)
    for session_id in OWN[:20]:
        context = with_scope(make_scope(session_id), Context())

        assert {sampler.keeps(session_id)} == {kept(sampler, context, trace_id) for trace_id in (0, ALL_ONES)}


@pytest.mark.parametrize("session_id", OWN[:8])
def test_named_session_decides(session_id: str) -> None:
    """Outside of any session, the one that a span is created with: the ends of sessions are written by nobody's."""
    sampler = SessionRatioSampler(0.5)

    assert {sampler.keeps(session_id)} == {
        kept(sampler, Context(), trace_id, **{"session.id": session_id}) for trace_id in (0, ALL_ONES)
    }


def test_no_session_goes_by_the_trace() -> None:
    """By the lower 56 bits of its id, as OpenTelemetry's consistent samplers do."""
    sampler = SessionRatioSampler(0.5)
    found = {kept(sampler, Context(), trace_id) for trace_id in (1 << 55, ALL_ONES)}
    others = {kept(sampler, Context(), trace_id) for trace_id in (0, (1 << 55) - 1, 0xFF << 56)}

    assert ({True}, {False}) == (found, others)


@pytest.mark.parametrize("sampled", [True, False])
def test_local_parent_decides(sampled: bool) -> None:
    """No trace is torn: what begins inside a span is kept with it, whatever session it names."""
    sampler = SessionRatioSampler(0 if sampled else 1)

    assert sampled is kept(sampler, under(sampled=sampled, remote=False))


@pytest.mark.parametrize("sampled", [True, False])
def test_remote_parent_decides_for_parent_based_only(sampled: bool) -> None:
    """``ParentBased`` asks the caller; alone, the session decides, in every service by the same number."""
    sampler, context = SessionRatioSampler(0 if sampled else 1), under(sampled=sampled, remote=True)

    assert sampled is kept(sampling.ParentBased(sampler), context)
    assert sampled is not kept(sampler, context)


@pytest.mark.parametrize("ratio", [0, 1])
def test_tracestate_stays_as_it_is(ratio: float) -> None:
    """The caller's goes on; a session's key is told to nobody."""
    state = TraceState([("vendor", "1")])
    sampler: Any = SessionRatioSampler(ratio)
    result = sampler.should_sample(under(sampled=True, remote=True, state=state), 1, "POST")

    assert "vendor=1" == result.trace_state.to_header()
    assert sampler.should_sample(with_scope(make_scope(OWN[0]), Context()), 1, "POST").trace_state is None


def test_whole_tree_of_a_session() -> None:
    """With the SDK: what is kept of a session is all of it."""
    sampler = SessionRatioSampler(0.5)
    for session_id in OWN[:10]:
        spans = Spans(sampler=sampler)
        context = with_scope(make_scope(session_id), Context())
        for _ in range(2):
            with spans.tracer.start_as_current_span("POST", context), spans.tracer.start_as_current_span("chat"):
                pass

        assert 4 * sampler.keeps(session_id) == len(spans.finished())


def test_broken_request_is_sampled_by_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    """A sampler runs inside the application's own calls: it raises nothing, and says so once."""

    def fail(carrier: Any) -> Any:
        raise RuntimeError("unreadable")

    sampler, policy = SessionRatioSampler(0.5), make_policy()
    policy.desk = Desk(policy, lambda: 0)
    policy.desk.readers["asgi"] = fail
    context = looked_at(policy, {"type": "http", "headers": []}, None, Context())

    assert [True, False] == [kept(sampler, context, trace_id) for trace_id in (ALL_ONES, 0)]
    assert ["RuntimeError: unreadable" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan"), True, "0.1", None])
def test_no_ratio(ratio: Any) -> None:
    """The error says what was found and what may be."""
    with pytest.raises(ValueError, match=r"ratio is .* \(0 to 1\)"):
        SessionRatioSampler(ratio)


def test_description_and_type() -> None:
    """As OpenTelemetry's own describe themselves; the SDK takes it for a sampler."""
    sampler = SessionRatioSampler(0.1)

    assert "SessionRatioSampler{0.1}" == sampler.get_description()
    assert sampling.ParentBased(sampler).get_description().startswith("ParentBased{root:SessionRatioSampler{0.1},")
    assert isinstance(sampler, sampling.Sampler)
    assert 0.1 == sampler.ratio


def entry_points(group: str, name: str) -> list[EntryPoint]:
    """Return the entry points that pyproject.toml gives, as an installed distribution would."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split(f"[project.entry-points.{group}]\n")[1].split("\n\n")[0]
    found = re.findall(r"(?m)^(\w+) = (\".*\")$", table)
    return [EntryPoint(key, json.loads(value), group) for key, value in found if key == name]


@pytest.mark.parametrize(("argument", "ratio"), [("0.25", 0.25), (None, 1.0), ("", 1.0)])
@pytest.mark.parametrize("name", ["session_ratio", "parentbased_session_ratio"])
def test_environment(name: str, argument: str | None, ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``, as the SDK's configurator reads them."""
    monkeypatch.setattr(_configuration, "entry_points", entry_points)
    monkeypatch.delenv("OTEL_TRACES_SAMPLER_ARG", raising=False)
    if argument is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    sampler: Any = _configuration._import_sampler(name)

    assert f"SessionRatioSampler{{{ratio}}}" in sampler.get_description()
    assert isinstance(sampler, sampling.ParentBased if name.startswith("parent") else SessionRatioSampler)


def test_environment_with_no_number(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK says what we say, and takes its default."""
    monkeypatch.setattr(_configuration, "entry_points", entry_points)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "ten")

    assert _configuration._import_sampler("session_ratio") is None
    assert "OTEL_TRACES_SAMPLER_ARG is 'ten' (0 to 1)" in caplog.text
