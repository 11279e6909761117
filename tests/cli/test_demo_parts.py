"""Parts of the demo by themselves: script, receiver, outline, report."""

from __future__ import annotations

import gzip
import json
import shlex
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from rich.console import Console

from session_mw.cli.demo.checks import check_all
from session_mw.cli.demo.document import document
from session_mw.cli.demo.errors import DemoError
from session_mw.cli.demo.evidence import Evidence
from session_mw.cli.demo.otlp import Span, records_of, spans_of
from session_mw.cli.demo.outline import SpanBranch, nest, outline
from session_mw.cli.demo.place import Place, find_examples, make_place
from session_mw.cli.demo.progress import Lines, Screen
from session_mw.cli.demo.receiver import LOGS, TRACES, Receiver
from session_mw.cli.demo.report import print_next_steps, print_report
from session_mw.cli.demo.script import VISITORS, Away, Login, Logout, Say, Sitting, Visitor, sittings_of
from session_mw.cli.demo.show import expect_somebody_at
from tests.cli.support import good_evidence


def sittings(*steps: Say | Login | Logout | Away) -> list[Sitting]:
    return list(sittings_of(Visitor("Vera", "", steps)))


SOMETHING = Say("Hello")


def test_script_without_a_word_is_no_session() -> None:
    """Who only logs in has no session to show: it begins with the first turn."""
    assert [] == sittings(Login("vera@lamps.example"))


def test_script_of_who_just_leaves_idles_out() -> None:
    """No step at the end means that nobody came back."""
    assert [Sitting("Vera", 1, turns=2)] == sittings(SOMETHING, SOMETHING)


def test_script_of_a_login_in_between_keeps_the_session() -> None:
    """The turns before belong to the same session; spans know the user from the next turn on."""
    found = sittings(SOMETHING, Login("vera@lamps.example"), SOMETHING, Logout())

    assert [Sitting("Vera", 1, 2, reason="user_exit", login="vera@lamps.example", known_from=2)] == found


def test_script_of_another_login_is_the_next_session() -> None:
    """A session never holds two users."""
    first, second = sittings(Login("vera@lamps.example"), SOMETHING, Login("will@lamps.example"), SOMETHING)

    assert ("replaced", "Vera 1", False) == (first.reason, first.key, first.continues)
    assert ("idle_timeout", "Will 1", True) == (second.reason, second.key, second.continues)


def test_script_of_who_was_away_continues() -> None:
    """The user is still known, the session is the next, and it is linked."""
    first, second = sittings(Login("vera@lamps.example"), SOMETHING, Away(), SOMETHING, Logout())

    assert ("idle_timeout", 1) == (first.reason, first.turns)
    assert ("Vera 2", True, 1, "vera@lamps.example") == (second.key, second.continues, second.known_from, second.login)


def test_script_shows_what_it_promises() -> None:
    """The visitors of the demo end in all three ways, one streams, one leaves in the middle, one asks for an order."""
    found = [sitting for visitor in VISITORS for sitting in sittings_of(visitor)]
    said = [step for visitor in VISITORS for step in visitor.steps if isinstance(step, Say)]

    assert {"user_exit", "idle_timeout", "replaced"} == {sitting.reason for sitting in found}
    assert any(sitting.orders for sitting in found)
    assert any(step.stream and step.leave_after for step in said)
    assert len(found) == len({sitting.key for sitting in found})


def a_trace() -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="shop")))
    part = group.scope_spans.add()
    part.scope.name = "library"
    span = part.spans.add(name="GET", trace_id=b"\x01" * 16, span_id=b"\x02" * 8, start_time_unix_nano=5)
    span.status.code = span.status.STATUS_CODE_ERROR
    values = {
        "text": AnyValue(string_value="a"),
        "whole": AnyValue(int_value=3),
        "flag": AnyValue(bool_value=False),
        "list": AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])),
        "map": AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="x", value=AnyValue(double_value=0.5))])),
        "http.route": AnyValue(string_value="/lamps"),
    }
    span.attributes.extend(KeyValue(key=key, value=value) for key, value in values.items())
    return request.SerializeToString()


def some_logs() -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(event_name="session.end", time_unix_nano=7)
    record.body.string_value = "text"
    return request.SerializeToString()


