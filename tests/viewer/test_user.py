"""The page of one user: figures of all sessions that the actor may see, and the list of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from session_mw.ledger import RingLedger
from tests.ledger.support import end
from tests.viewer.acting import acted
from tests.viewer.support import DAY, JANE, NOW_MS, Element, client, filled, read
from tests.viewer.test_analytics import figures, table
from tests.viewer.test_list import ids


def user(name: str, ledger: Any = None, options: dict[str, Any] | None = None, **params: Any) -> Element:
    """Return a user's page."""
    asked = {"id": name, "window": "all", **params}
    return read(client(ledger or acted(), **(options or {})).get("/user", params=asked).text)


def test_head_and_list() -> None:
    """First and last seen, sums over all sessions, a strip of weeks, and the sessions in the list's own table."""
    page = user("ada")
    times = [one.text for one in page.one("p", cls="when").all("time")]
    weeks = [int(count) for _, count in table(page, "Sessions a week")]

    assert "ada" == page.one("h1").one("code").text
    assert ["2025-09-19 08:53:20", "2025-10-09 07:53:21"] == times
    assert {
        "Sessions": ("3", "and 1 active"),
        "Session length": ("3.0", "turns on average"),
        "Retention": ("19 d", "from the first session to the last"),
        "Cost": ("$0.9000", "$0.3000 a session · 1 without a price"),
        "Tokens": ("420", "10 turns"),
        "Mean latency": ("1.0 s", "a turn"),
        "With errors": ("0", "sessions"),
        "Resolved": ("100 %", "of 3 with a known outcome"),
    } == figures(page)
    assert (26, [1, 1, 0, 2]) == (len(weeks), weeks[-4:])
    assert ["open", "s2", "s1", "s0"] == ids(page.one("table", cls="sessions"))


@pytest.mark.parametrize("name", ["ada", "bob", "dee", "eve"])
def test_figures_agree_with_the_ledger_s(name: str) -> None:
    """The same numbers as on ``session.end``."""
    ledger = acted()
    body = client(ledger).get("/api/user", params={"id": name}).json()
    wanted = {key.removeprefix("user."): value for key, value in ledger.user_totals(name).items()}

    assert wanted == {key: body[key] for key in wanted}
    assert {"sessions_total", "avg_session_length", "retention_days"} == wanted.keys()


def test_the_list_is_narrowed_and_the_figures_are_not() -> None:
    """Filter and window are for the list."""
    page = user("ada", q="prompt_version:v10", window="")

    assert ["s2", "s1"] == ids(page.one("table", cls="sessions"))
    assert "3" == figures(page)["Sessions"][0]
    assert "No session of this user fits" == user("ada", q="type:nothing").one("div", cls="note").one("h2").text


def test_pages_and_sorts_stay_with_the_user() -> None:
    """The form, the heads and the cursors carry the user on."""
    ledger = RingLedger()
    for number in range(30):
        times = {"started_ms": NOW_MS - number, "last_ms": NOW_MS, "ended_ms": NOW_MS}
        ledger.emit([end(f"s{number:02}", user_id="zoe", **times), end(f"x{number:02}", user_id="other", **times)])
    someone = client(ledger)
    page = read(someone.get("/user?id=zoe&n=25&sort=started").text)
    more = read(someone.get(urljoin("http://viewer.test/user", page.one("a", rel="next").attributes["href"])).text)
    hidden = {one.attributes["name"]: one.attributes["value"] for one in page.all("input", type="hidden")}

    assert (25, 5) == (len(ids(page.one("table", cls="sessions"))), len(ids(more.one("table", cls="sessions"))))
    assert {one[0] for one in ids(page.one("table", cls="sessions"))} == {"s"}
    assert {"id": "zoe", "n": "25", "sort": "started"} == hidden
    assert ("user", "ascending") == (
        page.one("form").attributes["action"],
        next(one.attributes["aria-sort"] for one in page.all("th") if "aria-sort" in one.attributes),
    )


def test_it_is_a_link_away() -> None:
    """From the list, and from a session."""
    someone = client(filled())
    links = [
        read(someone.get("/?q=chat-1").text).one("td", cls="user").one("a"),
        read(someone.get("/s?id=chat-1").text).one("p", cls="when").one("a"),
    ]

    for link in links:
        address = urlsplit(link.attributes["href"])
        assert ("user", [JANE]) == (address.path.removeprefix("./"), parse_qs(address.query)["id"])


@pytest.mark.parametrize("name", ["nobody", "", "ad*", 'x" OR user_id:"ada', "a" * 3_000, "\x00"])
def test_a_user_that_there_is_not(name: str) -> None:
    """404, whatever is asked for."""
    someone = client(acted())

    assert [404, 404] == [someone.get(f"/{page}", params={"id": name}).status_code for page in ("user", "api/user")]


def test_only_what_the_actor_may_see() -> None:
    """Figures and list are of the sessions in scope; without one there, there is no such user."""
    scoped = {"scope": lambda actor: "type:review"}
    page = user("dee", options=scoped)

    assert ["s8"] == ids(page.one("table", cls="sessions"))
    assert ("1", "2.0") == (figures(page)["Sessions"][0], figures(page)["Session length"][0])
    assert "and you may see" in page.text
    assert 404 == client(acted(), **scoped).get("/user?id=ada").status_code
    assert ["s8"] == ids(user("dee", options=scoped, q="type:chat OR type:review").one("table", cls="sessions"))


def test_an_own_id_can_be_asked_for() -> None:
    """With the application's way to make pseudonyms."""
    page = user("jane", filled(), {"pseudonym": lambda name: JANE if name == "jane" else name})

    assert JANE == page.one("h1").one("code").text


def test_a_filter_error_marks_the_place() -> None:
    """400; the figures stay."""
    answer = client(acted()).get("/user", params={"id": "ada", "q": "trace_cont:>5"})
    page = read(answer.text)

    assert 400 == answer.status_code
    assert "trace_cont" == page.one("div", role="alert").one("mark").text
    assert "3" == figures(page)["Sessions"][0]
    assert {"id": ["ada"], "q": ["trace_count:>5"]} == parse_qs(
        urlsplit(page.one("div", role="alert").one("a").attributes["href"]).query
    )
    assert 400 == client(acted()).get("/api/user?id=ada&q=nope:1").status_code


def test_an_old_user_has_no_strip_of_old_weeks() -> None:
    """The strip is of the last half year; the rest is in the list."""
    ledger = RingLedger()
    times = {"started_ms": NOW_MS - 400 * DAY, "last_ms": NOW_MS - 400 * DAY, "ended_ms": NOW_MS - 400 * DAY}
    ledger.emit([end("old", user_id="old", **times)])
    page = user("old", ledger)

    assert {"0"} == {count for _, count in table(page, "Sessions a week")}
    assert "2024-09-04" in page.one("p", cls="when").text
