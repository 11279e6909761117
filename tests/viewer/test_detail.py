"""One session: its head, and its turns as a timeline, a conversation, metrics and JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import names
from session_mw.ledger import RingLedger, TurnRow
from session_mw.viewer.metrics import busy_ms, quantile
from tests.ledger.support import end, turn
from tests.viewer.support import HOUR, JANE, NOW_MS, Element, client, filled, read

LINKS = {"Phoenix": "https://p.test/traces/{trace_id}", "Langfuse": "https://l.test/sessions/{session_id}"}


def shown(view: str = "timeline", session_id: str = "chat-1", ledger: Any = None, **options: Any) -> Element:
    """Return a session's page."""
    params = {"id": session_id, "view": view, **options.pop("params", {})}
    answer = client(ledger or filled(), **options).get("/s", params=params)
    assert 200 == answer.status_code
    return read(answer.text)


def test_the_head_says_what_it_was() -> None:
    """Labels, user, times, end, outcome and figures, each with what it does not say."""
    page = shown()
    figures = {
        one.one("dt").text: [dd.text for dd in one.all("dd")] for one in page.one("dl", cls="figures").all("div")
    }

    assert "chat-1" == page.one("h1").one("code").text
    assert ["chat", "v2", "1 error", "resolved"] == [one.text for one in page.one("p", cls="tags").all("span")]
    assert (
        "User " + JANE + " · 2025-10-09 03:53:20 \N{EN DASH} 04:53:50 UTC · ended: idle timeout"
        == page.one("p", cls="when").text
    )
    assert ["1h 00m", "busy 34.0 s"] == figures["Duration"]
    assert ["3", "1 error"] == figures["Turns"]
    assert ["140", "100 in · 40 out · 40 cached"] == figures["Tokens"]
    assert ["$1.25", "1 call without a price"] == figures["Cost"]
    assert ["60", "tokens"] == figures["Peak context"]


def test_the_timeline_tells_each_turn_in_a_sentence() -> None:
    """What the drawing shows is said as well: an error by word, idle time by its length."""
    told = [one.all("span", cls="unseen")[0].text for one in shown().all("li", cls="turn")]

    assert [
        "Turn 1, greet, 2.0 s, 120 tokens, $0.0300.",
        "Turn 2, search, 2.0 s, 120 tokens, $0.0300, 2 model calls, 1 agent run, 2 tool calls.",
        "Turn 3, search, error TimeoutError, 30.0 s, 120 tokens, $0.0300, after 59m 48s idle.",
    ] == told


def test_the_drawing_has_no_styles_and_leaves_idle_time_out() -> None:
    """Attributes of SVG only; the break is labelled; an error has a shape of its own."""
    page = shown()
    lanes = page.one("ol", cls="lanes")

    assert "⋯ 59m 48s idle ⋯" == lanes.one("li", cls="gap").text
    assert 1 == len(lanes.all("path", cls="cross"))
    drawn = [one for turn in lanes.all("li", cls="turn") for one in turn.one("span", cls="axis").all("rect")]
    assert ["wait busy", "around wait model tool bad model", "bad"] == [
        " ".join(one.attributes["class"] for one in turn.one("span", cls="axis").all("rect"))
        for turn in lanes.all("li", cls="turn")
    ]
    assert all(0 <= float(one.attributes["x"].rstrip("%")) <= 100 for one in drawn)
    assert not any("style" in one.attributes for one in page.all())


def test_the_axis_says_what_time_it_is() -> None:
    """At its begin, behind an idle spell, at its end, and at round times: since the session began."""
    axis = shown().one("div", cls="heads").one("span", cls="axis")

    assert ["+0 ms", "+1h", "+1h 00m 10s", "+1h 00m 20s", "+1h 00m 30s"] == [one.text for one in axis.all("text")]
    assert ["start", "middle", "middle", "middle", "end"] == [one.attributes["text-anchor"] for one in axis.all("text")]
    assert 2 == len(axis.all("line", cls="round"))


