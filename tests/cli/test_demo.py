"""
The demo as readers run it: real processes, real HTTP, real exporters, and what it says about them.

All runs start at once, each in a directory of its own, and every test looks at the one it is about: four demos after
each other would take four times as long.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import session_mw
from session_mw.cli.demo.receiver import Receiver

ROOT = Path(session_mw.__file__).parents[1]
SECONDS = 50.0  # a demo takes eight on a quiet machine
STREAMS = ("stdout", "stderr")

# The first test waits for all demos, on however busy a machine.
pytestmark = [pytest.mark.landing, pytest.mark.timeout(120)]

# Variables of somebody's own applications: none of them may change what the demo shows.
FOREIGN = {
    "SESSION_MW_IDLE_TIMEOUT": "1ms",
    "SESSION_MW_SECRET_KEY": "weak",
    "SESSION_MW_NO_SUCH_SETTING": "1",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}
FORGED = {
    "call_id": "call_forged",
    "conversation": "conversation-forged",
    "input_tokens": 1,
    "output_tokens": 1,
    "cost_microusd": 5,
}


class Run:
    """
    One ``session-mw demo`` as a process.

    Args:
        folder: Where it is started, and keeps its files.
        words: Its options.
        environment: Added to ours.
    """

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        folder.mkdir()
        self.folder = folder
        command = [sys.executable, "-m", "session_mw", "demo", "--dir", str(folder / "demos"), *words]
        given = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        given |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(command, cwd=folder, env=given, stdout=out, stderr=err)

    def wait(self) -> int:
        return self.process.wait(SECONDS)

    def text(self, stream: str) -> str:
        return (self.folder / stream).read_text("utf-8")

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait until *found* finds something, and return it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if result := found():
                return result
            time.sleep(0.02)
        raise AssertionError(f"not found before the demo ended ({self.process.poll()}): {self.text('stderr')}")

    def directory(self) -> Path | None:
        return next(iter(self.folder.glob("demos/*")), None)

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text("stdout"))
        return found

    def left_behind(self) -> list[int]:
        """List the processes that this demo started and that are still there."""
        name = self.folder.name.encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if name in _environ(path)]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS)


def _environ(path: Path) -> bytes:
    """Read the folder of a service's database; of zombies and other people's processes there is nothing to read."""
    try:
        found = [line for line in path.read_bytes().split(b"\0") if line.startswith(b"SESSION_MW_STORE=")]
    except OSError:
        return b""
    return b"".join(found)


class Runs:
    """The demos of this file, and the back end that one of them sends to."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.receiver = receiver
        self.json = Run(folder / "as-json", "--json", **FOREIGN)
        self.keep = Run(folder / "keep", "--keep")
        self.forged = Run(folder / "forged", "--json")
        self.endpoint = Run(folder / "endpoint", "--json", "--endpoint", f"{receiver.url}/v1/traces")
        self.all = (self.json, self.keep, self.forged, self.endpoint)

    def report(self) -> str:
        """Return the plain text of the demo that goes on after it."""
        if " checks " not in self.keep.text("stdout"):
            self.keep.until(lambda: " checks " in self.keep.text("stdout"))
        return self.keep.text("stdout")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Receiver() as receiver:
        runs = Runs(tmp_path_factory.mktemp("demo"), receiver)
        try:
            forge_books(runs.forged)
            yield runs
        finally:
            for run in runs.all:
                run.kill()


def forge_books(run: Run) -> None:
    """Write a call into the model's books that the model never answered."""
    books = run.until(lambda: next(iter(run.folder.glob("demos/*/books.jsonl")), None))
    with books.open("a", encoding="utf-8") as file:
        file.write(json.dumps(FORGED) + "\n")


def names_of(checks: list[dict[str, Any]]) -> list[str]:
    return [check["name"] for check in checks]


def test_demo_ends_well_and_every_check_holds(runs: Runs) -> None:
    """It ends by itself with 0, whatever the environment says to other applications, and skips no check."""
    code, found = runs.json.wait(), runs.json.document()

    assert (0, []) == (code, [check for check in found["checks"] if not check["ok"] or check["skipped"]])
    assert found["ok"] is True
    assert found["seconds"] < SECONDS


