"""``session-mw list``: which sessions, in which form."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from session_mw.cli.app import command
from session_mw.cli.looking import tables
from session_mw.ledger.documents import SESSION_NAMES
from tests.cli.looking.history import HOUR, JANE, ids, run

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


@pytest.mark.parametrize("name", ["list", "stats"])
def test_mistyped_attribute_is_told(url: str, name: str) -> None:
    """It is no error, it finds nothing; nothing is said of one that other sessions have."""
    result = run(name, "--ledger", url, "metadata.sorce:web")

    assert 0 == result.exit_code
    assert "No session has the attribute 'metadata.sorce'. Did you mean 'metadata.source'?" in result.stderr
    assert "No session" not in run(name, "--ledger", url, "metadata.source:nowhere").stderr


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


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_csv_holds_no_formula(text: str) -> None:
    """Whatever a client called its session, a spreadsheet shows it as text; numbers stay numbers."""
    (row,) = csv.reader(io.StringIO(tables.csv_line([text, -5, 1.5, None, "a=b"]), newline=""))

    assert [f"'{text}", "-5", "1.5", "", "a=b"] == row


class Terminal(io.StringIO):
    """Standard output as it is on a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("width", "users"), [(80, False), (160, True)])
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
