"""Everything that came out of a demo, as it was read back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...ledger import Ledger, SessionRow, TurnRow
from .otlp import Record, Span
from .place import Place
from .receiver import LOGS, TRACES, Receiver
from .script import Visitor
from .talk import Seen

CHAT = "fastapi-chat"
ORDERS = "orders"
MANY = 10_000  # sessions; the script makes some ten


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the model's books."""

    call_id: str
    conversation: str
    input_tokens: int
    output_tokens: int
    cost_microusd: int

    @property
    def sums(self) -> Sums:
        """Input tokens, output tokens and price in millionths of a US dollar."""
        return self.input_tokens, self.output_tokens, self.cost_microusd


Sums = tuple[int, int, int]


@dataclass(frozen=True)
class Telemetry:
    """
    What the OTLP receiver got.

    Attributes:
        spans: Of all services.
        records: Events, and lines of logs.
        raw: Every body, as it came.
    """

    spans: tuple[Span, ...]
    records: tuple[Record, ...]
    raw: tuple[bytes, ...] = ()

    def events(self, name: str) -> list[Record]:
        """Return the events of that name, in the order in which they happened."""
        found = (record for record in self.records if record.event_name == name)
        return sorted(found, key=lambda record: record.timestamp_ns)


@dataclass(frozen=True)
class Evidence:
    """
    What there is to be checked.

    Attributes:
        visitors: The script.
        seen: What the application told the visitors.
        sessions: History of sessions, from the database.
        turns: History of turns, from the database, in the order in which they began.
        books: The model's own.
        telemetry: From the receiver; None when the services sent to another back end.
        files: Content of the database's files.
        logs: What the services printed, by service.
    """

    visitors: tuple[Visitor, ...]
    seen: tuple[Seen, ...]
    sessions: tuple[SessionRow, ...]
    turns: tuple[TurnRow, ...]
    books: tuple[Call, ...]
    telemetry: Telemetry | None
    files: tuple[bytes, ...] = ()
    logs: tuple[tuple[str, str], ...] = ()

    def session(self, session_id: str | None) -> SessionRow | None:
        """Return the session of that id."""
        return next((row for row in self.sessions if row.session_id == session_id), None)

    def turns_of(self, session_id: str) -> list[TurnRow]:
        """Return the turns of a session in the order in which they began."""
        return [turn for turn in self.turns if turn.session_id == session_id]


def read_books(path: Path) -> tuple[Call, ...]:
    """Read the model's books."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    calls = (json.loads(line) for line in lines)
    return tuple(Call(**{field: call[field] for field in Call.__slots__}) for call in calls)


def gather(
    place: Place,
    ledger: Ledger,
    receiver: Receiver | None,
    visitors: Sequence[Visitor],
    seen: Sequence[Seen],
) -> Evidence:
    """
    Read everything back.

    Args:
        place: Where the files are.
        ledger: The history in the database.
        receiver: None when the services sent to another back end.
        visitors: The script.
        seen: What the application told the visitors.
    """
    sessions = tuple(sorted(ledger.sessions(MANY), key=lambda row: (row.started_ms, row.pk)))
    return Evidence(
        tuple(visitors),
        tuple(seen),
        sessions,
        tuple(turn for row in sessions for turn in ledger.turns(row.session_id, row.generation)),
        read_books(place.books),
        None if receiver is None else read_telemetry(receiver),
        tuple(path.read_bytes() for path in sorted(place.directory.glob("sessions.db*"))),
        tuple((name, place.log(name).read_text("utf-8", "replace")) for name in (CHAT, ORDERS)),
    )


def read_telemetry(receiver: Receiver) -> Telemetry:
    """Decode what a receiver got."""
    raw = (*receiver.bodies(TRACES), *receiver.bodies(LOGS))
    return Telemetry(tuple(receiver.spans()), tuple(receiver.records()), raw)


def spans_by_trace(telemetry: Telemetry) -> dict[str, list[Span]]:
    """Return the spans of each trace, in the order in which they began."""
    found: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(telemetry.spans, key=lambda span: span.start_ns):
        found[span.trace_id].append(span)
    return found
