"""``session-mw doctor``: the way of a session from this shell to the back end, looked at piece by piece."""

from __future__ import annotations

from .command import doctor

__all__ = ["doctor"]
