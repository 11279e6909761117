"""What a request leaves behind: nothing that waits for the garbage collector, which would stop the process for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from session_mw._engine.visit import Visit
from tests.shells.worlds import World

pytestmark = pytest.mark.landing  # to look through all objects of a test run takes a while


@pytest.fixture
def uncollected() -> Iterator[Callable[[], int]]:
    """Tell how many requests are in memory, with the garbage collector held back."""
    gc.collect()  # by type: to be asked for their class, lazy objects of frameworks become what they stand for
    before = {id(one) for one in gc.get_objects() if type(one) is Visit}
    gc.disable()
    yield lambda: sum(type(one) is Visit and id(one) not in before for one in gc.get_objects())
    gc.enable()


@pytest.mark.parametrize("path", ["/echo", "/stream", "/thread", "/set?topic=x", "/end?reason=user_exit"])
@pytest.mark.parametrize("server_span", ["always", "never"])
def test_a_request_is_gone_with_its_response(
    make: Callable[..., World], uncollected: Callable[[], int], path: str, server_span: str
) -> None:
    """Spans, context and body of a request form no cycle, with a server span of ours and without."""
    world = make(server_span=server_span)
    assert world.request("POST", path).status == 200

    assert uncollected() == 0
