"""One Phoenix, and one proxy for each of LiteLLM's ways to tell of calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents.ground import Ground, grounded
from tests.proxy.phoenix import Phoenix, phoenix
from tests.proxy.real import litellm_python


@pytest.fixture(scope="session")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """One Phoenix for all tests."""
    litellm_python()
    with phoenix(tmp_path_factory.mktemp("phoenix")) as found:
        yield found


@pytest.fixture(scope="session")
def ground(back_end: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A proxy with ``arize_phoenix`` as it is."""
    with grounded(back_end, tmp_path_factory.mktemp("v1"), "agents-v1") as found:
        yield found


@pytest.fixture(scope="session")
def newer(back_end: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A proxy with LiteLLM's OTEL v2."""
    with grounded(back_end, tmp_path_factory.mktemp("v2"), "agents-v2", LITELLM_OTEL_V2="true") as found:
        yield found
