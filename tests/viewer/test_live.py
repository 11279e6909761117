"""Live: what is new is said, and shown only to who asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from session_mw.ledger import Ledger
from session_mw.viewer import SessionViewer
from tests.ledger.support import end, make, start, turn
from tests.shells.worlds import make_world
from tests.viewer.support import JANE, NOW_MS, ana, client, fill, filled, read


def begin(ledger: Ledger, session_id: str = "open-1", **more: Any) -> None:
    """Tell of a session that has begun."""
    ledger.emit([start(session_id, started_ms=NOW_MS - 60_000, user_id=JANE, attributes={}, **more)])


def go_on(ledger: Ledger, number: int = 1, session_id: str = "open-1") -> None:
    """Tell of a turn of it."""
    ledger.write_turns([turn(session_id, number, started_ms=NOW_MS - 50_000 + 1_000 * number)])


class Watcher:
    """A page that is live, and what it is told."""

    def __init__(self, ledger: Ledger, path: str = "/?live=5", **options: Any) -> None:
        self.client: TestClient = client(ledger, **options)
        self.page = read(self.client.get(path).text)
        self.address = "/" + self.page.one(role="status", cls="news").attributes["data-changes"].removeprefix("./")

    def ask(self, **headers: str) -> Any:
        """Ask what is new."""
        return self.client.get(self.address, headers=headers)

    @property
    def told(self) -> tuple[int, int]:
        """How many are new and changed."""
        said = self.ask().json()
        return said["new"], said["changed"]


def test_a_page_is_live_only_when_somebody_says_so() -> None:
    """Without ``live`` nothing asks; the switch leads there and back, and Refresh is a link."""
    off = read(client(filled()).get("/?q=type:chat").text)
    switch = off.one("a", cls="golive").attributes["href"]
    on = read(client(filled()).get(f"/{switch.removeprefix('./')}").text)
    links = {one.text: one.attributes["href"] for one in on.one(cls="live").all("a")}

    assert [] == [one for one in off.all() if "data-changes" in one.attributes]
    assert {"q": ["type:chat"], "live": ["5"]} == parse_qs(urlsplit(switch).query)
    assert {"Live, stop it": "./?q=type%3Achat", "Refresh": "./?q=type%3Achat&live=5"} == links
    assert "5" == on.one(cls="news").attributes["data-every"]


@pytest.mark.parametrize(("said", "every"), [("5", "5"), ("1", "2"), ("99999", "3600"), ("86400", "3600")])
def test_how_often(said: str, every: str) -> None:
    """No faster than every two seconds, no slower than every hour."""
    assert every == Watcher(filled(), f"/?live={said}").page.one(cls="news").attributes["data-every"]


@pytest.mark.parametrize("said", ["0", "", "x", "-5", "5.5", "\u0665", "9" * 50])
def test_what_is_no_number_of_seconds_is_off(said: str) -> None:
    """Nothing is live by mistake."""
    page = read(client(filled()).get("/", params={"live": said}).text)

    assert [] == page.all(cls="news")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_new_and_changed_sessions_are_counted(kind: str, tmp_path: Path) -> None:
    """A new one, one with a further turn, one that ended although its last activity is what it was."""
    ledger = make(kind, tmp_path)
    fill(ledger)
    begin(ledger)
    begin(ledger, "open-2")
    watcher = Watcher(ledger)
    before = watcher.told
    begin(ledger, "open-3")
    go_on(ledger)
    times = {"started_ms": NOW_MS - 60_000, "last_ms": NOW_MS - 60_000, "ended_ms": NOW_MS - 1}
    ledger.emit([end("open-2", user_id=JANE, turns=0, completed=0, failed=0, **times)])

    assert (0, 0) == before
    assert (1, 2) == watcher.told
    assert "3 new or changed sessions" == watcher.ask().json()["text"]


def test_the_filter_and_the_scope_hold() -> None:
    """What the page would not show is not told of either."""
    ledger = filled()
    watcher = Watcher(ledger, "/?live=5&q=type:chat")
    tenant = Watcher(ledger, scope=lambda actor: 'user.org_id = "org_2"')
    begin(ledger)
    go_on(ledger)

    assert (0, 0) == watcher.told
    assert (0, 0) == tenant.told
    assert {"new": 3, "changed": 0, "text": "3 new or changed sessions"} == client(ledger).get("/changes").json()


def test_the_same_answer_is_not_sent_again() -> None:
    """``If-None-Match`` gets 304 until something changes, also when a proxy has made the mark a weak one."""
    ledger = filled()
    watcher = Watcher(ledger)
    first = watcher.ask()
    tag = first.headers["etag"]
    same, weak = watcher.ask(**{"if-none-match": tag}), watcher.ask(**{"if-none-match": f"W/{tag}"})
    begin(ledger)
    then = watcher.ask(**{"if-none-match": tag})

    assert len(first.content) < 60
    assert [(304, b"", tag)] * 2 == [(one.status_code, one.content, one.headers["etag"]) for one in (same, weak)]
    assert (200, "1 new or changed session") == (then.status_code, then.json()["text"])
    assert tag != then.headers["etag"]


def test_a_session_in_progress_tells_of_itself() -> None:
    """Its page is live as the list is, keeps its view, and is no more once it has ended."""
    ledger = filled()
    begin(ledger)
    watcher = Watcher(ledger, "/s?id=open-1&view=metrics&live=5")
    before = watcher.ask().json()["text"]
    go_on(ledger)
    again = {one.text: one.attributes["href"] for one in watcher.page.one(cls="live").all("a")}["Refresh"]

    assert ("", "This session has gone on") == (before, watcher.ask().json()["text"])
    assert {"id": ["open-1"], "view": ["metrics"], "live": ["5"]} == parse_qs(urlsplit(again).query)
    assert [] == read(client(ledger).get("/s?id=chat-1&live=5").text).all(cls="live")


def test_out_of_scope_nothing_is_told() -> None:
    """Whether another tenant's session goes on is none of an actor's business."""
    mine = client(filled(), scope=lambda actor: 'user.org_id = "org_2"')

    assert [404, 404] == [mine.get(f"/changes?id={one}&since=").status_code for one in ("chat-1", "chat-9")]


@pytest.mark.parametrize("since", ["x", "AAAA", "\u00e4", "AAAAAAAAAA=", "!" * 8])
def test_a_damaged_question_is_refused(since: str) -> None:
    """It is no failure, and not the whole list either."""
    answer = client(filled()).get("/changes", params={"since": since})

    assert (400, {"error": {"message": "since is not what a page gave"}}) == (answer.status_code, answer.json())


def test_a_filter_that_cannot_be_read_is_told() -> None:
    """As everywhere."""
    assert 400 == client(filled()).get("/changes?since=&q=nope:1").status_code


def test_sessions_of_a_running_application_appear_as_active(tmp_path: Path) -> None:
    """After the first turn, long before any end: in the list, and with a page of their own that can be live."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    world = make_world("asgi", store=url, session_type="chat")
    world.request()
    world.work()
    someone = TestClient(SessionViewer(url, auth=ana, clock=lambda: world.clock.now_ms))
    row = read(someone.get("/").text).one("tbody").one("tr")
    page = read(someone.get("/" + row.one("th").one("a").attributes["href"].removeprefix("./")).text)

    assert ["chat", "Active"] == [row.one("td", cls="labels").text, row.one(cls="state").text]
    assert "still active" in page.one(cls="when").text
    assert "Live off" == page.one("a", cls="golive").text
