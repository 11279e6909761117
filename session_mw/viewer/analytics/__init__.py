"""What many sessions say together: each page with its JSON twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.responses import Response

from ..visits import Visit
from .groups import GROUPS

__all__ = ["PAGES"]

_SIGHTS = (GROUPS,)

PAGES: Mapping[str, Callable[[Visit], Response | None]] = {
    **{sight.name: sight.page for sight in _SIGHTS},
    **{f"api/{sight.name}": sight.json for sight in _SIGHTS},
}
