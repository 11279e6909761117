"""The filter language: what it accepts, what it says to what it does not, and that every ledger finds the same."""

from __future__ import annotations

import random
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw._core import names
from session_mw.exceptions import FilterError
from session_mw.ledger import Ledger, RingLedger, open_ledger, read_filter
from session_mw.ledger.filters import sql
from session_mw.ledger.filters.fields import FIELDS
from session_mw.ledger.filters.parser import MAX_CONDITIONS, MAX_DEPTH, MAX_LENGTH
from tests.ledger.support import DAY, T0, end, make, start, turn
from tests.stores.pg_server import schema

NOW = T0 + 2 * DAY
MINUTE = 60_000


def found(ledger: Ledger, text: str, **meaning: Any) -> list[str]:
    """Return the ids of the sessions that fit *text*, in order."""
    filter_ = read_filter(text, NOW, **meaning)
    return sorted(row.session_id for row in ledger.sessions(where=filter_))


@pytest.fixture(scope="module", params=["sqlite", "memory", "postgresql"])
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Return a ledger with an expensive session, one without errors and one that goes on, two days apart."""
    with ExitStack() as stack:
        if request.param == "postgresql":
            ledger = open_ledger(stack.enter_context(schema(request.getfixturevalue("pg_server"))))
        else:
            ledger = make(request.param, tmp_path_factory.mktemp("three"))
        yield filled(ledger)
        ledger.close()


def filled(ledger: Ledger) -> Ledger:
    dear: dict[str, Any] = {
        names.SESSION_TYPE: "code-review",
        names.SESSION_PROMPT_VERSION: "v2",
        names.SESSION_NAME: "async-refactor",
        "metadata.source": "web",
        "metadata.size": 5,
        "metadata.beta": True,
    }
    ledger.write_turns([turn("dear", number=n, trace=f"{n:032x}-{n:016x}-01") for n in range(1, 7)])
    spent = {"cost_microusd": 1_000_001, "last_ms": T0 + 300_001, "ended_ms": T0 + DAY}
    ledger.emit([end("dear", user_id="user-123", turns=6, attributes=dear, **spent)])
    cheap: dict[str, Any] = {names.SESSION_TYPE: "chat", "metadata.size": "5", "metadata.beta": "true"}
    cheap[names.SESSION_OUTCOME] = "resolved"
    times = {"started_ms": T0 + DAY, "last_ms": T0 + DAY + 1, "ended_ms": T0 + DAY + 2}
    quiet = {"failed": 0, "cost_microusd": 1_000_000, "user_id": "u_2"}
    ledger.emit([end("cheap", attributes=cheap, reason="user_exit", **quiet, **times)])
    ledger.emit([start("open", started_ms=NOW - MINUTE, user_id=None, attributes={})])
    return ledger


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Literally the examples of the documents that this is built after.
        ("user:user-123", "dear"),
        ("last 24 hours", "cheap open"),
        ("date:2025-10-09", "dear"),
        ("trace_count:>5", "dear"),
        ("duration:>300000", "dear"),
        ("cost:>1.00", "dear"),
        ("has_errors:true", "dear"),
        ('session.type = "code-review"', "dear"),
        ('session.prompt_version = "v2"', "dear"),
        ('session.name = "async-refactor"', "dear"),
        ('session.type = "code-review" AND session.prompt_version = "v2"', "dear"),
        ("# By user\nuser:user-123\n\n# By cost\ncost:>1.00", "dear"),
        # Other ways to say it.
        ("", "cheap dear open"),
        ("session_id == dear", "dear"),
        ("type:[chat, code-review]", "cheap dear"),
        ("type IN ('chat', 'none')", "cheap"),
        ("type not in (chat)", "dear open"),
        ("type:code-*", "dear"),
        ('type:"code-*"', ""),
        ("-type:chat", "dear open"),
        ("!type:chat", "dear open"),
        ("NOT (type:chat OR user_id:user-123)", "open"),
        ("type IS NULL", "open"),
        ("type is not none", "cheap dear"),
        ("user:*", "cheap dear"),
        ('name CONTAINS "REFACTOR"', "dear"),
        ("refactor", "dear"),
        ("de", "dear"),
        ("user-1", "dear"),
        ("type:chat or cost:>1", "cheap dear"),
        ("cost:1", "cheap"),
        ("cost:=1.000001", "dear"),
        ("cost:>=1.00 cost:<1.000001", "cheap"),
        ("cost != 1", "dear open"),
        ("cost:$1..1.5", "cheap dear"),
        ("cost:..1", "cheap"),
        ("duration:>5m", "dear"),
        ("duration:<=300001", "cheap dear open"),
        ("duration:<=0.005m", "cheap open"),
        ("active:>=0", "cheap dear"),
        ("active:>1h", ""),
        ("turn_count:6..*", "dear"),
        ("tokens:<1k", "cheap dear"),
        ("has_errors:no", "cheap open"),
        ("resolved:true", "cheap"),
        ("resolved:false", "dear"),
        ("status:timed_out", "dear"),
        ("status:active", "open"),
        ("end_reason:user_exit", "cheap"),
        ("started:2025-10", "cheap dear open"),
        ("started:>2025-10-09", "cheap open"),
        ("started:2025-10-09..2025-10-10", "cheap dear"),
        ("started:>=-2h", "open"),
        ("started:>-24h", "open"),
        ("started:2025-10-09T08:53:20Z", "dear"),
        ("ended:<2025-10-10T08:53:20.001Z", "dear"),
        ("today", "open"),
        ("yesterday", "cheap"),
        ("last hour", "open"),
        ("past 2 days", "cheap dear open"),
        ("past day", "cheap open"),
        ("last 3d", "cheap dear open"),
        ("last:>2025-10-09", "cheap open"),
        # Attributes keep their types.
        ("metadata.source:web", "dear"),
        ('metadata["source"]=web', "dear"),
        ('attributes["metadata.source"] != "web"', "cheap open"),
        ("metadata.size:5", "cheap dear"),
        ('metadata.size:"5"', "cheap"),
        ("metadata.size:>4.5", "dear"),
        ("metadata.size:4..5", "dear"),
        ("metadata.beta:true", "cheap dear"),
        ('metadata.beta:"true"', "cheap"),
        ("metadata.source:w*b", "dear"),
        ("metadata.source contains EB", "dear"),
        ("metadata.source is null", "cheap open"),
        ("metadata.source:*", "dear"),
        ("metadata.nobody:1", ""),
        ('attributes["session.type"]:chat', "cheap"),
    ],
)
def test_finds(three: Ledger, text: str, expected: str) -> None:
    """What a filter means, in every ledger."""
    assert expected.split() == found(three, text)


@pytest.mark.parametrize(
    ("text", "line", "column", "marked", "says"),
    [
        ("trace_cont:>5", 1, 1, "trace_cont", "no field 'trace_cont'. Did you mean 'trace_count'?"),
        ("source:web", 1, 1, "source", 'Your own are written metadata["source"]'),
        ("user:a OR OR b", 1, 8, "OR", "OR needs a condition after it"),
        ("user:a AND", 1, 8, "AND", "AND needs a condition after it"),
        ("AND user:a", 1, 1, "AND", "AND needs a condition before it"),
        ("NOT", 1, 1, "NOT", "NOT needs a condition after it"),
        ("duration:>5q", 1, 11, "5q", "a unit of time after the number (ms, s, m, h, d, w), found '5q'"),
        ("type:chat\nAND cost:>x", 2, 11, "x", "'cost' needs an amount in US dollars"),
        ("type = = x", 1, 8, "=", "'type' needs a value here"),
        ("type:", 1, 6, "", "'type' needs a value here"),
        ("type:>a", 1, 7, "a", "compared with = and != only, not >"),
        ("status:activ", 1, 8, "activ", "Did you mean 'active'?"),
        ("has_errors:maybe", 1, 12, "maybe", "either true or false"),
        ("turns contains 5", 1, 16, "5", "no text that could contain anything"),
        ("date:2024-02-30", 1, 6, "2024-02-30", "a date that exists"),
        ("date:soon", 1, 6, "soon", "a date, such as"),
        ("cost:5..1", 1, 6, "5..1", "ends before it begins"),
        ("last 5 qs", 1, 8, "qs", "a unit of time: minutes"),
        ("a (b", 1, 3, "(", "not closed"),
        ("()", 1, 1, "()", "no condition between"),
        ("a)", 1, 2, ")", "closes nothing"),
        ("type:[a", 1, 6, "[", "not closed"),
        ("type:(a]", 1, 6, "(", "not closed"),
        ('name:"a', 1, 6, '"', "not closed"),
        ("metadata[a]:1", 1, 10, "a", "in quotes"),
        ('metadata["a"]', 1, 14, "", "a comparison has to follow"),
        ("metadata.size:>big", 1, 16, "big", "a number only"),
        ("(" * (MAX_DEPTH + 1) + "a", 1, MAX_DEPTH + 2, "a", "nested more than"),
        ("a " * (MAX_CONDITIONS + 1), 1, 2 * MAX_CONDITIONS + 1, "a", "50 conditions at most"),
        ("x" * (MAX_LENGTH + 1), 1, MAX_LENGTH + 1, "x", "2,000 characters at most"),
    ],
)
def test_error_names_the_place(text: str, line: int, column: int, marked: str, says: str) -> None:
    """Line and column, the text with a mark below, and what may have been meant."""
    with pytest.raises(FilterError) as caught:
        read_filter(text, NOW)
    error, shown = caught.value, text.split("\n")[line - 1]

    assert (line, column) == (error.line, error.column)
    assert marked == shown[error.column - 1 : error.end - 1]
    assert says in str(error)
    assert str(error).endswith(f"\n  {shown}\n  {' ' * (column - 1)}{'^' * max(1, len(marked))}")


def test_days_are_those_of_the_reader() -> None:
    """A day has midnight where the reader is, and in spring one has 23 hours."""
    ledger, paris = RingLedger(), ZoneInfo("Europe/Paris")
    midnight = 1_774_738_800_000  # 29 March 2026, 00:00 in Paris, 23:00 the day before in UTC
    ledger.emit([end("s", started_ms=midnight, last_ms=midnight + 1, ended_ms=midnight + 2)])

    assert ["s"] == found(ledger, "date:2026-03-29", zone=paris)
    assert ["s"] == found(ledger, "date:2026-03-28")
    assert [] == found(ledger, "date:2026-03-28", zone=paris)
    after = read_filter("started:>2026-03-29", NOW, zone=paris)
    assert [midnight + 23 * 60 * MINUTE] == sql.where(after.tree, sql.SQLITE)[1]


def test_user_is_found_by_what_the_application_calls_them(three: Ledger) -> None:
    """Where the key is known, a user's own id finds what is kept under the pseudonym, and so does the pseudonym."""
    known = {"ben": "u_2"}.get
    pseudonym = lambda user: known(user, "nobody")  # noqa: E731

    assert ["cheap"] == found(three, "user:ben", pseudonym=pseudonym)
    assert ["cheap"] == found(three, "ben", pseudonym=pseudonym)
    assert ["cheap"] == found(three, "user:u_2", pseudonym=pseudonym)
    assert ["dear", "open"] == found(three, "user!=ben", pseudonym=pseudonym)


