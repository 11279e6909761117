"""``session-mw list``, ``show``, ``stats``, ``compare``, ``export`` and ``ledger forget``, over real histories."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import session_mw
from session_mw._core import names
from session_mw._core.identity import derive_key, hash_user_id
from session_mw.cli.app import command
from session_mw.cli.looking import COMMANDS, show, tables
from session_mw.cli.looking.common import plain, shown_ms, shown_usd
from session_mw.ledger import open_ledger
from session_mw.ledger.documents import SESSION_NAMES
from tests.cli.history import HOUR, JANE, tell
from tests.ledger.support import end
from tests.stores.pg_server import schema

NINE = [
    "session_id",
    "user_id",
    "start_time",
    "end_time",
    "duration_ms",
    "trace_count",
    "total_tokens",
    "total_cost_usd",
]
ROOT = Path(session_mw.__file__).parents[1]
SECRET = "a-secret-of-at-least-sixteen-bytes-for-tests"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests says nothing."""
    for name in ("STORE", "LEDGER", "SECRET_KEY", "USER_HASH_KEY", "USER_ID_MODE"):
        monkeypatch.delenv(f"SESSION_MW_{name}", raising=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A history that is only looked at."""
    with ExitStack() as stack:
        found = f"sqlite:///{tmp_path_factory.mktemp('history')}/history.db"
        if request.param == "postgresql":
            found = stack.enter_context(schema(request.getfixturevalue("pg_server")))
        fill(found)
        yield found


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A history of one test."""
    found = f"sqlite:///{tmp_path}/history.db"
    fill(found)
    return found


def fill(url: str) -> None:
    ledger = open_ledger(url)
    tell(ledger, int(time.time() * 1000))
    ledger.close()


def run(*words: str, **more: Any) -> Result:
    return CliRunner().invoke(command, list(words), prog_name="session-mw", **more)


def ids(result: Result) -> list[str]:
    assert 0 == result.exit_code, result.output
    return [row["session_id"] for row in json.loads(result.stdout)]


# -- list


def test_list_shows_the_last_month(url: str) -> None:
    """A line a session on standard output, how many there are on standard error."""
    result = run("list", "--ledger", url)
    lines = [line.split("\t") for line in result.stdout.splitlines()]

    assert 0 == result.exit_code
    assert [
        "session",
        "type",
        "version",
        "user",
        "started (UTC)",
        "duration",
        "turns",
        "tokens",
        "cost",
        "status",
    ] == lines[0]
    assert ["open-1", "review-1", "chat-1"] == [line[0] for line in lines[1:]]
    assert ["chat", "v2", JANE, "1h 00m", "3", "140", "$1.25", "timed_out, 1 error"] == lines[3][1:4] + lines[3][5:]
    assert "3 of 3 sessions, active in the last 30 days\n" == result.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--all-time"], "open-1 review-1 chat-1 old-1"),
        (["--unconfirmed", "type:chat"], "bot-1 chat-1"),
        (["type:chat", "has_errors:true"], "chat-1"),
        (['session.type = "chat" AND cost:>1.00'], "chat-1"),
        (["last", "3", "hours"], "open-1 review-1"),
        (["started:<-300d"], "old-1"),
        (["--", "-type:chat"], "open-1 review-1"),
        (["--sort", "cost", "--all-time"], "old-1 chat-1 review-1 open-1"),
        (["--sort", "-turns", "--limit", "1"], "chat-1"),
        (["--limit", "2"], "open-1 review-1"),
        (["type:nobody"], ""),
    ],
)
def test_list_finds(url: str, words: list[str], expected: str) -> None:
    """Filters need quotes only where the shell would read them; a filter that names a time has no window."""
    assert expected.split() == ids(run("list", "--ledger", url, "--json", *words))


def test_list_says_where_sessions_may_be(url: str) -> None:
    """When the window hides all there is."""
    result = run("list", "--ledger", url, "old")

    assert (0, "") == (result.exit_code, result.stdout)
    assert "older: 1 session; --all-time shows them" in result.stderr


