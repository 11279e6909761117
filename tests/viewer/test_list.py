"""The list: which sessions, in which order, and what is said where there are none."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from session_mw.ledger import Listing, RingLedger
from session_mw.viewer import exports
from tests.ledger.support import end
from tests.viewer.support import HOUR, JANE, NOW_MS, Element, client, filled, read


def listed(q: str = "", ledger: Any = None, **params: Any) -> Element:
    """Return the list for a filter."""
    return read(client(ledger or filled()).get("/", params={"q": q, **params}).text)


def ids(page: Element) -> list[str]:
    """Return the sessions of a list, from top to bottom."""
    return [one.text for one in page.all("th", scope="row")]


def many(count: int) -> RingLedger:
    """Return a history of as many sessions, one a minute, the cost of each a cent more."""
    ledger = RingLedger()
    for number in range(count):
        at = NOW_MS - 60_000 * (number + 1)
        times = {"started_ms": at, "last_ms": at + 1, "ended_ms": at + 2}
        ledger.emit([end(f"s{number:03}", cost_microusd=10_000 * number, **times)])
    return ledger


def test_a_row_has_what_people_look_for() -> None:
    """Session, labels, user, start, duration, turns, tokens, cost and status, each under its title."""
    row = listed("chat-1").one("tbody").one("tr")
    cells = {one.attributes["data-label"]: one.text for one in row.all("td")}

    assert "chat-1" == row.one("th").text
    assert {
        "Type · version": "chat · v2",
        "User": "u_11111…1111",
        "Started": "9 Oct 03:53:20 5h ago",
        "Duration": "1h 00m active 900 ms",
        "Turns": "3",
        "Tokens": "140",
        "Cost": "$1.25",
        "Status": "1 error",
    } == cells
    assert JANE == row.all("a")[1].attributes["title"]


def test_what_is_not_known_is_no_zero() -> None:
    """A session without a user or a price has dashes there."""
    cells = {one.attributes["data-label"]: one.text for one in listed("review-1").one("tbody").all("td")}

    assert ("\N{EN DASH}", "\N{EN DASH}") == (cells["User"], cells["Cost"])


def test_the_last_thirty_days_unless_told_otherwise() -> None:
    """The window is said and can be left; a filter that names a time has none."""
    page = listed()

    assert ["review-1", "chat-1"] == ids(page)
    assert "last 30 days" == page.one("span", cls="chip").text
    assert ["review-1", "chat-1", "old-1"] == ids(listed(window="all"))
    assert ["old-1"] == ids(listed("started:<-40d"))
    assert not listed("last 90 days").all("span", cls="chip")


def test_bots_are_shown_on_demand() -> None:
    """Sessions that nobody confirmed are left out, until they are asked for."""
    assert ["bot-1", "review-1", "chat-1"] == ids(listed(unconfirmed="1"))


def test_sums_of_the_whole_list() -> None:
    """Sessions, users, turns, cost with what has no price, and the share with errors."""
    said = listed().one("p", role="status").text

    assert "2 sessions · 1 user · 4 turns · $1.25 (1 without a price) · 50.0 % with errors" == said


def test_sums_of_a_long_list_are_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than a page may; when they take too long, that is said."""
    from session_mw.exceptions import StoreUnavailable
    from session_mw.ledger import listing

    monkeypatch.setattr(listing, "COUNTED", 10)
    ledger = many(30)
    link = listed(ledger=ledger).one("p", role="status").one("a").attributes["href"]
    said = read(client(ledger).get(f"/{link.removeprefix('./')}").text).one("p", role="status")

    def slow(asked: Any) -> Any:
        raise StoreUnavailable("too long", reason="store_timeout")

    monkeypatch.setattr(ledger, "summary", slow)

    assert "1 user · 90 turns · $4.35 · 100.0 % with errors" in said.text
    assert not said.all("a")
    assert "the sums take longer than 5 s" in listed(ledger=ledger, sums="1").one("p", role="status").text


def test_a_filter_error_marks_the_place() -> None:
    """400, and the page with the filter in it; what is wrong stands beside it as an alert, with a way out."""
    answer = client(filled()).get("/", params={"q": "type:chat\ntrace_cont:>5 # many", "window": "all"})
    page = read(answer.text)
    box, alert = page.one("textarea"), page.one("div", role="alert")
    fix = parse_qs(urlsplit(alert.one("a").attributes["href"]).query)

    assert 400 == answer.status_code
    assert "\ntype:chat\ntrace_cont:>5 # many" == box.raw
    assert ("true", alert.attributes["id"]) == (box.attributes["aria-invalid"], box.attributes["aria-describedby"])
    assert "line 2, column 1: there is no field 'trace_cont'. Did you mean 'trace_count'? Use trace_count" in alert.text
    assert "trace_cont" == alert.one("mark").text
    assert {"q": ["type:chat\ntrace_count:>5 # many"], "window": ["all"]} == fix
    assert not page.all("table")


