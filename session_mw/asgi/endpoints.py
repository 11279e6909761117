"""
Finds the handler of a request before it runs, for the mark that ``@turn_endpoint`` left on it.

Starlette and FastAPI put themselves into ``scope["app"]`` before any middleware runs; their routes say whether they
match. Looked up only in applications that use the mark at all.
"""

from __future__ import annotations

import sys
from typing import Any

from .._core.facts import RequestFacts
from ..context import marks


def endpoint_mark(facts: RequestFacts) -> bool | None:
    """Return the mark of the request's handler; None when it has none, or cannot be found."""
    if not marks.in_use:
        return None
    app = facts.raw.get("app")
    # A copy: FastAPI's routers leave notes in the scope that they are asked about.
    endpoint = find(getattr(app, "routes", ()), dict(facts.raw))
    return None if endpoint is None else marks.mark_of(endpoint)


def find(routes: Any, scope: Any, depth: int = 0) -> Any:
    """Return the endpoint of the first route that matches fully, looking into mounts."""
    for route in flat(routes):
        if not hasattr(route, "matches"):
            continue
        match, child = route.matches(scope)
        if match.name != "FULL":
            continue
        inner = getattr(route, "routes", None)
        if inner and depth < 8:
            return find(inner, {**scope, **child}, depth + 1)
        return child.get("endpoint")
    return None


def flat(routes: Any) -> Any:
    """Return *routes* with those of included routers in their place; FastAPI keeps routers whole from 0.137 on."""
    flatten = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return routes if flatten is None else flatten(routes)
