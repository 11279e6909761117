"""
What the store and the history are told of a command that runs: its session's start, that it lives, and its end.

Rule 1: nothing here may fail the command, or hold it up for long: each step has its time, and what fails is said once.
Rule 2: a command is a turn of its session, open while it runs, completed (exit code 0) or failed. A shell is none: what
    is done inside of it has turns.
Rule 3: the end does not depend on this process: a killed launcher's is brought by the next one
    (``places.take_abandoned``), else by whoever sweeps, when the idle timeout is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import click

from ..._core import names
from ..._core.events import EventRecord
from ..._core.ops import Add, End, Touch
from ..._core.records import AttributeValue, EndReason, SessionRecord, TurnRecord
from ...exceptions import StoreError, StoreFull
from ...settings import SessionSettings
from ...telemetry.sinks import Sink
from ..exporting import sinks
from ..sweeping import Sweeping
from . import places
from .choosing import Label

BEGIN_SECONDS = 1.0  # that a command waits at most before it starts
END_SECONDS = 2.0  # and after it has ended
RENEW_SECONDS = 30.0  # how much of a killed launcher's duration may be missing
SETTLE_MS = 300  # six times what others' counters wait for company before they are written; the end is later by it
TOMBSTONE_MS = 3_600_000
BATCH = 500
SLOW = "the store takes too long"
LATE = "not reported yet: the next launcher does that, or session-mw sweep"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known of a command.

    Attributes:
        label: Its session.
        command: Name of the program.
        turn: Whether it is a turn: shells are not.
        ends: Whether the session ends with it, if it began with it.
        pid: The launcher's process.
        previous_id: The session that this one continues.
        replaced_id: The one in whose place it is kept: it ends, unless something runs in it.
        attributes: What else is said of the session, by wire name.
    """

    label: Label
    command: str
    turn: bool
    ends: bool
    pid: int
    previous_id: str | None = None
    replaced_id: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


