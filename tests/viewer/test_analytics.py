"""The pages about many sessions: what they say, of whom, and what they say when they cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw.exceptions import StoreError, StoreUnavailable
from session_mw.ledger import RingLedger
from session_mw.viewer.analytics import PAGES
from session_mw.viewer.analytics.funnel import steps_of, written
from tests.ledger.support import end
from tests.viewer.acting import acted
from tests.viewer.support import DAY, HOUR, NOW_MS, Element, client, filled, read

SHOWN = tuple(name for name in PAGES if not name.startswith("api/"))
ASKED = {"analytics/funnel": {"steps": "search > answer > buy"}}


def seen(name: str, ledger: Any = None, options: dict[str, Any] | None = None, **params: Any) -> Element:
    """Return a page."""
    asked = {**ASKED.get(name, {}), **params}
    return read(client(ledger or acted(), **(options or {})).get(f"/{name}", params=asked).text)


def table(page: Element, caption: str) -> list[list[str]]:
    """Return the cells of a table's body."""
    found = next(one for one in page.all("table") if one.one("caption").text == caption)
    return [[cell.text for cell in row.children if isinstance(cell, Element)] for row in found.one("tbody").all("tr")]


def figures(page: Element) -> dict[str, tuple[str, str]]:
    """Return names, values and remarks of the head."""
    pairs = [[one.text for one in pair.all("dd")] for pair in page.one("dl", cls="figures").all("div")]
    titles = [one.text for one in page.one("dl", cls="figures").all("dt")]
    return {title: (value, remark) for title, (value, remark) in zip(titles, pairs, strict=True)}


# -- what they say


def test_overview() -> None:
    """Sums of all, the median before any mean, what is unknown apart; and for each day of the window."""
    page = seen("analytics")
    days = table(page, "Sessions")

    assert {
        "Sessions": ("13", "1.8 turns each"),
        "Users": ("5", "2 sessions without one"),
        "Median duration": ("1.0 s", "active 1.0 s"),
        "Cost": ("$2.10", "$0.2100 a session · 3 without a price"),
        "With errors": ("0.0 %", "0 sessions"),
        "Resolved": ("44.4 %", "4 unknown"),
    } == figures(page)
    assert ["2025-09-19", "2"] == days[0]
    assert ["2025-10-09", "1"] == days[-1]
    assert 13 == sum(int(count) for _, count in days)
    assert ["2025-09-20", "\N{EN DASH}"] == table(page, "Median duration")[1]


def test_engagement() -> None:
    """Session length, duration, messages and resolution rate, each with its definition."""
    page = seen("analytics/engagement")
    rows = {row[0]: row[1:] for row in table(page, "Each quantity half of the values are no larger than the median, "
                                                   "nine in ten no larger than the last figure")}  # fmt: skip

    assert ("1", "turns, mean 1.8") == figures(page)["Session length"]
    assert ("44.4 %", "of 9 with a known outcome") == figures(page)["Resolution rate"]
    assert ["1.0 s", "51.8 s", "2m 01s", "13 sessions", "from its start to its last activity"] == rows[
        "Session duration"
    ]
    assert ["1", "1.8", "3", "13 sessions", "messages of the user: one a turn"] == rows["Messages a session"]
    assert ["2", "2.2", "4", "5 users", "of the users that are known"] == rows["Sessions a user"]
    assert [
        ["resolved", "4", "30.8 %"],
        ["escalated or abandoned", "5", "38.5 %"],
        ["unknown", "4", "30.8 %"],
    ] == table(page, "Outcomes")
    assert [["1", "7"], ["2", "2"], ["3", "3"], ["4", "1"]] == table(page, "Sessions by their number of turns")


