"""Single calls on the pages: the waterfall of a turn, the conversation, the turn's own page, metrics."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import names
from session_mw._core.records import UsageRecord
from session_mw.ledger import RingLedger, TurnRow, UsageRow
from session_mw.ledger.calls import DEEPEST
from session_mw.viewer.waterfall import bars, steps, unpriced
from tests.ledger.support import turn
from tests.viewer.support import NOW_MS, Element, client, filled, read

LINES = [
    {"role": "user", "type": "text", "text": "what is the answer?"},
    {"role": "assistant", "type": "reasoning", "text": "deep thought"},
    {"role": "assistant", "type": "tool_call", "text": '{"query": "answer"}', "name": "search_docs"},
    {"role": "tool", "type": "tool_result", "text": "42", "name": "search_docs"},
    {"role": "assistant", "type": "text", "text": "it is " + "4" * 3_000},
]


def page(path: str, ledger: Any = None, **options: Any) -> Element:
    """Return a page of a history."""
    answer = client(ledger or filled(), **options).get(path)
    assert 200 == answer.status_code
    return read(answer.text)


def talk(*lines: dict[str, str], calls: tuple[UsageRecord, ...] = ()) -> RingLedger:
    """Return a history of one turn in which something was said."""
    ledger = RingLedger()
    said = {names.TURN_MESSAGES: json.dumps(lines or LINES)}
    ledger.write_turns([turn("talk", 1, started_ms=NOW_MS - 9_000, latency_ms=2_000, attributes=said, usages=calls)])
    return ledger


def cells(table: Element) -> list[list[str]]:
    """Return the texts of a table's rows."""
    return [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in table.one("tbody").all("tr")]


def test_a_turn_shows_its_calls_in_a_table() -> None:
    """Model, tokens by kind, cost, latency, first token, status; what was made in an agent's run stands below it."""
    row = page("/s?id=chat-1").all("li", cls="turn")[1]
    table = row.one("details").one("table", cls="calls")

    dash = "\N{EN DASH}"
    assert [
        ["agent helper", "+100 ms", "1.8 s", dash, dash, dash, dash, "ok"],
        [
            *("model big-1 vendor", "+200 ms", "600 ms", "150 ms", "60 40 from cache · 5 to cache"),
            *("12 7 reasoning", "$0.0300", "ok"),
        ],
        ["tool search_docs", "+850 ms", "400 ms", dash, dash, dash, dash, "ok"],
        ["tool fetch", "+1.2 s", "200 ms", dash, dash, dash, dash, "! TimeoutError"],
        ["model local-1", "+1.5 s", "300 ms", dash, "40", "8", dash, "ok"],
    ] == cells(table)
    depths = [one.all("span")[0].attributes["class"] for one in table.one("tbody").all("th")]
    assert ["depth0", "depth1", "depth1", "depth1", "depth0"] == depths
    assert "2 model calls, 1 agent run, 2 tool calls" in row.one("details").text


def test_a_page_reads_the_calls_of_the_turns_it_shows() -> None:
    """And of the latest five hundred, for the sums in the head; not of all there are."""
    asked: list[Any] = []

    class Asked(RingLedger):
        def usages(self, session_id: str, generation: int | None = None, *, only: Any = None) -> list[UsageRow]:
            asked.append(only)
            return super().usages(session_id, generation, only=only)

    ledger = Asked()
    call = UsageRecord("tool", NOW_MS, 1, "t")
    ledger.write_turns([turn("long", n, started_ms=NOW_MS - 99_000 + n, usages=(call,)) for n in range(1, 601)])
    for view in ("timeline", "conversation", "raw"):
        page(f"/s?id=long&view={view}", ledger)

    assert [500, 50] * 3 == [len(only) for only in asked]  # what the head adds up, and what the page shows


def test_a_turn_with_many_calls_leads_to_its_own_page() -> None:
    """The timeline shows the first twenty."""
    ledger = RingLedger()
    calls = tuple(UsageRecord("tool", NOW_MS - 9_000 + n, 1, f"tool-{n}") for n in range(25))
    ledger.write_turns([turn("many", 1, started_ms=NOW_MS - 9_000, usages=calls)])
    details = page("/s?id=many", ledger).one("li", cls="turn").one("details")

    assert 20 == len(cells(details.one("table")))
    assert "5 more: the whole turn" in details.text
    link = details.all("a")[-1].attributes["href"]
    assert 25 == len(cells(page("/" + link, ledger).one("table", cls="calls")))


