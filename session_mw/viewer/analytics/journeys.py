"""Where sessions begin, what follows what, after which turn they end, and what resolved ones do differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...ledger import DropOff, FirstActions, Flows, Resolution
from ...ledger.analytics import Counted, FlowStep, Side
from ...ledger.shown import many, shown_number
from ..charts import Bar, Chart, columns, stride
from ..visits import Visit
from .documents import plain
from .groups import percent, round_percent
from .sight import Asking, Own, Sight
from .window import Patience, analyzing

SHOWN = 10  # lines of a list
ARROW = " \N{RIGHTWARDS ARROW} "
NAMELESS = "(no action named)"
LAST_TURN = 50  # that drop-off tells apart


@dataclass(frozen=True, slots=True)
class Journeys:
    """Four answers."""

    first: FirstActions
    flows: Flows
    dropoff: DropOff
    resolution: Resolution

    @property
    def stopped(self) -> bool:
        """Whether any of them stands on a part of the sessions."""
        return any(one.stopped for one in (self.first, self.flows, self.dropoff, self.resolution))


def own(visit: Visit) -> Own:
    """Return the place in a session whose flows are shown."""
    said = visit.params.get("step", "")
    return {"step": said if said.isascii() and said.isdigit() and len(said) < 3 and said != "1" else ""}


def find(asking: Asking) -> Journeys:
    """Ask; the four share the time."""
    ledger, patience = asking.visit.ledger, Patience()
    return Journeys(
        ledger.first_actions(analyzing(asking, patience.left)),
        ledger.flows(analyzing(asking, patience.left)),
        ledger.dropoff(analyzing(asking, patience.left)),
        ledger.resolution(analyzing(asking, patience.left)),
    )


def values(asking: Asking, found: Journeys) -> dict[str, Any]:
    """Return what the page shows."""
    step = _step(asking, found.flows)
    sessions = max(found.first.sessions, found.dropoff.sessions)
    return {
        "told": many(sessions, "session") if sessions else "",
        "part": found.stopped,
        "first": bars(found.first.top, found.first.other),
        "step": step,
        "steps": [(_between(one), asking.here(step=str(one.step)), one is step) for one in found.flows.steps],
        "flow": bars(step.top, step.other) if step else [],
        "survival": _survival(asking, found.dropoff),
        "drop": _drop(found.dropoff),
        "drop_link": _drop_link(asking, found.dropoff),
        "last": bars(found.dropoff.last),
        "unresolved": found.dropoff.unresolved,
        "resolution": found.resolution,
        "rate": percent(found.resolution.rate),
        "paths": pairs(found.resolution.resolved, found.resolution.unresolved, "paths"),
        "ends": pairs(found.resolution.resolved, found.resolution.unresolved, "last"),
    }


def _step(asking: Asking, flows: Flows) -> FlowStep | None:
    wanted = str(asking.own["step"]) or "1"
    return next((one for one in flows.steps if str(one.step) == wanted), next(iter(flows.steps), None))


def _between(one: FlowStep) -> str:
    return f"{one.step}{ARROW}{one.step + 1}" if one.step <= 6 else "later"


def named(counted: Counted) -> str:
    """Return actions for people."""
    return ARROW.join(NAMELESS if action is None else action for action in counted.actions)


def bars(top: Sequence[Counted], other: int = 0) -> list[Bar]:
    """Return a list with bars, the longest as wide as there is room: the most frequent, and all others without one."""
    longest = max((one.share for one in top), default=1) or 1
    found = [
        Bar(named(one), percent(one.share), _hundredths(one.share / longest), shown_number(one.sessions))
        for one in top[:SHOWN]
    ]
    if rest := other + sum(one.sessions for one in top[SHOWN:]):
        share = rest / (other + sum(one.sessions for one in top))
        found.append(Bar("all others", percent(share), 0, shown_number(rest), "rest"))
    return found


def _hundredths(share: float) -> float:
    return round(100 * share, 2)


# -- drop-off


def _survival(asking: Asking, found: DropOff) -> Chart | None:
    if not found.sessions:
        return None
    points = [(f"{turn}+" if turn == LAST_TURN else str(turn), share) for turn, share in enumerate(found.shares, 1)]
    told = f"of {many(found.sessions, 'ended session')}"
    return columns("survival", "Still there at turn n", [*points], percent, headline=told, axis=round_percent,
        first="Turn", top=lambda largest: 1.0, every=stride(len(points)),
        definition="Share of the ended sessions that have at least n turns. Those that go on have not left, and do "
        "not count.",
    )  # fmt: skip


def _drop(found: DropOff) -> str:
    if found.biggest_drop is None:
        return ""
    turn, share = found.biggest_drop
    return f"after turn {turn}: {percent(share)} of the sessions end there"


def _drop_link(asking: Asking, found: DropOff) -> str:
    return asking.listed(f"turn_count:{found.biggest_drop[0]} -status:active") if found.biggest_drop else ""


# -- resolved against unresolved


@dataclass(frozen=True, slots=True)
class Pair:
    """
    What both kinds of sessions do.

    Attributes:
        label: Of actions.
        shown: Share of the resolved, and of the unresolved ones; what is not among the most frequent is not known.
        widths: The same, in hundredths of the largest.
    """

    label: str
    shown: tuple[str, str]
    widths: tuple[float, float]


def pairs(resolved: Side, unresolved: Side, what: str) -> list[Pair]:
    """Return paths or last actions that either side has often, the most frequent first."""
    sides = [{one.actions: one for one in getattr(side, what)} for side in (resolved, unresolved)]

    def share(actions: tuple[str | None, ...], of: int) -> float | None:
        return sides[of][actions].share if actions in sides[of] else None

    shares = {actions: (share(actions, 0), share(actions, 1)) for side in sides for actions in side}
    most = sorted(shares, key=lambda actions: (-max(one or 0 for one in shares[actions]), str(actions)))
    longest = max((one or 0 for actions in most[:1] for one in shares[actions]), default=1) or 1
    return [_pair(actions, shares[actions], longest) for actions in most[:SHOWN]]


def _pair(actions: tuple[str | None, ...], shares: tuple[float | None, float | None], longest: float) -> Pair:
    one, other = shares
    widths = _hundredths((one or 0) / longest), _hundredths((other or 0) / longest)
    return Pair(named(Counted(actions, 0, 0)), (percent(one), percent(other)), widths)


def document(asking: Asking, found: Journeys) -> dict[str, Any]:
    """Return the same for programs."""
    return {**plain(found)}


JOURNEYS = Sight(
    "analytics/journeys", "Journeys", "analytics/journeys.html", find, values, document, own, slow=True, aside=("step",)
)
