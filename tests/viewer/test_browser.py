"""The viewer in a real browser: it asks nobody else, runs nothing of others, and works without JavaScript."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from session_mw.viewer.list import quoted
from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look
from tests.viewer.pages import PAGES
from tests.viewer.test_security import PAYLOADS, attacked

pytestmark = [pytest.mark.browser, pytest.mark.landing]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
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


@pytest.mark.parametrize("script", [True, False], ids=["with", "without"])
def test_it_works_without_javascript(script: bool, look: Callable[..., Any]) -> None:
    """Filtering, sorting, opening a session, its views and its details."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base)
        page.get_by_label("Filter").fill("type:chat OR type:review")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("button", name="Turns").click()
        seen = [page.locator("tbody th").all_inner_texts(), page.locator("[aria-sort]").get_attribute("aria-sort")]
        page.get_by_role("link", name="chat-1").click()
        page.locator("details.facts summary").first.click()
        seen.append("time to first chunk" in page.locator("details.facts").first.inner_text())
        page.get_by_role("link", name="Conversation", exact=True).click()
        seen.append(page.locator("li.bubble").count())
        page.get_by_role("link", name="\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK} Sessions").click()
        return [*seen, page.get_by_label("Filter").input_value(), looker.complaints]

    wanted = [["chat-1", "review-1"], "descending", True, 6, "type:chat OR type:review", []]
    assert wanted == look(work, java_script_enabled=script)


def test_a_filter_error_can_be_mended_by_a_click(look: Callable[..., Any]) -> None:
    """Enter asks; what is wrong is announced, and the field points at it; the suggestion leads to the sessions."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base)
        page.get_by_label("Filter").fill("turn_cont:>2")
        page.get_by_label("Filter").press("Enter")
        page.get_by_role("alert").wait_for()
        seen = [page.get_by_role("alert").locator("mark").inner_text()]
        seen.append(page.get_by_label("Filter").get_attribute("aria-invalid"))
        page.get_by_role("alert").get_by_role("link").click()
        return [*seen, page.get_by_label("Filter").input_value(), page.locator("tbody th").all_inner_texts()]

    assert ["turn_cont", "true", "turn_count:>2", ["chat-1"]] == look(work)


def test_the_keyboard_leads_everywhere(look: Callable[..., Any]) -> None:
    """Tab skips to the content first; / goes to the filter, where letters are letters; j and k go along the rows."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        focused = "document.activeElement.id || document.activeElement.innerText"
        page.goto(base)
        seen = []
        for key in ("Tab", "/", "j", "Escape"):
            page.keyboard.press(key)
            seen.append(page.evaluate(focused))
        seen.append(page.get_by_label("Filter").input_value())
        page.evaluate("document.activeElement.blur()")
        for key in ("j", "j", "j", "k"):
            page.keyboard.press(key)
            seen.append(page.evaluate(focused))
        page.keyboard.press("Enter")
        page.wait_for_url("**/s?id=*")
        return [*seen, page.locator("h1 code").inner_text()]

    rows = ["review-1", "chat-1", "chat-1", "review-1", "review-1"]
    assert ["Skip to the content", "q", "q", "q", "j", *rows] == look(work)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(scheme: str, width: int, look: Callable[..., Any]) -> None:
    """Names, roles, order, contrast: ``npm pack axe-core``, and SESSION_MW_TEST_AXE names its axe.min.js."""
    path = os.environ.get("SESSION_MW_TEST_AXE")
    if path is None:
        pytest.skip("SESSION_MW_TEST_AXE names no axe.min.js")
    script = Path(path).read_text(encoding="utf-8") + "\n;0"

    def work(looker: Looker, base: str) -> list[Any]:
        found = []
        for page in PAGES:
            looker.page.goto(base + page)
            looker.page.evaluate(script)  # a script element would be refused by the policy, as it should
            violations = looker.page.evaluate("axe.run().then((result) => result.violations)")
            found += [(page, one["id"], one["nodes"][0]["html"]) for one in violations]
        return found

    assert [] == look(work, color_scheme=scheme, viewport={"width": width, "height": 800})


@pytest.mark.parametrize("payload", PAYLOADS)
def test_V5_no_stored_text_runs(payload: str, look: Callable[..., Any]) -> None:
    """With a payload in every stored field nothing runs, nothing is asked for, and every element is the viewer's."""

    def work(looker: Looker, base: str) -> list[Any]:
        page, found = looker.page, []
        for view in ("", "timeline", "conversation", "metrics", "raw"):
            query = urlencode({"id": payload, "q": f"name:{quoted(payload)}", "col": "metadata.x", "view": view})
            answer = page.goto(f"{base}{'s' if view else ''}?{query}")
            found.append(answer.status)
            for one in page.locator("summary").all():
                one.click()
        strange = page.locator("img, iframe, object, b, svg[onload], a[href^='javascript']").count()
        return [found, strange, looker.complaints, {url for url in looker.asked if not url.startswith((base, "data:"))}]

    assert [[200] * 5, 0, [], set()] == look(work, attacked(payload))
