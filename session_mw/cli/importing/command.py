"""``session-mw ledger import``: the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from ..._core.identity import is_pseudonym
from ..._core.rules import SpanRules
from ..._core.usage import TokenUsage
from ..._settings.errors import env_name
from ...ledger import Ledger, open_ledger
from ...telemetry import prices
from ..looking.common import history_options, history_url, many, now_ms, pseudonym_maker, say
from ..looking.tables import print_json
from ..options import Duration, json_option
from ..progress import Tell, progress
from . import litellm
from .files import read
from .gathered import Found, Gathered, Told, gathering
from .otlp import Piece, Unreadable, record_of, span_of
from .traces import EVENTS, Reading, event_of
from .writing import Writer, Written

NAMED = 10  # things of a file that could not be read are told one by one, the rest are counted
STEP = 1_000  # spans between two words of progress


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--idle", "idle_ms", type=Duration(), default="30m", help="Without an end, ended after so long [30m].")
@click.option("--conversations", is_flag=True, help="A trace without a session id belongs to its conversation's.")
@click.option("--content", is_flag=True, help="Also what was said: messages, tool arguments and results.")
@click.option("--hash-users", is_flag=True, help="Keep users under pseudonyms, made with your key.")
@click.option("--strict", is_flag=True, help="Stop at the first line that cannot be read; nothing is written then.")
@click.option("--dry-run", is_flag=True, help="Only tell what would come.")
@json_option
@history_options
def import_files(
    files: tuple[str, ...],
    idle_ms: int,
    conversations: bool,
    content: bool,
    hash_users: bool,
    strict: bool,
    dry_run: bool,
    as_json: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Read OTLP files into the history: sessions of any application whose spans say session.id.

    Logs of LiteLLM's proxy are read as well: spend logs (/spend/logs, or the table as JSON) and standard logging
    payloads, as its callbacks for files and buckets write them.

    FILE is what OpenTelemetry's file exporters write (the Collector's and Python's): a request a line, or one document,
    also in gzip or binary; - is standard input. Back ends' own names for session.id are known, too.

    A turn is a trace, as far as it belongs to the session, or each turn span of this package; tokens, cost, models and
    tools are counted as live. The same files again change nothing, longer ones add. A file may be of any size: memory
    is that of its longest line and largest trace, the rest lies in TMPDIR meanwhile, in a file without a name.

    \b
    Examples:
      session-mw ledger import traces.jsonl --ledger sqlite:///history.db
      zstdcat traces.json.zst | session-mw ledger import - --dry-run
    """
    pseudonym = _pseudonym() if hash_users else None
    reading = Reading(SpanRules(capture=content), conversations)
    with gathering() as gathered, progress("reading ...") as tell:
        taken = Intake(gathered, strict, tell)
        for name in files:
            taken.file(name)
        _turns(gathered, reading, tell)
        with _history(history_url(store_url, ledger_url), dry_run) as ledger:
            written = Writer(ledger, now_ms(), idle_ms, pseudonym, dry_run).write(gathered, tell)
            if ledger is not None and not dry_run:
                _sum_up(ledger, tell)
    _say(taken, reading, written, gathered, as_json, dry_run)
    if not gathered.spans and not taken.events and taken.skipped:
        raise click.ClickException("nothing could be read")


