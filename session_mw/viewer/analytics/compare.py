"""Versions, or any other values, compared: what is asked of the history for it, and for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...exceptions import FilterError
from ...ledger import Group, Summing
from ...ledger.comparing import EVERYTHING, Question, Report, report
from ...ledger.comparing.documents import report_document
from ...ledger.comparing.words import PEEKING
from ...ledger.samples import METRICS, metric_named
from ...ledger.shown import many
from ...ledger.summary import field_named
from ...ledger.values import text
from ..visits import Visit
from .sight import SECONDS, Asking, Own, Sight
from .versus import TALL, Shown, shown_pair
from .window import Patience

USUAL = "prompt_version"
CHOICES = ("prompt_version", "type", "channel", "name", "metadata.source")
MOST_VALUES = 200  # in a list to choose from
MOST_OTHERS = 11


@dataclass(frozen=True, slots=True)
class Compared:
    """
    An answer.

    Attributes:
        values: That there are, with their sessions, as people count.
        report: None when there are no two values to compare.
    """

    values: list[Group]
    report: Report | None


def own(visit: Visit) -> Own:
    """Return what is compared with what; values that were chosen for something else than *by* are none of its."""
    by = visit.params.get("by", "").strip() or USUAL
    changed = visit.params.get("of", by) != by
    others = tuple(dict.fromkeys(text(value) for value in visit.params.getlist("b") if value and not changed))
    said: dict[str, str | tuple[str, ...]] = {
        "by": by,
        "a": "" if changed else text(visit.params.get("a", "")),
        "b": others[:MOST_OTHERS],
        "metric": visit.params.get("metric", "").strip() or "cost",
        **{name: "1" for name in ("whole", "p95") if visit.params.get(name) == "1"},
        "split": visit.params.get("split", "").strip(),
    }
    return {name: value for name, value in said.items() if value}


def check(own: Own) -> None:
    """Raise FilterError for what cannot be compared."""
    field_named(str(own["by"]))
    metric_named(str(own["metric"]))
    _split(own)
    if "a" in own and "b" in own:
        _question(own, (str(own["a"]), *own["b"]))


def _question(own: Own, arms: tuple[str, ...], **more: Any) -> Question:
    return Question(
        str(own["by"]),
        arms,
        str(own["metric"]),
        EVERYTHING,
        whole_period="whole" in own,
        split=_split(own),
        tail="p95" in own,
        **more,
    )


def _split(own: Own) -> tuple[float, ...] | None:
    said = str(own.get("split", ""))
    try:
        return tuple(float(part) for part in said.replace("/", ":").split(":")) if said else None
    except ValueError:
        message = f"{said!r} is no intended split"
        raise FilterError(message, said, 0, len(said), "Write 50:50, or 90:10.") from None


def find(asking: Asking) -> Compared:
    """Ask which values there are, and compare."""
    patience, unconfirmed = Patience(), asking.query.unconfirmed
    by, ledger = str(asking.own["by"]), asking.visit.ledger
    sums = ledger.summary(Summing(asking.where, (by,), unconfirmed, SECONDS))
    values = [group for group in sums if group.key[0] is not None]
    arms = _arms(asking.own, values)
    if len(arms) < 2:
        return Compared(values, None)
    question = _question(
        asking.own,
        arms,
        where=asking.where,
        include_unconfirmed=unconfirmed,
        offset_ms=_offset_ms(asking.visit),
        seconds=patience.left,
    )
    return Compared(values, report(ledger, question))


def _offset_ms(visit: Visit) -> int:
    offset = datetime.fromtimestamp(visit.now_ms / 1000, visit.zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)


def _arms(own: Own, values: Sequence[Group]) -> tuple[str, ...]:
    """Return what is compared: as asked, else the two newest versions, or the two largest groups of anything else."""
    others = tuple(own.get("b", ()))
    newest = field_named(str(own["by"])).column == USUAL
    ranked = list(values) if newest else sorted(values, key=lambda group: group.sessions)
    chosen = [str(group.key[0]) for group in values if group in ranked[-2:]]
    first = str(own.get("a") or next((name for name in chosen if name not in others), ""))
    return (first, *(others or [name for name in reversed(chosen) if name != first][:1])) if first else ()


def values(asking: Asking, found: Compared) -> dict[str, Any]:
    """Return what the page shows."""
    names = [(str(group.key[0]), f"{group.sessions:,}") for group in found.values]
    arms = _arms(asking.own, found.values)
    chosen = arms if found.report is None else found.report.asked.arms
    return {
        "told": _told(found),
        "there": names[-MOST_VALUES:],
        "chosen": [
            *chosen,
            *[""] * (2 - len(chosen)),
            *([""] if len(chosen) >= 2 and len(names) > len(chosen) else []),
        ],
        "missing": [] if found.report is None else list(found.report.missing),
        "pairs": _pairs(found.report, asking.visit),
        "about": metric_named(str(asking.own["metric"])),
        "options": _options(asking),
    }


def _pairs(found: Report | None, visit: Visit) -> list[Shown]:
    return [] if found is None else [shown_pair(found, number, visit.zone) for number in range(len(found.pairs))]


def _options(asking: Asking) -> list[tuple[str, str]]:
    whole, p95 = "whole" in asking.own, "p95" in asking.own
    return [
        ("only when both ran" if whole else "the whole period", asking.here(whole="" if whole else "1")),
        ("without 95th percentiles" if p95 else "with 95th percentiles", asking.here(p95="" if p95 else "1")),
    ]


def _told(found: Compared) -> str:
    if found.report is None or not found.report.pairs:
        return many(len(found.values), "value")
    first = found.report.pairs[0].a
    arms = [first, *(pair.b for pair in found.report.pairs)]
    return f"{sum(arm.sessions for arm in arms):,} sessions of {' and '.join(arm.name for arm in arms)}"


def document(asking: Asking, found: Compared) -> Mapping[str, Any]:
    """Return the same for programs."""
    there = [{"value": group.key[0], "sessions": group.sessions} for group in found.values]
    if found.report is None:
        return {"by": asking.own["by"], "there": there, "pairs": []}
    return {"stopped": False, "there": there, **report_document(found.report, asking.visit.zone)}


COMPARE = Sight(
    "compare",
    "Compare",
    "analytics/compare.html",
    find,
    values,
    lambda asking, found: dict(document(asking, found)),
    own,
    check,
    fields="analytics/versions.html",
    visible=("by", "a", "b", "metric", "split"),
    slow=True,
    more={"choices": CHOICES, "metrics": list(METRICS), "tall": TALL, "peeking": PEEKING},
)