def test_journeys() -> None:
    """First actions, flows, drop-off with the biggest drop, last actions of unresolved sessions, both sides' paths."""
    page = seen("analytics/journeys")

    assert [["search", "53.8 %7"], ["review", "23.1 %3"], ["greet", "15.4 %2"], ["(no action named)", "7.7 %1"]] == [
        row[:2] for row in table(page, "First actions")
    ]
    assert ["search → answer", "50.0 %3"] == table(page, "Flows from turn to turn")[0][:2]
    assert [["1", "100.0 %"], ["2", "50.0 %"], ["3", "33.3 %"], ["4", "8.3 %"]] == table(page, "Still there at turn n")
    assert "Biggest drop after turn 1: 50.0 % of the sessions end there" == page.one("p", cls="finding").text
    assert ["search", "40.0 %2"] == table(page, "Last actions of unresolved sessions")[0][:2]
    assert ["search → answer → buy", "50.0 %", "\N{EN DASH}"] == table(
        page, "Paths of resolved and unresolved sessions"
    )[0][:3]
    assert ["buy", "50.0 %", "20.0 %"] == table(page, "Last actions of resolved and unresolved sessions")[0][:3]


def test_the_biggest_drop_leads_to_its_sessions() -> None:
    """Those that ended there."""
    someone = client(acted())
    link = read(someone.get("/analytics/journeys").text).one("p", cls="finding").one("a").attributes["href"]
    found = read(someone.get(urljoin("http://viewer.test/analytics/journeys", link)).text)

    assert ["s10", "s11", "s4", "s5", "s6", "s9"] == sorted(one.text for one in found.all("th", scope="row"))


def listed(name: str, title: str) -> dict[str, tuple[str, int]]:
    """Return what a chart's table says of each column, and how many sessions its link leads to."""
    someone = client(acted())
    page = read(someone.get(f"/{name}").text)
    rows = next(one for one in page.all("table") if one.one("caption").text == title).one("tbody").all("tr")
    links = {row.one("th").text: (row.one("td").text, row.all("a")) for row in rows}
    return {
        label: (
            said,
            len(
                read(someone.get(urljoin(f"http://viewer.test/{name}", one[0].attributes["href"])).text).all(
                    "th", scope="row"
                )
            ),
        )
        for label, (said, one) in links.items()
        if one
    }


@pytest.mark.parametrize(
    ("name", "title", "count"),
    [("analytics", "Sessions", 5), ("analytics/engagement", "Sessions by their number of turns", 4)],
)
def test_a_column_leads_to_its_sessions(name: str, title: str, count: int) -> None:
    """From its line in the table, to as many as it says."""
    found = listed(name, title)

    assert count == len(found)
    assert all(said == str(sessions) for said, sessions in found.values())


def test_flows_step_by_step() -> None:
    """Another step is a link away, and the filter stays."""
    page = seen("analytics/journeys", q="type:chat")
    link = page.one("p", cls="pills").all("a")[1].attributes["href"]
    second = seen("analytics/journeys", step="2")

    assert {"step": ["2"], "q": ["type:chat"]} == parse_qs(urlsplit(link).query)
    assert ["answer → buy", "50.0 %2"] == table(second, "Flows from turn to turn")[0][:2]
    assert "2 → 3" == next(
        one.text for one in second.one("p", cls="pills").all("a") if "aria-current" in one.attributes
    )


def test_funnel() -> None:
    """Each step with its share of the first and of the one before, and the time between; how many took all."""
    page = seen("analytics/funnel")

    assert [
        ["1. search", "8", "100.0 %", "\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}"],
        ["2. answer", "4", "50.0 %", "50.0 %", "50.0 %", "1m 00s"],
        ["3. buy", "2", "25.0 %", "50.0 %", "50.0 %", "1m 00s"],
    ] == table(page, "Steps of the funnel")
    assert "25.0 % of those that take the first step take all" in page.one("p", role="status").text
    assert "search > answer > buy" == page.one("input", name="steps").attributes["value"]


def test_a_funnel_is_built_by_clicks() -> None:
    """Without steps it offers the actions that there are; each click adds one."""
    someone, address = client(acted()), "http://viewer.test/analytics/funnel"
    for wanted in ("search", "answer"):
        page = read(someone.get(address).text)
        chips = {one.text: one.attributes["href"] for one in page.one("p", cls="presets").all("a", cls="chip")}
        address = urljoin(address, chips[wanted])

    assert "Which steps?" in read(someone.get("/analytics/funnel").text).one("div", cls="note").text
    assert ["1. search", "2. answer"] == [
        row[0] for row in table(read(someone.get(address).text), "Steps of the funnel")
    ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, max_size=4))