def test_spans_are_decoded_with_every_kind_of_value() -> None:
    """Ids are hexadecimal as people write them, values are what they were."""
    (span,) = spans_of(a_trace())

    assert ("shop", "library", "01" * 16, "02" * 8, "") == (
        span.service,
        span.library,
        span.trace_id,
        span.span_id,
        span.parent_id,
    )
    assert {"text": "a", "whole": 3, "flag": False, "list": [1, None], "map": {"x": 0.5}, "http.route": "/lamps"} == (
        span.attributes
    )
    assert (True, "GET /lamps") == (span.failed, span.title)


def test_records_are_decoded() -> None:
    """An event is known by its name; a missing service is an empty text."""
    (record,) = records_of(some_logs())

    assert ("", "session.end", 7, "text") == (record.service, record.event_name, record.timestamp_ns, record.body)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_receiver_keeps_what_arrives(packed: bool) -> None:
    """Bodies are kept as they were sent, unpacked, by path; the answer is 200."""
    told: list[str] = []
    with Receiver() as receiver:
        receiver.on_batch = lambda path, body: told.append(path)
        for path, body in ((TRACES, a_trace()), (LOGS, some_logs()), ("/v1/metrics", b"anything")):
            data = gzip.compress(body) if packed else body
            request = urllib.request.Request(receiver.url + path, data)
            if packed:
                request.add_header("Content-Encoding", "gzip")
            with urllib.request.urlopen(request, timeout=5) as answer:
                assert 200 == answer.status

        assert [a_trace()] == receiver.bodies(TRACES)
        assert ["GET"] == [span.name for span in receiver.spans()]
        assert ["session.end"] == [record.event_name for record in receiver.records()]
        assert [TRACES, LOGS, "/v1/metrics"] == told


def test_receiver_that_does_not_keep_still_tells() -> None:
    """While the chat is left running, memory does not grow with it."""
    told: list[str] = []
    with Receiver() as receiver:
        receiver.keeping = False
        receiver.on_batch = lambda path, body: told.append(path)
        receiver.take(TRACES, a_trace())

        assert ([], [TRACES]) == (receiver.bodies(TRACES), told)


def a_span(span_id: str, parent_id: str = "") -> Span:
    return Span("shop", "", span_id, "trace", span_id, parent_id, 0, 1, False, {})


def test_spans_are_nested_in_their_parents() -> None:
    """A span whose parent is not there is a root; nothing is lost."""
    spans = [a_span("a"), a_span("b", "a"), a_span("c", "b"), a_span("d", "a"), a_span("e", "elsewhere")]

    assert nest(spans) == (
        SpanBranch(spans[0], (SpanBranch(spans[1], (SpanBranch(spans[2], ()),)), SpanBranch(spans[3], ()))),
        SpanBranch(spans[4], ()),
    )


def test_outline_has_every_session_and_turn_once() -> None:
    """Users, their sessions, conversations and turns: what the database has is what is shown."""
    evidence = good_evidence()
    sessions = [session for user in outline(evidence) for session in user.sessions]
    turns = [turn for session in sessions for conversation in session.conversations for turn in conversation.turns]

    assert sorted(row.session_id for row in evidence.sessions) == sorted(one.row.session_id for one in sessions)
    assert len(evidence.turns) == len(turns)
    assert all(turn.spans for turn in turns)


PLACE = Place("demo-1", Path("/somewhere/demo-1"))


def report_of(evidence: Evidence, width: int = 140) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        print_report(console, PLACE, evidence, outline(evidence), check_all(evidence))
    return capture.get()


def test_report_of_a_fault_says_what_is_wrong() -> None:
    """A check that fails is marked, with every problem below it; the document is not ok."""
    evidence = good_evidence()
    evidence = replace(evidence, books=evidence.books[1:])
    report = report_of(evidence)
    found = document(PLACE, evidence, outline(evidence), check_all(evidence), 1.0)

    assert "FAILED  tokens and cost of each conversation are those of the model's own books" in report
    assert "conversation-Ada 1: 102 + 30 tokens" not in report
    assert "in the books" in report
    assert found["ok"] is False
    assert json.dumps(found)


def test_report_without_telemetry_says_where_to_look() -> None:
    """With another back end: the filter, no events, and which checks were not made."""
    report = report_of(replace(good_evidence(), telemetry=None))

    assert 'session.name = "demo-1"' in report
    assert "not looked at, because the telemetry went to your back end" in report
    assert "session.start  " not in report


