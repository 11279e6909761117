"""Comparisons: numbers with intervals or none, what they do not mean, and nothing that calls anything better."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from session_mw._core import names
from session_mw.exceptions import StoreUnavailable
from session_mw.ledger import Ledger, RingLedger
from session_mw.ledger.comparing.words import PEEKING
from session_mw.viewer.analytics.versus import MINUS
from session_mw.viewer.intervals import Mark, picture
from tests.ledger.support import end
from tests.viewer.looking import Looker
from tests.viewer.looking import chromium as chromium
from tests.viewer.looking import look as look
from tests.viewer.support import DAY, NOW_MS, Element, client, read
from tests.viewer.test_security import PAYLOADS


def told(
    ledger: Ledger, version: str, users: int, cost: int, began_ms: int = NOW_MS - 9 * DAY, prefix: str = "", **more: Any
) -> None:
    """Tell of two sessions of each user, half a day apart; one user in five asks for a review."""
    changes = {"attributes": {}, **more}
    records = []
    for number in range(2 * users):
        at = began_ms + number * DAY // 8
        said = {
            names.SESSION_PROMPT_VERSION: version,
            names.SESSION_TYPE: "review" if number // 2 % 5 == 0 else "chat",
            names.SESSION_OUTCOME: ("resolved", "escalated")[number % 3 == 0],
            **changes["attributes"],
        }
        facts = {"user_id": f"u_{version}{number // 2}", "cost_microusd": cost + 1_000 * (number // 2 % 7)}
        times = {"started_ms": at, "last_ms": at + 60_000, "ended_ms": at + 90_000}
        records.append(
            end(f"{prefix}{version}-{number}", **{**facts, **times, "reason": "user_exit", **more, "attributes": said})
        )
    ledger.emit(records)


def versions(users: int = 20) -> RingLedger:
    """Return a history of v9 and v10, and few sessions of v2."""
    ledger = RingLedger()
    told(ledger, "v9", users, 400_000)
    told(ledger, "v10", users, 300_000)
    told(ledger, "v2", 3, 300_000)
    return ledger


def compared(ledger: Ledger | None = None, **params: Any) -> Element:
    """Return the page."""
    answer = client(ledger or versions()).get("/compare", params=params)
    assert 200 == answer.status_code
    return read(answer.text)


def rows(page: Element, cls: str = "versions") -> dict[str, list[str]]:
    """Return the lines of a table, by what they begin with."""
    lines = page.one("table", cls=cls).one("tbody").all("tr")
    return {line.one("th").text: [cell.text for cell in line.all("td")] for line in lines}


def test_users_sessions_median_mean_difference_in_that_order() -> None:
    """With intervals, and the newest two versions where none was named."""
    page = compared()
    found = rows(page)

    assert ["Users", "Sessions", "Medianof sessions", "Meanover users"] == list(found)[:4]
    assert ["20", "20", ""] == found["Users"] and ["40", "40", ""] == found["Sessions"]
    assert "$0.4029" == found["Meanover users"][0][:7]
    assert found["Meanover users"][2].startswith(f"{MINUS}$0.100095 % interval {MINUS}$0.10")
    assert found["Meanwith the same mix of types"][:2] == ["", ""]
    assert ["", "", "0.0 %of pairs"] == found["v10 largerone session of each, by chance"]
    assert (
        "v9 costs $0.4029 a session on average, v10 $0.3028: 24.8 % less (95 % interval"
        in page.one("p", cls="verdict").text
    )
    assert ["v9", "v10"] == [one.all("option", selected="")[0].attributes["value"] for one in page.all("select")[:2]]


def test_values_to_choose_from_are_in_natural_order() -> None:
    """v9 before v10, each with its sessions; what was chosen stays."""
    page = compared(a="v10", b="v2")
    first = page.all("select")[0]

    assert ["v2 (6)", "v9 (40)", "v10 (40)"] == [one.text for one in first.all("option")]
    assert ["v10", "v2"] == [one.all("option", selected="")[0].attributes["value"] for one in page.all("select")[:2]]


def test_refused_intervals_are_dots() -> None:
    """Three users are too few: each session is a dot, and that is said above all."""
    page = compared(a="v9", b="v2", whole="1")
    (drawing,) = page.all("figure", cls="intervals")

    assert [
        "v2: too few users for an interval: 3, it takes 10.",
        "v9: 20 users only, the intervals are rough.",
    ] == sorted(one.text for one in page.one("ul", cls="warnings").all("li"))
    assert 6 == len([one for one in drawing.all("circle", cls="dot") if "second" in one.attributes["class"]])
    assert f"{MINUS}$0.1019no interval" == rows(page)["Meanover users"][2]
    assert "interval" not in page.one("p", cls="verdict").text


def test_all_quantities_with_the_asked_one_first() -> None:
    """Intervals of the others are wider than 95 %, since they share one risk."""
    page = compared(metric="tokens")
    found = page.one("table", cls="beside").one("tbody").all("tr")

    assert ("tokens per session", "asked") == (found[0].one("th").text, found[0].attributes["class"])
    assert not any("asked" in one.attributes.get("class", "") for one in found[1:])
    assert {"cost per session", "latency per turn", "turns per session"} < {one.one("th").text for one in found}
    (cost,) = [one.all("td")[2].text for one in found if one.one("th").text == "cost per session"]
    assert "p < 0.001" in cost and not cost.startswith(f"{MINUS}$0.100095 %")
    assert "of other metrics" in page.one("ul", cls="facts-of").text


def test_resolution_has_its_unknown_beside_it() -> None:
    """Wilson's interval of the settled ones; how many are unknown is no failure."""
    ledger = versions()
    told(ledger, "v9", 10, 400_000, prefix="more-", attributes={names.SESSION_OUTCOME: "none"})
    found = rows(compared(ledger, metric="resolution"))
    line = "Shareof those settled; unknown outcome: 33 % and 0 %"

    assert (["40of 60", "40", ""], "65.0 %") == (found["Sessions"], found[line][0][:6])
    assert "Median" not in "".join(found)
    assert "65.0 %" == rows(compared(ledger))[line.replace("Share", "Resolved")][0][:6]


