"""What many sessions say together: each page with its JSON twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from ..visits import Visit
from .compare import COMPARE
from .engagement import ENGAGEMENT
from .funnel import FUNNEL
from .groups import GROUPS
from .journeys import JOURNEYS
from .overview import OVERVIEW
from .retention import RETENTION
from .sight import Sight

__all__ = ["PAGES"]

_SIGHTS: tuple[Sight[Any], ...] = (OVERVIEW, ENGAGEMENT, JOURNEYS, FUNNEL, RETENTION, GROUPS, COMPARE)

PAGES: Mapping[str, Callable[[Visit], Response | None]] = {
    **{sight.name: sight.page for sight in _SIGHTS},
    **{f"api/{sight.name}": sight.json for sight in _SIGHTS},
}
