"""
A real Chromium, and visitors who use it, each with a cookie jar of their own.

Playwright's synchronous face keeps an event loop running in its thread, in which no other test could run one: it lives
in a thread of its own, and what a visitor does is done there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds until a test gives up; nothing waits that long
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # names reserved for tests (RFC 6761, 6.2)
    "--disable-dev-shm-usage",
    "--no-sandbox",  # tests run as root in containers; the pages are our own
)


def find_chromium() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    given = os.environ.get("SESSION_MW_TEST_CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """
    One browser, started once.

    Args:
        path: Of its executable.
        flags: For its command line, beside those that every test needs.
    """

    def __init__(self, path: str, *flags: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chromium")
        self.do(self._start, path, [*FLAGS, *flags])

    def do(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call *work* in the browser's thread, and return what it returns."""
        return self._thread.submit(work, *args, **options).result(2 * PATIENCE)

    def _start(self, path: str, flags: list[str]) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path, args=flags)

    def _stop(self) -> None:
        self._browser.close()
        self._playwright.stop()

    def stop(self) -> None:
        """End the browser and its thread."""
        try:
            self.do(self._stop)
        finally:
            self._thread.shutdown()

    @contextmanager
    def visitor(self) -> Iterator[Visitor]:
        """Give somebody who has never been anywhere."""
        context = self.do(self._browser.new_context, ignore_https_errors=True)
        try:
            self.do(context.set_default_timeout, PATIENCE * 1000)
            yield Visitor(self, context, self.do(context.new_page))
        finally:
            self.do(context.close)


class Visitor:
    """One person with one tab."""

    def __init__(self, chromium: Chromium, context: Any, page: Any) -> None:
        self._do = chromium.do
        self._context = context
        self._page = page

    def open(self, url: str) -> str:
        """Type *url* into the address line, and return the text of the page."""
        self._do(self._page.goto, url)
        return self.text()

    def follow(self, script: str, argument: Any, url: str) -> str:
        """Run what makes this page go to *url*, and return the text of the page there."""

        def go() -> None:
            with self._page.expect_navigation(url=lambda found: found.startswith(url)):
                self._page.evaluate(script, argument)

        self._do(go)
        return self.text()

    def text(self) -> str:
        """Return the text of the page."""
        text: str = self._do(self._page.inner_text, "body")
        return text

    def text_of_frame(self) -> str:
        """Return the text of the page's only frame."""
        text: str = self._do(lambda: self._page.frames[1].inner_text("body"))
        return text

    def run(self, script: str, argument: Any = None) -> Any:
        """Run a function in the page, await it, and return its value."""
        return self._do(self._page.evaluate, script, argument)

    def write(self, selector: str, text: str) -> None:
        """Write *text* into a field, and press Enter."""

        def write() -> None:
            self._page.fill(selector, text)
            self._page.press(selector, "Enter")

        self._do(write)

    def press(self, label: str) -> None:
        """Press the button of that label."""
        self._do(lambda: self._page.get_by_role("button", name=label, exact=True).click())

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file."""
        self._do(lambda: self._page.set_input_files(selector, path))

    def wait_for(self, text: str) -> None:
        """Wait until the page shows *text*."""
        self._do(lambda: self._page.get_by_text(text, exact=True).first.wait_for())

    def reload(self) -> None:
        """Load the page again."""
        self._do(lambda: self._page.reload())

    def close_tab(self) -> None:
        """Close the tab."""
        self._do(lambda: self._page.close())

    def cookies(self, url: str) -> dict[str, str]:
        """Return the cookies that would go to *url* from a page of its own."""
        return {each["name"]: each["value"] for each in self._do(self._context.cookies, url)}
