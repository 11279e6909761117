"""``session-mw tail``: sessions as they begin and end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from ...ledger import Filter, Ledger, SessionRow
from ...ledger.documents import session_document, usd
from ...ledger.filters import PK, fits
from ...ledger.filters.fields import FIELDS
from ...ledger.filters.tree import And, Equals, Not, Or, Range
from ..options import json_option
from ..stopping import in_background
from .common import (
    asked,
    filter_argument,
    history_options,
    opened,
    plain,
    say,
    shown_ms,
    shown_number,
    shown_time,
    shown_usd,
    unicode_out,
)

PAGE = 500
WATCHED = 10_000  # sessions whose end is waited for; the oldest are given up
ASKED_AT_ONCE = 100


@dataclass
class Follower:
    """
    Finds what is new in a history since it was looked at last.

    Args:
        ledger: The history.
        where: Only sessions that fit it.
    """

    ledger: Ledger
    where: Filter
    _newest: int = 0
    _open: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Take what is there for known."""
        self._newest = max((row.pk for row in self.ledger.sessions(1)), default=0)
        for row in self.ledger.sessions(WATCHED, where=Filter("", Equals(FIELDS["status"], "active"))):
            self._open.add(row.pk)

    def look(self) -> Iterator[tuple[str, SessionRow]]:
        """Yield what came since: ``start`` or ``end``, and the session."""
        yield from self._ends()
        for row in self._fresh():
            self._newest = max(self._newest, row.pk)
            if row.status == "active":
                self._watch(row)
            if fits(self.where.tree, row):
                yield ("start" if row.status == "active" else "end"), row

    def _fresh(self) -> list[SessionRow]:
        """Return the sessions that the history learned of since, oldest first."""
        found: list[SessionRow] = []
        before = None
        while True:
            page = self.ledger.sessions(PAGE, before_pk=before)
            fresh = [row for row in page if row.pk > self._newest]
            found += fresh
            if len(fresh) < PAGE:
                return found[::-1]
            before = fresh[-1].pk

    def _ends(self) -> Iterator[tuple[str, SessionRow]]:
        pks = sorted(self._open)
        for start in range(0, len(pks), ASKED_AT_ONCE):
            some = pks[start : start + ASKED_AT_ONCE]
            over = And((Or(tuple(Range(PK, pk, pk + 1) for pk in some)), Not(Equals(FIELDS["status"], "active"))))
            for row in reversed(self.ledger.sessions(len(some), where=Filter("", over))):
                self._open.discard(row.pk)
                if fits(self.where.tree, row):
                    yield "end", row

    def _watch(self, row: SessionRow) -> None:
        self._open.add(row.pk)
        if len(self._open) > WATCHED:
            self._open.remove(min(self._open))


@click.command()
@filter_argument
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    help="Seconds between looks.",
)
@json_option
@history_options
def tail(words: tuple[str, ...], interval: float, as_json: bool, store_url: str | None, ledger_url: str | None) -> None:
    """
    Print sessions as they begin and end, until Ctrl-C.

    A session appears with its first turn that reached the history, and again when its end was reported. With --json
    each is one line.

    \b
    Examples:
      session-mw tail
      session-mw tail type:chat cost:>0.10 --json
    """
    wanted = asked(words)
    with opened(store_url, ledger_url) as ledger:
        follower = Follower(ledger, wanted.where)
        follower.begin()
        say("waiting for sessions; Ctrl-C stops it")

        def job(stop: threading.Event) -> None:
            while not stop.is_set():
                for event, row in follower.look():
                    click.echo(_line(event, row, as_json))
                stop.wait(interval)

        in_background(job, lambda: None)


def _line(event: str, row: SessionRow, as_json: bool) -> str:
    if as_json:
        return json.dumps({"event": f"session.{event}", **session_document(row)}, ensure_ascii=not unicode_out())
    when = shown_time(row.started_ms if event == "start" or row.ended_ms is None else row.ended_ms)
    labels = "/".join(label for label in (row.type, row.prompt_version) if label)
    told = f"{when}  {event:<5}  {row.session_id}  {labels or '-'}  {row.user_id or '-'}"
    if event == "end":
        cost = shown_usd(usd(row.cost_microusd))
        told += f"  {row.end_reason}  {shown_ms(row.duration_ms)}  turns {row.turns}  errors {row.failed}"
        told += f"  tokens {shown_number(row.total_tokens)}  cost {cost}"
    return plain(told)
