"""
Where our headers go when a service of ours sends its caller elsewhere: by every client, however it says so.

The usual redirects are rows of ``test_matrix.py``; here are those that keep method and headers, that name no scheme,
that come in chains, and those that follow a call whose headers the application has written itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from opentelemetry import propagate

from session_mw._core.scope import current_scope
from tests.clients.callers import MATRIX, WRAPPED
from tests.clients.recorder import Recorder
from tests.clients.test_matrix import OURS, SDKS, THEIRS, WAYS, set_up
from tests.telemetry.support import make_scope

USUAL = (("httpx-async", "own", True), ("requests", "otel-last", True))


def cases() -> Iterator[Any]:
    """Every client, set up in every way; two that have little in common in the usual run."""
    for client, way, written in product(MATRIX, ("own", "otel-first", "otel-last"), (False, True)):
        if way != "own" or client in WRAPPED:
            marks = () if (client, way, written) in USUAL else pytest.mark.slow
            yield pytest.param(client, way, written, marks=marks, id=f"{client}-{way}{'-by-hand' * written}")


def routes(server: Recorder) -> dict[str, tuple[str, list[str]]]:
    """Return what is asked for, and whom the client meets on the way."""
    theirs, ours = server.url(THEIRS), server.url(OURS)
    return {
        "temporary, method kept": (server.url(OURS, theirs, 307), [OURS, THEIRS]),
        "permanent, method kept": (server.url(OURS, theirs, 308), [OURS, THEIRS]),
        "see other": (server.url(OURS, theirs, 303), [OURS, THEIRS]),
        "without a scheme": (server.url(OURS, theirs.removeprefix("http:")), [OURS, THEIRS]),
        "there and back": (server.url(OURS, server.url(THEIRS, ours)), [OURS, THEIRS, OURS]),
        "through us": (server.url(THEIRS, server.url(OURS, theirs)), [THEIRS, OURS, THEIRS]),
    }


@pytest.mark.parametrize(("client", "way", "written"), list(cases()))
def test_each_hop_is_told_what_it_may_know(client: str, way: str, written: bool, server: Recorder) -> None:
    """Services of ours learn the session once on each hop; nobody else learns anything of it, in any header."""
    caller, instrumentor = MATRIX[client]
    asked = routes(server)
    provider = SDKS["unsampled"]()
    with set_up(WAYS[way], instrumentor, provider):
        current_scope.set(make_scope())
        with provider.get_tracer("app").start_as_current_span("turn"):
            headers: dict[str, str] = {}
            if written:
                propagate.inject(headers)
            caller([url for url, _ in asked.values()], own="own" in WAYS[way], headers=headers, method="POST")
    received = server.take()

    assert [host for _, hosts in asked.values() for host in hosts] == [one.host for one in received]
    for one in received:
        told: Any = [value for name, value in one.headers if "s-1" in value or "u_1" in value]
        assert one.all("baggage") == told
        assert (1 if one.host == OURS else 0) == len(told), one