def test_documents_have_the_names_and_types_of_every_tool(url: str) -> None:
    """The nine attributes of a session, in list and show alike; what is unknown is null."""
    chat, review = (json.loads(run("show", "--ledger", url, name, "--json").stdout) for name in ("chat-1", "review-1"))
    listed = json.loads(run("list", "--ledger", url, "--json", "chat-1").stdout)

    assert [*NINE, "metadata", "turn_count"] == list(chat)[:10]
    assert [str, str, str, str, int, int, int, float, dict, int] == [type(value) for value in chat.values()][:10]
    assert ("chat-1", JANE, HOUR + 30_000, 3, 140, 1.25, 3) == (
        *(
            chat[name]
            for name in ("session_id", "user_id", "duration_ms", "trace_count", "total_tokens", "total_cost_usd")
        ),
        chat["turn_count"],
    )
    assert {"source": "web", "beta": True} == chat["metadata"]
    assert chat["start_time"].endswith("Z") and chat["start_time"] < chat["end_time"]
    assert (None, None, {}) == (review["user_id"], review["total_cost_usd"], review["metadata"])
    turns = chat.pop("turns")
    assert [chat] == listed
    assert [(1, "ok", "greet"), (2, "ok", "search"), (3, "error", None)] == [
        (turn["turn_number"], turn["status"], turn["action"]) for turn in turns
    ]
    assert ("TimeoutError", 30_000, 0.03) == (turns[2]["error_type"], turns[2]["latency_ms"], turns[2]["cost_usd"])


def test_csv_has_the_same_names(url: str) -> None:
    """A line a session, objects as JSON, nothing for what is unknown."""
    result = run("list", "--ledger", url, "--csv", "--all-time")
    head, *rows = csv.reader(io.StringIO(result.stdout))

    assert list(SESSION_NAMES) == head
    assert ["open-1", "review-1", "chat-1", "old-1"] == [row[0] for row in rows]
    chat, review = dict(zip(head, rows[2], strict=True)), dict(zip(head, rows[1], strict=True))
    assert ("1.25", "", {"source": "web", "beta": True}) == (
        chat["total_cost_usd"], review["total_cost_usd"], json.loads(chat["metadata"])
    )  # fmt: skip


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1"])
def test_csv_holds_no_formula(text: str) -> None:
    """Whatever a client called its session, a spreadsheet shows it as text; numbers stay numbers."""
    (row,) = csv.reader(io.StringIO(tables.csv_line([text, -5, 1.5, None, "a=b"]), newline=""))

    assert [f"'{text}", "-5", "1.5", "", "a=b"] == row


# -- errors


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["list", "trace_cont:>5"],
            "there is no field 'trace_cont'. Did you mean 'trace_count'?\n  trace_cont:>5\n  ^^^^^^^^^^\n",
        ),
        (["list", "type:chat", "cost:>x"], "column 17: 'cost' needs an amount in US dollars, such as 1.50, found 'x'."),
        (["stats", "OR"], "OR needs a condition before it"),
        (["list", "--sort", "price"], "nothing is sorted by 'price'"),
        (
            ["stats", "--by", "type,prompt_versoin"],
            "no field 'prompt_versoin' to group by. Did you mean 'prompt_version'?",
        ),
        (["compare", "a", "b", "--metric", "price"], "Compare by one of cost, tokens"),
        (["compare", "a", "b", "--by", "prize"], "no field 'prize'"),
        (["export", "--format", "csv", "a ("], "not closed"),
        (["tail", "a ("], "not closed"),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["ledger", "forget"], "nobody was named"),
    ],
)
def test_command_line_that_is_not_understood(words: list[str], says: str, mine: str) -> None:
    """Exit code 2, nothing on standard output, the place marked."""
    result = run(*words, "--ledger", mine)

    assert (2, "") == (result.exit_code, result.stdout)
    assert says in result.stderr


