"""Ways through the viewer in a real browser, with and without JavaScript, with the mouse and with the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look

pytestmark = [pytest.mark.browser, pytest.mark.landing]


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
