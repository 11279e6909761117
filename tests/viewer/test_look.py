"""What people see: enough contrast in both schemes, in a style sheet small enough to read."""

from __future__ import annotations

import re

import pytest

from session_mw.viewer.assets import assets
from tests.viewer.support import client, filled

CSS = assets()["viewer.css"].body.decode()
SCHEMES = [
    dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
]
TEXTS = [
    *((ink, paper) for ink in ("ink", "soft", "link", "bad") for paper in ("paper", "sheet", "tint")),
    ("bad", "badtint"),
    ("ink", "badtint"),
    ("link", "badtint"),
    ("good", "goodtint"),
    ("amber", "ambertint"),
    ("paper", "link"),
]
SHAPES = [("busy", "paper"), ("bad", "paper"), ("left", "paper")]


def luminance(colour: str) -> float:
    """Return how bright a colour is (WCAG 2.2, relative luminance)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme: int) -> None:
    """Text 4.5 to 1, shapes 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    colours = SCHEMES[scheme]
    texts = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in TEXTS}
    shapes = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in SHAPES}

    assert {} == {pair: ratio for pair, ratio in texts.items() if ratio < 4.5}
    assert {} == {pair: ratio for pair, ratio in shapes.items() if ratio < 3}


def test_files_are_small() -> None:
    """Both together are at most 40 KB, 12 KB on the way, and name no address."""
    files = assets().values()

    assert sum(len(one.body) for one in files) <= 40_000
    assert sum(len(one.packed) for one in files) <= 12_000
    assert not any(re.search(rb"https?:|@import|url\(", one.body) for one in files)


@pytest.mark.parametrize(
    ("accepted", "sent"), [("gzip, br", "gzip"), ("br, GZIP", "gzip"), ("", None), ("gzip;q=0", None), ("br", None)]
)
def test_files_are_compressed_for_who_takes_it(accepted: str, sent: str | None) -> None:
    """The same bytes either way; caches are told that there are two."""
    one = assets()["viewer.css"]
    answer = client(filled()).get(f"/static/{one.name}", headers={"accept-encoding": accepted})

    assert (sent, "Accept-Encoding") == (answer.headers.get("content-encoding"), answer.headers["vary"])
    assert one.body == answer.content
