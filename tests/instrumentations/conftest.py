"""One model server and one run of every row, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.instrumentations.fake_models import ModelServer, serving_models
from tests.instrumentations.installed import missing
from tests.instrumentations.running import Runs


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    with serving_models() as server:
        yield server


@pytest.fixture(scope="session")
def runs(models: ModelServer, request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Rows that this process was given tests of run ahead, two at a time, while the first ones are looked at."""
    runs = Runs(models)
    if not hasattr(request.config, "workerinput"):  # pytest-xdist gives every process all items, to run some of them
        wanted = [item.callspec.params.get("row") for item in request.session.items if hasattr(item, "callspec")]
        for row in filter(None, dict.fromkeys(wanted)):
            if missing(row.packages) is None:
                runs.start(row)
    yield runs
    runs.close()
