"""Files as they come: lines, documents, gzip, protobuf, standard input; and broken ones."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_mw.cli.importing import documents, gathered
from session_mw.cli.importing.documents import read_text
from session_mw.cli.importing.otlp import Unreadable
from tests.cli.importing.support import bring, events, lines, opened, request, span
from tests.cli.looking.history import run

ONE = request(span(1, 1, said={"session.id": "s1"}))
TWO = request(span(2, 1, at=1_000, said={"session.id": "s2"}))


def as_lines() -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in (ONE, TWO))


def as_document() -> bytes:
    return json.dumps({"resourceSpans": ONE["resourceSpans"] + TWO["resourceSpans"]}).encode()


def as_pretty_document() -> bytes:
    return json.dumps({"resourceSpans": ONE["resourceSpans"] + TWO["resourceSpans"]}, indent=2).encode()


def as_list() -> bytes:
    return json.dumps([ONE, TWO], indent=1).encode()


def as_gzip() -> bytes:
    return gzip.compress(as_lines())


def with_a_mark_of_byte_order() -> bytes:
    return b"\xef\xbb\xbf" + as_pretty_document()


def as_binary() -> bytes:
    return _message(ONE, TWO)


def as_binary_behind_lengths() -> bytes:
    messages = (_message(ONE), _message(TWO))
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def _message(*requests: dict[str, Any]) -> bytes:
    """Return a request in protobuf, made by OpenTelemetry's own classes."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = json.loads(json.dumps([group for one in requests for group in one["resourceSpans"]]))
    for group in spans:
        for one in group["scopeSpans"][0]["spans"]:
            one["traceId"], one["spanId"] = (_base64(one[name]) for name in ("traceId", "spanId"))
    return json_format.ParseDict({"resourceSpans": spans}, ExportTraceServiceRequest()).SerializeToString()


def _base64(digits: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()


FORMS = [
    as_lines, as_document, as_pretty_document, as_list, as_gzip, with_a_mark_of_byte_order, as_binary,
    as_binary_behind_lengths,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_each_form_is_read(form: Callable[[], bytes], url: str, tmp_path: Path) -> None:
    """Whatever the file is called."""
    file = tmp_path / "traces"
    file.write_bytes(form())
    result = bring(url, str(file))

    assert ["s1", "s2"] == [row.session_id for row in reversed(opened(url).sessions())]
    assert "2 turns (2 new) from 2 spans; skipped 0 lines, 0 spans or records" in result.stdout


def test_standard_input_is_a_file(url: str) -> None:
    """``-`` reads what another program writes."""
    result = bring(url, "-", input=as_gzip())

    assert result.stdout.startswith("imported 2 sessions")


def test_log_records_in_protobuf_are_told_from_spans(url: str, tmp_path: Path) -> None:
    """Both requests have the same first field."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    told = events(("session.start", 0, {"session.id": "s1"}))
    file = tmp_path / "logs.bin"
    file.write_bytes(json_format.ParseDict(told, ExportLogsServiceRequest()).SerializeToString())
    result = bring(url, str(file))

    assert result.stdout.startswith("imported 1 session (1 new), 0 turns")
    assert ["s1"] == [row.session_id for row in opened(url).sessions()]


def test_a_document_is_read_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a chunk ends, the same comes out."""
    text = as_pretty_document()
    whole = [piece for _, piece in read_text(io.BytesIO(text))]
    for chunk in (1, 2, 3, 7, 64):
        monkeypatch.setattr(documents, "CHUNK", chunk)

        assert whole == [piece for _, piece in read_text(io.BytesIO(text))]
    assert 2 == len(whole)


def test_what_is_longer_than_the_bound_costs_nothing_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line, or an element of a document; what comes before and behind is read."""
    monkeypatch.setattr(documents, "MAX_TEXT", 2_000)
    monkeypatch.setattr(documents, "CHUNK", 100)
    big = request(span(3, 1, said={"session.id": "s3", "text": "x" * 5_000}))
    first, second = json.dumps(ONE).encode(), json.dumps(TWO).encode()
    in_lines = list(read_text(io.BytesIO(first + b"\n" + json.dumps(big).encode() + b"\n" + second)))
    document = json.dumps({"resourceSpans": ONE["resourceSpans"] + big["resourceSpans"]}, indent=1).encode()
    in_document = list(read_text(io.BytesIO(document)))

    assert [(1, False), (2, True), (3, False)] == [(n, isinstance(found, Unreadable)) for n, found in in_lines]
    assert [False, True] == [isinstance(found, Unreadable) for _, found in in_document]


def test_a_long_line_is_walked_and_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as if it were decoded at once; up to where it breaks off."""
    both = as_document()
    whole = [piece for _, piece in read_text(io.BytesIO(both))]
    monkeypatch.setattr(documents, "WHOLE", 10)
    walked = [piece for _, piece in read_text(io.BytesIO(both))]
    broken = list(read_text(io.BytesIO(both[:-20] + b"\n" + as_lines() + b'{"a": 1}\n')))

    assert whole == walked
    assert [(1, False), (1, True), (2, False), (3, False), (4, True)] == [
        (number, isinstance(found, Unreadable)) for number, found in broken
    ]


def test_broken_lines_are_named_and_the_rest_is_read(url: str, tmp_path: Path) -> None:
    """By their number; spans without what makes them spans, too."""
    file = tmp_path / "t.jsonl"
    lame = request({**span(3, 1), "traceId": "xyz"}, {**span(4, 1), "startTimeUnixNano": "0"})
    parts = [json.dumps(ONE), '{"resourceSpans": [', "[1, 2]", "", json.dumps(TWO), json.dumps(lame), "\xff"]
    file.write_bytes("\n".join(parts).encode("latin-1"))
    result = bring(url, str(file))

    assert [
        f"{file}:2: no JSON (Expecting value, column 20); skipped",
        f"{file}:3: no resourceSpans and no resourceLogs in it; skipped",
        f"{file}:6: a span without ids; skipped",
        f"{file}:6: a span without a start; skipped",
        f"{file}:7: no JSON (not UTF-8); skipped",
    ] == result.stderr.splitlines()
    assert "imported 2 sessions (2 new)" in result.stdout and "skipped 3 lines, 2 spans or records" in result.stdout


def test_many_broken_lines_are_counted(url: str, tmp_path: Path) -> None:
    """Ten are named."""
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps(ONE) + "\n" + "{\n" * 25, encoding="utf-8")
    result = bring(url, str(file))

    assert 11 == len(result.stderr.splitlines())
    assert f"{file}: 15 more like these" == result.stderr.splitlines()[-1]


def test_strict_stops_before_anything_is_written(url: str, tmp_path: Path) -> None:
    """With the line's number."""
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps(ONE) + "\nbroken\n", encoding="utf-8")
    result = run("ledger", "import", str(file), "--strict", "--ledger", url)

    assert (1, False) == (result.exit_code, (tmp_path / "history.db").exists())
    assert f"Error: {file}:2: no JSON (Expecting value, column 1) (--strict); nothing was written\n" == result.stderr