def test_attributes_that_no_session_has_are_told() -> None:
    """A typing error in an attribute is no error of the language; it finds nothing, and a sentence says why."""
    warnings = read_filter("metadata.sorce:web user.tier:pro", NOW).warnings(["metadata.source", "user.tier"])

    assert ["No session has the attribute 'metadata.sorce'. Did you mean 'metadata.source'?"] == warnings


def test_pages_go_on_within_a_filter(three: Ledger) -> None:
    """A page of what fits, behind a row, of one user."""
    fits = read_filter("type:*", NOW)
    first = three.sessions(1, where=fits)
    second = three.sessions(1, where=fits, before_pk=first[0].pk)

    assert [["cheap"], ["dear"]] == [[row.session_id for row in page] for page in (first, second)]
    assert ["dear"] == [row.session_id for row in three.sessions(user_id="user-123", where=fits)]


# -- anything

texts = st.sampled_from(
    ["a", "A", "ab", "a*b", "%", "_", "[a]", "?", "é", "\U0010ffff", "\ud7ff", "x\ue000", "\\", "5", "1e3"]
)
quoted = texts.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
numbers = st.sampled_from(["0", "1", "2.5", "1k", "-1"])
operators = st.sampled_from([":", ":>", ":>=", ":<", ":<=", ":!=", "=", " != ", ":="])


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """Draw a condition on something that the sessions below have, or not."""
    kind = draw(st.sampled_from(["text", "number", "attribute", "null", "contains", "free"]))
    if kind == "number":
        return f"{draw(st.sampled_from(['turns', 'traces', 'tokens', 'errors']))}{draw(operators)}{draw(numbers)}"
    name = draw(st.sampled_from(["metadata.a", "metadata.b"] if kind == "attribute" else ["type", "name", "user"]))
    if kind == "null":
        return f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
    if kind == "contains":
        return f"{name} CONTAINS {draw(quoted)}"
    if kind == "free":
        return draw(quoted)
    operator = draw(st.sampled_from([":", "!="]) if kind == "text" else operators)
    value = draw(quoted | texts if operator in (":", "!=") else numbers)
    return f"{name}{operator}{value}"


