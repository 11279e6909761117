"""
What is known of samplers without importing them: the SDK is optional, and most applications do without ours.

Nothing here is asked for each span: a provider's sampler does not change.
"""

from __future__ import annotations

OUR_SAMPLER = ("session_mw.telemetry.sampler", "SessionRatioSampler")  # not imported here: most do without
_SAMPLING = "opentelemetry.sdk.trace.sampling"
_BY_TRACE = ("StaticSampler", "TraceIdRatioBased")
_BY_PARENT = ("ParentBased", "ParentBasedTraceIdRatio")
_ASKED = (
    "_root",
    "_remote_parent_sampled",
    "_remote_parent_not_sampled",
    "_local_parent_sampled",
    "_local_parent_not_sampled",
)


def goes_by_session(sampler: object) -> bool:
    """Return whether *sampler*, or one that it asks, is a ``SessionRatioSampler``."""
    asked = [sampler, *getattr(sampler, "__dict__", {}).values()]
    return any((type(one).__module__, type(one).__name__) == OUR_SAMPLER for one in asked)


def drops_whole_traces(sampler: object) -> bool:
    """
    Return whether *sampler* surely drops what stands below a span that it dropped.

    Known of the SDK's samplers that look at the trace id, or at nothing, and of ours; ``ParentBased`` asks another for
    spans below a local parent that was dropped. Whatever looks at names or attributes may keep a turn whose session it
    dropped.
    """
    kind = type(getattr(sampler, "_local_parent_not_sampled", sampler))
    if (kind.__module__, kind.__name__) == OUR_SAMPLER:
        return True
    return kind.__module__ == _SAMPLING and kind.__name__ in _BY_TRACE


def samples_unseen(sampler: object) -> bool:
    """Return whether *sampler* surely decides without a look at attributes: the SDK's own, and nobody's else."""
    kind = type(sampler)
    if kind.__module__ != _SAMPLING:
        return False
    if kind.__name__ in _BY_PARENT:
        return all(samples_unseen(getattr(sampler, asked, None)) for asked in _ASKED)
    return kind.__name__ in _BY_TRACE