def test_calls_that_were_not_kept_are_told_of() -> None:
    """The turn's own page says how many."""
    ledger = RingLedger()
    ledger.write_turns([turn("many", 1, started_ms=NOW_MS - 9_000, attributes={names.TURN_CALLS_DROPPED: 7})])

    assert "7 more calls were not kept; the turn's sums have them." in page("/turn?id=many&n=1", ledger).text


def test_the_shape_of_a_conversation_names_tools_and_thinking() -> None:
    """Where nothing was captured: what ran, how long, what failed, and how many tokens were thought."""
    bubbles = page("/s?id=chat-1&view=conversation").all("li", cls="bubble")
    work = [one.text for one in bubbles[3].one("ul", cls="work").all("li")]

    assert [
        "Agent helper 1.8 s ok",
        "Tool search_docs 400 ms ok",
        "Tool fetch 200 ms ! TimeoutError",
        "Thinking 7 tokens",
    ] == work
    assert not page("/s?id=chat-1&view=conversation&only=messages").all("ul", cls="work")


def test_a_tool_call_that_was_captured_says_how_long_it_took() -> None:
    """Call, result and thinking are closed until somebody opens them; a call has the time and the error of its run."""
    failed = UsageRecord("tool", NOW_MS - 8_500, 350, "search_docs", status="error", error_type="Timeout")
    shown = page("/s?id=talk&view=conversation", talk(calls=(failed,)), can_view_content=lambda actor: True)
    summaries = [one.one("summary").text for one in shown.all("details", cls="tool")]

    assert [
        "Thinking 12 characters",
        "Tool search_docs 19 characters · 350 ms, Timeout",
        "Tool search_docs result 2 characters",
    ] == summaries
    assert not any("open" in one.attributes for one in shown.all("details", cls="tool"))


def test_a_clipped_message_leads_to_all_of_it() -> None:
    """The turn's own page has every character."""
    ledger, allowed = talk(), {"can_view_content": lambda actor: True}
    clipped = page("/s?id=talk&view=conversation", ledger, **allowed)
    (link,) = [one.attributes["href"] for one in clipped.all("a") if one.text == "Show all"]

    assert "4" * 3_000 not in clipped.text
    assert "it is " + "4" * 3_000 in page("/" + link, ledger, **allowed).text


def test_a_turn_page_holds_256_kilobytes() -> None:
    """What is beyond is in the JSON, and the page says so."""
    big = [{"role": "user", "text": "a" * 200_000}, {"role": "assistant", "text": "b" * 200_000}]
    ledger = talk(*big)
    shown = page("/turn?id=talk&n=1", ledger, can_view_content=lambda actor: True)

    assert (200_000, 256 * 1024 - 200_000) == (shown.text.count("a" * 1_000) * 1_000, shown.text.count("b" * 64) * 64)
    assert "This page shows the first 256 KB of it." in shown.text


@pytest.mark.parametrize("may", [None, lambda actor: False])
def test_a_turn_page_has_the_same_gates(may: Any) -> None:
    """No word without the right, and none without the audit."""
    told: list[Any] = []
    hidden = page("/turn?id=talk&n=1", talk(), can_view_content=may, audit=lambda *args: told.append(args))

    assert "it is" not in hidden.text and "deep thought" not in hidden.text
    assert "What was said is kept, but not shown to you" in hidden.text
    assert [] == told
    page("/turn?id=talk&n=1", talk(), can_view_content=lambda actor: True, audit=lambda *args: told.append(args))
    assert [("ana@example.com", "content", "talk")] == told


