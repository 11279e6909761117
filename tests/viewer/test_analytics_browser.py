"""The pages about many sessions in a real browser: with the keyboard, and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.viewer.acting import acted
from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look

pytestmark = [pytest.mark.browser, pytest.mark.landing]


@pytest.mark.parametrize("script", [True, False], ids=["with", "without"])
def test_from_the_list_to_a_group_and_back_to_its_sessions(script: bool, look: Callable[..., Any]) -> None:
    """Navigation, tabs, an attribute to group by, sorting, and a group's link: plain links and forms."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base + "?q=type:chat")
        page.get_by_role("link", name="Analytics").click()
        seen = [page.get_by_role("status").inner_text()]
        page.get_by_role("link", name="Groups").click()
        page.get_by_label("Group by").fill("metadata.beta")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("button", name="Turns").click()
        seen += [page.locator("tbody th").all_inner_texts(), page.locator("[aria-sort]").get_attribute("aria-sort")]
        page.get_by_role("link", name="false", exact=True).click()
        return [*seen, page.get_by_label("Filter").input_value(), page.locator("tbody th").count(), looker.complaints]

    wanted = [
        "9 sessions on 21 days",
        ["false", "true", "not known"],
        "descending",
        "type:chat metadata.beta:false",
        4,
        [],
    ]
    assert wanted == look(work, acted(), java_script_enabled=script)


@pytest.mark.parametrize("script", [True, False], ids=["with", "without"])
def test_a_funnel_by_clicks_and_by_hand(script: bool, look: Callable[..., Any]) -> None:
    """Each click adds a step; a step that is missing is announced, and mended by typing."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base + "analytics/funnel")
        for action in ("search", "answer"):
            page.get_by_role("link", name=action, exact=True).click()
        seen = [page.locator("tbody th").all_inner_texts()]
        page.get_by_label("Steps").fill("search > ")
        page.get_by_role("button", name="Show").click()
        seen.append(page.get_by_role("alert").count())
        page.get_by_label("Steps").fill("search > buy")
        page.get_by_label("Steps").press("Enter")
        page.locator("figure").wait_for()
        return [*seen, page.locator("tbody th").all_inner_texts(), looker.complaints]

    wanted = [["1. search", "2. answer"], 1, ["1. search", "2. buy"], []]
    assert wanted == look(work, acted(), java_script_enabled=script)


def test_the_keyboard_opens_the_table_of_a_chart(look: Callable[..., Any]) -> None:
    """Its summary is reached with Tab, opened with Enter, and the table scrolls with the keyboard."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base + "analytics")
        focused = "document.activeElement.innerText.trim()"
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(focused).startswith("Table"):
                break
        before = page.locator("table").first.is_visible()
        page.keyboard.press("Enter")
        after = page.locator("table").first.is_visible()
        page.keyboard.press("Tab")
        return [before, after, page.evaluate("document.activeElement.getAttribute('aria-label')"), looker.complaints]

    assert [False, True, "Table of Sessions", []] == look(work, acted())


def test_keys_lead_along_groups_as_along_sessions(look: Callable[..., Any]) -> None:
    """j and k go from group to group."""

    def work(looker: Looker, base: str) -> list[str]:
        page, seen = looker.page, []
        page.goto(base + "groups")
        for key in ("j", "j", "k"):
            page.keyboard.press(key)
            seen.append(page.evaluate("document.activeElement.innerText"))
        return seen

    assert ["chat", "review", "chat"] == look(work, acted())


def test_columns_are_drawn_where_the_page_says(look: Callable[..., Any]) -> None:
    """The policy lets no style through: the tallest column still fills its plot, and none leaves it."""

    def work(looker: Looker, base: str) -> list[Any]:
        looker.page.goto(base + "analytics")
        boxes = looker.page.evaluate(
            """() => [...document.querySelectorAll("figure")].slice(0, 1).map(figure => {
              const plot = figure.querySelector("svg").getBoundingClientRect()
              const columns = [...figure.querySelectorAll("svg rect")].map(one => one.getBoundingClientRect())
              return [plot.width > 200, Math.max(...columns.map(one => one.height)),
                      columns.every(one => one.left >= plot.left && one.right <= plot.right + 0.5)]
            })"""
        )
        return [boxes, looker.complaints]

    assert [[[True, 120, True]], []] == look(work, acted())