def test_every_action_can_be_a_step(actions: list[str]) -> None:
    """Also one with a > or a quote in it."""
    assert actions == steps_of(" > ".join(map(written, actions)))


@pytest.mark.parametrize(
    ("steps", "column"), [("a > > b", 5), ("> a", 1), ("a >", 3), ('a > "b', 5), (">".join("a" * 21), 1)]
)
def test_steps_that_cannot_be_read(steps: str, column: int) -> None:
    """400, and the place."""
    answer = client(acted()).get("/analytics/funnel", params={"steps": steps})

    assert 400 == answer.status_code
    assert f"column {column}: " in read(answer.text).one("div", role="alert").text


def test_retention() -> None:
    """Users by the week of their first session, with the share that came again; what has not been yet is empty."""
    page = seen("analytics/retention")
    caption = "Share of a week's new users who had a session so many weeks later"

    assert [
        ["2025-09-15", "2", "100.0 %", "50.0 %", "0.0 %", "100.0 %"],
        ["2025-10-06", "3", "100.0 %", "", "", ""],
    ] == table(page, caption)
    assert ["All", "100.0 %", "50.0 %", "0.0 %", "100.0 %"] == [
        cell.text for cell in page.one("tfoot").all() if cell.tag in ("th", "td") and cell.text
    ]


# -- charts


@pytest.mark.parametrize("name", ["analytics", "analytics/engagement", "analytics/journeys", "analytics/funnel"])
def test_every_chart_is_told_and_has_a_table(name: str) -> None:
    """An image with a title, its figures in a table beside it, no style in it; under each what is counted."""
    charts = seen(name).all("figure")

    assert charts
    for chart in charts:
        picture = chart.one("svg", role="img")
        assert picture.attributes["aria-labelledby"] == picture.all("title")[0].attributes["id"]
        assert len(picture.all("title")[0].text) > 20
        assert chart.one("table").all("tr")
        assert chart.one("p", cls="definition").text
        assert not [one for one in picture.all() if "style" in one.attributes]


def test_a_column_is_as_high_as_its_value() -> None:
    """In pixels of the plot; what is not known has none."""
    page = seen("analytics")
    chart = page.all("figure")[0].one("svg", role="img")
    heights = {one.one("title").text: float(one.attributes["height"]) for one in chart.all("rect")}

    assert heights["2025-10-08: 6"] == pytest.approx(3 * heights["2025-09-19: 2"])
    assert 5 == len(heights)


# -- of whom


@pytest.mark.parametrize("name", SHOWN)
def test_no_page_tells_of_what_is_out_of_scope(name: str) -> None:
    """Neither for people nor for programs; nor does a filter lead out."""
    only = {"scope": lambda actor: "type:review"}
    for q in ("", "type:chat OR type:review"):
        text = client(acted(), **only).get(f"/{name}", params={"q": q, "by": "type"}).text
        body = client(acted(), **only).get(f"/api/{name}", params={"q": q, "by": "type"}).text
        assert "review" in body or name in ("analytics", "analytics/engagement", "analytics/retention")
        assert not any(word in text.replace(q, "") for word in (">search<", ">chat<", "buy"))
        assert not any(word in body for word in ('"search"', '"chat"', '"buy"'))
        assert "13 sessions" not in text and '"sessions":13' not in body


def test_answers_are_not_kept_for_others() -> None:
    """Who may see less is not told what somebody else was told a moment ago."""
    someone = client(acted(), auth=lambda request: request.headers["x-who"],
                     scope=lambda actor: None if actor == "all" else "type:review")  # fmt: skip

    def told(who: str) -> str:
        return read(someone.get("/analytics/engagement", headers={"x-who": who}).text).one("p", role="status").text

    assert ["13 sessions", "3 sessions", "13 sessions"] == [told("all"), told("some"), told("all")]