filters = st.recursive(
    conditions(),
    lambda part: st.one_of(
        part.map("NOT ({})".format),
        st.builds("({} AND {})".format, part, part),
        st.builds("({} OR {})".format, part, part),
    ),
    max_leaves=5,
)
values_of_attributes = st.one_of(texts, st.integers(-1, 6), st.sampled_from([0.5, 2.5, 1e300]), st.booleans())
sessions = st.builds(
    lambda type_, name, user, turns, failed, said: {
        "user_id": user,
        "turns": turns,
        "failed": failed,
        "attributes": {
            k: v for k, v in {names.SESSION_TYPE: type_, names.SESSION_NAME: name, **said}.items() if v is not None
        },
    },
    st.none() | texts,
    st.none() | texts,
    st.none() | texts,
    st.integers(0, 3),
    st.integers(0, 2),
    st.dictionaries(st.sampled_from(["metadata.a", "metadata.b"]), values_of_attributes),
)
unhurried = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def readable(text: str) -> Any:
    """Return a filter, None for one that is no filter: a number for a text, for example."""
    try:
        return read_filter(text, NOW)
    except FilterError:
        return None


def check_alike(ledgers: list[Ledger], described: list[dict[str, Any]], asked: list[str]) -> None:
    """Check that all *ledgers* find the same of the same sessions."""
    for ledger in ledgers:
        ledger.emit([end(f"s{number}", **one) for number, one in enumerate(described)])
    for filter_ in filter(None, map(readable, asked)):
        answers = [[row.session_id for row in ledger.sessions(where=filter_)] for ledger in ledgers]
        assert answers[:1] * len(ledgers) == answers, filter_.text


