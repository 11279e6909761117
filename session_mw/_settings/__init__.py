"""What ``session_mw.settings`` is made of. Private: import from ``session_mw.settings``."""

from __future__ import annotations
