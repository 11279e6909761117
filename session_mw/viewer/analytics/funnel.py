"""How many sessions take some steps in order: ``steps=search > answer > done``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...exceptions import FilterError
from ...ledger import Funnel
from ...ledger.analytics import FunnelStep
from ...ledger.shown import many, shown_ms, shown_number
from ...ledger.values import text as kept_text
from ..list import dash, middle
from ..visits import Visit
from .documents import plain
from .groups import percent
from .sight import Asking, Own, Sight
from .window import Patience, analyzing

MOST_STEPS = 20
SUGGESTED = 12
LONGEST_NAME = 40  # of a step in the picture
MARK = ">"
_STEP = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^>"\s][^>]*))\s*(>|$)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """
    An answer.

    Attributes:
        funnel: None when no step was asked for.
        actions: That there are, the most frequent first.
    """

    funnel: Funnel | None
    actions: list[str]

    @property
    def stopped(self) -> bool:
        """Whether it stands on a part of the sessions."""
        return self.funnel is not None and self.funnel.stopped


def own(visit: Visit) -> Own:
    """Return the steps as typed."""
    return {"steps": visit.params.get("steps", "").strip()}


def check(own: Own) -> None:
    """Raise FilterError when the steps cannot be read."""
    steps_of(str(own["steps"]))


def steps_of(text: str) -> list[str]:
    """
    Return the actions that *text* names, in order, as the history keeps them; what has a > in it stands in quotes.

    Raises:
        FilterError: A step is empty, or there are too many.
    """
    steps: list[str] = []
    at, open_end = 0, bool(text.strip())
    while open_end:
        at += len(text[at:]) - len(text[at:].lstrip())
        found = _STEP.match(text, at)
        if found is None:
            place = min(at, len(text) - 1)
            raise FilterError("a step is missing", text, place, place + 1, 'Write steps as search > answer > "a > b".')
        quoted = found[1]
        steps.append(
            kept_text(found[2].strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
        )
        at, open_end = found.end(), bool(found[3])
    if len(steps) > MOST_STEPS:
        raise FilterError(f"these are {len(steps)} steps", text, 0, len(text), f"Name at most {MOST_STEPS}.")
    return steps


def written(action: str) -> str:
    """Return an action as a step."""
    if MARK in action or '"' in action or action != action.strip():
        return '"' + action.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return action


def find(asking: Asking) -> Found:
    """Ask for the funnel, and for the actions that steps can be made of."""
    ledger, patience = asking.visit.ledger, Patience()
    steps = steps_of(str(asking.own["steps"]))
    funnel = ledger.funnel(analyzing(asking, patience.left), steps) if steps else None
    return Found(funnel, _actions(asking, patience))


def _actions(asking: Asking, patience: Patience) -> list[str]:
    """Return the actions with which sessions begin, then those that follow, the most frequent first."""
    ledger = asking.visit.ledger
    counts: dict[str, int] = {}
    first = ledger.first_actions(analyzing(asking, patience.left))
    flows = ledger.flows(analyzing(asking, patience.left))
    for one in [*first.top, *(counted for step in flows.steps for counted in step.top)]:
        if (action := one.actions[-1]) is not None:
            counts[action] = counts.get(action, 0) + one.sessions
    return sorted(counts, key=lambda action: (-counts[action], action))


@dataclass(frozen=True, slots=True)
class Line:
    """A step for people: ``width`` is hundredths of the first step's sessions."""

    number: int
    action: str
    sessions: str
    of_first: str
    of_previous: str
    lost: str
    time: str
    width: float


def values(asking: Asking, found: Found) -> dict[str, Any]:
    """Return what the page shows."""
    typed = str(asking.own["steps"])
    begin = f"{typed} {MARK} " if typed else ""
    funnel = found.funnel
    return {
        "told": many(funnel.sessions, "session") if funnel and funnel.sessions else "",
        "part": found.stopped,
        "actions": found.actions,
        "suggested": [(action, asking.here(steps=begin + written(action))) for action in found.actions[:SUGGESTED]],
        "asked": funnel is not None,
        "lines": [_line(number, step) for number, step in enumerate(funnel.steps, 1)] if funnel else [],
        "conversion": percent(funnel.conversion) if funnel else "",
        "whole": _times(funnel) if funnel else "",
        "back": asking.here(steps=""),
    }


def _line(number: int, step: FunnelStep) -> Line:
    return Line(
        number,
        middle(step.action, LONGEST_NAME),
        shown_number(step.sessions),
        percent(step.of_first),
        percent(step.of_previous),
        percent(step.drop_off),
        dash(shown_ms(step.convert_ms.median)),
        round(100 * (step.of_first or 0), 2),
    )


def _times(funnel: Funnel) -> str:
    spread = funnel.convert_ms
    if spread.median is None:
        return ""
    return f"median {shown_ms(spread.median)}, mean {shown_ms(spread.mean)} from the first step to the last"


def document(asking: Asking, found: Found) -> dict[str, Any]:
    """Return the same for programs."""
    funnel = None if found.funnel is None else plain(found.funnel)
    return {
        "steps": steps_of(str(asking.own["steps"])),
        "actions": found.actions,
        "funnel": funnel,
        "stopped": found.stopped,
    }


FUNNEL = Sight(
    "analytics/funnel",
    "Funnel",
    "analytics/funnel.html",
    find,
    values,
    document,
    own,
    check,
    fields="analytics/steps.html",
    visible=("steps",),
    slow=True,
)
