"""``session-mw sweep``: real stores, a real receiver, real processes and signals."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from session_mw import SessionSettings
from session_mw._clocks import wall_ms
from session_mw._core.ops import Claim, End, Touch
from session_mw._core.records import Limits
from session_mw.cli.app import command
from session_mw.cli.demo.receiver import Receiver
from session_mw.cli.sweeping import Sweeping, settings_of
from session_mw.ledger import open_ledger
from session_mw.stores import SqliteStore, open_store
from session_mw.telemetry import notices
from session_mw.telemetry._sdk_export import default_resource
from tests.patience import PATIENCE
from tests.shells.worlds import make_world

LIMITS = Limits(1_800_000, 86_400_000, 600_000, 60_000)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of whoever runs the tests is found: neither variables nor a .env file."""
    for name in list(os.environ):
        if name.startswith(("SESSION_MW_", "OTEL_")) and not name.startswith("SESSION_MW_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    notices.reset()


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Where sessions and history are, as the options name them."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return {"--store": f"{url}?socket_timeout=5", "--ledger": f"sqlite:///{tmp_path}/history.db"}
    file = f"sqlite:///{tmp_path}/sessions.db"
    return {"--store": file if request.param == "sqlite" else request.getfixturevalue("pg_url")}


SLOW = [pytest.mark.slow, pytest.mark.timeout(120)]
# A process takes a second to start: one store is enough for every day.
processes = pytest.mark.parametrize(
    "places", ["sqlite", pytest.param("postgresql", marks=SLOW), pytest.param("redis", marks=SLOW)], indirect=True
)


@pytest.fixture
def file(tmp_path: Path) -> dict[str, str]:
    """The same for one SQLite file."""
    return {"--store": f"sqlite:///{tmp_path}/sessions.db"}


def store_of(places: dict[str, str]) -> Any:
    store = open_store(places["--store"])[0]
    if store.name == "postgresql":
        store._database._ms[False] = 20_000  # type: ignore[attr-defined]  # a loaded machine
    return store


def fill(places: dict[str, str], ended: int, alive: int = 1, **more: Any) -> list[str]:
    """Begin sessions, and end some of them; returns those."""
    store = store_of(places)
    for number in range(ended + alive):
        store.touch(Touch(None, f"s{number}", LIMITS, **more))
    names = [f"s{number}" for number in range(ended)]
    for name in names:
        store.end(End(name, "completed"))
    store.close()
    return names


def words(places: dict[str, str], *more: str) -> list[str]:
    return [word for pair in places.items() for word in pair] + list(more)


def sweep(places: dict[str, str], *more: str, **environment: str) -> Result:
    return CliRunner().invoke(command, ["sweep", *words(places, *more)], env=environment)


def told(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def stats(places: dict[str, str]) -> Any:
    store = store_of(places)
    found = store.stats()
    store.close()
    return found


def test_everything_that_is_due_is_reported(places: dict[str, str], tmp_path: Path) -> None:
    """Each end is a line, and in the history; what lives goes on, and a second run finds nothing."""
    names = fill(places, ended=7, alive=2)
    first, again = sweep(places, "--limit", "3"), sweep(places, "--json")

    assert (0, 0) == (first.exit_code, again.exit_code), first.output + again.output
    *lines, summary = first.stdout.splitlines()
    assert "reported 7 session ends" == summary
    assert names == sorted(line.split()[1] for line in lines)
    assert {("completed", "turns", "1")} == {tuple(line.split()[2:]) for line in lines}
    assert [{"event": "sweep", "reported": 0, "refused": 0}] == told(again.stdout)
    ledger = open_ledger(places.get("--ledger", places["--store"]))
    assert names == sorted(row.session_id for row in ledger.sessions(50))
    ledger.close()
    assert (2, 0) == (stats(places).live, stats(places).ended)


def test_sessions_end_by_the_limits_of_the_environment(places: dict[str, str]) -> None:
    """The variables are the workers': what is over by theirs is reported, and by the defaults it is not."""
    found = []
    for environment in ({"SESSION_MW_IDLE_TIMEOUT": "0.05", "SESSION_MW_CLOCK_SKEW": "0"}, {}):
        store = store_of(places)
        for _ in range(3):
            store.touch(Touch(None, f"s{time.time_ns()}", Limits(50, 86_400_000, 10, 0)))
        store.close()
        time.sleep(0.1)
        found.append(told(sweep(places, "--json", **environment).stdout))

    *ends, summary = found[0]
    assert (3, 3) == (len(ends), summary["reported"])
    assert {"idle_timeout"} == {end["session.end_reason"] for end in ends}
    assert [{"event": "sweep", "reported": 0, "refused": 0}] == found[1]


def test_end_is_what_a_worker_would_have_reported(file: dict[str, str], tmp_path: Path) -> None:
    """To the last attribute, users' totals included."""
    world = make_world("asgi", store=file["--store"], clock=None)
    for _ in range(2):
        world.request(path="/login?user=ann")
        world.request(path="/set?device=mobile")
        world.request(path="/logout")
    world.engine.background.stop()
    world.engine.background._flush_adds()
    world.engine.background._flush_starts()
    world.engine.store.close()
    world.engine.history.close()
    shutil.copy(tmp_path / "sessions.db", tmp_path / "copy.db")
    world.clock.advance(seconds=1_000_000_000)  # a world's clock begins long ago
    by_worker = {end.attributes["session.id"]: dict(end.attributes) for end in world.ends()}
    result = sweep({"--store": f"sqlite:///{tmp_path}/copy.db"}, "--json")

    assert 0 == result.exit_code, result.output
    *ends, _ = told(result.stdout)
    found = {end["session.id"]: {name: value for name, value in end.items() if name != "event"} for end in ends}
    assert by_worker == found
    assert {1, 2} == {end["user.sessions_total"] for end in found.values()}


@pytest.mark.parametrize("by_option", [True, False], ids=["option", "environment"])
def test_ends_go_to_a_collector_that_is_named(file: dict[str, str], by_option: bool) -> None:
    """As OTLP log records, with the service's name; what is told there is no line on standard output."""
    names = fill(file, ended=3)
    default_resource()  # what other telemetry of this process found before is another service's
    with Receiver() as receiver:
        environment = {"OTEL_SERVICE_NAME": "chat"}
        given = ["--endpoint", receiver.url] if by_option else []
        if not by_option:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url
        result = sweep(file, *given, **environment)
        records = [record for record in receiver.records() if record.event_name == "session.end"]

    assert (0, "reported 3 session ends\n") == (result.exit_code, result.stdout)
    assert names == sorted(record.attributes["session.id"] for record in records)
    assert {"chat"} == {record.service for record in records}


@pytest.mark.parametrize(("logs", "records"), [("otlp", 2), ("none", 0)])
def test_ends_are_spans_too_where_that_is_set(file: dict[str, str], logs: str, records: int) -> None:
    """For a back end that takes no logs: spans of the same names, and nothing but these if no logs are exported."""
    fill(file, ended=2)
    environment = {"SESSION_MW_LIFECYCLE_SPANS": "always", "OTEL_LOGS_EXPORTER": logs}
    with Receiver() as receiver:
        result = sweep(file, "--endpoint", receiver.url, **environment)
        found = (receiver.spans(), receiver.records())

    assert (0, "reported 2 session ends\n") == (result.exit_code, result.stdout)
    ends = [
        [one for one in told_there if "session.end" in (getattr(one, "event_name", ""), getattr(one, "name", ""))]
        for told_there in found
    ]
    assert [2, records] == [len(one) for one in ends]


def test_end_that_a_collector_refuses_stays_and_the_exit_code_says_so(file: dict[str, str]) -> None:
    """One batch is tried, the others not: each try in vain is one of twenty. A later run reports all of them."""
    fill(file, ended=5)
    with refusing() as url:
        refused = sweep(file, "--endpoint", url, "--limit", "2")
    waiting = stats(file)
    later = SqliteStore(file["--store"].removeprefix("sqlite:///"), lambda: wall_ms() + 2_100)
    again = later.claim(Claim("later", LIMITS)).records
    later.close()

    assert 1 == refused.exit_code
    assert "reported 0 session ends; 2 could not be reported and come again\n" == refused.stdout
    assert (5, 0) == (waiting.ended, waiting.dead)
    assert [1, 1, 1, 2, 2] == sorted(record.attempts for record in again)


def test_collector_without_its_package_is_one_line(file: dict[str, str]) -> None:
    """Nothing is reported: what nobody exports must not be taken for delivered."""
    fill(file, ended=1)
    module = "opentelemetry.exporter.otlp.proto.http._log_exporter"
    code = f"import sys; sys.modules[{module!r}] = None; from session_mw.cli import main; main()"
    arguments = [sys.executable, "-c", code, "sweep", *words(file, "--endpoint", "http://localhost:4318")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)

    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("Error: --endpoint names where to send") and 1 == done.stderr.count("\n")
    assert "pip install opentelemetry-exporter-otlp-proto-http" in done.stderr
    assert 1 == stats(file).ended


@pytest.mark.skipif(find_spec("opentelemetry.exporter.otlp.proto.grpc") is not None, reason="it is installed")
def test_protocol_of_the_environment_decides_what_is_needed(file: dict[str, str]) -> None:
    """Where OpenTelemetry is told to speak gRPC, so do we."""
    fill(file, ended=1)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    result = sweep(file, **environment)

    assert 1 == result.exit_code
    assert "pip install opentelemetry-exporter-otlp-proto-grpc, or set OTEL_LOGS_EXPORTER=none" in result.output


def test_endpoint_to_which_nothing_would_go_is_a_mistake(file: dict[str, str]) -> None:
    """What was asked for and what was forbidden contradict each other."""
    fill(file, ended=1)
    result = sweep(file, "--endpoint", "http://localhost:1", OTEL_LOGS_EXPORTER="none")

    assert 1 == result.exit_code
    assert "OTEL_LOGS_EXPORTER is none" in result.output
    assert 1 == stats(file).ended


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_LOGS_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
    ],
)
def test_variables_may_say_that_no_logs_are_exported(file: dict[str, str], environment: dict[str, str]) -> None:
    """Then ends go to the history, and to standard output."""
    fill(file, ended=1)

    assert "reported 1 session ends" == sweep(file, **environment).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "no store was named"),
        (("--store", "memory://"), "memory:// lives in the process"),
        (("--store", "redis://localhost/0"), "Redis keeps no history"),
        (("--store", "sqlite:///x.db", "--endpoint", "localhost:4318"), "no http or https URL"),
        (("--store", "sqlite:///x.db", "--limit", "0"), "--limit"),
    ],
)
def test_sweep_of_nothing_is_a_mistake(given: tuple[str, ...], said: str) -> None:
    """The answer says what is missing."""
    result = CliRunner().invoke(command, ["sweep", *given])

    assert 2 == result.exit_code
    assert said in result.output


