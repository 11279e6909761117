"""For every test: no background of an earlier one goes on working behind it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from session_mw import sweeper
from tests.instrumentations.table import pytest_terminal_summary as pytest_terminal_summary  # a hook of pytest's
from tests.stores.pg_server import pg_emptied as pg_emptied
from tests.stores.pg_server import pg_server as pg_server
from tests.stores.pg_server import pg_shared as pg_shared
from tests.stores.pg_server import pg_url as pg_url
from tests.stores.redis_server import cluster as cluster
from tests.stores.redis_server import make_server as make_server
from tests.stores.redis_server import redis_cluster as redis_cluster
from tests.stores.redis_server import redis_server as redis_server
from tests.stores.redis_server import redis_url as redis_url
from tests.stores.redis_server import shared_url as shared_url

# A shell starts what it runs in the background with Ctrl-C ignored, and all that this starts inherits it: tests that
# interrupt processes would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# CI checks the same examples each time: a new one is found by a person who can look at it. Machines there are slow.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_collection_finish() -> None:
    """Keep what is there before the first test (modules, thousands of tests) out of every garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def quiet_background() -> Iterator[None]:
    """
    Stop the threads that a test started.

    They would go on making spans, with identifiers from the global random generator that hypothesis watches.
    """
    yield
    for background in list(sweeper._backgrounds):
        if background._thread is not None:
            background.stop(1.0)
            background.hold()


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns after every few instructions, so that what can race does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