def test_report_leaves_out_what_a_framework_makes_of_its_own_steps() -> None:
    """Spans of FastAPI's own steps are not shown, what is inside them is; the document has them all."""
    evidence = good_evidence()
    assert evidence.telemetry is not None
    spans = [
        replace(span, name="fastapi.endpoint") if span.name == "session" else span for span in evidence.telemetry.spans
    ]
    evidence = replace(evidence, telemetry=replace(evidence.telemetry, spans=tuple(spans)))

    assert "POST > turn > chat 31 + 10 tokens" in report_of(evidence)
    assert "fastapi.endpoint" not in report_of(evidence)
    assert "fastapi.endpoint" in json.dumps(document(PLACE, evidence, outline(evidence), [], 1.0))


@pytest.mark.parametrize("width", [80, 119, 120, 140])
def test_report_shows_events_uncut(width: int) -> None:
    """The table of events has as many columns as there is room for, and cuts none of them."""
    report = report_of(good_evidence(), width)
    table = report[report.index("Events") : report.index("Checks")]

    assert "idle_timeout" in table
    assert "\u2026" not in table
    assert (width >= 120) == ("ms idle" in table)


def test_report_in_a_tiny_terminal_is_cut_and_does_not_fail() -> None:
    """Who has no room gets what fits."""
    assert report_of(good_evidence(), 20)


def test_progress_in_lines_tells_a_streamed_answer_once() -> None:
    """A line for each word would be a wall of text."""
    console = Console(width=80)
    with console.capture() as capture, Lines(console) as lines:
        for words in ("You", "You are", "You are welcome"):
            lines.tell("Ada", f"hears “{words}”")
        lines.tell("Ada", "has logged out")
        lines.tell("Ada", "hears “Hello”")

    assert 2 == capture.get().count("hears an answer, word by word")
    assert 3 == len(capture.get().splitlines())


@pytest.mark.parametrize("width", [40, 80, 140])
def test_progress_on_a_screen_names_every_visitor(width: int) -> None:
    """In any terminal each visitor has a line; what a visitor says is never taken for mark-up."""
    console = Console(width=width, no_color=True)
    screen = Screen(console, VISITORS)
    screen.stage("talking [/]")
    screen.tell("Ada", "says [b]")
    with console.capture() as capture:
        console.print(screen.render())

    assert all(visitor.name in capture.get() for visitor in VISITORS)
    assert "talking [/]" in capture.get()
    assert "says [b]" in capture.get()


def test_place_is_a_fresh_directory_for_its_owner(tmp_path: Path) -> None:
    """Two demos in one folder never share a file."""
    one, two = make_place(tmp_path / "new" / "folder"), make_place(tmp_path / "new" / "folder")

    assert one.directory != two.directory
    assert (one.name, 0o700) == (one.directory.name, one.directory.stat().st_mode & 0o777)
    assert f"sqlite:///{one.directory}/sessions.db" == one.store


def test_examples_are_found() -> None:
    """In a checkout beside the package, in a wheel inside of it."""
    package, root = find_examples()

    assert (package, root) in (("examples", Path(__file__).parents[2]), ("session_mw._examples", None))


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_endpoint_behind_a_proxy_is_not_looked_for(no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a proxy leads out, a connection of our own would say nothing."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    expect_somebody_at("http://backend.example:4318")


def test_nobody_at_the_endpoint_is_an_error_with_what_to_do(no_proxy: None) -> None:
    """It names the URL and the cause."""
    with pytest.raises(DemoError, match=r"cannot reach the back end at http://127\.0\.0\.1:9: .*correct --endpoint"):
        expect_somebody_at("http://127.0.0.1:9")


def test_next_steps_name_the_file_that_was_written() -> None:
    """So that the command can be copied, whatever the directory is called."""
    console = Console(width=200, color_system=None)
    place = Place("demo-1", Path("/tmp/my files/demo-1"))
    with console.capture() as capture:
        print_next_steps(console, place, sent_elsewhere=False)
    line = next(line for line in capture.get().splitlines() if "session-mw view" in line)

    assert ["session-mw", "view", "--ledger", "sqlite:////tmp/my files/demo-1/sessions.db"] == shlex.split(line)[:4]