def test_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A wrong directory must not look like a store in which nothing is ever due."""
    result = sweep({"--store": "sqlite:///sessions.db"})

    assert 1 == result.exit_code
    assert result.output.startswith(f"Error: there is no file '{tmp_path}/sessions.db'")
    assert not (tmp_path / "sessions.db").exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SESSION_MW_IDLE_TIMEOUT": "soon"}, "idle_timeout"),
        ({"SESSION_MW_STORE": "postgresql://me:hunter2@127.0.0.1:1/app"}, "me:**********@127.0.0.1"),
    ],
)
def test_what_fails_is_told_in_one_line(environment: dict[str, str], said: str) -> None:
    """No traceback, no password; a failing store is exit code 1."""
    result = sweep({}, **environment)

    assert 1 == result.exit_code
    assert said in result.output and "hunter2" not in result.output
    assert 1 == result.output.count("\n") and "Traceback" not in result.output


def test_key_of_the_environment_is_used_and_none_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the workers' environment holds is fine as well: rotated keys, a sweep that is off."""
    assert 32 <= len(settings_of(store="sqlite:///x.db").secret_bytes())
    keys = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "USER_HASH_KEY")}
    for name, value in {**keys, "SWEEP": "off"}.items():
        monkeypatch.setenv(f"SESSION_MW_{name}", value)
    settings: SessionSettings = settings_of(store="sqlite:///x.db")

    assert keys["SECRET_KEY"].encode() == settings.secret_bytes()
    assert ("sqlite:///x.db", "off") == (settings.store, settings.sweep)