@pytest.mark.parametrize("params", [{"sort": "nope"}, {"col": "nope"}, {"tz": "nope"}])
def test_what_else_is_wrong_is_told_as_well(params: dict[str, str]) -> None:
    """A sort and a column that there are not."""
    answer = client(filled()).get("/", params=params)

    assert 400 == answer.status_code
    assert "'nope'" in read(answer.text).one("div", role="alert").text


def test_sorting_is_a_button_of_the_filter_s_form() -> None:
    """It works without JavaScript; only the sorted column says so, and a second click turns it round."""
    page = listed(sort="-cost", ledger=many(3))
    heads = {one.text.rstrip("▼▲↕"): one for one in page.one("thead").all("th")}
    button = heads["Cost"].one("button")

    assert ["s002", "s001", "s000"] == ids(page)
    assert ("filter", "sort", "cost") == tuple(button.attributes[name] for name in ("form", "name", "value"))
    assert ["Cost"] == [title for title, one in heads.items() if "aria-sort" in one.attributes]
    assert "descending" == heads["Cost"].attributes["aria-sort"]
    assert ["s000", "s001", "s002"] == ids(listed(sort="cost", ledger=many(3)))
    assert "filter" == page.one("form").attributes["id"]


def test_pages_lead_on_and_back_with_all_that_was_asked() -> None:
    """Older and newer by cursor: every session once, and the way back is the same pages."""
    ledger = many(60)
    someone, address, seen = client(ledger), "/?n=25&q=cost:>0&col=name", []
    while address:
        page = read(someone.get(address).text)
        seen.append(ids(page))
        address = next((one.attributes["href"] for one in page.all("a", rel="next")), "")
        address = f"/{address.removeprefix('./')}" if address else ""
    back = read(someone.get("/" + page.one("a", rel="prev").attributes["href"].removeprefix("./")).text)

    assert [25, 25, 9] == [len(one) for one in seen]
    assert [f"s{number:03}" for number in range(1, 60)] == [one for page in seen for one in page]
    assert seen[1] == ids(back)
    assert "name" in [one.text for one in back.one("thead").all("th")]


@pytest.mark.parametrize("cursor", ["x", "W10", "%00", "a" * 500])
def test_a_cursor_that_makes_no_sense_is_the_first_page(cursor: str) -> None:
    """Whatever somebody pastes."""
    assert ["review-1", "chat-1"] == ids(listed(c=cursor))


def test_columns_on_demand() -> None:
    """Fields and attributes; a session without one has a dash."""
    page = listed(col=["end_reason", "metadata.source"])
    rows = [[one.text for one in row.all("td")][-2:] for row in page.one("tbody").all("tr")]

    assert [["user_exit", "\N{EN DASH}"], ["idle_timeout", "web"]] == rows


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/passwd", "Europe", "\0", "x" * 5_000])
def test_only_time_zones_are_time_zones(zone: str) -> None:
    """No name leads out of the database of zones, or fails in it."""
    assert 400 == client(filled()).get("/", params={"tz": zone}).status_code
    assert 200 == client(filled()).get("/s", params={"tz": zone, "id": "chat-1"}).status_code


def test_times_and_days_are_in_the_time_zone_that_the_page_names() -> None:
    """Rows, links and filters: at 22:00 UTC it is tomorrow in Berlin."""
    ledger = RingLedger()
    at = NOW_MS - 11 * HOUR  # 8 October, 21:53:20 UTC
    ledger.emit([end("late-1", started_ms=at + HOUR, last_ms=at + HOUR, ended_ms=at + HOUR)])
    page = listed("date:2025-10-09", ledger=ledger, tz="Europe/Berlin")

    assert "9 Oct 00:53:20" == page.one("tbody").one("time").text
    assert "2025-10-09 00:53:20 Europe/Berlin" == page.one("tbody").one("time").attributes["title"]
    assert "2025-10-08T22:53:20.000Z" == page.one("tbody").one("time").attributes["datetime"]
    assert "Europe/Berlin" in page.one("p", cls="who").text
    assert "tz=Europe%2FBerlin" in page.one("tbody").all("a")[0].attributes["href"]
    assert not listed("date:2025-10-09", ledger=ledger).all("tbody")


def test_a_view_can_be_saved() -> None:
    """As a link that has all of it, but what is of the moment; another year's sessions name the year."""
    ledger = filled()
    at = NOW_MS - 400 * 24 * HOUR
    ledger.emit([end("last-year", started_ms=at, last_ms=at, ended_ms=at)])
    page = listed("id:*", ledger=ledger, window="all", sort="-cost", col="channel", live="5", n="25")
    link = parse_qs(urlsplit(page.one("a", rel="bookmark").attributes["href"]).query)

    assert {"q": ["id:*"], "sort": ["-cost"], "n": ["25"], "window": ["all"], "col": ["channel"]} == link
    assert "4 Sep 2024 08:53" in page.text


