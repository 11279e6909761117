"""
Sweeping outside of the application: the parts that its workers sweep with, run until nothing is due, or until told.

The ends are those that the workers would have reported, to the last attribute, as long as the time limits are the
same. Leases keep all sweepers apart: nothing is reported twice but what a killed one may have reported already.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .._core.events import start_event
from .._core.flows import ttl_of
from .._core.ops import Key, SessionStore
from .._core.records import SessionRecord, TurnRecord
from .._engine.compiled import compile_policy
from .._engine.settle import Settle
from .._engine.sinks import LedgerSink, open_history
from .._settings.sources import text_names
from ..settings import SessionSettings
from ..stores import open_store
from ..sweeper import Background, Plan
from ..telemetry.metrics import Metrics
from ..telemetry.sinks import Sink
from ..telemetry.suppress import suppressed

HAND_BACK_SECONDS = 0.7  # a store that does not answer lets the leases run out, which comes to the same


def settings_of(**urls: str | None) -> SessionSettings:
    """
    Return the settings of the environment, with *urls* in place of its own.

    Nothing that is done here signs or verifies a token: where no key is set, any will do.

    Raises:
        SettingsError: The environment has something that cannot be used.
    """
    given: dict[str, Any] = {name: url for name, url in urls.items() if url is not None}
    if "secret_key" not in text_names(SessionSettings):
        given["secret_key"] = secrets.token_urlsafe(48)
    return SessionSettings(**given)


class Held:
    """
    What is being reported at present: works out what the reports say, and remembers whose leases are held.

    Args:
        settle: What is worked out for each end, and kept with it.

    Attributes:
        told: How many ends were handed to the sinks so far.
        keys: Those whose leases are held at present.
        lease_token: By which they are held.
    """

    def __init__(self, settle: Settle) -> None:
        self._settle = settle
        self.told = 0
        self.keys: list[Key] = []
        self.lease_token = ""

    def __call__(self, records: Sequence[SessionRecord], lease_token: str) -> Sequence[SessionRecord]:
        """Return *records* as they are to be reported."""
        self.lease_token, self.keys = lease_token, [(record.session_id, record.generation) for record in records]
        settled = self._settle(records, lease_token)
        self.told += len(settled)
        return settled


class Sweeping:
    """
    Reports what is due, a batch at a time.

    Args:
        settings: Those of the workers.
        sinks: Where ends go besides the history; all have to take them.
        batch: At most so many sessions a claim.

    Attributes:
        reported: Ends that were reported and acknowledged.
        refused: Ends that a sink refused, or whose lease was lost meanwhile.
    """

    def __init__(self, settings: SessionSettings, sinks: Sequence[Sink], batch: int) -> None:
        policy = compile_policy(settings, lambda: None)
        self.limits = policy.limits
        self.store: SessionStore = open_store(settings.store)[0]
        self._history = open_history(settings)
        self._held = Held(Settle(self.store, self._history))
        self._batch = batch
        plan = Plan(
            self.store,
            policy.limits,
            (*sinks, LedgerSink(self._history)),
            Metrics(),
            "request",  # one batch at a time: so it can be stopped in between
            ttl_of(policy),
            settle=self._held,
        )
        self._background = Background(plan)
        self.reported = self.refused = 0

    def step(self) -> bool:
        """
        Report one batch.

        Returns:
            Whether there is more to do at once. Not after a refusal: what is tried in vain too often is set aside.

        Raises:
            StoreError: The store failed.
        """
        before = self._held.told
        try:
            with suppressed():
                done = self._background.sweep(self._batch)
        finally:
            self._held.keys = []
        told = self._held.told - before
        self.reported += done
        self.refused += told - done
        return done == told and (told > 0 or self._background.behind)

    def started(self, record: SessionRecord) -> None:
        """Report the start of a session that began in this process; undelivered, it comes with the end's report."""
        with suppressed():
            self._background.started(start_event(record))
            self._background.step(0)

    def write_turn(self, turn: TurnRecord) -> None:
        """Write a finished turn into the history."""
        self._history.write_turns([turn])

    def forget_older_than(self, ms: int) -> int:
        """Forget a batch of the history that is older; returns how many sessions."""
        return self._history.forget_older_than(ms, self._batch)

    def hand_back(self) -> None:
        """Let others report at once what is still in the hands of a sink that hangs."""
        keys, token = self._held.keys, self._held.lease_token
        if keys:
            thread = threading.Thread(target=self.store.nack, args=(keys, token, 0), daemon=True)
            thread.start()
            thread.join(HAND_BACK_SECONDS)

    def close(self) -> None:
        """Close store and history."""
        self.store.close()
        self._history.close()


def work(sweeping: Sweeping, stop: threading.Event, told: Callable[[], None]) -> None:
    """Report until nothing is due, until a sink refuses, or until *stop* is set; *told* after each batch."""
    more = True
    while more and not stop.is_set():
        more = sweeping.step()
        told()
