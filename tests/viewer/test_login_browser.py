"""Logging in, in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_mw.viewer.login import Login
from session_mw.viewer.passwords import Users, add
from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look
from tests.viewer.test_every_page import axe
from tests.viewer.test_login import CHEAP, PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.landing]


@pytest.mark.parametrize(("scheme", "script"), [("light", True), ("dark", True), ("light", False)])
def test_V2_a_browser_logs_in(scheme: str, script: bool, tmp_path: Path, look: Callable[..., Any]) -> None:
    """A wrong password is told, the name stays; the right one leads to the page that was asked for; axe is content."""
    path, folder = tmp_path / "viewers.txt", Path(os.environ.get("SESSION_MW_TEST_SHOTS") or tmp_path)
    add(path, "ana", PASSWORD, CHEAP)
    source = axe()

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(f"{base}s?id=chat-1&view=metrics")
        page.get_by_label("Name").fill("ana")
        page.get_by_label("Password").fill("wrong")
        page.get_by_label("Password").press("Enter")
        seen = [page.get_by_role("alert").inner_text(), page.get_by_label("Name").input_value()]
        if script:
            page.evaluate(source)
            seen += [one["id"] for one in page.evaluate("axe.run().then((result) => result.violations)")]
        page.screenshot(path=folder / f"login-{scheme}.png")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/s?id=*")
        return [*seen, page.url.removeprefix(base), page.locator("h1 code").inner_text(), looker.complaints]

    guard = Login(Users(path), "session_mw_view_1")
    wanted = ["Name or password is wrong.", "ana", "s?id=chat-1&view=metrics", "chat-1", []]
    assert wanted == look(work, guard=guard, color_scheme=scheme, java_script_enabled=script)