def test_nothing_fits() -> None:
    """It says where there are some, or that there is nothing at all yet, and how it begins."""
    older = listed("old-1").one("div", cls="note")

    assert "before that: 1 session" in older.text
    assert "window=all" in older.all("a")[0].attributes["href"]
    assert "No session fits" in listed("type:nothing", window="all").one("div", cls="note").text
    assert "SessionTrackingMiddleware" in listed(ledger=RingLedger()).one("div", cls="note").text


def test_a_list_that_takes_too_long_is_shown_as_far_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """200, the rows that were found, and that there may be more; no sums of a part."""
    ledger = filled()
    found = ledger.find(Listing(limit=1))
    monkeypatch.setattr(ledger, "find", lambda listing: replace(found, stopped=True, capped=True))
    page = listed(ledger=ledger)

    assert ["review-1"] == ids(page)
    assert "stopped: it took too long, and there may be more" in page.one("p", role="status").text
    assert "$" not in page.one("p", role="status").text


def test_suggestions_are_added_to_the_filter() -> None:
    """A click narrows what is there, an OR too; types and versions that the page has are among them."""
    page = listed("type:chat OR type:review")
    found = {one.text: parse_qs(urlsplit(one.attributes["href"]).query)["q"][0] for one in page.all("a", cls="chip")}

    assert "(type:chat OR type:review) has_errors:true" == found["has_errors:true"]
    assert {"status:active", "last 24 hours"} <= set(found)


def test_export_csv() -> None:
    """The filter's sessions, the oldest first; text that a spreadsheet would take for a formula is guarded."""
    ledger = filled()
    times = {"started_ms": NOW_MS - HOUR, "last_ms": NOW_MS, "ended_ms": NOW_MS}
    ledger.emit([end("=HYPERLINK(1)", **times)])
    answer = client(ledger).get("/export.csv?q=last 30 days")
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert ["chat-1", "review-1", "'=HYPERLINK(1)"] == [row["session_id"] for row in rows]
    assert 'attachment; filename="sessions.csv"' == answer.headers["content-disposition"]
    assert "1.25" == rows[0]["total_cost_usd"]


def test_export_otlp() -> None:
    """A request a session, with the recorded ids; content only for who may see it, which the other tests show."""
    answer = client(filled()).get("/export.otlp.jsonl?q=type:chat")
    (request,) = [json.loads(line) for line in answer.text.splitlines()]
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]

    assert [f"{number:032x}" for number in (1, 2, 3)] == [one["traceId"] for one in spans if one["name"] == "turn"]
    assert 'filename="sessions.otlp.jsonl"' in answer.headers["content-disposition"]


def test_export_jsonl() -> None:
    """An object a session, with its turns."""
    found = [json.loads(line) for line in client(filled()).get("/export.jsonl?q=type:chat").text.splitlines()]

    assert [("chat-1", 3)] == [(one["session_id"], len(one["turns"])) for one in found]


@pytest.mark.parametrize(("kind", "last"), [("csv", "truncated after 2 sessions"), ("jsonl", '"truncated": true')])
def test_an_export_that_is_cut_says_so(kind: str, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes a part for the whole."""
    monkeypatch.setattr(exports, "MOST", 2)

    assert last in client(many(3)).get(f"/export.{kind}").text.splitlines()[-1]
    assert last not in client(many(2)).get(f"/export.{kind}").text


def test_api_sessions() -> None:
    """The list as JSON, with the names of every other export."""
    someone = client(many(30))
    first = someone.get("/api/sessions?n=25").json()
    second = someone.get("/api/sessions", params={"n": 25, "c": first["older"]}).json()

    assert (25, 5, 30, True) == (
        len(first["sessions"]),
        len(second["sessions"]),
        first["count"],
        first["count_is_exact"],
    )
    assert "s000" == first["sessions"][0]["session_id"]
    assert second["older"] is None


def test_api_check() -> None:
    """A filter is good, or wrong at a place."""
    someone = client(filled())
    wrong = someone.get("/api/check?q=trace_cont:>5")

    assert {"ok": True} == someone.get("/api/check?q=type:chat").json()
    assert 400 == wrong.status_code
    assert {
        "message": "there is no field 'trace_cont'",
        "line": 1,
        "column": 1,
        "end": 11,
        "hint": "Did you mean 'trace_count'?",
    } == wrong.json()["error"]


def test_users_own_ids_can_be_asked_for() -> None:
    """With the application's way to make pseudonyms."""
    someone = client(filled(), pseudonym=lambda user: JANE if user == "jane" else user)

    assert ["chat-1"] == ids(read(someone.get("/?q=user:jane").text))
