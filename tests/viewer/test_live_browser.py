"""A live page in a real browser. Its timer goes off when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ledger.support import start
from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look
from tests.viewer.support import JANE, NOW_MS, filled

pytestmark = [pytest.mark.browser, pytest.mark.landing]

TIMER = """
let pending = null, armed = () => {}
window.setTimeout = (work, ms) => { pending = {work, ms}; armed(); return 1 }
window.clearTimeout = () => { pending = null }
window.isWaiting = () => pending !== null
window.waits = () => new Promise(done => { armed = done; if (pending) done() })
window.elapse = () => { const {work, ms} = pending; pending = null; work(); return ms }
"""
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden})
  document.dispatchEvent(new Event("visibilitychange"))
}"""
TOP = "document.querySelector('tbody').getBoundingClientRect().top"
CHANGES = "**/changes?**"


class Watcher:
    """Somebody who looks at a live page."""

    def __init__(self, looker: Looker, url: str) -> None:
        self.page = looker.page
        self.page.add_init_script(TIMER)
        self.page.goto(url)

    def elapse(self) -> tuple[int, int, str]:
        """Let the timer go off; return what it was set to (milliseconds), the status, and what is said then."""
        self.page.evaluate("waits()")
        with self.page.expect_response(CHANGES) as answer:
            waited = self.page.evaluate("elapse()")
        self.page.evaluate("waits()")
        return waited, answer.value.status, self.said

    @property
    def said(self) -> str:
        """What the page says is new."""
        text: str = self.page.locator(".news").inner_text()
        return text


def test_what_is_new_is_said_and_shown_when_asked_for(look: Callable[..., Any]) -> None:
    """A visible page says how much is new, moves no row, and shows it on a click."""
    ledger = filled()

    def work(looker: Looker, base: str) -> list[Any]:
        watcher, page = Watcher(looker, base + "?live=5&q=last 24 hours"), looker.page
        rows, top = page.locator("tbody th"), page.evaluate(TOP)
        seen: list[Any] = [watcher.elapse(), watcher.elapse()]
        ledger.emit([start("open-1", started_ms=NOW_MS - 60_000, user_id=JANE, attributes={})])
        seen += [watcher.elapse(), rows.count(), page.evaluate(TOP) - top]
        page.get_by_role("link", name="Show", exact=True).click()
        page.locator("tbody th", has_text="open-1").wait_for()
        return [*seen, watcher.said, rows.count(), looker.complaints]

    answers = [(5_000, 200, ""), (5_000, 304, ""), (5_000, 200, "1 new or changed session")]
    assert [*answers, 2, 0, "", 3, []] == look(work, ledger)


def test_a_page_that_nobody_sees_asks_nothing(look: Callable[..., Any]) -> None:
    """Hidden, it lets its timer go by; seen again, it asks at once."""

    def work(looker: Looker, base: str) -> list[Any]:
        watcher, page = Watcher(looker, base + "s?id=open-1&live=5"), looker.page
        page.evaluate(HIDE, True)
        asked, stopped = len(looker.all_asked), page.evaluate("isWaiting()")
        with page.expect_response(CHANGES):
            page.evaluate(HIDE, False)
        page.evaluate("waits()")
        return [stopped, len(looker.all_asked) - asked, watcher.said]

    ledger = filled()
    ledger.emit([start("open-1", started_ms=NOW_MS - 60_000, user_id=JANE, attributes={})])
    assert [False, 1, ""] == look(work, ledger)


def test_a_server_that_does_not_answer_is_asked_less_often(look: Callable[..., Any]) -> None:
    """It says so, waits twice as long each time up to a minute, and goes on when there is an answer."""

    def work(looker: Looker, base: str) -> list[Any]:
        watcher, page = Watcher(looker, base + "?live=5"), looker.page
        page.route(CHANGES, lambda route: route.fulfill(status=503, body="busy"))
        seen = [watcher.elapse() for _ in range(5)]
        page.unroute(CHANGES)
        return [*seen, watcher.elapse(), watcher.elapse()]

    waits = [(5_000, 10), (10_000, 20), (20_000, 40), (40_000, 60), (60_000, 60)]
    failed = [(waited, 503, f"No answer; asked again in {then} s") for waited, then in waits]
    assert [*failed, (60_000, 200, ""), (5_000, 304, "")] == look(work)


def test_without_javascript_there_is_a_link(look: Callable[..., Any]) -> None:
    """Refresh asks for the same page again."""
    ledger = filled()

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base + "?live=5&q=last 24 hours")
        ledger.emit([start("open-1", started_ms=NOW_MS - 60_000, user_id=JANE, attributes={})])
        page.get_by_role("link", name="Refresh").click()
        return [page.locator("tbody th").all_inner_texts(), page.get_by_label("Filter").input_value()]

    wanted = [["open-1", "review-1", "chat-1"], "last 24 hours"]
    assert wanted == look(work, ledger, java_script_enabled=False)
