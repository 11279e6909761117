"""Fixtures of the shells' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.shells.worlds import World, make_world


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both worlds, one after the other."""
    return str(request.param)


@pytest.fixture
def make(kind: str) -> Callable[..., World]:
    """Make a world of the current kind; keyword arguments are settings."""

    def build(app: Any = None, **overrides: Any) -> World:
        return make_world(kind, app, **overrides)

    return build


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """The application with default settings."""
    return make()
