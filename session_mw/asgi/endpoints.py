"""
Finds the handler of a request before it runs, for the mark that ``@turn_endpoint`` left on it.

Starlette and FastAPI put themselves into ``scope["app"]`` before any middleware runs; their routes say whether they
match. Looked up only in applications that use the mark at all.
"""

from __future__ import annotations

from typing import Any

from .. import context
from .._core.facts import RequestFacts


def endpoint_mark(facts: RequestFacts) -> bool | None:
    """Return the mark of the request's handler; None when it has none, or cannot be found."""
    if not context.marks_in_use:
        return None
    app = facts.raw.get("app")
    endpoint = find(getattr(app, "routes", ()), facts.raw)
    return None if endpoint is None else context.mark_of(endpoint)


def find(routes: Any, scope: Any, depth: int = 0) -> Any:
    """Return the endpoint of the first route that matches fully, looking into mounts."""
    for route in routes:
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
