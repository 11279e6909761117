"""The seeds' samples run in a process of their own making, as the hierarchy's tests do."""

from __future__ import annotations

from tests.hierarchy.conftest import _outside, script

__all__ = ["_outside", "script"]
