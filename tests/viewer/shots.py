"""
Pictures of the viewer: the same each time. ``python -m tests.viewer.shots`` makes those of the README anew.

The tests with a browser make all of them, in the folder that SESSION_MW_TEST_SHOTS names.
"""

from __future__ import annotations

import os
import sys
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_mw.ledger import Ledger, RingLedger
from session_mw.viewer import SessionViewer
from session_mw.viewer.routes import ROUTES
from tests.browser.chromium import FLAGS, find_chromium
from tests.integrations.servers import serve
from tests.viewer import story
from tests.viewer.support import NOW_MS, ana

README = Path(__file__).parents[2] / "examples" / "screenshots"
LARGEST = 80_000  # bytes of a picture in the README
QUALITY = 82
STILL = {"reduced_motion": "reduce", "device_scale_factor": 1}


@dataclass(frozen=True, slots=True)
class Shot:
    """A page to take a picture of, and how much of it from the top; None is all."""

    name: str
    path: str
    height: int | None = None


STAR = f"s?id={story.STAR}"
SHOTS = (
    Shot("list", "", 900),
    Shot("live", "?live=5&sort=-cost&col=channel&col=metadata.source", 900),
    Shot("error", "?q=trace_cont:%3E5 type:chat", 500),
    Shot("nothing", "?q=type:nothing", 600),
    Shot("detail", STAR),
    Shot("conversation", f"{STAR}&view=conversation"),
    Shot("messages", f"{STAR}&view=conversation&only=messages"),
    Shot("metrics", f"{STAR}&view=metrics"),
    Shot("raw", f"{STAR}&view=raw", 900),
    Shot("turn", f"turn?id={story.STAR}&n=2"),
    Shot("help", "help"),
    Shot("missing", "nothing", 500),
    Shot("analytics", "analytics"),
    Shot("journeys", "analytics/journeys"),
    Shot("retention", "analytics/retention"),
    Shot("engagement", "analytics/engagement"),
    Shot("funnel", "analytics/funnel?steps=ask_question+%3E+answer"),
    Shot("groups", "groups?by=prompt_version"),
    Shot("compare", "compare?by=prompt_version&a=v1&b=v2"),
    Shot("turn", f"turn?id={story.STAR}&n=2"),
    Shot("user", f"user?id=u_{17 * 7919:032x}"),
)
LOOKS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
IN_README = {"list": ("list", {"width": 1200, "height": 640}), "detail": ("detail", {"width": 1200, "height": 640})}
IN_README["conversation"] = ("conversation", {"width": 1200, "height": 640})


def told() -> Ledger:
    """Return the history that is shown."""
    ledger = RingLedger()
    story.tell(ledger)
    return ledger


def shown(ledger: Ledger, **options: Any) -> SessionViewer:
    """Return a viewer of it, at a fixed time."""
    links = {"phoenix": "http://localhost:6006"}
    given = {"auth": ana, "clock": lambda: NOW_MS, "can_view_content": lambda actor: True, "trace_links": links}
    return SessionViewer(ledger, **{**given, **options})


def there_is(shot: Shot) -> bool:
    """Return whether this release has that page."""
    return shot.name == "missing" or shot.path.partition("?")[0] in ROUTES


def take(page: Any, base: str, shot: Shot, path: Path) -> Path:
    """Take a picture."""
    page.goto(base + shot.path)
    size = page.viewport_size
    if shot.height is None:
        page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")
    else:
        page.set_viewport_size({"width": size["width"], "height": shot.height})
        page.screenshot(path=path, animations="disabled", caret="hide")
        page.set_viewport_size(size)
    return path


def album(browser: Any, folder: Path, looks: dict[str, dict[str, Any]] = LOOKS, only: str = "") -> list[Path]:
    """Take all pictures, and return where they are."""
    found = []
    with serve(shown(told())) as port:
        for look, options in looks.items():
            context = browser.new_context(**options, **STILL)
            page = context.new_page()
            for shot in SHOTS:
                if there_is(shot) and only in (shot.name, ""):
                    found.append(take(page, f"http://127.0.0.1:{port}/", shot, folder / f"{shot.name}-{look}.png"))
            context.close()
    return found


def main(folder: Path, everything: bool, only: str) -> None:
    """Take those of the README, or all."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        if everything:
            album(browser, folder, only=only)
        else:
            of_readme(browser, folder)
        browser.close()


def of_readme(browser: Any, folder: Path) -> list[Path]:
    """Take the three of the README."""
    shots, found = {shot.name: shot for shot in SHOTS}, []
    with serve(shown(told())) as port:
        for name, (shot, size) in IN_README.items():
            context = browser.new_context(viewport=size, color_scheme="light", **STILL)
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{port}/{shots[shot].path}")
            found.append(_small(context, page, folder / f"{name}.webp"))
            context.close()
    return found


def _small(context: Any, page: Any, path: Path) -> Path:
    """Take a picture as WebP: half of a PNG, and every browser shows it."""
    asked = {"format": "webp", "quality": QUALITY}
    path.write_bytes(b64decode(context.new_cdp_session(page).send("Page.captureScreenshot", asked)["data"]))
    return path


if __name__ == "__main__":
    words = sys.argv[1:]
    main(Path(os.environ.get("SESSION_MW_TEST_SHOTS") or README), "all" in words, next(iter(words[1:]), ""))