def test_several_versions_are_each_compared_with_the_first() -> None:
    """A section each."""
    page = compared(versions(), a="v9", b=["v10", "v2"])

    assert ["v9 and v10", "v9 and v2"] == [one.one("h2").text for one in page.all("section", cls="pair")]
    assert 1 == len(page.all("p", cls="peeking"))


def test_what_a_difference_does_not_mean_stands_above_it() -> None:
    """Before and after, and a split that is not the intended one; the fixed text about looking every day below."""
    ledger = RingLedger()
    told(ledger, "v1", 20, 400_000, NOW_MS - 25 * DAY)
    told(ledger, "v2", 40, 300_000, NOW_MS - 12 * DAY)
    page = compared(ledger, split="50:50")
    warnings = page.one("ul", cls="warnings").text

    assert "They never ran at the same time (v1 from 2025-09-14 to 2025-09-19 and v2 from 2025-09-27" in warnings
    assert PEEKING == page.one("p", cls="peeking").text
    assert "20 to 40 users where 50 to 50 % were meant" in page.text
    assert "the whole period" in page.one("p", role="status").text


def test_no_stars_and_no_winner() -> None:
    """Nothing is called better, significant or a winner; no number has a star."""
    text = compared(p95="1").text.lower()

    assert not [word for word in ("winner", "better", "significan", "★", "*") if word in text]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"metric": "price"}, "there is no metric 'price'"),
        ({"by": "promt_version"}, "there is no field 'promt_version'"),
        ({"a": "v9", "b": "v9"}, "2 to 12 different values"),
        ({"split": "half"}, "is no intended split"),
        ({"a": "v9", "b": "v10", "split": "50:50:50"}, "an intended split has a number above 0"),
        ({"q": "trace_cont:>5"}, "there is no field 'trace_cont'"),
        ({"tz": "Europe/Nowhere"}, "no time zone 'Europe/Nowhere'"),
    ],
)
def test_what_cannot_be_asked_is_told(params: dict[str, str], message: str) -> None:
    """400, the page still there, as on the list; programs get the same."""
    someone = client(versions())
    answer, twin = someone.get("/compare", params=params), someone.get("/api/compare", params=params)

    assert (400, 400) == (answer.status_code, twin.status_code)
    assert message in read(answer.text).one(role="alert").text
    assert message in twin.json()["error"]["message"]


def test_missing_values_are_named_with_those_there_are() -> None:
    """Also where there is nothing to compare at all."""
    page, alone = compared(a="v9", b="v3"), RingLedger()
    told(alone, "v1", 3, 1)

    assert "No session has v3 There is: v2, v9, v10." in page.one("div", cls="note").text
    assert "All sessions that have prompt_version say v1." in compared(alone).one("div", cls="note").text
    assert "No session fits" in compared(RingLedger()).one("div", cls="note").text