def test_bots_count_on_demand() -> None:
    """Sessions that nobody confirmed are left out, until they are asked for."""
    assert "14" == figures(seen("analytics", unconfirmed="1"))["Sessions"][0]
    assert ["bots"] == [row[0] for row in table(seen("groups", unconfirmed="1", q="type:bots"),
                        "Sums over sessions by type. Columns can be sorted by.")]  # fmt: skip


def test_days_are_those_of_the_time_zone() -> None:
    """At 22:00 UTC it is tomorrow in Berlin."""
    ledger = RingLedger()
    at = NOW_MS - 11 * HOUR
    ledger.emit([end("late", started_ms=at + HOUR, last_ms=at + HOUR, ended_ms=at + HOUR)])

    assert [["2025-10-08", "1"]] == table(seen("analytics", ledger), "Sessions")
    assert [["2025-10-09", "1"]] == table(seen("analytics", ledger, tz="Europe/Berlin"), "Sessions")


def test_the_window() -> None:
    """Thirty whole days, twelve weeks for retention, all on demand; a filter that names a time has none."""
    assert "1" == figures(seen("analytics", filled(), q="type:review"))["Sessions"][0]
    assert "2" == figures(seen("analytics", filled(), q="type:review", window="all"))["Sessions"][0]
    assert "2" == figures(seen("analytics", filled(), q="type:review last 90 days"))["Sessions"][0]
    assert "last 84 days" == seen("analytics/retention").one("span", cls="chip").text


# -- when they cannot


@pytest.mark.parametrize("name", SHOWN)
def test_a_filter_error_marks_the_place(name: str) -> None:
    """400, the filter in its box, the place marked, a way out on the same page; as JSON its column."""
    page = client(acted()).get(f"/{name}", params={"q": "trace_cont:>5", "tz": "Europe/Berlin"})
    alert = read(page.text).one("div", role="alert")
    fix = urlsplit(alert.one("a").attributes["href"])
    body = client(acted()).get(f"/api/{name}", params={"q": "type:chat\ntrace_cont:>5"})

    assert (400, 400) == (page.status_code, body.status_code)
    assert "trace_cont" == alert.one("mark").text
    assert ("/" + name, ["trace_count:>5"]) == (urljoin(f"/{name}", fix.path), parse_qs(fix.query)["q"])
    assert (2, 1) == (body.json()["error"]["line"], body.json()["error"]["column"])


@pytest.mark.landing
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_to_show(name: str) -> None:
    """It says what to do: look at all time, take the filter away, count bots, or how a history begins."""
    fits_none, empty = seen(name, q="type:nothing"), seen(name, RingLedger(), steps="")
    links = [one.text for one in fits_none.one("div", cls="note").all("a")]

    assert "Take the filter away" in links and "Look at all time" in links
    assert empty.one("div", cls="note").all("p")
    assert not empty.all("figure")


class Slow:
    """A ledger whose answers do not come in time."""

    def __init__(self, error: StoreError) -> None:
        self._of, self._error = acted(), error

    def __getattr__(self, name: str) -> Any:
        def fail(*args: Any) -> Any:
            raise self._error

        return fail if name in ANALYTIC else getattr(self._of, name)


ANALYTIC = (
    "summary",
    "overview",
    "engagement",
    "first_actions",
    "flows",
    "dropoff",
    "resolution",
    "funnel",
    "retention",
)


@pytest.mark.parametrize("name", SHOWN)
def test_an_answer_that_does_not_come_in_time(name: str) -> None:
    """Said so with 200, and no part of it passes for the whole; a history that cannot be read is another matter."""
    late = StoreUnavailable("too long", reason="store_timeout")
    page = seen(name, Slow(late))

    assert "stopped: it took longer than 5 s. Narrow the time or the filter." == page.one("p", role="status").text
    assert not page.all("table")
    assert {"stopped": True} == client(Slow(late)).get(f"/api/{name}", params=ASKED.get(name, {})).json()
    assert 503 == client(Slow(StoreError("broken"))).get(f"/{name}", params=ASKED.get(name, {})).status_code


@pytest.mark.landing
@pytest.mark.parametrize(("name", "question"), [("analytics", "overview"), ("analytics/journeys", "flows"),
                                                ("analytics/retention", "retention")])  # fmt: skip
