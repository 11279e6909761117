"""
Puts the processors on the providers and the propagator into the global slot, once each; takes them out again.

Safe to call at any time and any number of times: before the SDK is set up (then the providers come later), after, and
again when somebody replaced them.
"""

from __future__ import annotations

import copy
import logging
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from . import outgoing
from ._providers import behind, logger_provider_of, tracer_provider_of
from ._sdk_logs import add_log_processor
from ._sdk_spans import put_first
from .notices import once
from .processors import SessionLogRecordProcessor, SessionSpanProcessor
from .propagator import OursRemoved, SessionBaggagePropagator

if TYPE_CHECKING:
    from .._core.policy import Policy

logger = logging.getLogger("session_mw")

Processor = SessionSpanProcessor | SessionLogRecordProcessor


class _Known:
    """
    Which providers have our processors. Weak, and by identity: providers need not be hashable.

    A provider that is gone takes its entry along, so a new one at the same address is a new one.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Callable[[], object], tuple[Processor, ...]]] = {}

    def get(self, provider: object) -> tuple[Processor, ...]:
        entry = self._entries.get(id(provider))
        return entry[1] if entry is not None and entry[0]() is provider else ()

    def add(self, provider: object, processors: tuple[Processor, ...]) -> None:
        key = id(provider)
        reference: Callable[[], object]
        try:
            reference = weakref.ref(provider, lambda _: self._entries.pop(key, None))
        except TypeError:  # cannot be referred to weakly: keep it
            reference = lambda: provider  # noqa: E731
        self._entries[key] = (reference, processors)


class _Installed:
    """What this process has installed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.providers = _Known()
        self.propagator: SessionBaggagePropagator | None = None
        self.textmap: TextMapPropagator | None = None  # the global one as we left it
        self.before: TextMapPropagator | None = None  # and as we found it
        self.seen: tuple[object, object, object] = (None, None, None)
        self.proxied: tuple[object, object] | None = None  # what stood behind proxies, where they are some


_installed = _Installed()


def instrument(
    policy: Policy | None = None,
    *,
    tracer_provider: Any = None,
    logger_provider: Any = None,
    propagator: bool = True,
    processors: bool = True,
) -> Callable[[], None]:
    """
    Stamp every span and log record with its session, and carry sessions to other services.

    Args:
        policy: Of the middleware. None, on a first call: processors work, and no session leaves the process.
        tracer_provider: None takes the global one. Another SDK's own, where it keeps one to itself.
        logger_provider: None takes the global one.
        propagator: Whether to replace the baggage propagator in the global slot.
        processors: Whether to add the span and log processors. Providers that are no SDK's are left alone.

    Returns:
        A function that undoes it: the propagator that was there before comes back, unless somebody replaced ours
        meanwhile; processors are switched off, since the SDK cannot remove one, until the next ``instrument()``.
    """
    with _installed.lock:
        if propagator:
            outgoing.install(_install_propagator(policy))
        mine = _install_processors(tracer_provider, logger_provider) if processors else ()

    def uninstrument() -> None:
        with _installed.lock:
            for processor in mine:
                processor.active = False
            if propagator:
                outgoing.remove()
                _restore_propagator()

    return uninstrument


def ensure(tracer_provider: Any, logger_provider: Any) -> None:
    """
    Notice providers and a propagator that were replaced since. For every request: three comparisons, usually.

    Args:
        tracer_provider: The one in use now.
        logger_provider: The one in use now.
    """
    textmap = propagate.get_global_textmap()
    seen = _installed.seen
    same = seen[0] is tracer_provider and seen[1] is logger_provider
    if same and _installed.proxied is not None:
        same = _same(_installed.proxied, tracer_provider, logger_provider)
    if same and seen[2] is textmap:
        return
    with _installed.lock:
        if not same:
            _install_processors(tracer_provider, logger_provider)
        _check_propagator(textmap)
        inner = behind(tracer_provider), behind(logger_provider)
        _installed.proxied = None if inner[0] is tracer_provider and inner[1] is logger_provider else inner
        _installed.seen = (tracer_provider, logger_provider, textmap)


def _same(proxied: tuple[object, object], tracer_provider: Any, logger_provider: Any) -> bool:
    """Return whether the same providers stand behind the proxies."""
    return proxied[0] is behind(tracer_provider) and proxied[1] is behind(logger_provider)


def _install_processors(tracer_provider: Any, logger_provider: Any) -> tuple[Processor, ...]:
    """Add processors to providers that have none of ours; switch on those that have."""
    found: list[Processor] = []
    for provider, method, add in (
        (behind(tracer_provider_of(tracer_provider)), "add_span_processor", _add_span_processor),
        (behind(logger_provider_of(logger_provider)), "add_log_record_processor", _add_log_processor),
    ):
        if not hasattr(provider, method):
            continue
        ours = _installed.providers.get(provider)
        if not ours:
            ours = (add(provider),)
            _installed.providers.add(provider, ours)
        found += ours
    for processor in found:
        processor.active = True
    return tuple(found)


def _add_span_processor(provider: Any) -> Processor:
    processor = SessionSpanProcessor()
    if not put_first(provider, processor):
        provider.add_span_processor(processor)
    return processor


def _add_log_processor(provider: Any) -> Processor:
    processor = SessionLogRecordProcessor()
    add_log_processor(provider, processor)
    return processor


