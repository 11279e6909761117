"""
What the middleware measures. No id is ever an attribute: exemplars keep the way from a point back to its trace.

Semantic conventions know no metrics of server-side sessions, so the names are this project's; units are theirs
(https://opentelemetry.io/docs/specs/semconv/general/metrics/): seconds, and ``{session}`` for counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import ref

from opentelemetry.metrics import Observation

from .._core import names
from ._library import LIBRARY_NAME, SCHEMA_URL, library_version
from ._providers import global_meter_provider, meter_provider_of

ACTIVE: Final = "session_mw.sessions.active"
STARTED: Final = "session_mw.sessions.started"
ENDED: Final = "session_mw.sessions.ended"
SESSION_DURATION: Final = "session_mw.session.duration"
TURN_DURATION: Final = "session_mw.turn.duration"
TOKEN_REJECTED: Final = "session_mw.session_token.rejected"  # noqa: S105 - a name
DROPPED: Final = "session_mw.dropped"
SWEEP_LAG: Final = "session_mw.sweep.lag"
STORE_LATENCY: Final = "session_mw.store.latency"
BREAKER_STATE: Final = "session_mw.breaker.state"

_STATES = {"closed": 0, "half_open": 1, "open": 2}

# The SDK's default boundaries fit milliseconds.
SESSION_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
# Those of gen_ai.client.operation.duration: a turn is one or a few model calls.
TURN_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
LAG_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800)
STORE_SECONDS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)


class Metrics:
    """
    Counts and measures, once a meter provider is configured; costs next to nothing before.

    Args:
        meter_provider: None takes the global one, whenever it is set.
    """

    def __init__(self, meter_provider: Any = None) -> None:
        self._given = meter_provider
        self._provider: Any = None
        self._instruments: _Instruments | None = None
        self._watched: tuple[str, Any] = ("", None)

    def watch_breaker(self, store: str, gate: Any) -> None:
        """Measure from now on in which state the circuit breaker of *gate* is, before the engine named *store*."""
        self._watched = (store, ref(gate))

    def _breaker_state(self, _: Any) -> list[Observation]:
        store, watched = self._watched
        gate = None if watched is None else watched()
        return [] if gate is None else [Observation(_STATES[gate.breaker.state], {"store": store})]

    def _now(self) -> _Instruments | None:
        provider = global_meter_provider() if self._given is None else self._given
        if provider is not self._provider:
            real = meter_provider_of(provider)
            self._instruments = None if real is None else _Instruments(real, self._breaker_state)
            self._provider = provider  # last: until then, a request in another thread does the same
        return self._instruments

    def configured(self) -> bool:
        """Return whether there is a meter provider to count for."""
        return self._now() is not None

    def session_started(self) -> None:
        """Count a session that began."""
        now = self._now()
        if now is not None:
            now.started.add(1)
            now.active.add(1)

    def session_ended(self, reason: str, duration_s: float) -> None:
        """
        Count a session that ended.

        Args:
            reason: One of the end reasons.
            duration_s: From its start to its last activity, seconds.
        """
        now = self._now()
        if now is not None:
            attributes = {names.SESSION_END_REASON: reason}
            now.ended.add(1, attributes)
            # In which process a session ends is chance: the sum over all processes is what is active.
            now.active.add(-1)
            now.session_duration.record(duration_s, attributes)

    def turn_ended(self, duration_s: float, failed: bool) -> None:
        """
        Measure a turn.

        Args:
            duration_s: Seconds.
            failed: Whether it ended with an error.
        """
        now = self._now()
        if now is not None:
            # "_OTHER" is the semantic conventions' word for an error of no particular type.
            now.turn_duration.record(duration_s, {"error.type": "_OTHER"} if failed else None)

    def token_rejected(self, reason: str, source: str) -> None:
        """Count something that was presented as a session token and is none of ours."""
        now = self._now()
        if now is not None:
            now.token_rejected.add(1, {"reason": reason, "source": source})

    def dropped(self, reason: str, n: int = 1) -> None:
        """Count *n* times that bookkeeping was given up, or that a request went on without the store."""
        now = self._now()
        if now is not None:
            now.dropped.add(n, {"reason": reason})

    def sweep_lag(self, seconds: float) -> None:
        """Measure how long after its deadline a session's end was reported."""
        now = self._now()
        if now is not None:
            now.sweep_lag.record(seconds)

    def store_latency(self, seconds: float, op: str) -> None:
        """Measure one operation of the store."""
        now = self._now()
        if now is not None:
            now.store_latency.record(seconds, {"op": op})


class _Instruments:
    """The instruments of one meter provider."""

    def __init__(self, provider: Any, breaker_state: Callable[[Any], list[Observation]]) -> None:
        meter = provider.get_meter(LIBRARY_NAME, library_version(), SCHEMA_URL)

        def seconds(name: str, text: str, boundaries: tuple[float, ...]) -> Any:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=boundaries)

        self.active = meter.create_up_down_counter(
            ACTIVE, "{session}", "Sessions started and not ended; sum it over all processes."
        )
        self.started = meter.create_counter(STARTED, "{session}", "Sessions started.")
        self.ended = meter.create_counter(ENDED, "{session}", "Sessions ended, by reason.")
        self.token_rejected = meter.create_counter(TOKEN_REJECTED, "{token}", "Session tokens refused, by reason.")
        self.dropped = meter.create_counter(DROPPED, "{item}", "Bookkeeping given up, by reason.")
        meter.create_observable_gauge(
            BREAKER_STATE, [breaker_state], "1", "Whether the store is asked: 0 yes, 1 it is being tried, 2 no."
        )
        self.session_duration = seconds(SESSION_DURATION, "From a session's start to its last turn.", SESSION_SECONDS)
        self.turn_duration = seconds(TURN_DURATION, "Duration of turns.", TURN_SECONDS)
        self.sweep_lag = seconds(SWEEP_LAG, "From a session's deadline to the report of its end.", LAG_SECONDS)
        self.store_latency = seconds(STORE_LATENCY, "Duration of store operations.", STORE_SECONDS)