def test_a_broken_gzip_file_gives_what_it_has(url: str, tmp_path: Path) -> None:
    """As after a crash of who wrote it."""
    many = b"".join(
        json.dumps(request(span(n, 1, said={"session.id": f"s{n}", "noise": f"{hash(str(n))}" * 40}))).encode() + b"\n"
        for n in range(1, 400)
    )
    file = tmp_path / "t.jsonl.gz"
    file.write_bytes(gzip.compress(many)[:-500])
    result = bring(url, str(file), "--dry-run")

    assert "the gzip file is broken, or ends in the middle; skipped" in result.stderr
    assert not result.stdout.startswith("would import 0 sessions")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\x00\x01\x02\x03", "neither JSON nor OTLP"), (b"hello", "no JSON"), (b'{"a": 1}', "no resourceSpans")],
    ids=["binary", "text", "json"],
)
def test_a_file_of_something_else_is_a_failure(content: bytes, said: str, url: str, tmp_path: Path) -> None:
    """In which nothing could be read."""
    file = tmp_path / "t"
    file.write_bytes(content)
    result = run("ledger", "import", str(file), "--ledger", url)

    assert 1 == result.exit_code
    assert said in result.stderr and "nothing could be read" in result.stderr


def test_a_file_that_is_not_there_is_a_failure(url: str, tmp_path: Path) -> None:
    """In one line; so is a history that was not named."""
    missing = run("ledger", "import", str(tmp_path / "no"), "--ledger", url)
    unnamed = run("ledger", "import", lines(tmp_path / "t.jsonl", ONE))

    assert (1, 2) == (missing.exit_code, unnamed.exit_code)
    assert "No such file or directory" in missing.stderr and "no history was named" in unnamed.stderr


def test_an_empty_file_is_no_failure(url: str, tmp_path: Path) -> None:
    """An exporter that has had nothing to write."""
    (tmp_path / "t.jsonl").write_bytes(b"")

    assert bring(url, str(tmp_path / "t.jsonl")).stdout.startswith("imported 0 sessions")


def test_a_dry_run_makes_nothing(url: str, tmp_path: Path) -> None:
    """Not even the file; where there is one, it tells what is new."""
    file = lines(tmp_path / "t.jsonl", ONE)
    first = bring(url, file, "--dry-run")
    made = (tmp_path / "history.db").exists()
    bring(url, file)
    second = bring(url, lines(tmp_path / "both.jsonl", ONE, TWO), "--dry-run", "--json")

    assert (first.stdout.startswith("would import 1 session (1 new)"), made) == (True, False)
    assert {
        "sessions": 2, "new_sessions": 1, "turns": 2, "new_turns": 1, "spans": 2,
        "skipped": {"lines": 0, "parts": 0, "without_session": 0},
    } == json.loads(second.stdout)  # fmt: skip
    assert 1 == len(opened(url).sessions())


def test_no_room_for_what_was_read_is_told(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do; nothing is written then."""
    monkeypatch.setattr(gathered, "_TABLES", gathered._TABLES + "PRAGMA max_page_count = 5;")
    file = lines(tmp_path / "t.jsonl", *(request(span(n, 1, said={"session.id": "s" * 900})) for n in range(1, 40)))
    result = run("ledger", "import", file, "--ledger", url)

    assert (1, False) == (result.exit_code, (tmp_path / "history.db").exists())
    assert "cannot keep what was read for a moment: database or disk is full. Set TMPDIR" in result.stderr


def test_without_protobuf_the_missing_package_is_named(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the line that says how to get it."""
    monkeypatch.setitem(__import__("sys").modules, "google.protobuf.message", None)
    (tmp_path / "t.pb").write_bytes(as_binary())
    result = run("ledger", "import", str(tmp_path / "t.pb"), "--ledger", url)

    assert 1 == result.exit_code
    assert "opentelemetry-proto" in result.stderr and "pip install" in result.stderr
