"""One model server and one run of every row, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instrumentations.fake_models import ModelServer, serving_models
from tests.instrumentations.installed import missing
from tests.instrumentations.rows import ROWS, Row
from tests.instrumentations.running import Runs

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a row next to each other: processes that share the tests out need not all run every row."""
    ours = [place for place, item in enumerate(items) if FOLDER in item.path.parents]
    ordered = sorted((items[place] for place in ours), key=_row_number)
    for place, item in zip(ours, ordered, strict=True):
        items[place] = item


def _row_number(item: pytest.Item) -> int:
    row = item.callspec.params.get("row") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    return -1 if row is None else ROWS.index(row)


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
        for row in dict.fromkeys(row for row in wanted if isinstance(row, Row)):  # others' rows are other things
            if missing(row.packages) is None:
                runs.start(row)
    yield runs
    runs.close()