def test_by_any_attribute() -> None:
    """The two largest groups, where nothing was said."""
    ledger = RingLedger()
    for source, users in (("web", 12), ("mail", 14), ("app", 3)):
        told(ledger, source, users, 1_000, attributes={"metadata.source": source})
    page = compared(ledger, by="metadata.source")

    assert {"mail", "web"} == set(page.one("section", cls="pair").one("h2").text.split(" and "))


def test_values_of_something_else_are_let_go() -> None:
    """Who changes the field in the form has chosen no values of the new one yet."""
    page = compared(by="type", of="prompt_version", a="v9", b="v10")

    assert {"chat", "review"} == set(page.one("section", cls="pair").one("h2").text.split(" and "))
    assert "type" == page.one("input", name="of").attributes["value"]


def test_filter_window_and_zone_are_carried_on() -> None:
    """In the form, in links, and in what is compared."""
    page = compared(versions(), q="type:chat", tz="Europe/Berlin", a="v9", b="v10", unconfirmed="1")
    hidden = {one.attributes["name"]: one.attributes["value"] for one in page.all("input", type="hidden")}
    links = [one.attributes["href"] for one in page.one("p", role="status").all("a")]

    assert {"tz": "Europe/Berlin", "unconfirmed": "1"} == {key: hidden[key] for key in ("tz", "unconfirmed")}
    assert all("q=type%3Achat" in link and "a=v9" in link and "tz=Europe" in link for link in links)
    assert not any("split=" in link for link in links), "nothing that was not asked for"
    assert ["16", "16", ""] == rows(page)["Users"]
    assert "chat v9 costs" in page.one("p", cls="verdict").text


def test_scope_holds() -> None:
    """What an actor may not see is neither compared nor offered."""
    ledger = RingLedger()
    for org, version in (("org_1", "v1"), ("org_1", "v2"), ("org_2", "v3")):
        told(ledger, version, 12, 1_000, attributes={names.USER_ORG_ID: org})
    someone = client(ledger, scope=lambda actor: 'user.org_id = "org_1"')
    page, twin = read(someone.get("/compare").text), someone.get("/api/compare?a=v1&b=v3").json()

    assert ["v1 (24)", "v2 (24)"] == [one.text for one in page.all("select")[0].all("option")]
    assert (["v3"], []) == (twin["missing"], twin["pairs"])
    assert ["v1", "v2"] == [one["value"] for one in twin["there"]]


def test_json_twin_says_the_same() -> None:
    """With the numbers as numbers."""
    twin = client(versions()).get("/api/compare", params={"a": "v9", "b": "v10", "p95": "1"}).json()
    (pair,) = twin["pairs"]
    first = pair["metrics"][0]

    assert ("cost", True, 20, 40) == (first["metric"], first["primary"], first["a"]["users"], first["a"]["sessions"])
    assert first["difference"]["value"] == pytest.approx(-0.1) and first["difference"]["confidence"] == 0.95
    assert first["difference"]["interval"][0] < -0.1 < first["difference"]["interval"][1]
    assert PEEKING in pair["notes"] and "overlap" == pair["window"]["kind"]


def test_an_answer_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 200: half a comparison is none."""
    ledger = versions()

    def slow(asked: Any) -> Any:
        raise StoreUnavailable("too long", reason="store_timeout")

    monkeypatch.setattr(ledger, "samples", slow)

    assert "stopped: it took longer than 5 s" in compared(ledger).one("p", role="status").text
    assert {"stopped": True} == client(ledger).get("/api/compare").json()


@pytest.mark.parametrize("payload", [*PAYLOADS, "v\u202e1", "a-b -1"])
def test_version_names_are_text(payload: str) -> None:
    """Every element is the page's own, whatever versions are called; what nobody would see is an escape."""
    ledger = RingLedger()
    told(ledger, payload, 12, 1_000)
    told(ledger, "v2", 3, 2_000)
    plain = compared(a="v9", b="v2")
    page = compared(ledger, a=payload, b="v2")  # asked for as it was said, found as it is kept

    assert {one.tag for one in page.all()} <= {one.tag for one in plain.all()}
    assert not [name for one in page.all() for name in one.attributes if name.startswith("on") or name == "style"]
    if payload.isprintable():
        assert payload in page.one("section", cls="pair").one("h2").raw
    assert "\u202e" not in page.one("section", cls="pair").raw


def test_a_form_sends_values_as_they_are() -> None:
    """Also those with characters that nobody would see, which the page shows as escapes."""
    ledger = RingLedger()
    for version in ("v\u202e1", 'v"2'):
        told(ledger, version, 12, 1_000)
    page = compared(ledger)
    options = page.all("select")[0].all("option")

    assert {"v\u202e1", 'v"2'} == {one.attributes["value"] for one in options}
    assert {"v\\u202e1 (24)", 'v"2 (24)'} == {one.text for one in options}
    chosen = {one.attributes["value"] for one in options}
    assert 1 == len(compared(ledger, a="v\u202e1", b='v"2').all("section", cls="pair")), chosen