def test_demo_shows_the_sessions_of_the_script(runs: Runs) -> None:
    """Who leaves idles out, who hands over is replaced, who logs out has left; who returns is linked."""
    runs.json.wait()
    sessions = {session["who"]: session for session in runs.json.document()["sessions"]}
    ended = {who: session["end_reason"] for who, session in sessions.items()}

    assert ended == {
        "Ada 1": "user_exit",
        "Ben 1": "idle_timeout",
        "Cleo 1": "replaced",
        "Dan 1": "user_exit",
        "Eve 1": "idle_timeout",
        "Eve 2": "user_exit",
        "Finn 1": "user_exit",
        "Grace 1": "user_exit",
    }
    assert sessions["Dan 1"]["previous_id"] == sessions["Cleo 1"]["session_id"]
    assert sessions["Eve 2"]["previous_id"] == sessions["Eve 1"]["session_id"]
    assert sessions["Eve 1"]["user_id"] == sessions["Eve 2"]["user_id"] != sessions["Cleo 1"]["user_id"]
    assert sessions["Ben 1"]["user_id"] is None


def test_demo_s_totals_are_those_of_the_books(runs: Runs) -> None:
    """Added up here once more, from the file itself: sessions, turns, and the session.end events that were received."""
    runs.json.wait()
    found = runs.json.document()
    calls = [json.loads(line) for line in Path(found["paths"]["books"]).read_text("utf-8").splitlines()]
    booked = [sum(call[name] for call in calls) for name in ("input_tokens", "output_tokens", "cost_microusd")]
    ends = [event["attributes"] for event in found["events"] if event["event"] == "session.end"]
    turns = [
        turn
        for session in found["sessions"]
        for conversation in session["conversations"]
        for turn in conversation["turns"]
    ]

    assert booked == list(found["books"].values())
    assert booked == [sum(turn[name] for turn in turns) for name in ("input_tokens", "output_tokens", "cost_microusd")]
    assert sum(booked[:2]) == sum(end["session.total_tokens"] for end in ends)
    assert booked[2] == round(sum(end["session.total_cost_usd"] for end in ends) * 1_000_000)
    assert len(calls) == len(turns) == sum(end["session.total_turns"] for end in ends)


def test_demo_reaches_the_second_service_in_the_same_trace(runs: Runs) -> None:
    """The order service's span lies inside the turn's, with the same session.id."""
    runs.json.wait()
    grace = next(one for one in runs.json.document()["sessions"] if one["who"] == "Grace 1")
    spans = list(_flat(grace["conversations"][0]["turns"][0]["spans"]))
    services = {span["service"] for span in spans}

    assert {"fastapi-chat", "orders"} == services
    assert {grace["session_id"]} == {span["attributes"]["session.id"] for span in spans}


