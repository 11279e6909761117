"""Pictures of the viewer, kept by whoever runs the tests: SESSION_MW_TEST_SHOTS names the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from session_mw.viewer.routes import ROUTES
from tests.browser.chromium import Chromium
from tests.viewer import shots
from tests.viewer.looking import chromium as chromium
from tests.viewer.shots import IN_README, LARGEST, LOOKS, README, SHOTS, there_is

PNG = b"\x89PNG\r\n\x1a\n"


def size(path: Path) -> tuple[int, int]:
    """Return the width and the height of a picture."""
    head = path.read_bytes()[:24]
    assert head.startswith(PNG)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.mark.browser
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "look", [pytest.param(look, marks=pytest.mark.landing if look == "wide" else pytest.mark.slow) for look in LOOKS]
)
def test_pictures_of_every_page(look: str, chromium: Chromium, tmp_path: Path) -> None:
    """As wide as the screen, no wider; what was asked for is on them: none is the page that there is not, but one."""
    folder = Path(os.environ.get("SESSION_MW_TEST_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    found = chromium.do(lambda: shots.album(chromium._browser, folder, {look: LOOKS[look]}))

    assert [f"{shot.name}-{look}.png" for shot in SHOTS if there_is(shot)] == [path.name for path in found]
    assert {LOOKS[look]["viewport"]["width"]} == {size(path)[0] for path in found}


@pytest.mark.browser
@pytest.mark.slow
def test_a_picture_is_the_same_each_time(chromium: Chromium, tmp_path: Path) -> None:
    """To the byte: a picture changes with the viewer only."""

    def taken(folder: str) -> dict[str, bytes]:
        where = tmp_path / folder
        where.mkdir()
        return {path.name: path.read_bytes() for path in shots.of_readme(chromium._browser, where)}

    first, second = (chromium.do(taken, folder) for folder in ("first", "second"))

    assert {"list.webp", "detail.webp", "conversation.webp"} == first.keys()
    assert first == second


def test_every_page_has_a_picture() -> None:
    """A page for people that nobody has looked at is none."""
    pages = {name for name in ROUTES if not name.startswith(("api/", "export.", "changes"))}

    assert pages <= {shot.path.partition("?")[0] for shot in SHOTS}


@pytest.mark.parametrize("name", IN_README)
def test_the_pictures_of_the_readme_are_small(name: str) -> None:
    """They are there, and the README shows them."""
    path = README / f"{name}.webp"
    readme = (README.parents[1] / "README.md").read_text(encoding="utf-8")

    assert b"WEBP" == path.read_bytes()[8:12]
    assert 5_000 < path.stat().st_size < LARGEST
    assert f"examples/screenshots/{name}.webp" in readme