@dataclass
class Intake:
    """
    Takes files in.

    Attributes:
        gathered: Where to.
        strict: The first thing that cannot be read stops it.
        tell: Is told how far it is.
        events: Starts, ends and late usage that were found.
        lines: Lines, messages or files that could not be read.
        parts: Spans and log records that could not.
    """

    gathered: Gathered
    strict: bool
    tell: Tell
    events: int = 0
    lines: int = 0
    parts: int = 0
    _told: Counter[str] = field(default_factory=Counter)

    @property
    def skipped(self) -> int:
        """All that could not be read."""
        return self.lines + self.parts

    def file(self, name: str) -> None:
        """
        Take a file in.

        Raises:
            click.ClickException: It cannot be opened; or, when strict, something in it cannot be read.
        """
        try:
            for number, found in read(name):
                self._take(name, number, found)
        except OSError as error:
            raise click.ClickException(f"cannot read {name!r}: {error.strerror or error}") from error
        rest = self._told[name] - NAMED
        if rest > 0:
            say(f"{name}: {rest:,} more like these")

    def _take(self, name: str, number: int, found: Piece | Unreadable) -> None:
        if isinstance(found, Unreadable):
            self.lines += 1
            self._refuse(name, number, found)
            return
        kind, resource, scope, element = found
        try:
            if kind in ("spans", litellm.KIND):
                found_span = span_of(resource, scope, element) if kind == "spans" else litellm.span_of(element)
                self.gathered.add_span(found_span)
                if not self.gathered.spans % STEP:
                    self.tell(f"reading: {many(self.gathered.spans, 'span')}")
            else:
                self._record(element)
        except Unreadable as error:
            self.parts += 1
            self._refuse(name, number, error)

    def _record(self, element: object) -> None:
        record = record_of(element)
        if record is None or record.event_name not in EVENTS:
            return
        key = event_of(record.attributes)
        if key is not None:
            self.events += 1
            self.gathered.add_event(Told(key, record.event_name, record.at_ns // 1_000_000, record.attributes))

    def _refuse(self, name: str, number: int, error: Unreadable) -> None:
        where = f"{name}:{number}" if number else name
        if self.strict:
            raise click.ClickException(f"{where}: {error} (--strict); nothing was written")
        self._told[name] += 1
        if self._told[name] <= NAMED:
            say(f"{where}: {error}; skipped")


def _turns(gathered: Gathered, reading: Reading, tell: Tell) -> None:
    """Make turns of what was gathered."""
    tell("looking for the price list ...")
    prices.ask_price(None, "gpt-4o", "openai", TokenUsage(1, 1), lambda cost: None)
    prices.settle()  # answers come at once from here on
    gathered.index()
    for number, spans in enumerate(gathered.each_trace()):
        for found in reading.read(spans):
            if isinstance(found, Found):
                gathered.add_turn(found)
            else:
                gathered.add_event(found)
        if not number % STEP:
            tell(f"counting: trace {number:,} of {gathered.traces:,}")


def _sum_up(ledger: Ledger, tell: Tell) -> None:
    """Make the sums of the days that are over: no application may ever sweep this history, and do it."""
    days = 0
    while done := ledger.roll_up(now_ms(), 1.0):
        days += done
        tell(f"summing up: {many(days, 'day')}")


@contextmanager
def _history(url: str, dry_run: bool) -> Iterator[Ledger | None]:
    """Open the history, or nothing where a dry run would make it."""
    ledger = open_ledger(url, read_only=dry_run)
    path: str | None = getattr(ledger, "path", None)
    try:
        yield None if dry_run and path is not None and not Path(path).exists() else ledger
    finally:
        ledger.close()


def _pseudonym() -> Callable[[str], str]:
    maker = pseudonym_maker()
    if maker is None:
        keys = f"{env_name('user_hash_key')} or {env_name('secret_key')}"
        raise click.UsageError(f"--hash-users needs the key that the workers have: set {keys}")
    return lambda user: user if is_pseudonym(user) else maker(user)


def _say(taken: Intake, reading: Reading, written: Written, gathered: Gathered, as_json: bool, dry_run: bool) -> None:
    skipped = {"lines": taken.lines, "parts": taken.parts + gathered.cut, "without_session": reading.homeless}
    if as_json:
        sums = {
            "sessions": written.sessions,
            "new_sessions": written.new_sessions,
            "turns": written.turns,
            "new_turns": written.new_turns,
            "spans": gathered.spans,
        }
        print_json({**sums, "skipped": skipped})
    else:
        verb = "would import" if dry_run else "imported"
        click.echo(
            f"{verb} {many(written.sessions, 'session')} ({written.new_sessions:,} new), "
            f"{many(written.turns, 'turn')} ({written.new_turns:,} new) from {many(gathered.spans, 'span')}; "
            f"skipped {many(taken.lines, 'line')}, {skipped['parts']:,} spans or records, "
            f"{many(reading.homeless, 'span')} without a session"
        )
    if reading.by_conversation_only and not reading.by_conversation:
        say(f"{reading.by_conversation_only:,} of the spans without a session name a conversation: see --conversations")
