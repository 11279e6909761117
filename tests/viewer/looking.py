"""Somebody who looks at the viewer with a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from session_mw.ledger import Ledger
from session_mw.viewer import SessionViewer
from tests.browser.chromium import PATIENCE, Chromium
from tests.browser.conftest import chromium as chromium
from tests.integrations.servers import serve
from tests.viewer.support import NOW_MS, ana, filled

LINKS = {"Phoenix": "https://p.test/traces/{trace_id}", "Langfuse": "https://l.test/sessions/{session_id}"}
REFUSED = "Failed to load resource: the server responded with a status of 4"  # what it says of any page with 400 or 404


class Looker:
    """Somebody with a browser, and all that the browser said and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.all_asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.all_asked.append(request.url))

    @property
    def asked(self) -> set[str]:
        """What was asked for."""
        return set(self.all_asked)

    @property
    def complaints(self) -> list[str]:
        """What the browser said, but that a page was an error page."""
        return [text for text in self.said if not text.startswith(REFUSED)]


@pytest.fixture
def look(chromium: Chromium) -> Callable[..., Any]:
    """Do something with a browser: ``look(work, ledger, guard=, **context)`` calls ``work(looker, base)``."""

    def look(work: Callable[[Looker, str], Any], ledger: Ledger | None = None, **context: Any) -> Any:
        guard = context.pop("guard", None)
        viewer: Any = SessionViewer(
            ledger or filled(),
            auth=guard.auth if guard else ana,
            clock=lambda: NOW_MS,
            can_view_content=lambda actor: True,
            trace_links=LINKS,
        )
        viewer = guard.guard(viewer) if guard else viewer

        def browse(port: int) -> Any:
            with _opened(chromium, context) as looker:
                return work(looker, f"http://127.0.0.1:{port}/")

        with serve(viewer) as port:
            return chromium.do(browse, port)

    return look


@contextmanager
def _opened(chromium: Chromium, context: dict[str, Any]) -> Iterator[Looker]:
    opened = chromium._browser.new_context(**context)
    opened.set_default_timeout(PATIENCE * 1000)
    try:
        yield Looker(opened.new_page())
    finally:
        opened.close()
