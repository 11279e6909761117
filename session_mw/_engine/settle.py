"""
What is worked out when an end is about to be reported, once, and kept with the frozen record: its user's totals.

All reports of an end say the same, over retries, workers and crashes. The history goes on meanwhile, so what it said
the first time is written to the store before anybody is told; that it could say nothing, too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from .._core import names
from .._core.ops import Note, SessionStore
from .._core.records import AttributeValue, SessionRecord
from .._core.user_totals import Totals, has_totals, sitting_of
from ..ledger import Ledger
from ..telemetry.notices import once

logger = logging.getLogger("session_mw")


class Settle:
    """
    Settles ends before they are reported.

    Args:
        store: That has claimed them.
        history: Asked about their users.
    """

    def __init__(self, store: SessionStore, history: Ledger) -> None:
        self._store = store
        self._history = history

    def __call__(self, records: Sequence[SessionRecord], lease_token: str) -> Sequence[SessionRecord]:
        """
        Return *records* as they are to be reported.

        Args:
            records: Claimed, under *lease_token*.
            lease_token: Whoever lost it meanwhile has nothing to report: the record is left out.

        Raises:
            StoreError: The store failed. Nobody may be told of these ends then: the lease runs out.
        """
        fresh = [r for r in records if has_totals(r) and names.FROZEN not in r.attributes]
        if not fresh:
            return records
        notes = [Note(r.session_id, r.generation, _kept(t)) for r, t in zip(fresh, self._ask(fresh), strict=True)]
        written = self._store.annotate(notes, lease_token)
        settled = {
            (note.session_id, note.generation): replace(record, attributes={**record.attributes, **note.attributes})
            if done
            else None
            for record, note, done in zip(fresh, notes, written, strict=True)
        }
        found = (settled.get((record.session_id, record.generation), record) for record in records)
        return [record for record in found if record is not None]

    def _ask(self, records: Sequence[SessionRecord]) -> Sequence[Totals]:
        """Ask the history about all users at once; a history that fails leaves the totals unknown."""
        try:
            return self._history.user_totals_at([(record.user_id or "", sitting_of(record)) for record in records])
        except Exception as error:
            kind = type(error).__name__
            text = "cannot ask the history for users' totals: %s: %s. These sessions end without them."
            once(f"user-totals:{kind}", logger.error, text, kind, error, every=60)
            return [{}] * len(records)


def _kept(totals: Totals) -> dict[str, AttributeValue]:
    return {kept: totals[shown] for kept, shown in names.USER_TOTALS.items() if shown in totals}