def _install_propagator(policy: Policy | None) -> SessionBaggagePropagator:
    current = propagate.get_global_textmap()
    there = _find(current)
    if there is None:
        return _replace(current, policy)
    _installed.propagator = there
    if policy is not None:
        there.policy = policy
    _check_place(current, there.policy)
    return there


def _replace(current: TextMapPropagator, policy: Policy | None) -> SessionBaggagePropagator:
    """Put ours where the stock one stands; where none does, it serves ``session_mw.clients`` only."""
    before = _installed.propagator
    ours = SessionBaggagePropagator(policy if policy is not None or before is None else before.policy)
    changed = _ours_last(_with(current, ours), ours)
    if changed is current:
        _hint_no_place(current)
        return ours
    _installed.propagator, _installed.before, _installed.textmap = ours, current, changed
    propagate.set_global_textmap(changed)
    return ours


def _restore_propagator() -> None:
    if _installed.textmap is not None and propagate.get_global_textmap() is _installed.textmap:
        assert _installed.before is not None
        propagate.set_global_textmap(_installed.before)
    _installed.textmap = _installed.before = _installed.propagator = None


def _parts(textmap: TextMapPropagator) -> list[TextMapPropagator]:
    """
    What a composite is made of, or a wrapper stands around.

    The composite's attribute is private, and the same in every release of the API. Wrappers are Logfire's, which decide
    whose trace goes on.
    """
    if isinstance(textmap, CompositePropagator):
        return list(getattr(textmap, "_propagators", ()))
    wrapped = getattr(textmap, "wrapped", None)
    return [wrapped] if isinstance(wrapped, TextMapPropagator) else []


def _made_of(textmap: TextMapPropagator, parts: list[TextMapPropagator]) -> TextMapPropagator:
    """Return a propagator like *textmap*, made of *parts*."""
    if isinstance(textmap, CompositePropagator):
        return CompositePropagator(parts)
    like = copy.copy(textmap)
    like.wrapped = parts[0]  # type: ignore[attr-defined]
    return like


def _find(textmap: TextMapPropagator) -> SessionBaggagePropagator | None:
    if isinstance(textmap, SessionBaggagePropagator):
        return textmap
    return next((found for part in _parts(textmap) if (found := _find(part)) is not None), None)


def _with(textmap: TextMapPropagator, ours: SessionBaggagePropagator) -> TextMapPropagator:
    """Return *textmap* with *ours* in place of the stock baggage propagator; itself if that is not in it."""
    if type(textmap) is W3CBaggagePropagator:
        return ours
    parts = _parts(textmap)
    changed = [_with(part, ours) for part in parts]
    if all(new is old for new, old in zip(changed, parts, strict=True)):
        return textmap
    if _declines(ours.policy):
        changed.sort(key=lambda part: _find(part) is not None)  # ours last: it looks at whose span the others have read
    return _made_of(textmap, changed)


def _declines(policy: Policy | None) -> bool:
    """Return whether some clients' traces are not continued."""
    return policy is not None and policy.continue_trace != "always"


def _is_last(textmap: TextMapPropagator) -> bool:
    """Return whether ours reads a request's headers after all others."""
    parts = _parts(textmap)
    return _is_last(parts[-1]) if parts else isinstance(textmap, SessionBaggagePropagator)


def _ours_last(textmap: TextMapPropagator, ours: SessionBaggagePropagator) -> TextMapPropagator:
    """Return *textmap* such that nothing behind *ours* lets in what it has kept out."""
    leaves = _leaves(textmap)
    behind = leaves[leaves.index(ours) + 1 :] if ours in leaves else []
    if all(isinstance(leaf, (SessionBaggagePropagator, TraceContextTextMapPropagator)) for leaf in behind):
        return textmap
    return CompositePropagator([textmap, OursRemoved()])


def _leaves(textmap: TextMapPropagator) -> list[TextMapPropagator]:
    parts = _parts(textmap)
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [textmap]


def _check_propagator(textmap: TextMapPropagator) -> None:
    """Say so once when somebody replaced the global propagator after us, and ours is not in it."""
    if _installed.propagator is None or textmap is _installed.textmap:
        return
    there = _find(textmap)
    if there is not None:
        there.policy = there.policy or _installed.propagator.policy
        _check_place(textmap, there.policy)
        return
    once(
        "propagator-replaced",
        logger.warning,
        "set_global_textmap() was called after session_mw was installed: sessions are not carried to other services, "
        "and continue_trace has no effect. "
        "Call it before the middleware is added, or put session_mw.SessionBaggagePropagator() where "
        "W3CBaggagePropagator() stands.",
    )


def _check_place(textmap: TextMapPropagator, policy: Policy | None) -> None:
    """Say so once where whatever reads ``traceparent`` does so after ours, so that ours cannot decline it."""
    if policy is None or not _declines(policy) or _is_last(textmap):
        return
    once(
        "propagator-not-last",
        logger.warning,
        "continue_trace=%r has no effect: SessionBaggagePropagator stands before what reads traceparent. Put it last "
        "in CompositePropagator([...]).",
        policy.continue_trace,
    )


def _hint_no_place(current: TextMapPropagator) -> None:
    once(
        "propagator-no-place",
        logger.warning,
        "the global propagator (%s) has no W3CBaggagePropagator to replace: sessions are not carried to other "
        "services, and continue_trace has no effect. Set OTEL_PROPAGATORS=tracecontext,baggage, or put "
        "session_mw.SessionBaggagePropagator() into it, last.",
        type(current).__name__,
    )
