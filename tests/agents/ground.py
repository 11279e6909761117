"""What a launched agent meets: a proxy with our wrapper, Phoenix behind it, a collector of logs, a model server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_mw.cli.demo.otlp import Record
from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import SessionRow, open_ledger
from tests.cli.launch.desk import eventually
from tests.proxy.models import model_server
from tests.proxy.phoenix import Phoenix
from tests.proxy.real import config, environment, litellm_python, proxying
from tests.proxy.support import SECRET


@dataclass(frozen=True)
class Ground:
    """
    What a test stands on.

    Attributes:
        phoenix: By its API.
        project: The proxy's, in Phoenix.
        url: Of the proxy.
        received: What launchers export.
        asked: Of the model server.
        folder: Of the proxy: its log, its store.
    """

    phoenix: Phoenix
    project: str
    url: str
    received: Receiver
    asked: list[dict[str, Any]]
    folder: Path

    @property
    def store(self) -> str:
        """The store that launchers and proxy share."""
        return f"sqlite:///{self.folder}/sessions.db"

    @property
    def environ(self) -> dict[str, str]:
        """What the user of a launcher exports: secret and store are the proxy's, ends go to a collector."""
        return {
            "SESSION_MW_SECRET_KEY": SECRET,
            "SESSION_MW_STORE": self.store,
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{self.received.url}/v1/logs",
        }

    def models_asked(self, prompt: str) -> list[str]:
        """Return the model of each call at the model server that has *prompt* in its question."""
        found = [one for one in self.asked if prompt in str(one["body"])]
        return [one["body"].get("model") or one["path"] for one in found]

    def spans_anywhere(self, where: str) -> int:
        """Return the number of Phoenix' spans for which *where* holds, over all projects."""
        edges = self.phoenix.asked("{ projects(first: 100) { edges { node { name } } } }")["projects"]["edges"]
        return sum(int(self.phoenix.spans(edge["node"]["name"], where)["recordCount"]) for edge in edges)

    def row(self, session_id: str) -> SessionRow:
        """Return a session as the history has it."""
        (row,) = eventually(lambda: self._rows(session_id))
        return row

    def _rows(self, session_id: str) -> list[SessionRow]:
        ledger = open_ledger(self.store)
        try:
            return [row for row in ledger.sessions(limit=1000) if row.session_id == session_id]
        finally:
            ledger.close()

    def events(self, session_id: str) -> list[Record]:
        """Return what launchers exported of a session, once its end is there, and what comes right behind it."""
        eventually(lambda: any(one.event_name == "session.end" for one in self._events(session_id)))
        time.sleep(0.5)  # somebody else's report of the same end would come now
        return self._events(session_id)

    def _events(self, session_id: str) -> list[Record]:
        return [one for one in self.received.records() if one.attributes.get("session.id") == session_id]


@contextmanager
def grounded(phoenix: Phoenix, folder: Path, project: str, **more: str) -> Iterator[Ground]:
    """Stand on a ground until the end of the block; *more* is the proxy's environment."""
    python = litellm_python()
    ours = {"SESSION_MW_IDLE_TIMEOUT": "30m", "SESSION_MW_TRUSTED_PEERS": "[]"}  # a bare word is nobody's proof
    with model_server() as (models, asked), Receiver() as received:
        config(folder, models)
        env = environment(folder, phoenix.url, PHOENIX_PROJECT_NAME=project, **{**ours, **more})
        with proxying(python, env, folder) as url:
            yield Ground(phoenix, project, url, received, asked, folder)
