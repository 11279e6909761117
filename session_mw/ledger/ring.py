"""The history of one process, in memory: bounded, gone with the process."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TypeVar

from .._core.events import EventRecord
from .._core.records import Attributes, AttributeValue, TurnRecord
from .._core.user_totals import Sitting, Totals
from . import book, values
from .analytics.in_memory import Memory
from .analytics.questions import Question, Questions
from .calls import scores_of
from .filters import Filter, fits, wanted
from .forgetting import Forgotten, doomed
from .history import CONTENT, Happening, Key, Turned, Usage, counts, happening, sitting_of, turned
from .listing import Listing, Page, page_of
from .rows import Only, SessionRow, TurnRow, UsageRow
from .samples import Sample, Sampling, samples_of
from .summary import Group, Summing, groups_of

T = TypeVar("T")

MAX_SESSIONS = 10_000
# A session has some five turns; one that streams for days must not take all of the memory.
MAX_TURNS = 5 * MAX_SESSIONS
MAX_TURNS_OF_ONE = 1_000
# What lies below turns: a call is one, and so are 500 characters of what was said. Some 50 MB.
MAX_BELOW = 100_000
MAX_BELOW_OF_ONE = 20_000
WAITING_BELOW = 20_000  # of records that nobody has asked for yet; then they are written in, and the oldest leave
CHARACTERS = 500
BATCH = 500  # records written in at a time, so that nobody waits long for the lock


@dataclass
class _Entry:
    row: SessionRow
    turns: dict[object, tuple[TurnRow, tuple[UsageRow, ...]]] = field(default_factory=dict)
    late: dict[str, Usage] = field(default_factory=dict)
    traces: set[str] = field(default_factory=set)
    below: int = 0

    @property
    def versions(self) -> set[str]:
        """The prompt versions that its turns name."""
        return {turn.prompt_version for turn, _ in self.turns.values() if turn.prompt_version is not None}


class _Pages:
    """The content of a ring, as a book to write in. Entries stand in the order of their ``pk``."""

    def __init__(self, max_sessions: int, max_turns: int) -> None:
        self.entries: dict[Key, _Entry] = {}
        self._by_pk: dict[int, _Entry] = {}
        self._limits = (max_sessions, max_turns)
        self._pk = self._turn_pk = self._turns = self._below = 0

    def find(self, key: Key) -> SessionRow | None:
        entry = self.entries.get(key)
        return None if entry is None else entry.row

    def keep(self, row: SessionRow, before: SessionRow | None) -> SessionRow:
        if before is not None:
            self._by_pk[row.pk].row = row
            return row
        self._pk += 1
        kept = replace(row, pk=self._pk)
        self.entries[kept.session_id, kept.generation] = self._by_pk[kept.pk] = _Entry(kept)
        return kept

    def look_for_versions(self, session_pk: int) -> None:
        """Do nothing: ``versions`` are looked up when somebody asks."""

    def has_trace(self, session_pk: int, trace_id: str) -> bool:
        return trace_id in self._by_pk[session_pk].traces

    def add_turn(self, session_pk: int, turn: TurnRow, calls: Sequence[UsageRow]) -> bool:
        entry, pk = self._by_pk[session_pk], self._turn_pk + 1
        turns = entry.turns
        named = turn.number is not None or turn.span_id is not None
        identity = (turn.number, turn.span_id) if named else pk
        if identity in turns:
            return False
        turns[identity] = replace(turn, pk=pk), tuple(replace(call, turn_pk=pk) for call in calls)
        if turn.trace_id is not None:
            entry.traces.add(turn.trace_id)
        self._turn_pk = pk
        self._turns += 1
        self.weigh(entry, _below(turn.content, len(calls)))
        while len(turns) > MAX_TURNS_OF_ONE or (entry.below > MAX_BELOW_OF_ONE and len(turns) > 1):
            old, made = turns.pop(next(iter(turns)))
            self._turns -= 1
            self.weigh(entry, -_below(old.content, len(made)))
        return True

    def weigh(self, entry: _Entry, more: int) -> None:
        """Note that so much more lies below a session's turns."""
        entry.below += more
        self._below += more

    def add_late_usage(self, session_pk: int, event: Happening, usage: Usage) -> bool:
        late = self._by_pk[session_pk].late
        if event.uid in late:
            return False
        late[event.uid] = usage
        return True

    def late_usage(self, session_pk: int) -> Usage:
        total = Usage()
        if session_pk:
            for usage in self._by_pk[session_pk].late.values():
                total = total.plus(usage)
        return total

    def remove(self, key: Key) -> None:
        entry = self.entries.pop(key)
        del self._by_pk[entry.row.pk]
        self._turns -= len(entry.turns)
        self._below -= entry.below

    def trim(self) -> None:
        """Forget the oldest sessions, never the newest, until the rest fits. Not while one of them is written."""
        while len(self.entries) > 1 and self._full():
            self.remove(next(iter(self.entries)))

    def _full(self) -> bool:
        max_sessions, max_turns = self._limits
        return len(self.entries) > max_sessions or self._turns > max_turns or self._below > MAX_BELOW