# -- several sweepers, and processes of their own


class refusing:
    """A collector that takes nothing: it answers 400, or not at all."""

    def __init__(self, answer: bytes = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") -> None:
        self.answer, self.asked = answer, threading.Event()

    def __enter__(self) -> str:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.open.append(connection)
            connection.recv(65_536)
            self.asked.set()
            if self.answer:
                connection.sendall(self.answer)
                connection.close()

    def __exit__(self, *raised: object) -> None:
        self.server.close()
        for connection in self.open:
            connection.close()


@pytest.fixture
def start() -> Iterator[Any]:
    """Start the command in a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        # Signals that a shell in the background ignores are not ignored here.
        code = "import signal, sys; [signal.signal(n, signal.default_int_handler if n == 2 else signal.SIG_DFL) "
        code += "for n in (1, 2, 15)]; from session_mw.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, "sweep", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(true: Any) -> None:
    """Wait for what has to become true."""
    end = time.monotonic() + 20 * PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@processes
def test_no_end_is_reported_twice_when_many_sweep(places: dict[str, str], start: Any) -> None:
    """Two processes and a worker's sweeper share what is due."""
    names = fill(places, ended=600)
    sweepers = [start(*words(places, "--json", "--limit", "20")) for _ in range(2)]
    told_here: list[str] = []

    class Sink:
        name = "worker"

        def emit(self, records: Any) -> bool:
            told_here.extend(r.attributes["session.id"] for r in records if r.event_name == "session.end")
            time.sleep(0.01)
            return True

    settings = settings_of(store=places["--store"], ledger=places.get("--ledger"))
    worker = Sweeping(settings, [Sink()], 20)
    until(lambda: worker.step() or any(s.poll() is not None for s in sweepers))
    outputs = [sweeper.communicate(timeout=50) for sweeper in sweepers]
    while worker.step():
        pass
    worker.close()

    assert [0, 0] == [sweeper.returncode for sweeper in sweepers], outputs
    lines = [line for out, _ in outputs for line in told(out)]
    found = told_here + [line["session.id"] for line in lines if line["event"] == "session.end"]
    assert sorted(names) == sorted(found)
    assert 0 == stats(places).ended


@processes
def test_watch_reports_until_it_is_told_to_stop(places: dict[str, str], start: Any) -> None:
    """Sessions that end meanwhile are reported; SIGTERM ends it within two seconds, with exit code 0."""
    fill(places, ended=2)
    process = start(*words(places, "--watch", "--interval", "0.05"))
    until(lambda: stats(places).tombstones >= 2)
    store = store_of(places)
    store.end(End("s2", "user_exit"))
    store.close()
    until(lambda: stats(places).tombstones >= 3)
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)

    assert 0 == process.returncode, err
    assert time.monotonic() - before < 2 * PATIENCE
    assert "reported 3 session ends" == out.splitlines()[-1]
    assert "sessions end 1800 s after their last activity" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SLOW)])
