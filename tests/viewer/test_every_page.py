"""
What holds for every page in a real browser: it asks nobody else, runs nothing of others, and all can read and reach it.

The pages are those in ``pages``; one that is not there fails ``test_every_page_is_looked_at``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from session_mw.ledger import Ledger, RingLedger
from session_mw.viewer.analytics.funnel import written
from session_mw.viewer.box import quoted
from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look
from tests.viewer.pages import PAGES, place
from tests.viewer.support import filled
from tests.viewer.test_security import PAYLOADS, SHOWING, attacked

pytestmark = [pytest.mark.browser, pytest.mark.landing, pytest.mark.timeout(180)]

ONE_EACH = tuple({place(path): path for path in reversed(PAGES)}.values())  # the simplest of each place
PARTS = [PAGES[at : at + 9] for at in range(0, len(PAGES), 9)]
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 800}


def axe() -> str:
    """Return axe-core; SESSION_MW_TEST_AXE may name another one."""
    named = os.environ.get("SESSION_MW_TEST_AXE")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python, which carries axe-core, is missing")
    path = Path(named) if named else files("axe_playwright_python").joinpath("axe.min.js")
    return path.read_text(encoding="utf-8") + "\n;0"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_no_other_host_and_no_complaint(scheme: str, width: int, look: Callable[..., Any]) -> None:
    """Every page asks this host only, breaks no rule of its own policy, and fits the screen."""

    def work(looker: Looker, base: str) -> tuple[list[str], set[str], list[str]]:
        wide = []
        for path in PAGES:
            looker.page.goto(base + path)
            if looker.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(path)
        return looker.complaints, {url for url in looker.asked if not url.startswith((base, "data:"))}, wide

    assert ([], set(), []) == look(work, color_scheme=scheme, viewport={"width": width, "height": 800})


LOOKS = {"light": ("light", WIDE), "dark": ("dark", WIDE), "phone": ("light", PHONE)}
RUNS = {f"{look}, {place(part[0]) or 'list'}...": (*LOOKS[look], True, part) for look in LOOKS for part in PARTS}
RUNS |= {f"{look}, empty": (look, PHONE, False, ONE_EACH) for look in ("light", "dark")}


@pytest.mark.parametrize(("scheme", "size", "told", "pages"), RUNS.values(), ids=list(RUNS))
def test_axe_finds_nothing(
    scheme: str, size: dict[str, int], told: bool, pages: tuple[str, ...], look: Callable[..., Any]
) -> None:
    """Names, roles, order, contrast (axe-core), with sessions and without any."""
    script = axe()

    def work(looker: Looker, base: str) -> list[Any]:
        found = []
        for page in pages:
            looker.page.goto(base + page)
            looker.page.evaluate(script)  # a script element would be refused by the policy, as it should
            violations = looker.page.evaluate("axe.run().then((result) => result.violations)")
            found += [(page, one["id"], one["nodes"][0]["html"]) for one in violations]
        return found

    assert [] == look(work, filled() if told else RingLedger(), color_scheme=scheme, viewport=size)


REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter(one => one.checkVisibility() && one.type !== "hidden").map((one, at) => { one.dataset.at = at; return at })"""
FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one)
  return [one.dataset.at === undefined ? null : Number(one.dataset.at), style.outlineStyle !== "none"]
}"""


@pytest.mark.parametrize("path", ONE_EACH)
def test_the_keyboard_reaches_everything(path: str, look: Callable[..., Any]) -> None:
    """Tab goes through all there is to click, from top to bottom, and each shows that it has the focus."""

    def work(looker: Looker, base: str) -> tuple[list[int], list[int], set[bool]]:
        page = looker.page
        page.goto(base + path)
        there = page.evaluate(REACHABLE)
        seen, visible = [], set()
        for _ in there:
            page.keyboard.press("Tab")
            at, shown = page.evaluate(FOCUSED)
            seen.append(at)
            visible.add(shown)
        return there, seen, visible

    there, seen, visible = look(work)
    assert len(there) > 1
    assert (there, {True}) == (seen, visible)


def test_every_page_is_complete_without_javascript(look: Callable[..., Any]) -> None:
    """The same words stand there; only what copies to the clipboard is missing."""

    def texts(looker: Looker, base: str) -> dict[str, str]:
        found = {}
        for path in PAGES:
            looker.page.goto(base + path)
            text = looker.page.locator("body").inner_text()
            found[path] = " ".join(text.replace("Copy", "").split())
        return found

    assert look(texts) == look(texts, java_script_enabled=False)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_V5_no_stored_text_runs(payload: str, look: Callable[..., Any]) -> None:
    """With a payload in every stored field nothing runs, nothing is asked for, and every element is the viewer's."""

    def work(looker: Looker, base: str) -> list[Any]:
        page, found, strange = looker.page, [], 0
        for path in SHOWING:
            asked = {"id": payload, "q": f"name:{quoted(payload)}", "col": "metadata.x", "steps": written(payload)}
            asked |= dict(parse_qsl(urlsplit(path).query))
            answer = page.goto(f"{base}{place(path)[1:]}?{urlencode(asked)}")
            found.append(answer.status)
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
            strange += page.locator("img, iframe, object, b, svg[onload], a[href^='javascript']").count()
        return [found, strange, looker.complaints, {url for url in looker.asked if not url.startswith((base, "data:"))}]

    ledger: Ledger = attacked(payload)
    assert [[200] * len(SHOWING), 0, [], set()] == look(work, ledger)
