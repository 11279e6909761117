"""
Sampling whole sessions: each is kept or dropped as one, in every service and worker, by 56 bits that its id carries.

Rule 1: a local parent's decision holds: no trace is torn. A remote parent's does where ``ParentBased`` asks first.
Rule 2: R is the session's sampling key, T is ``(1 - ratio) * 2**56``, and what has R >= T is kept: so sessions that are
    kept at one ratio are kept at every higher one. Spans outside of any session go by the lower 56 bits of their
    trace's id, as OpenTelemetry's consistent samplers do.
Rule 3: nothing is written into ``tracestate``. ``rv`` would tell the key, which stays the same as long as a session and
    its successors, to every host that is called, vendors included; and ``th`` without ``rv`` says that the trace's id
    was compared, which is not so. (The SDK, up to 1.45, hands no tracestate to samplers either.)

The SDK is not imported before a sampler is made: its interface is met by shape, and seen by type checkers only.

Source: OpenTelemetry specification, "Sampling" (trace/sdk.md) and "Probability Sampling" (trace/tracestate-probability-
sampling.md).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from .._core import names
from .._core.identity import sampling_key_of
from .context import scope_of
from .early import early_in, expect_sampler
from .notices import once

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler as _Sampler
    from opentelemetry.sdk.trace.sampling import SamplingResult
else:
    _Sampler = object

logger = logging.getLogger("session_mw")

_ALL = 1 << 56


class SessionRatioSampler(_Sampler):
    """
    Keeps a share of the sessions, each with all of its spans; stands where ``TraceIdRatioBased`` stands.

    Args:
        ratio: Share of sessions that are kept, 0 to 1.

    Raises:
        ValueError: If *ratio* is no number from 0 to 1.
    """

    def __init__(self, ratio: float) -> None:
        from opentelemetry.sdk.trace import sampling

        sampling.Sampler.register(SessionRatioSampler)
        self._ratio = _checked(ratio)
        self._threshold = round((1 - ratio) * _ALL)
        self._result = sampling.SamplingResult
        self._keep, self._drop = sampling.Decision.RECORD_AND_SAMPLE, sampling.Decision.DROP
        expect_sampler()

    @property
    def ratio(self) -> float:
        """Share of the sessions that are kept."""
        return self._ratio

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide by the session that a span begins in; see the rules above. Never raises."""
        context = get_current() if parent_context is None else parent_context
        parent = trace.get_current_span(context).get_span_context()
        if not parent.is_valid:
            kept, state = self._randomness(context, trace_id, attributes) >= self._threshold, None
        elif parent.is_remote:
            kept, state = self._randomness(context, trace_id, attributes) >= self._threshold, parent.trace_state
        else:
            kept, state = parent.trace_flags.sampled, parent.trace_state
        return self._result(self._keep, attributes, state) if kept else self._result(self._drop, None, state)

    def keeps(self, session_id: str) -> bool:
        """Return whether a session is kept, of whatever id."""
        return sampling_key_of(session_id) >= self._threshold

    def get_description(self) -> str:
        """Return name and ratio, as resources and debug output show them."""
        return f"SessionRatioSampler{{{self._ratio}}}"

    def _randomness(self, context: Context, trace_id: int, attributes: Attributes) -> int:
        """Return the 56 bits that a span is sampled by."""
        try:
            session_id = _session_of(context, attributes)
            if session_id is not None:
                return sampling_key_of(session_id)
        except Exception as error:  # of a request that is broken in a way nobody thought of: its span is still made
            kind = type(error).__name__
            text = "cannot sample by session: %s: %s. The span is sampled by its trace."
            once("sampler:" + kind, logger.error, text, kind, error)
        return trace_id & (_ALL - 1)


def _session_of(context: Context, attributes: Any) -> str | None:
    """Return the session that a span in *context* is of: one that runs, that a request presents, or that it names."""
    scope = scope_of(context)
    if scope is not None:
        return scope.session_id
    early = early_in(context)
    if early is not None:
        return early.session_id
    named = attributes.get(names.SESSION_ID) if attributes else None
    return named if isinstance(named, str) and named else None


def _checked(ratio: Any) -> float:
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
        raise ValueError(
            f"cannot sample sessions: ratio is {ratio!r} (0 to 1). Give a share, such as 0.1 for one in ten."
        )
    return ratio


def _ratio_of(argument: str | None) -> float:
    """Return what ``OTEL_TRACES_SAMPLER_ARG`` says; all sessions where it says nothing, as the SDK's own samplers."""
    try:
        return float(argument) if argument else 1.0
    except ValueError:
        raise ValueError(
            f"cannot sample sessions: OTEL_TRACES_SAMPLER_ARG is {argument!r} (0 to 1). Give a share, such as 0.1."
        ) from None


def from_environ(argument: str | None) -> SessionRatioSampler:
    """Return the sampler for ``OTEL_TRACES_SAMPLER=session_ratio``; *argument* is ``OTEL_TRACES_SAMPLER_ARG``."""
    return SessionRatioSampler(_ratio_of(argument))


def parent_based_from_environ(argument: str | None) -> _Sampler:
    """Return the sampler for ``OTEL_TRACES_SAMPLER=parentbased_session_ratio``."""
    from opentelemetry.sdk.trace.sampling import ParentBased

    return ParentBased(from_environ(argument))