@settings(unhurried, max_examples=25)
@given(described=st.lists(sessions, max_size=6), asked=st.lists(filters, min_size=1, max_size=12))
def test_any_filter_finds_the_same_in_a_file_and_in_memory(described: list[dict[str, Any]], asked: list[str]) -> None:
    """One is SQL, the other Python."""
    with tempfile.TemporaryDirectory() as folder:
        ledgers = [make(kind, folder) for kind in ("sqlite", "memory")]
        check_alike(ledgers, described, asked)
        for ledger in ledgers:
            ledger.close()


@settings(unhurried, max_examples=10)
@given(data=st.data())
def test_any_filter_finds_the_same_in_postgresql_and_in_memory(data: st.DataObject, pg_emptied: str) -> None:
    """The same for the other dialect."""
    ledger = open_ledger(pg_emptied)
    ledger.forget_older_than(2**60, 1_000)
    described, asked = data.draw(st.lists(sessions, max_size=6)), data.draw(st.lists(filters, min_size=6, max_size=24))
    check_alike([ledger, RingLedger()], described, asked)
    ledger.close()


PIECES = [
    *FIELDS, "metadata.a", "metadata", "attributes", '["k"]', "AND", "OR", "NOT", "in", "is", "null", "contains",
    "last", "24", "hours", "today", "(", ")", "[", "]", ",", ":", "=", ">=", "<", "!=", "==", "-", "!", "*", "..",
    '"', "'", "\\",
    "#", "\n", " ", "5", "1.5k", "$1", "2024-01-15", "-24h", "9999-12-31", "0001-01-01", "5q", "true", "'; DROP TABLE",
    "\x00", "\ud800", "\u202e", "é", "9" * 30, "1e999", "inf", "nan", "x", ";", "%", "2024-13-45T99:99Z", "+99:99",
    "now-1w", "-999999months",
]  # fmt: skip


def noise(count: int) -> Iterator[str]:
    """Yield texts put together from what the language is made of, and from what it is not."""
    chance = random.Random(count)  # the same each time
    for _ in range(count):
        gap = chance.choice(["", " ", chance.choice(PIECES)])
        yield gap.join(chance.choice(PIECES) for _ in range(chance.randint(1, 14)))


def bombard(count: int) -> int:
    """Read *count* texts, and ask SQLite for what could be read; return how many it was."""
    read = 0
    with tempfile.TemporaryDirectory() as folder:
        make("sqlite", folder).sessions()
        file = next(path for path in Path(folder).iterdir() if path.suffix == ".db")
        with closing(sqlite3.connect(file)) as db:
            for filter_ in filter(None, map(readable, noise(count))):
                test, asked = sql.where(filter_.tree, sql.SQLITE)
                assert not re.search(r"DROP|\x00", test)
                db.execute(f"SELECT 1 FROM ledger_sessions AS s WHERE {test}", asked).fetchall()
                read += 1
    return read


def test_noise_raises_nothing_but_filter_errors() -> None:
    """Whatever is typed: an answer or an error of ours; what can be read SQLite can be asked for."""
    assert bombard(3_000) > 300


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_much_noise_raises_nothing_but_filter_errors() -> None:
    """The same 60,000 times."""
    assert bombard(60_000) > 6_000