@pytest.mark.landing
def test_watch_that_hangs_in_a_sink_hands_its_leases_back(file: dict[str, str], start: Any, number: int) -> None:
    """A collector that does not answer keeps neither the process nor the sessions: others report them at once."""
    fill(file, ended=3)
    silent = refusing(b"")
    with silent as url:
        process = start(*words(file, "--watch", "--endpoint", url))
        assert silent.asked.wait(20 * PATIENCE)
        leased = stats(file).claimed
        before = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - before
    store = store_of(file)
    claimed = store.claim(Claim("other", LIMITS, 10, 30_000)).records
    store.close()

    assert 3 == leased
    assert 0 == process.returncode, err
    assert took < 2 * PATIENCE
    assert 3 == len(claimed)
    assert out.startswith("reported 0 session ends")


@pytest.mark.slow
def test_once_that_is_stopped_says_so(file: dict[str, str], start: Any) -> None:
    """Not all that was due may be reported: the exit code is the signal's, as shells count."""
    fill(file, ended=3)
    silent = refusing(b"")
    with silent as url:
        process = start(*words(file, "--endpoint", url))
        assert silent.asked.wait(20 * PATIENCE)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert 128 + signal.SIGTERM == process.returncode, err


@pytest.mark.slow
def test_watch_outlives_a_store_that_fails(tmp_path: Path, start: Any) -> None:
    """What is wrong is said, without a password, and when it is right again sessions are reported."""
    port = free_port()
    places = {"--store": f"redis://me:hunter2@127.0.0.1:{port}", "--ledger": "memory://"}
    process = start(*words(places, "--watch", "--interval", "0.05"))
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True)
    reader.start()
    until(lambda: any("Trying again" in line for line in lines))
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    reader.join(5)

    assert 0 == process.returncode
    assert "hunter2" not in "".join(lines)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
