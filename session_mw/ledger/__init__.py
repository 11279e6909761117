"""
The history: sessions and their turns, kept after a session ended, for whoever asks later.

A ledger is a sink for ``session.start``, ``session.end`` and ``session.usage_late``, and takes finished turns. It is
written from the background, never on the way of a request, and nothing is opened before the first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .._core.events import EventRecord
from .._core.records import AttributeValue, TurnRecord
from .._core.user_totals import Sitting, Totals
from .._settings.errors import BadValue
from .._settings.sqlite_url import metric_indexes, read_sqlite_url
from ..exceptions import SettingsError
from .analytics import (
    Analyzing,
    DropOff,
    Engagement,
    FirstActions,
    Flows,
    Funnel,
    Overview,
    Paths,
    Resolution,
    Retention,
)
from .filters import Filter, read_filter
from .forgetting import Forgotten
from .listing import SORTS, Listing, Page
from .ring import RingLedger
from .rows import Only, SessionRow, TurnRow, UsageRow
from .samples import Sample, Sampling
from .summary import Group, Summing

__all__ = [
    "SORTS",
    "Analyzing",
    "DropOff",
    "Engagement",
    "Filter",
    "FirstActions",
    "Flows",
    "Forgotten",
    "Funnel",
    "Group",
    "Ledger",
    "Listing",
    "Overview",
    "Page",
    "Paths",
    "Resolution",
    "Retention",
    "RingLedger",
    "Sample",
    "Sampling",
    "SessionRow",
    "Summing",
    "TurnRow",
    "UsageRow",
    "open_ledger",
    "read_filter",
]


class Ledger(Protocol):
    """
    What every ledger does. Thread-safe; each process opens its own connections.

    Attributes:
        name: Its kind, for logs.
    """

    name: str

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """
        Write starts, ends and late usage down; other events are ignored.

        Args:
            records: In any order. Those with a ``log.record.uid`` that is known already change nothing.

        Returns:
            True, once they are kept.

        Raises:
            StoreError: They are not, or not all. Give all of them again: what was kept changes nothing.
        """

    def write_turns(self, turns: Sequence[TurnRecord]) -> None:
        """
        Write finished turns down, in any order, before or after their session's start and end.

        A turn is known by session, generation, number and span; one without a number by its span. Known ones change
        nothing. A session that nobody told of is made, as active.

        Raises:
            StoreError: Not all were written. Give all of them again: what was kept changes nothing.
        """

    def sessions(
        self, limit: int = 100, *, user_id: str | None = None, before_pk: int | None = None, where: Filter | None = None
    ) -> list[SessionRow]:
        """
        Return sessions, active and ended, those first of which the ledger learned last.

        Args:
            limit: At most so many.
            user_id: Only of this user.
            where: Only those that fit it.
            before_pk: Only those behind this one: the last ``pk`` of a page leads to the next.
        """

    def find(self, listing: Listing) -> Page:
        """
        Return a page of a list of sessions.

        Args:
            listing: Which sessions, in which order, and which page.

        Returns:
            The page, with cursors to the ones before and behind it. It never takes longer than ``listing.seconds``:
            then it is what was found until then, and says so.
        """

    def summary(self, asked: Summing) -> list[Group]:
        """Return sums over sessions, for each group of them, in the order in which people count: v9 before v10."""

    def samples(self, asked: Sampling) -> list[Sample]:
        """Return what single sessions of some groups say of one quantity, for ``comparing``."""

    def overview(self, asked: Analyzing) -> Overview:
        """Return sums over sessions, in all and for each day."""

    def engagement(self, asked: Analyzing) -> Engagement:
        """Return how much people do in a session."""

    def first_actions(self, asked: Analyzing) -> FirstActions:
        """Return what sessions begin with."""

    def flows(self, asked: Analyzing) -> Flows:
        """Return which action follows which, step by step."""

    def paths(self, asked: Analyzing) -> Paths:
        """Return the most frequent first three actions."""

    def resolution(self, asked: Analyzing) -> Resolution:
        """Return what resolved sessions do, beside unresolved ones."""

    def dropoff(self, asked: Analyzing) -> DropOff:
        """Return after how many turns sessions end."""

    def funnel(self, asked: Analyzing, steps: Sequence[str]) -> Funnel:
        """
        Return how many sessions take each of some steps, in order.

        Args:
            asked: Which sessions.
            steps: Actions; others may occur between them.

        Raises:
            ValueError: There is no step, or more than 20.
        """

    def retention(self, asked: Analyzing, weeks: int = 8) -> Retention:
        """
        Return users by the week of their first session.

        Args:
            asked: Which sessions. Earlier ones are read as well: they tell who is new.
            weeks: How many after the first one.
        """

    def session(self, session_id: str, generation: int | None = None) -> SessionRow | None:
        """Return one session, its newest generation unless told which; None when it is not known."""

    def turns(
        self,
        session_id: str,
        generation: int | None = None,
        *,
        content: bool = False,
        only: Only = None,
    ) -> list[TurnRow]:
        """
        Return the turns of a session in the order in which they began.

        Args:
            session_id: Of the session.
            generation: The newest unless told which.
            content: Also what was said in them, as far as it was captured: nothing is read of it otherwise.
            only: Only the turns with these ``pk``.
        """

    def usages(self, session_id: str, generation: int | None = None, *, only: Only = None) -> list[UsageRow]:
        """Return the calls made in a session's turns (or in *only* some) in the order in which they began."""

    def score_names(self) -> list[str]:
        """Return the names of the scores that sessions have, in alphabetical order."""

    def user_totals(self, user_id: str) -> dict[str, AttributeValue]:
        """
        Return the aggregates over a user's sessions as of now by wire name; what is not known is absent.

        Sessions that nobody confirmed (bots, webhooks) do not count.

        Returns:
            ``user.sessions_total``: sessions that ended. ``user.avg_session_length``: their turns on average, float.
            ``user.retention_days``: whole days from the start of the first session to that of the last, which may
            not have ended.
        """

    def user_totals_at(self, ends: Sequence[tuple[str, Sitting]]) -> list[Totals]:
        """
        Return the same aggregates as they are at the ends of some sessions, all looked up at one moment.

        Args:
            ends: Sessions that are about to be reported, in any order, each with the pseudonym of its user. They
                count although the ledger has not been told.

        Returns:
            Those of each, in the same order, by the rules of ``_core.user_totals``.

        Raises:
            StoreError: The history cannot be read.
        """

    def forget_older_than(self, ms: int, limit: int) -> int:
        """
        Forget sessions whose last activity was before *ms* (milliseconds since the epoch), with all that belongs to
        them.

        Args:
            ms: Milliseconds since the epoch.
            limit: At most so many.

        Returns:
            How many it were: fewer than *limit* when none is left.
        """

    def forget_content_older_than(self, ms: int, limit: int) -> int:
        """
        Forget what was said in turns that began before *ms*, and keep all else: who has to delete it early.

        Args:
            ms: Milliseconds since the epoch.
            limit: In at most so many turns.

        Returns:
            In how many it was: fewer than *limit* when none is left.
        """

    def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> Forgotten:
        """
        Forget sessions with all that belongs to them: turns, calls, what was said, attributes, scores, late usage.

        Args:
            user_id: All of this user, as the history has them (a pseudonym).
            session_id: Only this one, in all its generations.

        Returns:
            How much it was. A session that goes on is written again when it ends.

        Raises:
            ValueError: Neither was given.
        """

    def roll_up(self, before_ms: int, seconds: float) -> int:
        """
        Make the sums of days that were written of since they were made, the newest day first.

        Answers are the same without: what has no sums is read session by session.

        Args:
            before_ms: Only of days that were over then: today's sums would not last. Milliseconds since the epoch.
            seconds: For so long; a day that was begun is finished.

        Returns:
            Of how many days they were made.
        """

    def close(self) -> None:
        """Let go of files and connections. The next use opens them again."""


