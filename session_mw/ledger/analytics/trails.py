"""Questions about what sessions did: first actions, flows, paths, resolution, drop-off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..filters.tree import Node
from ..summary import SETTLED
from .answers import LONGEST, STEPS, TOP, Counted, DropOff, FirstActions, Flows, FlowStep, Paths, Resolution, Side
from .asked import Analyzing
from .sources import Source, Trail

Actions = tuple["str | None", ...]
FIRST = 3  # actions of a path
UNRESOLVED = tuple(outcome for outcome in SETTLED if outcome != "resolved")


def top(found: Counter[Actions], total: int) -> tuple[tuple[Counted, ...], int]:
    """Return the most frequent ones, and how many the others are together. Equals stand in the order of their names."""
    ranked = sorted(found.items(), key=lambda item: (-item[1], tuple((a is None, a or "") for a in item[0])))
    kept = tuple(Counted(actions, count, count / total) for actions, count in ranked[:TOP])
    return kept, sum(count for _, count in ranked[TOP:])


class _Trailing:
    """Counts trails."""

    oldest_first = False

    def __init__(self, asked: Analyzing) -> None:
        self.asked = asked
        self.tree: Node = asked.within
        self._sessions = 0

    def take(self, source: Source) -> None:
        for trail in source.trails():
            self._sessions += trail.sessions
            self._count(trail)

    def _count(self, trail: Trail) -> None:
        raise NotImplementedError


class Beginning(_Trailing):
    """First actions."""

    def __init__(self, asked: Analyzing) -> None:
        super().__init__(asked)
        self._first: Counter[Actions] = Counter()

    def _count(self, trail: Trail) -> None:
        self.add_flow(0, None, trail.actions[0], trail.sessions)

    def add_flow(self, step: int, _before: str | None, action: str | None, sessions: int) -> None:
        if step == 0:
            self._first[(action,)] += sessions

    def answer(self, stopped: bool) -> FirstActions:
        sessions = self._first.total() if hasattr(Counter, "total") else sum(self._first.values())
        return FirstActions(sessions, *top(self._first, sessions), stopped)


class Flowing(_Trailing):
    """Which action follows which."""

    def __init__(self, asked: Analyzing) -> None:
        super().__init__(asked)
        self._first = 0
        self._steps: dict[int, Counter[Actions]] = {}

    def _count(self, trail: Trail) -> None:
        for step, before, action in flow_of(trail.actions):
            self.add_flow(step, before, action, trail.sessions)

    def add_flow(self, step: int, before: str | None, action: str | None, sessions: int) -> None:
        if step == 0:
            self._first += sessions
        else:
            self._steps.setdefault(step, Counter())[before, action] += sessions

    def answer(self, stopped: bool) -> Flows:
        steps = []
        for step in sorted(self._steps):
            total = sum(self._steps[step].values())
            steps.append(FlowStep(step, total, *top(self._steps[step], total)))
        return Flows(self._first, tuple(steps), stopped)


def flow_of(actions: Sequence[str | None]) -> Iterable[tuple[int, str | None, str | None]]:
    """Yield what follows what: (step, previous, action); step 0 is the first action, which follows nothing."""
    before: str | None = None
    for step, action in enumerate(actions):
        yield min(step, STEPS + 1), before, action
        before = action


class Pathing(_Trailing):
    """The first three actions."""

    def __init__(self, asked: Analyzing) -> None:
        super().__init__(asked)
        self._paths: Counter[Actions] = Counter()

    def _count(self, trail: Trail) -> None:
        self._paths[trail.actions[:FIRST]] += trail.sessions

    def answer(self, stopped: bool) -> Paths:
        return Paths(self._sessions, *top(self._paths, self._sessions), stopped)


class _Side:
    def __init__(self) -> None:
        self.sessions = 0
        self._paths: Counter[Actions] = Counter()
        self._last: Counter[Actions] = Counter()

    def add(self, trail: Trail) -> None:
        self.sessions += trail.sessions
        self._paths[trail.actions[:FIRST]] += trail.sessions
        self._last[trail.actions[-1:]] += trail.sessions

    def answer(self) -> Side:
        return Side(self.sessions, top(self._paths, self.sessions)[0], top(self._last, self.sessions)[0])


class Resolving(_Trailing):
    """Resolved sessions beside unresolved ones."""

    def __init__(self, asked: Analyzing) -> None:
        super().__init__(asked)
        self._sides = {True: _Side(), False: _Side()}

    def _count(self, trail: Trail) -> None:
        if trail.outcome in SETTLED:
            self._sides[trail.outcome == "resolved"].add(trail)

    def answer(self, stopped: bool) -> Resolution:
        resolved, unresolved = self._sides[True].answer(), self._sides[False].answer()
        unknown = self._sessions - resolved.sessions - unresolved.sessions
        return Resolution(self._sessions, resolved, unresolved, unknown, stopped)


class Dropping:
    """Where sessions end."""

    oldest_first = False

    def __init__(self, asked: Analyzing) -> None:
        self.asked = asked
        self.tree: Node = asked.within
        self._lengths: Counter[int] = Counter()
        self._last = _Side()

    def take(self, source: Source) -> None:
        lengths, trails = source.lengths(), source.trails(UNRESOLVED)
        self._lengths.update(lengths)
        for trail in trails:
            if trail.status != "active":
                self._last.add(trail)

    def answer(self, stopped: bool) -> DropOff:
        last = self._last.answer()
        ended = sum(self._lengths.values())
        longest = min(max(self._lengths, default=0), LONGEST)
        reaching = [sum(n for length, n in self._lengths.items() if length >= turn) for turn in range(1, longest + 1)]
        return DropOff(ended, tuple(reaching), last.last, last.sessions, stopped)