def _below(content: Attributes, calls: int) -> int:
    """Return how much lies below a turn."""
    return calls + sum(len(str(content[name])) // CHARACTERS for name in CONTENT if name in content)


@dataclass
class _OfProcess:
    """What is a process's own: a lock that was held during a fork stays held in the child."""

    pages: _Pages
    waiting: deque[EventRecord | TurnRecord]
    below: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class RingLedger(Questions):
    """
    The newest sessions of this process.

    Records wait as they came until somebody reads: a process whose history nobody looks at should not pay for it with
    each turn. A child process begins with an empty one: whose history the parent's was, the parent knows.

    Args:
        max_sessions: Beyond so many the oldest is forgotten.
        max_turns: Beyond so many turns in all, too.
    """

    name = "memory"

    def __init__(self, max_sessions: int = MAX_SESSIONS, max_turns: int = MAX_TURNS) -> None:
        self._limits = (max_sessions, max_turns)
        self._by_pid: dict[int, _OfProcess] = {}

    def _mine(self) -> _OfProcess:
        pid = os.getpid()
        mine = self._by_pid.get(pid)
        if mine is None:
            max_sessions, max_turns = self._limits
            made = _OfProcess(_Pages(max_sessions, max_turns), deque(maxlen=2 * max_sessions + max_turns))
            mine = self._by_pid.setdefault(pid, made)
        return mine

    @contextmanager
    def _pages(self) -> Iterator[_Pages]:
        """Give the content with all that waited written in, in the order in which it came."""
        mine = self._mine()
        mine.below = 0
        for _ in range(0, len(mine.waiting), BATCH):
            with mine.lock:
                _write(mine.pages, [mine.waiting.popleft() for _ in range(min(len(mine.waiting), BATCH))])
        with mine.lock:
            yield mine.pages

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Keep starts, ends and late usage. The same records again change nothing."""
        self._mine().waiting.extend(records)
        return True

    def write_turns(self, turns: Sequence[TurnRecord]) -> None:
        """Keep finished turns. The same turns again change nothing."""
        mine = self._mine()
        mine.waiting.extend(turns)
        mine.below += sum(_below(turn.attributes, len(turn.usages)) for turn in turns)
        if mine.below > WAITING_BELOW:
            with self._pages():
                pass

    def sessions(
        self, limit: int = 100, *, user_id: str | None = None, before_pk: int | None = None, where: Filter | None = None
    ) -> list[SessionRow]:
        """Return the newest sessions first."""
        tree = wanted(user_id, before_pk, where)
        with self._pages() as pages:
            rows = (entry.row for entry in reversed(pages.entries.values()))
            found = list(islice((row for row in rows if fits(tree, row)), values.bounded(max(0, limit))))
        return [_copy(row) for row in found]

    def find(self, listing: Listing) -> Page:
        """Return a page of a list."""
        tree = listing.tree
        with self._pages() as pages:
            found = [entry.row for entry in pages.entries.values() if fits(tree, entry.row)]
        cut = page_of(listing, found)
        return replace(cut, rows=[_copy(row) for row in cut.rows])

    def summary(self, asked: Summing) -> list[Group]:
        """Return sums over sessions."""
        tree = asked.tree
        with self._pages() as pages:
            return groups_of(asked, [entry.row for entry in pages.entries.values() if fits(tree, entry.row)])

    def samples(self, asked: Sampling) -> list[Sample]:
        """Return what single sessions say of one quantity."""
        tree = asked.tree
        with self._pages() as pages:
            found = [entry for entry in pages.entries.values() if fits(tree, entry.row)]
            return samples_of(asked, [(entry.row, entry.versions) for entry in found])

    def _analyze(self, make: Callable[[], Question[T]]) -> T:
        question = make()
        tree = question.tree
        with self._pages() as pages:
            found = [entry for entry in pages.entries.values() if fits(tree, entry.row)]
            question.take(
                Memory([(entry.row, book.in_order(turn for turn, _ in entry.turns.values())) for entry in found])
            )
        return question.answer(False)

    def session(self, session_id: str, generation: int | None = None) -> SessionRow | None:
        """Return one session, its newest generation unless told which; None when it is not known."""
        with self._pages() as pages:
            entry = _pick(pages, session_id, generation)
            return None if entry is None else _copy(entry.row)

    def turns(
        self,
        session_id: str,
        generation: int | None = None,
        *,
        content: bool = False,
        only: Only = None,
    ) -> list[TurnRow]:
        """Return the turns of a session in the order in which they began."""
        turns = [turn for turn, _ in self._below(session_id, generation, only)]
        return [_copy_turn(turn, content) for turn in book.in_order(turns)]

    def usages(self, session_id: str, generation: int | None = None, *, only: Only = None) -> list[UsageRow]:
        """Return the calls of a session's turns in the order in which they began."""
        return book.calls_in_order(call for _, calls in self._below(session_id, generation, only) for call in calls)

    def _below(self, session_id: str, generation: int | None, only: Only) -> list[tuple[TurnRow, tuple[UsageRow, ...]]]:
        """Return the turns of a session, or some of them, each with its calls."""
        with self._pages() as pages:
            entry = _pick(pages, session_id, generation)
            found = [] if entry is None else list(entry.turns.values())
        return found if only is None else [(turn, calls) for turn, calls in found if turn.pk in only]

    def score_names(self) -> list[str]:
        """Return the names of the scores that sessions have, in alphabetical order."""
        with self._pages() as pages:
            rows = [entry.row for entry in pages.entries.values()]
        return sorted({name for row in rows for name, *_ in scores_of(row.attributes)})

    def user_totals(self, user_id: str) -> dict[str, AttributeValue]:
        """Return the aggregates over a user's sessions by wire name; what is not known is absent."""
        user = values.text(user_id)
        with self._pages() as pages:
            mine = [entry.row for entry in pages.entries.values() if entry.row.user_id == user and counts(entry.row)]
        ended = [row.turns for row in mine if row.status != "active"]
        starts = [row.started_ms for row in mine]
        span = max(starts) - min(starts) if starts else None
        return book.user_totals(len(ended), sum(ended) / len(ended) if ended else None, span)

    def user_totals_at(self, ends: Sequence[tuple[str, Sitting]]) -> list[Totals]:
        """Return the same as they are at the ends of some sessions that are about to be reported."""
        ended: dict[str, list[Sitting]] = {values.text(user): [] for user, _ in ends}
        with self._pages() as pages:
            for entry in pages.entries.values():
                mine = ended.get(entry.row.user_id or "")
                if mine is not None and (one := sitting_of(entry.row)) is not None:
                    mine.append(one)
        return book.user_totals_at(ends, ended.__getitem__)

    def forget_older_than(self, ms: int, limit: int) -> int:
        """Forget at most *limit* sessions whose last activity was before *ms*; return how many it were."""
        with self._pages() as pages:
            rows = [entry.row for entry in pages.entries.values() if entry.row.last_ms < ms]
            old = sorted(rows, key=lambda row: (row.last_ms, row.pk))[: max(0, limit)]
            for row in old:
                pages.remove((row.session_id, row.generation))
        return len(old)

    def forget_content_older_than(self, ms: int, limit: int) -> int:
        """Forget what was said in turns that began before *ms*, in at most *limit* of them; return in how many."""
        with self._pages() as pages:
            said = [
                (turn.started_ms, entry, identity)
                for entry in pages.entries.values()
                for identity, (turn, _) in entry.turns.items()
                if turn.captured and turn.started_ms < ms
            ]
            said.sort(key=lambda one: one[0])
            for _, entry, identity in said[: max(0, limit)]:
                turn, calls = entry.turns[identity]
                pages.weigh(entry, -_below(turn.content, 0))
                entry.turns[identity] = replace(turn, captured=False, content={}), calls
        return min(len(said), max(0, limit))

    def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> Forgotten:
        """Forget a user's sessions, or one."""
        tree = doomed(user_id, session_id)
        with self._pages() as pages:
            gone = [(key, entry) for key, entry in pages.entries.items() if fits(tree, entry.row)]
            for key, _ in gone:
                pages.remove(key)
        entries = [entry for _, entry in gone]
        turns, late = sum(len(entry.turns) for entry in entries), sum(len(entry.late) for entry in entries)
        return Forgotten(len(gone), turns, late, sum(entry.row.status == "active" for entry in entries))

    def roll_up(self, before_ms: int, seconds: float) -> int:
        """Do nothing: there are too few to be summed up beforehand."""
        return 0

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _write(pages: _Pages, records: Sequence[EventRecord | TurnRecord]) -> None:
    """Write records in: runs of turns, and runs of events."""
    for _, run in groupby(records, type):
        turns: list[Turned] = []
        events: list[Happening] = []
        for record in run:
            if isinstance(record, TurnRecord):
                turns.append(turned(record))
            elif (event := happening(record)) is not None:
                events.append(event)
        book.write_turns(pages, turns)
        book.write_events(pages, events)
    pages.trim()


def _pick(pages: _Pages, session_id: str, generation: int | None) -> _Entry | None:
    name = values.text(session_id)
    if generation is not None:
        return pages.entries.get((name, generation))
    generations = [entry for key, entry in pages.entries.items() if key[0] == name]
    return max(generations, key=lambda entry: entry.row.generation, default=None)


def _copy_turn(turn: TurnRow, content: bool) -> TurnRow:
    return replace(turn, attributes=dict(turn.attributes), content=dict(turn.content) if content else {})


def _copy(row: SessionRow) -> SessionRow:
    """What is handed out is the caller's own."""
    return replace(row, attributes=dict(row.attributes))