def test_links_to_traces() -> None:
    """A turn's lead to its trace, the session's to the session; turns that were not recorded have none."""
    page = shown(trace_links=LINKS)
    ledger = filled()
    ledger.write_turns([turn("review-1", 1, started_ms=NOW_MS - HOUR, trace=f"{'b' * 32}-{'c' * 16}-00")])
    unsampled = shown(session_id="review-1", ledger=ledger, trace_links=LINKS)

    assert [f"https://p.test/traces/{n:032x}" for n in (1, 2, 3)] == [
        one.attributes["href"] for one in page.one("ol", cls="lanes").all("a", rel="noopener noreferrer")
    ]
    assert "https://l.test/sessions/chat-1" == page.one("p", cls="when").all("a")[-1].attributes["href"]
    assert not unsampled.one("ol", cls="lanes").all("a", rel="noopener noreferrer")
    assert {"noopener noreferrer"} == {
        one.attributes["rel"] for one in page.all("a") if ".test" in one.attributes["href"]
    }


def test_the_conversation_says_its_shape_when_nothing_was_captured() -> None:
    """Roles, lengths, latencies and errors, and why there is no more."""
    page = shown("conversation")
    bubbles = page.all("li", cls="bubble")

    assert "What was said is not captured; this is its shape. The setting capture_content turns it on." in page.text
    assert ["User", "Assistant"] * 3 == [one.one("p", cls="by").one("strong").text for one in bubbles]
    assert "question · 150 characters" == bubbles[0].one("p", cls="shape").text
    assert "30.0 s · 120 tokens · ! error TimeoutError" == bubbles[5].one("p", cls="shape").text


def talk() -> RingLedger:
    """Return a history with one captured turn: a question, thinking, a tool's call and result, an answer."""
    said = [
        ("user", "text", "", "Why does it fail?"),
        ("assistant", "reasoning", "", "Look first."),
        ("assistant", "tool_call", "read_log", '{"n": 1}'),
        ("tool", "tool_result", "read_log", "E assert"),
        ("assistant", "text", "", "line 1\nline 2 " + "x" * 3_000),
    ]
    lines = [{"role": role, "type": kind, "name": name, "text": text} for role, kind, name, text in said]
    ledger = RingLedger()
    ledger.write_turns([turn("t", 1, started_ms=NOW_MS - 9_000, attributes={names.TURN_MESSAGES: json.dumps(lines)})])
    return ledger


def test_the_conversation_with_content() -> None:
    """Messages in order; tools and thinking are closed; long ones are clipped and say so."""
    page = shown("conversation", "t", talk(), can_view_content=lambda actor: True)
    user, assistant = page.all("li", cls="bubble")

    assert "Why does it fail?" == user.one("div", cls="said").text
    assert ["Thinking 11 characters", "Tool read_log 8 characters", "Tool read_log result 8 characters"] == [
        one.text for one in assistant.all("summary")
    ]
    assert "clipped, 3,014 characters in all" in assistant.one("div", cls="said").text
    assert "line 1\nline 2" in assistant.one("div", cls="said").raw


def test_conversation_only() -> None:
    """The switch leaves tools and thinking out, and leads back."""
    page = shown("conversation", "t", talk(), can_view_content=lambda actor: True, params={"only": "messages"})

    assert not page.all("summary")
    assert 2 == len(page.all("div", cls="said"))
    assert "With tools and thinking" in page.text


def test_content_that_may_not_be_seen_is_said_to_be_there() -> None:
    """Nobody looks for a setting that is on."""
    assert "What was said is kept, but not shown to you" in shown("conversation", "t", talk()).text


@pytest.mark.parametrize("broken", ["", "{", "[1, null]", '{"a": 1}', "[" * 50_000, '[{"text": {"a": [1]}}]'])
def test_content_that_cannot_be_read_fails_nothing(broken: str) -> None:
    """A history holds what anybody wrote."""
    ledger = RingLedger()
    ledger.write_turns([turn("t", 1, started_ms=NOW_MS, attributes={names.TURN_MESSAGES: broken})])

    assert shown("conversation", "t", ledger, can_view_content=lambda actor: True).all("li", cls="bubble")