def open_ledger(url: str, *, read_only: bool = False) -> Ledger:
    """
    Return the ledger that *url* names. Opens nothing yet.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``postgresql://user@host/name`` or
            ``memory://`` (the newest 10,000 sessions of this process). ``?metric_indexes=false`` after a file's name
            drops the indices of some sorts for who writes much, ``=true`` makes them again: see ``SqliteLedger``.
        read_only: Nothing will be written: SQLite then refuses to. (Questions to PostgreSQL are read-only anyhow.)

    Raises:
        SettingsError: *url* names nothing that this release can keep history in.
        MissingDependency: The driver is not installed.
    """
    scheme, mark, _ = url.partition("://")
    if scheme == "memory":
        return RingLedger()
    if mark and scheme == "postgresql":
        from .postgres import PostgresLedger  # needs psycopg

        return PostgresLedger(url)
    if scheme != "sqlite":
        # The rest of the URL may hold a password.
        found = f"{scheme}://" if mark else "no URL"
        raise _refused(f"{found} (history is kept in SQLite, PostgreSQL or in memory)", found)
    try:
        path, _ = read_sqlite_url(url)  # as the session store reads it: both are often the same file
    except BadValue as error:
        raise _refused(f"{url!r} (a file has to follow; without one use memory://)", url) from error
    from .sqlite import SqliteLedger  # not before it is asked for: some builds of Python have no sqlite3

    return SqliteLedger(path, read_only=read_only, metric_indexes=metric_indexes(url))


def _refused(found: str, value: str) -> SettingsError:
    hint = (
        "Set ledger='sqlite:///history.db' or 'postgresql://user@host/name', "
        "or 'memory://' to keep the last sessions of this process"
    )
    return SettingsError(f"cannot open the ledger: found {found}. {hint}.", name="ledger", found=value, hint=hint)
