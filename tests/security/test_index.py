"""Every security promise has its test, or the reason why it has none."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]

WITHOUT = {
    26: "hashing ids at rest: an id is no credential here (S49), the token that is one is never stored",
}


def test_every_promise_is_tested_or_explained() -> None:
    """S1 to S57: a test named after the number stands somewhere, or a line above says why not."""
    text = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    tested = {int(number) for number in re.findall(r"def test_S(\d+)_", text)}

    assert set(range(1, 58)) == tested | set(WITHOUT)
    assert set() == tested & set(WITHOUT)