def test_a_turn_is_found_by_its_row_or_its_number() -> None:
    """Several turns may have one number; a number that there is not, and a session out of scope, are not found."""
    ledger = RingLedger()
    same = {"started_ms": NOW_MS - 9_000}
    ledger.write_turns(
        [turn("s", 1, trace=f"{'a' * 32}-{n:016x}-01", attributes={"which": f"row-{n}"}, **same) for n in (1, 2)]
    )
    ledger.write_turns([turn("s", None, trace=f"{'a' * 32}-{3:016x}-01", attributes={"which": "row-3"}, **same)])
    links = [
        one.one("p", cls="remark").one("a").attributes["href"] for one in page("/s?id=s", ledger).all("li", cls="turn")
    ]

    assert {"row-1", "row-2", "row-3"} == {
        word for link in links for word in re.findall("row-[0-9]", page("/" + link, ledger).text)
    }
    someone = client(ledger)
    for wrong in ("n=9", "t=99999", "n=x", "n=" + "9" * 40, "", "id=nobody&n=1"):
        assert 404 == someone.get(f"/turn?id=s&{wrong}" if "id" not in wrong else f"/turn?{wrong}").status_code
    assert 404 == client(ledger, scope=lambda actor: "type:other").get("/turn?id=s&n=1").status_code


def test_turns_lead_to_those_around_them() -> None:
    """Previous and next, and back to the session."""
    links = {one.text: one.attributes["href"] for one in page("/turn?id=chat-1&n=2").one("nav", cls="trail").all("a")}

    words = {text.strip("\u2039\u203a "): link for text, link in links.items()}
    assert ["Session", "previous turn", "next turn"] == list(words)
    assert page("/" + words["next turn"]).one("h1").text.startswith("Turn 3")


def test_metrics_have_tokens_by_kind_and_a_row_for_each_model() -> None:
    """And say how many calls have no price: unknown is never 0."""
    shown = page("/s?id=chat-1&view=metrics")
    tables = {one.one("caption").text: cells(one) for one in shown.all("table", cls="plain")}

    assert [
        ["Input", "100"],
        ["of it from cache", "40"],
        ["of it to cache", "5"],
        ["Output", "20"],
        ["of it reasoning", "7"],
    ] == tables["Tokens by kind"]
    dash = "\N{EN DASH}"
    assert [
        ["big-1", "1", "60", "12", "600 ms", "150 ms", "$0.0300"],
        ["local-1", "1", "40", "8", "300 ms", dash, dash],
    ] == tables["What was asked of each model"]
    assert [["fetch", "1", "! 1", "200 ms"], ["search_docs", "1", "0", "400 ms"]] == tables["Calls of each tool"]
    assert "1 call without a price" in shown.text


def test_api_and_exports_carry_calls() -> None:
    """Programs get what people see, under the same gate."""
    someone = client(filled())
    (session,) = [json.loads(line) for line in someone.get("/export.jsonl?q=id:chat-1").text.splitlines()]
    alone = someone.get("/api/session?id=chat-1").json()

    assert session["turns"] == alone["turns"]
    assert [0, 5, 0] == [len(one["calls"]) for one in alone["turns"]]
    model = alone["turns"][1]["calls"][1]
    assert ("model", "big-1", 60, 7, 0.03, 150) == tuple(
        model[name]
        for name in ("kind", "model", "input_tokens", "reasoning_tokens", "cost_usd", "time_to_first_token_ms")
    )


spans = st.none() | st.sampled_from([f"{n:016x}" for n in range(4)])
calls = st.builds(
    UsageRow,
    st.just(1),
    st.just(0),
    st.just(1),
    st.sampled_from(["model", "tool", "agent", "embedding", "other"]),
    st.integers(-(2**53), 2**53),
    st.integers(-(2**53), 2**53),
    span_id=spans,
    parent_id=spans,
    first_token_ms=st.none() | st.integers(-10, 2**53),
    cost_microusd=st.none() | st.integers(0, 9),
)


@given(st.lists(calls, max_size=6), st.integers(-5, 2**53), st.floats(0, 100), st.floats(0, 100))
def test_whatever_was_recorded_is_drawn_within_its_turn(
    found: list[UsageRow], latency: int, begin: float, width: float
) -> None:
    """Times from anybody's clock, spans in circles: every bar lies in the turn's, every step is no deeper than six."""
    one = TurnRow(1, "s", 1, 1, started_ms=1_000, latency_ms=latency, status="ok")
    for step in steps(one, found):
        assert 0 <= step.begin <= step.begin + step.width <= 100.01
        assert 0 <= step.first <= step.width + 0.01
        assert 0 <= step.depth <= DEEPEST
    for _, at, wide in bars(one, found, begin, width):
        assert begin - 0.01 <= at <= begin + width + 0.02
        assert 0 <= wide <= width + 0.31
    assert 0 <= unpriced(found) <= len(found)
