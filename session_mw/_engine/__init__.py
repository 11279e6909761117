"""
One engine behind every shell: settings compiled, store opened, telemetry and background wired.

Shells translate requests into facts and replies into their protocol; every decision is made by the core, every effect
goes through the engine.
"""

from __future__ import annotations

from .engine import Engine

__all__ = ["Engine"]
