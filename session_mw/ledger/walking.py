"""Sessions one after the other, however many: read page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from .listing import LARGEST_PAGE, Listing, Page
from .rows import SessionRow

PATIENCE_S = 60.0  # a page: nobody looks at a browser that waits


class Finds(Protocol):
    """A ledger, as far as it is needed here."""

    def find(self, listing: Listing) -> Page:
        """Return a page of a list."""


def sessions(ledger: Finds, asked: Listing, limit: int | None = None) -> Iterator[SessionRow]:
    """Yield the sessions of a list, *limit* of them at most."""
    for page in pages(ledger, asked, limit):
        yield from page.rows


def pages(ledger: Finds, asked: Listing, limit: int | None = None) -> Iterator[Page]:
    """Yield the pages of a list, with *limit* sessions at most in all."""
    left = limit
    while left is None or left > 0:
        size = LARGEST_PAGE if left is None else min(left, LARGEST_PAGE)
        page = ledger.find(replace(asked, limit=size, seconds=PATIENCE_S))
        yield page
        if page.older is None:
            return
        asked = replace(asked, cursor=page.older)
        left = None if left is None else left - len(page.rows)
