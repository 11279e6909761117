"""
A real PostgreSQL server: the ``pgserver`` wheel's, started once a session and only if a test asks for it.

Where there is no such wheel (Python 3.13 and later, other machines) the tests ask for ``SESSION_MW_TEST_PG_URL``, an
empty database of a user who may create schemas; those that stop, kill or restart their server are skipped then.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest

WHY = "no PostgreSQL: install the wheel 'pgserver' (Python up to 3.12), or set SESSION_MW_TEST_PG_URL"
NOBODY = 65534
SETTINGS = {
    "listen_addresses": "",  # its socket is in its own directory: no port to share
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
    "restart_after_crash": "off",
}
_numbers = count(1)


class Server:
    """
    A server of our own, in a directory of its own, which it is deleted with.

    It refuses to run as root, so root runs it as "nobody"; that user may not see into root's directories, so the
    programs are copied then.
    """

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="session-mw-pg-"))
        self._user: dict[str, int] = {}
        if os.geteuid() == 0:
            self._user = {"user": NOBODY, "group": NOBODY}
            programs = _copy(programs, self.folder)
            self.folder.chmod(0o755)
            os.chown(self.folder, NOBODY, NOBODY)
        self._programs = programs / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            extra_groups=self._groups,
            **self._user,
        )

    @property
    def _groups(self) -> list[int] | None:
        return [] if self._user else None

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers; after a kill its last children have to be gone."""
        import psycopg

        options = [part for name, value in {**SETTINGS, **settings}.items() for part in ("-c", f"{name}={value}")]
        end = time.monotonic() + 40
        while True:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", "data", "-k", str(self.folder), *options],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                extra_groups=self._groups,
                **self._user,
            )
            while self._process.poll() is None:
                try:
                    psycopg.connect(self.url()).close()
                    return
                except psycopg.OperationalError:
                    assert time.monotonic() < end, "PostgreSQL does not answer"
                    time.sleep(0.02)
            assert time.monotonic() < end, "PostgreSQL does not start"
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        """Whether it was started and neither stopped nor killed."""
        return self._process is not None and self._process.poll() is None

    def url(self, schema: str = "") -> str:
        """Return the address of its database, or of a schema there."""
        options = f"&options={quote(f'-csearch_path={schema}', safe='')}" if schema else ""
        return f"postgresql://tester@/postgres?host={quote(str(self.folder), safe='')}{options}"

    def processes(self) -> list[int]:
        """Return its process ids, the first is the one that starts the others."""
        assert self._process is not None
        parent = self._process.pid
        found = [parent]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            if int(fields[1]) == parent:
                found.append(int(stat.parent.name))
        return found

    def signal(self, number: int) -> None:
        """Send a signal to all its processes, the parent first: it starts no others then."""
        for process in self.processes():
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Let it hang: connections stay, nothing answers."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self._process is not None
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop it as an administrator would, connections or not."""
        if self._process is not None and self.running:
            children = self.processes()[1:]
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                for process in (self._process.pid, *children):
                    os.kill(process, signal.SIGKILL)
                self._process.wait()

    def remove(self) -> None:
        """Stop it and delete its directory."""
        self.stop()
        shutil.rmtree(self.folder)


def _copy(programs: Path, folder: Path) -> Path:
    """Copy the wheel's programs with the libraries that lie beside its package."""
    copied = folder / "programs" / "pgserver" / "pginstall"
    shutil.copytree(programs, copied, ignore=shutil.ignore_patterns("include"))
    libraries = programs.parent.with_name("pgserver.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "programs" / "pgserver.libs")
    return copied


def programs() -> Path | None:
    """Return where the wheel's programs are; without importing it, which would look for a home directory."""
    spec = find_spec("pgserver")
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / "pginstall"
    return found if found.is_dir() else None


@contextmanager
def own_server(**settings: str) -> Iterator[Server]:
    """Run a server that the caller may kill."""
    found = programs()
    if found is None:
        pytest.skip(f"{WHY}; this test needs a server of its own, so only the former helps")
    server = Server(found)
    try:
        server.start(**settings)
        yield server
    finally:
        server.remove()


@contextmanager
def any_server() -> Iterator[str]:
    """Yield the URL of a server: the one that was named, or one of our own."""
    named = os.environ.get("SESSION_MW_TEST_PG_URL")
    if named:
        yield named
        return
    if programs() is None:
        pytest.skip(WHY)
    with own_server(fsync="off") as server:  # nobody cuts its power
        yield server.url()


@contextmanager
def schema(url: str) -> Iterator[str]:
    """Make a schema of its own for a test in the database *url*; yields the URL that leads there."""
    import psycopg

    name = f"t{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={name}', safe='')}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture(scope="session")
def pg_server() -> Iterator[str]:
    """Return the URL of a server that all tests of a session share."""
    with any_server() as url:
        yield url


def empty(url: str) -> None:
    """Empty all tables of a schema: ten times as fast as another schema."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        named = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema() AND tablename <> %s"
        names = [name for (name,) in connection.execute(named, ("session_mw_schema",))]
        if names:
            connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY".encode())


@pytest.fixture(scope="session")
def pg_shared(pg_server: str) -> Iterator[str]:
    """Return a URL that leads to a schema that tests of a session share."""
    with schema(pg_server) as url:
        yield url


@pytest.fixture
def pg_emptied(pg_shared: str) -> str:
    """Return a URL that leads to empty tables; they are there unless this is the first test."""
    empty(pg_shared)
    return pg_shared


@pytest.fixture
def pg_url(pg_server: str) -> Iterator[str]:
    """Return a URL that leads to a schema of the test's own."""
    with schema(pg_server) as url:
        yield url
