"""Runs the chat against a back end, lets the users come, and waits until every session has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from session_mw.ledger import Listing, SessionRow, open_ledger, read_filter
from tests.backends.crowd import Visit, come_in
from tests.e2e.servers import environment, free_port, serving
from tests.instrumentations.accounts import Entry
from tests.instrumentations.fake_models import serving_models

PATIENT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60", "OTEL_BSP_MAX_QUEUE_SIZE": "65536"}  # a back end may be slow
WORDS = {"INPUT_TEXT": "message", "OUTPUT_TEXT": "answer"}


@dataclass(frozen=True)
class Told:
    """
    What we and the model server say of the visits.

    Attributes:
        sessions: Our history's rows, by id.
        books: The model server's, by session id.
        seconds: How long the users stayed, all together.
    """

    sessions: Mapping[str, SessionRow]
    books: Mapping[str, tuple[Entry, ...]]
    seconds: float

    def tokens(self, session_id: str) -> tuple[int, int]:
        """Return input and output tokens that the model server billed."""
        book = self.books[session_id]
        return sum(one.input_tokens for one in book), sum(one.output_tokens for one in book)


def run(
    folder: Path,
    endpoint: str,
    planned: list[Visit],
    otel: Mapping[str, str],
    arrived: Callable[[int], object] = lambda turns: None,
    **settings: str,
) -> Told:
    """
    Let *planned* visits happen.

    Args:
        folder: For the store and the log.
        endpoint: Where traces go, the whole URL.
        planned: Who comes; told what they heard.
        otel: More of the exporter's environment.
        arrived: Waits until so many turns have come to the back end: what stops takes its queue along.
        settings: More of ours, by their names in capitals.
    """
    port = free_port()
    with serving_models() as models:
        env = environment(folder, "", IDLE_TIMEOUT="15s", **settings)
        del env["OTEL_EXPORTER_OTLP_ENDPOINT"]
        env |= {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, "MODELS_URL": models.url, **PATIENT, **otel}
        command = ["uvicorn", "tests.backends.application:app", "--port", str(port), "--log-level", "warning"]
        with serving(command, env, folder, port) as url:
            begun = time.monotonic()
            asyncio.run(come_in(url, planned))
            seconds = time.monotonic() - begun
            sessions = _ended(folder / "sessions.db", len(planned))
            arrived(sum(row.turns for row in sessions.values()))
        books = {session_id: models.accounts.book(session_id) for session_id in sessions}
    said = (folder / "server.log").read_text(errors="replace")
    assert "Traceback" not in said and "ERROR" not in said, said
    return Told(sessions, books, seconds)


def _ended(database: Path, number: int) -> dict[str, SessionRow]:
    """Wait until so many sessions have ended, and return them."""
    ledger, limit = open_ledger(f"sqlite:///{database}"), time.monotonic() + 120
    try:
        while True:
            where = read_filter("-status:active", time.time_ns() // 1_000_000)
            found = ledger.find(Listing(where, limit=500, include_unconfirmed=True)).rows
            rows = {row.session_id: row for row in found}
            if len(rows) >= number:
                return rows
            assert time.monotonic() < limit, f"{len(rows)} sessions of {number} have ended"
            time.sleep(0.2)
    finally:
        ledger.close()