def test_drawing_has_everything_on_its_axis() -> None:
    """Values, intervals, dots and zero, within the picture; round numbers below."""
    marks = [Mark("a", "", "first", 2.0, 1.0, 4.0), Mark("b", "", "second", None, dots=[-3.0, 9.0])]
    found = picture("key", "Title", marks, lambda value: f"{value:g}", zero=True)

    assert found is not None
    first, second = found.rows
    assert first.low is not None and first.at is not None and first.high is not None and found.zero is not None
    assert 0 < second.dots[0] < found.zero < first.low < first.at < first.high < second.dots[1] < 100
    assert ["-2.5", "0", "2.5", "5", "7.5"] == [text for _, text in found.ticks]
    assert picture("key", "Title", [Mark("a", "", "first", None)], str, zero=True) is None
    one = picture("key", "Title", [Mark("a", "", "first", 5.0, 5.0, 5.0)], str)
    assert one is not None and [(8.0, "5.0")] == one.ticks


# -- in a browser


@pytest.mark.browser
@pytest.mark.landing
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_there_are_intervals(scheme: str, look: Callable[..., Any]) -> None:
    """Names, roles, contrast: see ``test_browser`` for what it takes."""
    path = os.environ.get("SESSION_MW_TEST_AXE")
    if path is None:
        pytest.skip("SESSION_MW_TEST_AXE names no axe.min.js")
    script = Path(path).read_text(encoding="utf-8") + "\n;0"

    def work(looker: Looker, base: str) -> list[Any]:
        looker.page.goto(f"{base}compare?a=v9&b=v10&b=v2&p95=1&split=50:50:50")
        looker.page.evaluate(script)
        return [one["id"] for one in looker.page.evaluate("axe.run().then((result) => result.violations)")]

    assert [] == look(work, versions(), color_scheme=scheme)


@pytest.mark.browser
@pytest.mark.landing
@pytest.mark.parametrize("script", [True, False], ids=["with", "without"])
def test_compare_in_a_browser(script: bool, look: Callable[..., Any]) -> None:
    """From the list by way of analytics to another version and metric; nothing complains, nobody else is asked."""

    def work(looker: Looker, base: str) -> list[Any]:
        page = looker.page
        page.goto(base)
        page.get_by_role("link", name="Analytics").click()
        page.get_by_role("link", name="Compare").click()
        seen = [page.locator("section.pair h2").all_inner_texts()]
        page.get_by_label("from").select_option("v10")
        page.get_by_label("with").select_option("v2")
        page.get_by_label("by", exact=True).fill("tokens")
        page.get_by_role("button", name="Compare").click()
        seen += [page.locator("section.pair h2").all_inner_texts(), page.locator("tr.asked th").inner_text()]
        seen.append("too few users" in page.locator("ul.warnings").inner_text())
        return [*seen, looker.complaints, {url for url in looker.asked if not url.startswith((base, "data:"))}]

    wanted = [["v9 and v10"], ["v10 and v2"], "tokens per session", True, [], set()]
    assert wanted == look(work, versions(), java_script_enabled=script)


@pytest.mark.browser
@pytest.mark.landing
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390, 320])
def test_it_fits_the_screen_with_any_name(width: int, scheme: str, look: Callable[..., Any]) -> None:
    """Long and hostile names run nothing and push nothing out of the screen."""
    ledger = versions()
    for payload in (*PAYLOADS, "v" * 190):
        told(ledger, payload, 12, 1_000)

    def work(looker: Looker, base: str) -> list[Any]:
        page, wide, tall = looker.page, [], 0
        for query in (
            {"a": "v9", "b": ["v10", "v2"], "p95": "1"},
            {"a": PAYLOADS[0], "b": list(PAYLOADS[1:8])},
            {"a": "v" * 190, "b": "v9"},
        ):
            page.goto(f"{base}compare?{urlencode(query, doseq=True)}")
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(query)
            tall = max(tall, page.locator("section.pair").first.bounding_box()["height"])
        strange = page.locator("img, iframe, object, b, svg[onload], a[href^='javascript']").count()
        return [wide, strange, looker.complaints, tall > 300]

    assert [[], 0, [], True] == look(work, ledger, color_scheme=scheme, viewport={"width": width, "height": 800})