def _flat(spans: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for span in spans:
        yield span
        yield from _flat(span["spans"])


def test_demo_leaves_its_report_where_it_says(runs: Runs) -> None:
    """The paths in the document exist, in a fresh directory below the one that was asked for, for its owner only."""
    runs.json.wait()
    found = runs.json.document()

    assert all(Path(path).exists() for path in found["paths"].values())
    assert found == json.loads(Path(found["paths"]["report"]).read_text("utf-8"))
    assert runs.json.folder / "demos" == Path(found["paths"]["directory"]).parent
    assert 0o700 == Path(found["paths"]["directory"]).stat().st_mode & 0o777


def test_demo_without_a_terminal_is_plain_text(runs: Runs) -> None:
    """No colours and no cursor movements in a pipe; tree, events, checks and paths are all there."""
    report = runs.report()

    assert not any("\x1b" in runs.keep.text(stream) for stream in STREAMS)
    assert not [line for line in report.splitlines() if line != line.rstrip()]
    assert re.search(r"^user u_[0-9a-f]{32}  ada@lamps\.example", report, re.MULTILINE)
    assert "POST /chat > session > turn" in report
    assert "GET /orders/{number} in orders" in report
    assert re.search(r"session\.end .* idle_timeout .* yes$", report, re.MULTILINE)
    assert re.search(r"^All \d+ checks hold\. It took [\d.]+ seconds\.$", report, re.MULTILINE)
    assert str(runs.keep.directory()) in report


def test_demo_tells_its_progress_on_standard_error(runs: Runs) -> None:
    """Standard output is the report alone; what happens meanwhile is told on the other stream."""
    report, progress = runs.report(), runs.keep.text("stderr")

    assert "Ben: is gone" in progress
    assert "Ada: has logged out" in progress
    assert "Ada: has logged out" not in report


def test_demo_fails_when_the_books_are_forged(runs: Runs) -> None:
    """A call in the books that no span and no turn knows is found by the checks that read the books: exit code 1."""
    code, found = runs.forged.wait(), runs.forged.document()
    failed = [check for check in found["checks"] if not check["ok"]]

    assert (1, False) == (code, found["ok"])
    assert ["conversations", "calls"] == names_of(failed)
    assert any("conversation-forged" in problem for problem in failed[0]["problems"])


def test_demo_sends_to_another_back_end(runs: Runs) -> None:
    """All goes there (a path to traces is no mistake), by the name that the filter has; what is unchecked is said."""
    code, found = runs.endpoint.wait(), runs.endpoint.document()
    names = {span.attributes.get("session.name") for span in runs.receiver.spans() if span.name == "turn"}
    skipped = [check for check in found["checks"] if check["skipped"]]

    assert (0, True, None) == (code, found["ok"], found["events"])
    assert {found["name"]} == names
    assert f'session.name = "{found["name"]}"' == found["filter"]
    assert {"events", "calls", "identity", "second-service"} <= set(names_of(skipped))
    assert {"ends", "conversations", "totals", "delivered"}.isdisjoint(names_of(skipped))


def test_demo_shows_ends_to_back_ends_without_logs(runs: Runs) -> None:
    """Many back ends take spans only: with --endpoint session.end is a span as well."""
    runs.endpoint.wait()
    ends = [span for span in runs.receiver.spans() if span.name == "session.end"]

    assert len(runs.endpoint.document()["sessions"]) == len(ends)


def test_demo_keeps_running_until_it_is_interrupted(runs: Runs) -> None:
    """--keep names the page, which answers, shows what arrives, and ends with 0 on Ctrl-C."""
    run = runs.keep
    opened = run.until(lambda: re.search(r"Open (http://127\.0\.0\.1:\d+/)", run.text("stderr")))
    with urllib.request.urlopen(opened[1], timeout=10) as page:
        assert b"<!doctype html>" in page.read()[:50]
    request = urllib.request.Request(f"{opened[1]}chat", b'{"message": "hello"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        session_id = json.load(answer)["session_id"]
    run.until(lambda: f"turn 1  {session_id}" in run.text("stderr"))
    with urllib.request.urlopen(f"{opened[1]}sessions/", timeout=10) as page:
        assert b"<h1" in page.read()
    run.process.send_signal(signal.SIGINT)

    assert 0 == run.wait()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc to look for processes in")
def test_demo_leaves_no_process_behind(runs: Runs) -> None:
    """When a demo has ended, none of its servers and workers is left."""
    if runs.keep.process.poll() is None:
        runs.keep.process.send_signal(signal.SIGINT)
    for run in runs.all:
        run.wait()

    limit = time.monotonic() + 10  # a worker that ends writes what is queued, for two seconds at most
    while (left := [pid for run in runs.all for pid in run.left_behind()]) and time.monotonic() < limit:
        time.sleep(0.1)
    assert [] == left


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc to look for processes in")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "kill"])
def test_demo_that_is_interrupted_leaves_no_process_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and kill in the middle end the services too."""
    run = Run(tmp_path / f"interrupted-{code}")
    run.until(lambda: "Ada: " in run.text("stderr"))
    assert run.left_behind()
    run.process.send_signal(number)

    assert code == run.wait()
    assert [] == run.left_behind()
    assert "Traceback" not in run.text("stderr")


def test_demo_says_at_once_when_nobody_is_at_the_endpoint(tmp_path: Path) -> None:
    """A back end that is not there is found before anything is started: one line, exit code 1."""
    run = Run(tmp_path / "nobody", "--endpoint", "http://127.0.0.1:9", no_proxy="127.0.0.1")

    assert 1 == run.wait()
    assert re.fullmatch(r"Error: cannot reach the back end at http://127\.0\.0\.1:9: .*\n", run.text("stderr"))
    assert not (tmp_path / "nobody" / "demos").exists()


def test_demo_says_when_it_cannot_write_there(tmp_path: Path) -> None:
    """A directory that cannot be made is one line, exit code 1."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("no folder")
    run = Run(tmp_path / "place", "--dir", str(tmp_path / "full" / "file" / "below"))

    assert 1 == run.wait()
    assert re.fullmatch(r"Error: cannot make a directory for the demo: .*\n", run.text("stderr"))