def test_metrics() -> None:
    """Quantiles with what they are of, and a chart with a name and a table."""
    page = shown("metrics")
    rows = {one.one("th").text: one.one("td").text for one in page.all("table", cls="plain")[0].all("tr")}
    chart = page.all("figure")[0]

    assert "2.0 s" == rows["Response time, median"]
    assert "30.0 s" == rows["Response time, longest"]
    assert "1 of 3 (33.3 %)" == rows["Turns that failed"]
    assert ("img", "chart1") == (chart.one("svg").attributes["role"], chart.one("title").attributes["id"])
    assert ["2.0 s", "2.0 s", "30.0 s"] == [one.text for one in chart.one("tbody").all("td")]


def test_raw_is_the_document_of_every_export() -> None:
    """The page, the API and the exports say the same."""
    raw = json.loads(shown("raw").one("pre").raw)

    assert client(filled()).get("/api/session?id=chat-1").json() == raw


def long(turns: int) -> RingLedger:
    """Return a history with one long session."""
    ledger = RingLedger()
    ledger.write_turns([turn("long", number, started_ms=NOW_MS + 1_000 * number) for number in range(1, turns + 1)])
    return ledger


@pytest.mark.parametrize("view", ["timeline", "conversation", "raw"])
def test_long_sessions_come_in_parts(view: str) -> None:
    """The newest fifty first, and a way to each of the others."""
    page = shown(view, "long", long(120))
    spans = [page.all("nav", cls="pager")[0].one("span").text]
    for number in (2, 1):
        page = shown(view, "long", long(120), params={"p": number})
        spans.append(page.all("nav", cls="pager")[0].one("span").text)

    assert ["turns 71\N{EN DASH}120 of 120", "turns 21\N{EN DASH}70 of 120", "turns 1\N{EN DASH}20 of 120"] == spans


def test_turns_that_are_missing_are_no_idle_time() -> None:
    """A history that was cut says so."""
    assert "The history has 0 of 1 turns" in shown(session_id="review-1").text


def test_the_way_on_is_that_of_the_list() -> None:
    """Previous and next are the neighbours in the list it was reached from, and so is the way back."""
    page = shown(params={"q": "type:[chat, review]", "window": "all"})
    hrefs = [one.attributes["href"] for one in page.one("nav", cls="trail").all("a")]

    assert hrefs[0] == "./?q=type%3A%5Bchat%2C+review%5D&window=all"
    assert ["id=review-1", "id=old-1"] == [href.partition("?")[2].partition("&")[0] for href in hrefs[1:]]


def test_a_generation_can_be_asked_for() -> None:
    """An id that was used again is several sessions; the newest unless told which."""
    ledger = RingLedger()
    for generation in (1, 2):
        at = NOW_MS - HOUR * (3 - generation)
        times = {"started_ms": at, "last_ms": at, "ended_ms": at}
        ledger.emit([end("again", generation=generation, turns=generation, **times)])

    assert "generation 2" in shown(session_id="again", ledger=ledger).one("h1").text
    assert "generation" not in shown(session_id="again", ledger=ledger, params={"generation": "1"}).one("h1").text


@pytest.mark.parametrize("query", ["", "id=", "id=x", "id=chat-1&generation=7", "id=%00", "id=" + "x" * 5_000])
def test_what_there_is_not(query: str) -> None:
    """404, whatever was asked for."""
    assert 404 == client(filled()).get(f"/s?{query}").status_code


@pytest.mark.parametrize(
    "query", ["p=0", "p=999999", "p=-1", "p=x", "view=nope", "generation=x", "q=nope:1", "sort=x", "c=x"]
)
def test_what_makes_no_sense_is_left_out(query: str) -> None:
    """The session is shown all the same."""
    assert 200 == client(filled()).get(f"/s?id=chat-1&{query}").status_code


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20))))
def test_busy_time_is_that_in_which_a_turn_went_on(spans: list[tuple[int, int]]) -> None:
    """Turns beside each other count once."""
    turns = [TurnRow(0, "s", 1, None, begin, length, "ok") for begin, length in spans]

    assert len({at for begin, length in spans for at in range(begin, begin + length)}) == busy_ms(turns)


@given(st.lists(st.integers(0, 99), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_quantiles_are_values_that_there_are(values: list[int], share: float) -> None:
    """At least that share is not above it, and below it there are fewer."""
    found = quantile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)  # type: ignore[operator]
    assert sum(value < found for value in values) < share * len(values)  # type: ignore[operator]
