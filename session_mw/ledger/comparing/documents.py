"""
A comparison as a JSON document, the same on the command line and from the viewer.

Money is US dollars, lengths of time milliseconds, shares 0 to 1, times ISO 8601 in UTC. What is unknown, or would be a
guess, is null.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timezone, tzinfo
from typing import Any

from ..._core.events import iso
from ..samples import metric_named
from .distributions import CONFIDENCE
from .figures import Comparison, Difference, Figures
from .periods import Ratio
from .report import Arm, Pair, Report
from .words import notes, sentence

Document = dict[str, Any]


def report_document(report: Report, zone: tzinfo = timezone.utc) -> Document:
    """
    Return a report.

    Args:
        report: The report.
        zone: Whose days its notes name.
    """
    about = metric_named(report.asked.metric)
    return {
        "by": report.asked.by,
        "values": list(report.asked.arms),
        "missing": list(report.missing),
        "metric": report.asked.metric,
        "title": about.title,
        "unit": about.unit,
        "confidence": CONFIDENCE,
        "units": "user",
        "comparisons_that_share_the_risk": {"of_the_metric": report.first, "of_others": report.compared},
        "pairs": [_pair(report, pair, zone) for pair in report.pairs],
    }


def _pair(report: Report, pair: Pair, zone: tzinfo) -> Document:
    window = pair.window
    return {
        "a": _arm(pair.a),
        "b": _arm(pair.b),
        "users_of_both": pair.both,
        "window": {"kind": window.kind, "from": iso(window.since_ms), "to": iso(window.until_ms)},
        "sentence": sentence(report, pair.comparisons[report.asked.metric], pair),
        "metrics": [_comparison(found, name == report.asked.metric) for name, found in pair.comparisons.items()],
        "split": pair.ratio and _ratio(pair.ratio),
        "traffic": [{"day": iso(day.at_ms), "a": day.counts[0], "b": day.counts[1]} for day in pair.days],
        "random_over_days": pair.drift is None,
        "notes": [note.text for note in notes(report, pair, zone)],
    }


def _arm(arm: Arm) -> Document:
    told = asdict(arm)
    first, last = told.pop("first_ms"), told.pop("last_ms")
    return {**told, "first_start_time": iso(first), "last_start_time": iso(last)}


def _ratio(ratio: Ratio) -> Document:
    return {**asdict(ratio), "broken": ratio.broken}


def _comparison(found: Comparison, primary: bool) -> Document:
    spread = found.spread
    tails = (None, None) if spread is None or spread.tails is None else spread.tails
    return {
        "metric": found.metric,
        "title": found.about.title,
        "unit": found.about.unit,
        "primary": primary,
        "a": _figures(found.a, tails[0]),
        "b": _figures(found.b, tails[1]),
        "difference": _difference(found.difference),
        "relative": _difference(found.relative),
        "adjusted_for_type": _difference(found.adjusted),
        "left_out_of_adjusted": found.left_out,
        "median_difference": _difference(spread.median if spread else None),
        "p95_difference": _difference(spread.tail if spread else None),
        "chance_b_is_larger": spread.chance if spread else None,
    }


def _figures(found: Figures, p95: float | None) -> Document:
    told = asdict(found)
    told["values"] = list(told.pop("dots"))
    return {**told, "p95": p95}


def _difference(found: Difference | None) -> Document | None:
    return None if found is None else asdict(found)