def test_half_an_answer_says_so_and_is_not_kept(name: str, question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands on a part of the sessions; the next time it may be whole."""
    ledger = acted()
    someone, whole = client(ledger), getattr(ledger, question)
    monkeypatch.setattr(ledger, question, lambda *args: replace(whole(*args), stopped=True))
    half = read(someone.get(f"/{name}").text).one("p", role="status").text
    monkeypatch.undo()

    assert "stopped after 5 s: these are a part of the sessions" in half
    assert "stopped" not in read(someone.get(f"/{name}").text).one("p", role="status").text


def test_slow_answers_are_kept_for_a_minute() -> None:
    """Until then the same question is not asked again, and the page says since when it knows."""
    now, ledger = [NOW_MS], acted()
    someone = client(ledger, clock=lambda: now[0])

    def told() -> str:
        return read(someone.get("/analytics/retention").text).one("p", role="status").text

    first = told()
    times = {"started_ms": NOW_MS - 9, "last_ms": NOW_MS - 8, "ended_ms": NOW_MS - 7}
    ledger.emit([end("new", user_id="zoe", **times)])
    now[0] += 59_000
    kept = told()
    now[0] += 1_000

    assert "5 users in 2 cohorts" == first
    assert "5 users in 2 cohorts · as of 08:53:20" == kept
    assert "6 users in 2 cohorts" == told()


def test_another_step_of_a_flow_is_no_other_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the answer that is kept already."""
    ledger = acted()
    someone = client(ledger)
    someone.get("/analytics/journeys?q=type:chat")
    monkeypatch.setattr(ledger, "flows", None)
    page = read(someone.get("/analytics/journeys?q=type:chat&step=2").text)

    assert ["answer → buy", "50.0 %2"] == table(page, "Flows from turn to turn")[0][:2]


# -- from page to page


def test_tabs_and_navigation_carry_everything_on() -> None:
    """Filter, window, time zone and unconfirmed stay; the page's own question does not."""
    page = seen("analytics/funnel", q="type:chat", window="all", tz="Europe/Berlin", unconfirmed="1")
    tabs = page.one("nav", aria_label="Analytics").all("a")
    wanted = {"q": ["type:chat"], "window": ["all"], "tz": ["Europe/Berlin"], "unconfirmed": ["1"]}

    assert ["Overview", "Engagement", "Journeys", "Funnel", "Retention", "Groups"] == [one.text for one in tabs]
    assert ["Funnel"] == [one.text for one in tabs if one.attributes.get("aria-current") == "page"]
    assert [wanted] * 6 == [parse_qs(urlsplit(one.attributes["href"]).query) for one in tabs]
    assert "Analytics" == next(
        one.text for one in page.one("nav", aria_label="Main").all("a") if "aria-current" in one.attributes
    )


@pytest.mark.landing
@pytest.mark.parametrize("name", SHOWN)
def test_the_twin_is_a_link_away(name: str) -> None:
    """The same question for programs."""
    someone = client(acted())
    page = read(someone.get(f"/{name}", params={**ASKED.get(name, {}), "q": "type:chat"}).text)
    link = page.one("span", cls="exports").one("a").attributes["href"]
    body = someone.get(urljoin(f"http://viewer.test/{name}", link)).json()

    assert body["stopped"] is False
    assert "type=chat" not in link and ["type:chat"] == parse_qs(urlsplit(link).query)["q"]


def test_twins_have_units_in_their_names() -> None:
    """Money is US dollars, days are ISO dates, lengths of time are milliseconds; what is unknown is null."""
    body = client(acted()).get("/api/analytics").json()
    flows = client(acted()).get("/api/analytics/journeys").json()

    assert (2.1, 1_000) == (body["totals"]["cost_usd"], body["totals"]["median_duration_ms"])
    assert ("2025-09-19", None) == (body["days"][0]["day"], body["days"][1]["totals"]["median_duration_ms"])
    assert [1, 0.5] == flows["dropoff"]["biggest_drop"]
    assert DAY == 86_400_000
