"""Sums by any field or attribute: what stands in a line, where it leads, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from session_mw.ledger import RingLedger
from session_mw.viewer.list import quoted
from tests.ledger.support import end
from tests.viewer.acting import acted
from tests.viewer.support import NOW_MS, Element, client, read


def grouped(*by: str, ledger: Any = None, **params: Any) -> Element:
    """Return the page for some names."""
    return read(client(ledger or acted()).get("/groups", params={"by": list(by), **params}).text)


def lines(page: Element) -> dict[str, dict[str, str]]:
    """Return the cells of each line by title."""
    rows = page.one("table").all("tr")[1:]
    return {row.one("th").text: {one.attributes["data-label"]: one.text for one in row.all("td")} for row in rows}


def names(page: Element) -> list[str]:
    """Return the groups from top to bottom."""
    return [row.one("th").text for row in page.one("tbody").all("tr")]


def listed(someone: Any, link: str) -> list[str]:
    """Return the sessions to which a link of ``/groups`` leads."""
    page = read(someone.get(urljoin("http://viewer.test/groups", link)).text)
    return sorted(one.text for one in page.all("th", scope="row"))


def test_a_line_has_sums_and_what_is_not_known_beside_them() -> None:
    """Sessions, users, turns, tokens, cost, cost a session, latency, errors, resolution; unknown stands apart."""
    page = grouped("type")

    assert "13 sessions in 3 groups" == page.one("p", role="status").text
    assert {
        "Sessions": "9",
        "Users": "4",
        "Turns": "19",
        "Tokens": "1,120",
        "Cost": "$1.80",
        "Cost a session": "$0.2250",
        "Priced": "88.9 %",
        "Latency": "1.0 s",
        "Errors": "0.0 %",
        "Resolved": "37.5 %",
        "Unknown": "11.1 %",
    } == lines(page)["chat"]
    assert ("\N{EN DASH}", "\N{EN DASH}", "100.0 %") == tuple(
        lines(page)["batch"][title] for title in ("Cost", "Resolved", "Unknown")
    )


def test_users_are_not_added_up() -> None:
    """One may be in several groups; all else is."""
    total = lines(grouped("type"))["All"]

    assert ("13", "\N{EN DASH}", "24") == (total["Sessions"], total["Users"], total["Turns"])


FIELDS = ("type", "prompt_version", "user_id", "outcome", "cost", "duration", "turn_count", "metadata.beta")


@pytest.mark.parametrize("q", ["", "type:chat OR type:review # some"])
def test_a_group_leads_to_its_sessions(q: str) -> None:
    """To as many as it has, of the same filter; also where it is that something is not known."""
    someone = client(acted())
    for by in FIELDS:
        page = read(someone.get("/groups", params={"by": by, "q": q}).text)
        counts = {row.one("a").attributes["href"]: row.all("td")[0].text for row in page.one("tbody").all("tr")}

        assert len(counts) > 1, by
        assert counts == {link: str(len(listed(someone, link))) for link in counts}


NAMES = ("a b", 'say "hi"', "back\\slash", "a*", "true", "5", "-1.5", "OR", "IS", "#x", "(", "ä")


@pytest.mark.landing
@pytest.mark.parametrize("by", ["name", "metadata.x"])
def test_names_are_taken_literally(by: str) -> None:
    """Whatever a name looks like in the language of filters."""
    ledger = RingLedger()
    times = {"started_ms": NOW_MS - 9, "last_ms": NOW_MS - 8, "ended_ms": NOW_MS - 7}
    wire = "session.name" if by == "name" else by
    for number, name in enumerate(NAMES):
        ledger.emit([end(f"s{number:02}", attributes={wire: name}, **times)])
    ledger.emit([end("none", attributes={wire.upper(): "x"}, **times)])
    someone = client(ledger)
    page = read(someone.get("/groups", params={"by": by}).text)
    links = {row.one("th").text: row.one("a").attributes["href"] for row in page.one("tbody").all("tr")}

    assert [[f"s{number:02}"] for number in range(len(NAMES))] == [listed(someone, links[name]) for name in NAMES]
    assert ["none"] == listed(someone, links["not known"])


def test_two_levels() -> None:
    """Groups of the second stand under their group of the first, v9 before v10; a line leads to what both say."""
    someone = client(acted())
    page = read(someone.get("/groups?by=type&by=prompt_version").text)
    rows = [(row.attributes["class"], row.one("th").text) for row in page.one("tbody").all("tr")]
    inner = {row.one("th").text: row.one("a").attributes["href"] for row in page.one("tbody").all("tr")[2:5]}

    assert [
        ("outer", "batch"),
        ("inner", "not known"),
        ("outer", "chat"),
        ("inner", "v9"),
        ("inner", "v10"),
        ("inner", "not known"),
        ("outer", "review"),
        ("inner", "v9"),
        ("inner", "not known"),
    ] == rows
    assert ["s0", "s3", "s7"] == listed(someone, inner["v9"])
    assert ["s1", "s2", "s4", "s5", "s6"] == listed(someone, inner["v10"])


def test_sorting() -> None:
    """By every column, what is not known last either way; the head says which, and turns round at the next click."""
    heads = {one.text.strip("▼▲↕ "): one for one in grouped("type", order="-cost").one("thead").all("th")}
    button = heads["Cost"].one("button")

    assert ["chat", "review", "batch"] == names(grouped("type"))
    assert ["chat", "review", "batch"] == names(grouped("type", order="-cost"))
    assert ["review", "chat", "batch"] == names(grouped("type", order="cost"))
    assert ["review", "chat", "batch"] == names(grouped("type", order="-resolution"))
    assert ["batch", "chat", "review"] == names(grouped("type", order="name"))
    assert ["review", "chat", "batch"] == names(grouped("type", order="-name"))
    assert ["v9", "v10", "not known"] == names(grouped("prompt_version"))
    assert ["v10", "v9", "not known"] == names(grouped("prompt_version", order="-name"))
    assert ["Cost"] == [title for title, one in heads.items() if "aria-sort" in one.attributes]
    assert ("descending", "filter", "order", "cost") == (
        heads["Cost"].attributes["aria-sort"],
        *(button.attributes[name] for name in ("form", "name", "value")),
    )


def crowd(count: int) -> RingLedger:
    """Return a history of as many users, the n-th with one session and n cents, in two types by turns."""
    ledger = RingLedger()
    for number in range(count):
        times = {"started_ms": NOW_MS - 9, "last_ms": NOW_MS - 8, "ended_ms": NOW_MS - 7}
        said = {"session.type": f"t{number % 2}"}
        ledger.emit(
            [end(f"s{number}", user_id=f"u{number:03}", cost_microusd=10_000 * number, attributes=said, **times)]
        )
    return ledger


@pytest.mark.landing
def test_many_groups_are_added_up_in_a_last_line() -> None:
    """The largest stand for themselves, the rest together: nothing is lost."""
    page = grouped("user_id", ledger=crowd(105), order="-cost")
    cells = lines(page)

    assert 101 == len(names(page))
    assert ["u104", "u103"] == names(page)[:2]
    assert ("5", "$0.1000", "\N{EN DASH}") == tuple(
        cells["the rest: 5 groups"][title] for title in ("Sessions", "Cost", "Users")
    )
    assert "$54.60" == cells["All"]["Cost"]


@pytest.mark.landing
def test_many_groups_within_a_group_too() -> None:
    """Twenty of each, then the rest."""
    page = grouped("type", "user_id", ledger=crowd(50))
    rest = [row.all("td")[0].text for row in page.one("tbody").all("tr", cls="rest")]

    assert ["5", "5"] == rest


def test_what_nothing_can_be_grouped_by_is_told_at_its_place() -> None:
    """400, the name with what may have been meant, and the field still has it."""
    answer = client(acted()).get("/groups", params={"by": "tpye", "q": "type:chat"})
    page = read(answer.text)
    alert = page.one("div", role="alert")

    assert 400 == answer.status_code
    assert "there is no field 'tpye' to group by. Did you mean 'type'?" in alert.text
    assert "tpye" == alert.one("mark").text
    assert ["tpye", ""] == [one.attributes["value"] for one in page.all("input", name="by")]
    assert "\ntype:chat" == page.one("textarea").raw
    assert ["type"] == parse_qs(urlsplit(alert.one("a").attributes["href"]).query)["by"]
    assert [True, False] == ["aria-invalid" in one.attributes for one in page.all("input", name="by")]
    assert "aria-invalid" not in page.one("textarea").attributes


def test_a_filter_keeps_by_what_and_in_which_order() -> None:
    """The form of the filter carries them on, and so do the links around it."""
    page = grouped("type", "metadata.beta", order="-cost", q="type:chat", tz="Europe/Berlin", window="all")
    hidden = {one.attributes["name"]: one.attributes["value"] for one in page.all("input", type="hidden")}
    chip = parse_qs(urlsplit(page.all("a", cls="chip")[0].attributes["href"]).query)

    assert {"order": "-cost", "window": "all", "tz": "Europe/Berlin"} == hidden
    assert ["type", "metadata.beta"] == chip["by"]
    assert ["type:chat has_errors:true"] == chip["q"]


def test_the_same_for_programs() -> None:
    """All groups, in the order in which people count, with what is not known as null."""
    body: Mapping[str, Any] = client(acted()).get("/api/groups?by=type&by=prompt_version").json()
    keys = [tuple(group["group"].values()) for group in body["groups"]]

    assert ["type", "prompt_version"] == body["by"]
    assert [("chat", "v9"), ("chat", "v10"), ("chat", None)] == keys[1:4]
    assert (5, 2, 5) == tuple(body["groups"][2][name] for name in ("sessions", "resolved", "settled"))


def test_quoting_is_the_list_s() -> None:
    """What a link says can be read by people."""
    link = grouped("type").one("tbody").all("a")[0].attributes["href"]

    assert [f"type:{quoted('chat')}"] == parse_qs(urlsplit(link).query)["q"]