class Exporters:
    """
    Those that OpenTelemetry's variables name, as a sink; imported when there is something to export.

    Args:
        settings: Whether ends are spans as well.
        say: Told when one is named that is not installed: nobody would ever get the ends, so the history alone does.
    """

    name = "exporters"

    def __init__(self, settings: SessionSettings, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._sinks: list[Sink] | None = None

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Export *records*; True when all took them."""
        if self._sinks is None:
            self._sinks = self._made()
        took = [sink.emit(records) for sink in self._sinks]  # each is told, whatever another says
        return all(took)

    def _made(self) -> list[Sink]:
        try:
            return sinks(None, spans=self._settings.lifecycle_spans == "always")
        except click.ClickException as error:
            self._say(f"session.start and session.end go to the history only: {error.message}")
            return []


class Recorder:
    """
    Records one command.

    Args:
        settings: Where, and how long things last; the store is no process's own memory.
        own: Whether the store is this user's own file.
        facts: About the command.
        say: Tells people what failed.
    """

    def __init__(self, settings: SessionSettings, own: bool, facts: Facts, say: Callable[[str], None]) -> None:
        self._settings, self._own, self._facts, self._say = settings, own, facts, say
        self._interval = min(RENEW_SECONDS, settings.idle_timeout / 3, settings.turn_timeout / 3)
        self._stop, self._told = threading.Event(), False
        self._sweeping: Sweeping | None = None
        self._running: places.Running | None = None
        self._helper: threading.Thread | None = None
        self._offset_ms = self._began_ns = 0
        self._number: int | None = None
        self._last: SessionRecord | None = None
        self._ended_here = self._fresh = False
        self.generation = 1
        self.began = False  # whether the store knows of it

    # -- called by the launcher

    def begin(self) -> None:
        """Tell the store that the command begins; whoever else is to know is told while it runs."""
        self._within(BEGIN_SECONDS, self._begin)

    def stay(self) -> None:
        """Go on telling that it lives, and look after what others left."""
        self._helper = threading.Thread(target=self._guarded, args=(self._live,), daemon=True)
        self._helper.start()

    def finish(self, code: int, *, interrupted: bool = False, over: bool = False) -> SessionRecord | None:
        """
        Tell that the command ended.

        Args:
            code: Its exit code.
            interrupted: A signal ended it.
            over: The session ends with it after all.

        Returns:
            The session as it is then, where the store could say.
        """
        self._stop.set()
        self._ended_here = self._ended_here or (over and self.began)
        if self._helper is not None:
            self._helper.join(END_SECONDS / 2)
        if self.began:
            self._within(END_SECONDS, lambda: self._finish(code, interrupted), LATE)
        else:
            self._problem(SLOW)
        return self._last

    def leave(self) -> None:
        """Leave the session to whoever uses it: nothing runs here."""
        if self.began:
            self._within(END_SECONDS, self._leave, LATE)
        else:
            self._problem(SLOW)

    @property
    def fate(self) -> str:
        """What became of the session: ``ended``, ``goes on``, or nothing where nobody knows."""
        return "" if not self.began else "ended" if self._ended_here else "goes on"

    def _within(self, seconds: float, job: Callable[[], object], late: str = "") -> None:
        """Do *job*, for so long at most; then it goes on in its thread, and *late* is said."""
        thread = threading.Thread(target=self._guarded, args=(job,), daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive() and late:
            self._problem(late)

    def _guarded(self, job: Callable[[], object]) -> None:
        try:
            job()
        except click.ClickException as error:
            self._problem(error.message)
        except Exception as error:
            self._problem(str(error) or type(error).__name__)

    def _problem(self, text: str) -> None:
        if not self._told:
            self._told = True
            what = "is recorded, but" if self.began else "is not recorded:"
            self._say(f"session {self._facts.label.id} {what} {text}")

    # -- in threads

    def _begin(self) -> None:
        facts = self._facts
        sweeping = Sweeping(self._settings, [Exporters(self._settings, self._say)], BATCH)
        touched = sweeping.store.touch(self._touch(sweeping))
        self._began_ns = time.monotonic_ns()  # after it: a time ahead of the store's would put the end off
        self._offset_ms, self._number = touched.now_ms, touched.turn_number
        self.generation = touched.generation
        if touched.outcome == "unstored":
            raise StoreFull("the store holds as many sessions as max_live allows")
        self._sweeping, self.began = sweeping, True
        fresh = touched.outcome in ("started", "renewed")
        self._ended_here = facts.ends and fresh
        mark = places.store_mark(self._settings.store)
        run = places.Run(facts.label.id, mark, self._ended_here, facts.pid, facts.command, touched.now_ms)
        self._running = places.Running(run)
        self._fresh = fresh

    def _touch(self, sweeping: Sweeping) -> Touch:
        facts = self._facts
        return Touch(
            facts.label.id,
            facts.label.id,
            sweeping.limits,
            turn=facts.turn,
            keep=True,
            previous_id=facts.previous_id,
            attributes=facts.attributes,
        )

    def _now_ms(self) -> int:
        """Return the store's time, as far as the touch told it."""
        return self._offset_ms + (time.monotonic_ns() - self._began_ns) // 1_000_000

    def _live(self) -> None:
        sweeping, facts = self._sweeping, self._facts
        if sweeping is None:
            return
        self._guarded(lambda: self._announce(sweeping))
        self._guarded(lambda: self._tidy(sweeping))
        while not self._stop.wait(self._interval):  # also after a time that failed
            self._guarded(lambda: self._renew(sweeping, facts))

    def _renew(self, sweeping: Sweeping, facts: Facts) -> None:
        sweeping.store.add([Add(facts.label.id, self.generation, self._now_ms())])
        if facts.turn:
            sweeping.store.renew([facts.label.id], sweeping.limits)

    def _leave(self) -> None:
        assert self._sweeping is not None
        self._not_running()
        self._announce(self._sweeping)

    def _announce(self, sweeping: Sweeping) -> None:
        record = sweeping.store.read(self._facts.label.id) if self._fresh else None
        if record is not None and record.generation == self.generation:
            sweeping.started(record)

    def _tidy(self, sweeping: Sweeping) -> None:
        """End what killed launchers left, report what is due, forget what is old."""
        for run in places.take_abandoned(places.store_mark(self._settings.store)):
            if run.ends and run.session_id != self._facts.label.id:
                sweeping.store.end(End(run.session_id, "shutdown", None, TOMBSTONE_MS))
        replaced = self._facts.replaced_id
        if replaced is not None and all(run.session_id != replaced for run in places.runs()):
            sweeping.store.end(End(replaced, "user_exit", None, TOMBSTONE_MS))
        if self._settings.sweep != "off":
            self._sweep(sweeping)
        if self._own and self._settings.ledger_retention is not None:
            sweeping.forget_older_than(self._now_ms() - round(self._settings.ledger_retention * 1000))

    def _sweep(self, sweeping: Sweeping) -> None:
        while sweeping.step() and not self._stop.is_set():
            pass

    def _finish(self, code: int, interrupted: bool) -> None:
        sweeping, facts = self._sweeping, self._facts
        assert sweeping is not None
        now_ms = self._now_ms()
        sweeping.store.add([self._added(code, now_ms)])
        if self._ended_here:
            settle(self._own)
        self._last = record = sweeping.store.read(facts.label.id)
        if facts.turn and record is not None:
            sweeping.write_turn(self._turn(record, code, now_ms, interrupted))
        if self._ended_here:
            sweeping.store.end(End(facts.label.id, self._reason(code), None, TOMBSTONE_MS))
        self._not_running()
        if self._ended_here and self._settings.sweep != "off":
            self._report(sweeping)

    def _not_running(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def _added(self, code: int, now_ms: int) -> Add:
        turn = int(self._facts.turn)
        return Add(
            self._facts.label.id,
            self.generation,
            now_ms,
            completed=turn if code == 0 else 0,
            failed=turn if code else 0,
            latency_ms=turn * (now_ms - self._offset_ms),
            attributes={names.PROCESS_EXIT_CODE: code},
        )

    def _turn(self, record: SessionRecord, code: int, now_ms: int, interrupted: bool) -> TurnRecord:
        return TurnRecord(
            record.session_id,
            self.generation,
            self._number,
            self._offset_ms,
            now_ms - self._offset_ms,
            "ok" if code == 0 else "cancelled" if interrupted else "error",
            record.session_id,
            error_type=None if code == 0 else str(code),
            attributes={names.SESSION_PROMPT_VERSION: self._facts.label.version},
        )

    def _reason(self, code: int) -> EndReason:
        """A command that succeeded has done its job; of a shell, and of one that failed, its user decided."""
        return "completed" if self._facts.turn and code == 0 else "user_exit"

    def _report(self, sweeping: Sweeping) -> None:
        """Report the end, unless something that hangs is still being told of the start."""
        if self._helper is not None and self._helper.is_alive():
            raise StoreError(LATE)
        while sweeping.step():
            pass


def settle(own: bool) -> None:
    """
    Wait for counters that others have not written yet, ahead of an end that is reported here.

    Not between the two: of a store that others sweep (a proxy's), they would take the report, and export it where they
    export theirs, which may be nowhere.

    Args:
        own: Nobody else writes into the store.
    """
    time.sleep(0 if own else SETTLE_MS / 1000)
