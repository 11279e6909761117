"""Metrics: names, units, attributes; nothing without a meter provider."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from session_mw.telemetry.metrics import Metrics

NAMES = {
    "session_mw.sessions.active": "{session}",
    "session_mw.sessions.started": "{session}",
    "session_mw.sessions.ended": "{session}",
    "session_mw.session.duration": "s",
    "session_mw.turn.duration": "s",
    "session_mw.session_token.rejected": "{token}",
    "session_mw.dropped": "{item}",
    "session_mw.sweep.lag": "s",
    "session_mw.store.latency": "s",
}


class Meters:
    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def read(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        found = data.resource_metrics if data is not None else []
        return {m.name: m for r in found for s in r.scope_metrics for m in s.metrics}

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """Return value (or sum and count) by attributes."""
        return {
            tuple(sorted(dict(point.attributes or {}).items())): getattr(point, "value", None)
            if hasattr(point, "value")
            else (point.sum, point.count)
            for point in self.read()[name].data.data_points
        }


@pytest.fixture
def meters() -> Meters:
    return Meters()


def _use_all(metrics: Metrics) -> None:
    metrics.session_started()
    metrics.session_started()
    metrics.session_ended("idle_timeout", 90.5)
    metrics.turn_ended(1.5, failed=False)
    metrics.turn_ended(0.5, failed=True)
    metrics.token_rejected("expired", "cookie")
    metrics.dropped("queue_full")
    metrics.dropped("late", 4)
    metrics.sweep_lag(0.25)
    metrics.store_latency(0.001, "touch")


def test_names_and_units(meters: Meters) -> None:
    """The instruments of the documentation, with units of the semantic conventions."""
    _use_all(Metrics(meters.provider))

    assert {name: metric.unit for name, metric in meters.read().items()} == NAMES


def test_values_and_attributes(meters: Meters) -> None:
    """What is counted, by what; no id is ever an attribute."""
    _use_all(Metrics(meters.provider))
    expected = {
        "session_mw.sessions.active": {(): 1},
        "session_mw.sessions.started": {(): 2},
        "session_mw.sessions.ended": {(("session.end_reason", "idle_timeout"),): 1},
        "session_mw.session.duration": {(("session.end_reason", "idle_timeout"),): (90.5, 1)},
        "session_mw.turn.duration": {(): (1.5, 1), (("error.type", "_OTHER"),): (0.5, 1)},
        "session_mw.session_token.rejected": {(("reason", "expired"), ("source", "cookie")): 1},
        "session_mw.dropped": {(("reason", "queue_full"),): 1, (("reason", "late"),): 4},
        "session_mw.sweep.lag": {(): (0.25, 1)},
        "session_mw.store.latency": {(("op", "touch"),): (0.001, 1)},
    }

    assert expected == {name: meters.points(name) for name in NAMES}


def test_histograms_have_boundaries_in_seconds(meters: Meters) -> None:
    """The SDK's default boundaries fit milliseconds: every turn would fall into the first bucket."""
    _use_all(Metrics(meters.provider))
    bounds = {
        name: metric.data.data_points[0].explicit_bounds for name, metric in meters.read().items() if metric.unit == "s"
    }

    assert (0.01, 81.92) == (bounds["session_mw.turn.duration"][0], bounds["session_mw.turn.duration"][-1])
    assert (1, 86_400) == (bounds["session_mw.session.duration"][0], bounds["session_mw.session.duration"][-1])
    assert all(list(found) == sorted(found) for found in bounds.values())


def test_without_provider_nothing_happens() -> None:
    """The API's place holders count for nothing."""
    before = api.get_meter_provider()
    for provider in (None, api.NoOpMeterProvider()):
        _use_all(Metrics(provider))

    assert before is api.get_meter_provider()  # and none is set up for it


def test_global_provider_set_later_is_noticed(meters: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up may come after the middleware was made."""
    metrics = Metrics()
    metrics.session_started()
    monkeypatch.setattr(api._internal, "_METER_PROVIDER", meters.provider)
    metrics.session_started()

    assert {(): 1} == meters.points("session_mw.sessions.started")


def test_without_provider_costs_next_to_nothing() -> None:
    """A call without an SDK is of the order of a function call."""
    metrics, best = Metrics(), float("inf")
    for _ in range(20):
        begin = time.thread_time()
        for _ in range(200):
            metrics.session_started()
        best = min(best, (time.thread_time() - begin) / 200)

    assert 5e-6 > best
