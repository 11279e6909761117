"""The shells' fixtures, for the promises that only show there."""

from __future__ import annotations

from tests.shells.conftest import kind, make, world

__all__ = ["kind", "make", "world"]
