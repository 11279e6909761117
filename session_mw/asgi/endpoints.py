"""
Finds the handler of a request before it runs: for the mark that ``@turn_endpoint`` left on it, and for the parameters
of its path, one of which may name the conversation.

Starlette and FastAPI put themselves into ``scope["app"]`` before any middleware runs; their routes say whether they
match. Looked up only in applications that use either.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
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


def path_params(inner: Any, facts: RequestFacts) -> Mapping[str, Any]:
    """
    Return the parameters of the request's path, as the route that will serve it names them.

    Args:
        inner: The application inside of the middleware: asked where none stands in the scope yet.
        facts: The request.
    """
    known = facts.raw.get("path_params")  # a router outside of the middleware has found them
    app = facts.raw.get("app") or inner
    route = match(getattr(app, "routes", None) or (), dict(facts.raw))
    return {**(known or {}), **(route.get("path_params") or {})}


def find(routes: Any, scope: Any) -> Any:
    """Return the endpoint of the first route that matches fully, looking into mounts."""
    return match(routes, scope).get("endpoint")


def match(routes: Any, scope: Any, depth: int = 0) -> Mapping[str, Any]:
    """Return what the first route that matches fully adds to the scope, looking into mounts; empty when none does."""
    for route in flat(routes):
        if not hasattr(route, "matches"):
            continue
        verdict, child = route.matches(scope)
        if verdict.name != "FULL":
            continue
        inner = getattr(route, "routes", None)
        if inner and depth < 8:
            return match(inner, {**scope, **child}, depth + 1)
        found: Mapping[str, Any] = child
        return found
    return {}


def flat(routes: Any) -> Any:
    """Return *routes* with those of included routers in their place; FastAPI keeps routers whole from 0.137 on."""
    flatten = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return routes if flatten is None else flatten(routes)