@pytest.mark.parametrize(
    "words",
    [["list"], ["show", "x"], ["stats"], ["compare", "a", "b"], ["tail"], ["ledger", "forget", "--session", "x"]],
)
def test_history_has_to_be_named_and_there(words: list[str], tmp_path: Path) -> None:
    """A mistake is one line; no file is made by looking into it."""
    nothing, memory = run(*words), run(*words, "--ledger", "memory://")
    redis, missing = run(*words, "--store", "redis://h/0"), run(*words, "--ledger", f"sqlite:///{tmp_path}/none.db")

    assert [2, 2, 2, 1] == [one.exit_code for one in (nothing, memory, redis, missing)]
    assert "no history was named" in nothing.stderr and "memory:// lives" in memory.stderr
    assert "redis:// keeps no history" in redis.stderr
    assert missing.output.startswith("Error: there is no file") and not (tmp_path / "none.db").exists()


def test_history_of_the_store_is_its_own(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere: the ledger, or the store's database; from the environment too."""
    assert "chat-1" in run("list", "--store", mine).stdout
    monkeypatch.setenv("SESSION_MW_STORE", "redis://cache/0")
    monkeypatch.setenv("SESSION_MW_LEDGER", mine)
    assert "chat-1" in run("list").stdout


def test_unknown_session_is_told(url: str) -> None:
    """Exit code 1, one line."""
    result = run("show", "nobody", "--ledger", url)

    assert (1, "") == (result.exit_code, result.stdout)
    assert "no session 'nobody' is in the history" in result.stderr


# -- show


def test_show_draws_turns_on_an_axis(url: str) -> None:
    """Idle time is collapsed, errors are marked in words, each turn has its tokens and cost."""
    result = run("show", "chat-1", "--ledger", url)
    lines = result.stdout.splitlines()

    assert 0 == result.exit_code
    assert 'chat-1  chat · v2 · "async-refactor"' == lines[0]
    assert "1h 00m · 3 turns · 3 traces · 1 error · 140 tokens (in 100, out 40) · $1.25" in lines[2]
    assert ["1  greet", "2  search"] == [
        line[3:].rstrip()[: len(name) + 3] for line, name in zip(lines[5:7], ["greet", "search"], strict=True)
    ]
    assert "59m 48s idle" in lines[7]
    assert lines[8].startswith("   3!") and lines[8].endswith("error TimeoutError")
    assert all("120    $0.0300" in line for line in (lines[5], lines[6], lines[8]))
    assert "\x1b" not in result.stdout


def test_show_tells_of_turns_that_are_missing(url: str) -> None:
    """What is not in the history is not taken for idle time."""
    result = run("show", "review-1", "--ledger", url)

    assert "no turns are in the history" in result.stdout
    assert "the history has 0 of 1 turns" in result.stderr


def test_show_has_the_generation_that_was_asked_for(mine: str) -> None:
    """The newest, unless told which."""
    ledger = open_ledger(mine)
    ledger.emit([end("chat-1", generation=2, turns=9)])
    ledger.close()
    found = [run("show", "chat-1", "--json", "--ledger", mine, *more) for more in ([], ["--generation", "1"])]

    assert [(2, 9), (1, 3)] == [(one["generation"], one["turn_count"]) for one in (json.loads(r.stdout) for r in found)]


def test_hostile_text_does_not_reach_the_terminal(mine: str) -> None:
    """Escape sequences and direction marks are shown, not obeyed."""
    ledger = open_ledger(mine)
    ledger.emit([end("evil", attributes={names.SESSION_NAME: "\x1b[2J\u202eevil", names.SESSION_TYPE: "a\tb\nc"})])
    ledger.close()
    for words in (["show", "evil"], ["list", "--all-time"], ["stats", "--by", "name", "--all-time"]):
        said = run(*words, "--ledger", mine).stdout
        assert "\x1b" not in said and "\u202e" not in said
    assert "\\x1b[2J\\u202eevil" in run("show", "evil", "--ledger", mine).stdout


# -- stats and compare


def test_stats_sums_up(url: str) -> None:
    """One line over all; the rate of resolution with what is unknown beside it."""
    (found,) = json.loads(run("stats", "--ledger", url, "--json").stdout)
    line = run("stats", "--ledger", url).stdout.splitlines()[1].split("\t")

    assert {
        "sessions": 3, "users": 2, "anonymous_sessions": 1, "turns": 4, "total_tokens": 280,
        "sessions_without_tokens": 1,
        "total_cost_usd": 1.25, "avg_cost_usd": 1.25, "sessions_without_cost": 2, "avg_turn_latency_ms": 275.0,
        "resolved": 1, "settled": 1, "unknown_outcome": 2, "resolution_rate": 1.0, "sessions_with_errors": 1,
    }.items() <= found.items()  # fmt: skip
    assert ["3", "2", "4", "1.3", "280*", "$1.25*", "$1.25", "275 ms", "1", "100.0%", "67%"] == line


def test_stats_groups(url: str) -> None:
    """By fields and attributes, in natural order, what has none last."""
    found = json.loads(
        run("stats", "--ledger", url, "--all-time", "--by", "prompt_version, metadata.source", "--json").stdout
    )

    assert [("v2", "web", 1), ("v10", None, 1), (None, None, 2)] == [
        (one["group"]["prompt_version"], one["group"]["metadata.source"], one["sessions"]) for one in found
    ]
    assert run("stats", "--ledger", url, "--by", "type").stdout.startswith("type\tsessions\t")


def versions(url: str, users: int) -> None:
    """Two versions, two sessions a user; the second costs a tenth more."""
    ledger = open_ledger(url)
    for version, cost in (("v9", 100_000), ("v10", 110_000)):
        said = {names.SESSION_PROMPT_VERSION: version, names.SESSION_USER_SATISFACTION: 0.5}
        ledger.emit(
            [
                end(f"{version}-{n}", user_id=f"{version}{n // 2}", cost_microusd=cost + 100 * (n % 7), attributes=said)
                for n in range(2 * users)
            ]
        )
    ledger.close()


def test_compare_tells_the_difference(mine: str) -> None:
    """Of means, with an interval over users; nothing is called a winner."""
    versions(mine, 20)
    words = ["compare", "v9", "v10", "--all-time", "--ledger", mine]
    found, shown = json.loads(run(*words, "--json").stdout), run(*words).stdout

    assert ("v9", 20, 40, "v10", 20, 40) == tuple(
        found[arm][name] for arm in "ab" for name in ("name", "users", "sessions")
    )
    assert (
        0.0100 == pytest.approx(found["difference"])
        and found["interval"][0] < found["difference"] < found["interval"][1]
    )
    assert 1.0 == found["chance_b_is_larger"]
    assert "difference v10 - v9: +$0.0100, 95 % interval $0.0099 to $0.0101" in shown
    assert "v9: 20 users only" in shown and "Looking every day" in shown
    assert "winner" not in shown and "better" not in shown


@pytest.mark.parametrize("metric", ["tokens", "latency", "satisfaction", "resolution", "score:helpful"])
def test_compare_by_every_metric(mine: str, metric: str) -> None:
    """Each is shown in its unit; what nobody knows is counted, not guessed."""
    versions(mine, 12)
    result = run("compare", "v9", "v10", "--metric", metric, "--all-time", "--ledger", mine)

    assert 0 == result.exit_code, result.output
    unknown = metric == "score:helpful"
    assert unknown == ("left out: 24." in result.stdout)
    assert {"tokens": "140", "latency": "300 ms", "satisfaction": "0.500", "resolution": "0.0%"}.get(
        metric, "-"
    ) in result.stdout


def test_compare_names_the_values_there_are(url: str) -> None:
    """In the order in which people count."""
    result = run("compare", "v2", "v3", "--ledger", url)

    assert 1 == result.exit_code
    assert "no session has prompt_version 'v3'. There is: v2, v10" in result.stderr


# -- export


def test_export_streams_every_session(mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, the oldest first, to a file."""
    monkeypatch.setattr("session_mw.ledger.walking.LARGEST_PAGE", 2)
    target = tmp_path / "out.csv"
    result = run("export", "--format", "csv", "-o", str(target), "--ledger", mine)
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))

    assert (0, "", "4 sessions\n") == (result.exit_code, result.stdout, result.stderr)
    assert ["old-1", "chat-1", "review-1", "open-1"] == [row["session_id"] for row in rows]


def test_export_jsonl_has_the_turns(url: str) -> None:
    """An object a line, as show --json has it."""
    result = run("export", "type:chat", "last", "7", "days", "--format", "jsonl", "--ledger", url)
    (line,) = result.stdout.splitlines()

    assert json.loads(run("show", "chat-1", "--json", "--ledger", url).stdout) == json.loads(line)


def test_export_otlp_is_read_by_the_protocol_itself(url: str) -> None:
    """Spans keep their recorded ids; OpenTelemetry's own messages take every line."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    result = run("export", "--format", "otlp", "--ledger", url)
    (line,) = result.stdout.splitlines()  # the others have no turns in the history
    found = json.loads(line)
    spans = found["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span in spans:  # protobuf's own JSON has bytes in base64, OTLP's in hexadecimal
        assert (32, 16) == (len(span["traceId"]), len(span["spanId"]))
        int(span["traceId"], 16)
    json_format.ParseDict({**found, "resourceSpans": []}, ExportTraceServiceRequest())
    copied = json.loads(line)
    for span in copied["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        span["traceId"], span["spanId"] = "AAAA", "AAAA"
    parsed = json_format.ParseDict(copied, ExportTraceServiceRequest())

    assert [f"{n:032x}" for n in (1, 2)] == [span["traceId"] for span in spans[:2]]
    third = parsed.resource_spans[0].scope_spans[0].spans[2]
    said = {one.key: one.value for one in third.attributes}
    assert (2, "TimeoutError", 30_000_000_000) == (
        third.status.code, third.status.message, third.end_time_unix_nano - third.start_time_unix_nano
    )  # fmt: skip
    assert ("chat-1", 3, "v2") == (
        said[names.SESSION_ID].string_value,
        said[names.TURN_NUMBER].int_value,
        said[names.SESSION_PROMPT_VERSION].string_value,
    )


# -- forget


def left(url: str) -> set[str]:
    return set(ids(run("list", "--all-time", "--unconfirmed", "--json", "--ledger", url)))


EVERYTHING = {"chat-1", "review-1", "open-1", "old-1", "bot-1"}


def test_forget_by_pseudonym_needs_no_key(mine: str) -> None:
    """What the history shows can be given as it is."""
    result = run("ledger", "forget", "--user", JANE, "--yes", "--ledger", mine)

    assert (0, "forgot 1 session, 3 turns\n") == (result.exit_code, result.stdout)
    assert EVERYTHING - {"chat-1"} == left(mine)


@pytest.mark.parametrize("name", ["SECRET_KEY", "USER_HASH_KEY"])
def test_forget_by_the_application_s_id_needs_the_key(mine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pseudonym is made as the workers make it."""
    user = hash_user_id("jane@example.com", derive_key(SECRET.encode(), "user-hash"))
    ledger = open_ledger(mine)
    ledger.emit([end("hers", user_id=user)])
    ledger.close()
    without = run("ledger", "forget", "--user", "jane@example.com", "--yes", "--ledger", mine)
    monkeypatch.setenv(f"SESSION_MW_{name}", SECRET)
    found = ids(run("list", "--all-time", "--json", "--ledger", mine, 'user:"jane@example.com"'))
    result = run("ledger", "forget", "--user", "jane@example.com", "--yes", "--json", "--ledger", mine)

    assert 2 == without.exit_code and "SESSION_MW_USER_HASH_KEY or SESSION_MW_SECRET_KEY" in without.stderr
    assert ["hers"] == found
    assert {"sessions": 1, "turns": 0, "late_usage": 0, "active": 0} == json.loads(result.stdout)
    assert left(mine) == EVERYTHING


def test_forget_where_no_pseudonyms_are_made(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id is looked for as it is; one that goes on is told of."""
    monkeypatch.setenv("SESSION_MW_USER_ID_MODE", "plain")
    result = run("ledger", "forget", "--user", "u_2", "--yes", "--ledger", mine)

    assert "forgot 1 session, 0 turns\n" == result.stdout
    assert "1 of these had not ended" in result.stderr
    assert EVERYTHING - {"open-1"} == left(mine)


def test_forget_asks_first(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody can answer; elsewhere it wants --yes. Nothing is deleted before."""
    silent = run("ledger", "forget", "--session", "chat-1", "--ledger", mine)
    monkeypatch.setattr("session_mw.cli.looking.forget._can_ask", lambda: True)
    no = run("ledger", "forget", "--session", "chat-1", "--ledger", mine, input="n\n")
    assert (2, 1) == (silent.exit_code, no.exit_code)
    assert "this deletes 1 session" in silent.stderr and "Delete 1 session for good?" in no.stderr
    assert EVERYTHING == left(mine)

    assert 0 == run("ledger", "forget", "--session", "chat-1", "--ledger", mine, input="y\n").exit_code
    assert EVERYTHING - {"chat-1"} == left(mine)


def test_forget_of_nobody_known_says_so(mine: str) -> None:
    """It does not ask, and is no error: a second run is like the first."""
    result = run("ledger", "forget", "--session", "nobody", "--ledger", mine)

    assert (0, "forgot 0 sessions, 0 turns\n") == (result.exit_code, result.stdout)


# -- all


@pytest.mark.parametrize("found", [*COMMANDS[:-1], *COMMANDS[-1].commands.values()], ids=lambda one: str(one.name))
def test_help_shows_how_it_is_used(found: click.Command) -> None:
    """An example each, and what every option does."""
    text = " ".join((found.help or "").split())

    assert "Example" in text and "session-mw " in text
    assert all(option.help for option in found.params if isinstance(option, click.Option))
    assert show in COMMANDS


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (4_200, "4.2 s"),
        (724_000, "12m 04s"),
        (11_400_000, "3h 10m"),
        (187_200_000, "2d 4h"),
    ],
)
def test_lengths_of_time_for_people(ms: int | None, expected: str) -> None:
    """Two units at most."""
    assert expected == shown_ms(ms)


@pytest.mark.parametrize(("usd", "expected"), [(None, "-"), (0, "$0.00"), (0.00123, "$0.0012"), (1234.5, "$1,234.50")])
def test_money_for_people(usd: float | None, expected: str) -> None:
    """No price is no zero."""
    assert expected == shown_usd(usd)


def test_plain_text_stays_as_it_is() -> None:
    """Other scripts are no attack."""
    assert ("Grüße 你好", "a\\x07b") == (plain("Grüße 你好"), plain("a\x07b"))


class Terminal(io.StringIO):
    """Standard output as it is on a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("width", "users"), [(80, False), (140, True)])
def test_tables_fit_the_terminal(mine: str, width: int, users: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow one does without some columns; ids are always whole; colours are there, on a terminal only."""
    out = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name in ("CI", "TTY_COMPATIBLE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdout", out)
    for name in ("list", "stats"):
        command.commands[name].main(["--ledger", mine], standalone_mode=False)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())

    assert bare != out.getvalue()
    assert all(len(line.rstrip()) <= width for line in bare.splitlines()), bare
    assert "review-1" in bare and "timed_out, 1 error" in bare and "100.0%" in bare
    assert users == ("u_1111…111111" in bare) == ("outcome unknown" in bare)


def test_output_that_takes_no_unicode_is_no_failure(mine: str) -> None:
    """Names are shown as far as they can be; JSON loses nothing."""
    ledger = open_ledger(mine)
    ledger.emit([end("names", attributes={names.SESSION_NAME: "你好"})])
    ledger.close()

    def said(*words: str) -> bytes:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "SESSION_MW_LEDGER": mine}
        done = subprocess.run([sys.executable, "-m", "session_mw", *words], capture_output=True, env=environment)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    assert b'"??"' in said("show", "names") and b"####" in said("show", "chat-1")
    assert "你好" == json.loads(said("show", "names", "--json"))["name"]
