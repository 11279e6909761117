"""
Promises V1 to V9: who may look, and what no stored text can do.

Source: Datasette (``--root``), MLflow (``Host`` is checked), Flower (CVE-2022-30034).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse
from starlette.testclient import TestClient

import session_mw.viewer
from session_mw._core import names
from session_mw._core.records import UsageRecord
from session_mw.exceptions import SettingsError, StoreError, StoreUnavailable, ViewerAuthRequired
from session_mw.ledger import RingLedger, open_ledger
from session_mw.viewer import SessionViewer
from session_mw.viewer.analytics.funnel import written
from session_mw.viewer.list import quoted
from session_mw.viewer.routes import ROUTES
from tests.ledger.support import end, turn
from tests.viewer.pages import EVERY, place
from tests.viewer.support import JANE, NOW_MS, ana, client, fill, filled, read

PAGES = tuple(f"/{path}" for path in EVERY)


def test_every_page_is_looked_at() -> None:
    """What is served is in the list of pages that the tests here, and those with a browser, go through."""
    assert ROUTES.keys() <= {place(path) for path in EVERY}


def local(ledger: Any, peer: str = "127.0.0.1", **options: Any) -> TestClient:
    """Return somebody on a peer's address, without a login."""
    viewer = SessionViewer(ledger, allow_loopback=True, clock=lambda: NOW_MS, **options)
    return TestClient(viewer, base_url="http://localhost:8000", client=(peer, 50_000))


def test_V1_no_viewer_without_auth() -> None:
    """Whoever forgets ``auth`` learns it before anybody can look."""
    with pytest.raises(ViewerAuthRequired, match="allow_loopback=True is for your own machine"):
        SessionViewer(filled())


@pytest.mark.parametrize("nobody", [None, False, type("Anonymous", (), {"is_authenticated": False})()])
@pytest.mark.parametrize("path", PAGES)
def test_V1_nobody_sees_anything(path: str, nobody: object) -> None:
    """None, False and users who are not logged in are nobody, on every page."""
    answer = client(filled(), auth=lambda request: nobody).get(path)

    assert 403 == answer.status_code
    assert "chat-1" not in answer.text


def test_V1_auth_may_be_async_and_may_answer_itself() -> None:
    """A login page of the host's is shown; a coroutine function is awaited."""

    async def auth(request: Any) -> Any:
        return RedirectResponse("/login") if "ok" not in request.query_params else "ana"

    someone = client(filled(), auth=auth)

    assert (307, "/login") == ((found := someone.get("/")).status_code, found.headers["location"])
    assert 200 == someone.get("/?ok").status_code


def test_V1_auth_may_raise_what_hosts_raise() -> None:
    """An HTTPException keeps its status and headers; any other failure of ``auth`` shows nothing."""

    def basic(request: Any) -> Any:
        raise HTTPException(401, headers={"www-authenticate": "Basic"})

    def broken(request: Any) -> Any:
        raise ValueError("secret dsn")

    refused, failed = client(filled(), auth=basic).get("/"), client(filled(), auth=broken).get("/")

    assert (401, "Basic") == (refused.status_code, refused.headers["www-authenticate"])
    assert 500 == failed.status_code
    assert "secret" not in failed.text and "chat-1" not in failed.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]", "[::1]:8000", "LOCALHOST"])
def test_V1_loopback_is_let_in(host: str) -> None:
    """A browser on the machine itself needs no login."""
    assert 200 == local(filled()).get("/", headers={"host": host}).status_code
    assert 200 == local(filled(), "::1").get("/", headers={"host": host}).status_code


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.7", {}),
        ("testclient", {}),
        ("127.0.0.1", {"host": "evil.test"}),
        ("127.0.0.1", {"host": "localhost.evil.test"}),
        ("127.0.0.1", {"host": "localhost:80@evil.test"}),
        ("127.0.0.1", {"host": "127.0.0.1.nip.io"}),
        ("127.0.0.1", {"host": ""}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"x-forwarded-host": "localhost"}),
        ("127.0.0.1", {"x-forwarded-proto": "https"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"x-real-ip": "127.0.0.1"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
    ],
)
def test_V1_loopback_is_checked_three_times(peer: str, headers: dict[str, str]) -> None:
    """Another peer, a proxy in between, or another site's name for this address: each is refused, with auth too."""
    assert 403 == local(filled(), peer).get("/", headers=headers).status_code
    assert 403 == local(filled(), peer, auth=lambda request: "ana").get("/", headers=headers).status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_V3_only_looking(method: str) -> None:
    """Whatever could change something is no method here."""
    answer = client(filled()).request(method, "/")

    assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])


def test_V3_nothing_is_written() -> None:
    """No page calls anything of a ledger that writes."""

    class Read:
        def __init__(self) -> None:
            self._of, self.called = filled(), set[str]()

        def __getattr__(self, name: str) -> Any:
            self.called.add(name)
            return getattr(self._of, name)

    ledger: Any = Read()
    for path in PAGES:
        client(ledger).get(path)

    analytics = {"overview", "engagement", "first_actions", "flows", "dropoff", "resolution", "funnel", "retention"}
    assert {"find", "summary", "samples", "session", "turns", "usages"} | analytics == ledger.called


def test_V3_sqlite_refuses_to_write(tmp_path: Path) -> None:
    """A viewer that opens a file itself could not change it by mistake; what others write meanwhile it sees."""
    url = f"sqlite:///{tmp_path}/history.db"
    looked, writer = SessionViewer(url, auth=ana, clock=lambda: NOW_MS), open_ledger(url)
    someone = TestClient(looked)
    assert "No sessions yet" in someone.get("/").text
    fill(writer)

    assert "chat-1" in someone.get("/").text
    with pytest.raises(StoreError, match="readonly"):
        looked._ledger.emit([end("x")])
    looked._ledger.close()
    writer.close()


def test_V3_head_has_no_body() -> None:
    """HEAD answers with GET's headers and nothing else, exports too."""
    someone = client(filled())
    for path in PAGES:
        asked = someone.head(path)
        assert (someone.get(path).status_code, b"") == (asked.status_code, asked.content), path


@pytest.mark.parametrize("path", [*PAGES, "405", "403"])
def test_V4_every_answer_has_the_headers(path: str) -> None:
    """A strict policy, no sniffing, no foreign window, nothing kept by caches."""
    nobody = client(filled(), auth=lambda request: None)
    answer = {"405": lambda: nobody.post("/"), "403": lambda: nobody.get("/")}.get(
        path, lambda: client(filled()).get(path)
    )()
    policy = answer.headers["content-security-policy"]

    assert "default-src 'none'" in policy and "base-uri 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert "same-origin" == answer.headers["referrer-policy"]
    assert "same-origin" == answer.headers["cross-origin-opener-policy"]
    assert "private, no-store" == answer.headers["cache-control"]


def test_V4_files_may_be_kept_for_ever_under_the_hash_of_what_they_are() -> None:
    """The names change with the content; a name without the right hash is nothing."""
    someone = client(filled())
    page = read(someone.get("/").text)
    names_ = [page.one("link", rel="stylesheet").attributes["href"], page.one("script").attributes["src"]]
    found = [someone.get(f"/{name}") for name in names_]

    assert ["text/css; charset=utf-8", "text/javascript; charset=utf-8"] == [
        one.headers["content-type"] for one in found
    ]
    assert {"public, max-age=31536000, immutable"} == {one.headers["cache-control"] for one in found}
    assert all(re.fullmatch(r"static/viewer\.[0-9a-f]{12}\.(css|js)", name) for name in names_)
    assert 404 == someone.get("/static/viewer.css").status_code
    assert 404 == someone.get("/static/../app.py").status_code


PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</textarea></title></pre><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!--\x00<b>\u202etxt.exe\u2066",
)


def attacked(payload: str) -> RingLedger:
    """Return a history with *payload* in every text that comes from outside."""
    ledger = RingLedger()
    calls = tuple(
        UsageRecord(kind, NOW_MS - 8_900, 90, payload, payload, payload, span, payload, "error", payload)
        for kind, span in (("model", payload), ("tool", None), ("agent", payload), ("other", None))
    )
    attributes: dict[str, Any] = dict.fromkeys((names.TURN_ACTION, names.TURN_INTENT, names.TURN_INPUT_TYPE), payload)
    messages = [
        {"role": payload, "type": kind, "name": payload, "text": payload} for kind in ("text", "tool_call", payload)
    ]
    attributes |= {names.TURN_MESSAGES: json.dumps(messages), "metadata.x": payload, payload: payload}
    ledger.write_turns(
        [
            turn(payload, 1, started_ms=NOW_MS - 9_000, status="error", error_type=payload, conversation_id=payload,
                 attributes=attributes, usages=calls)
        ]
    )  # fmt: skip
    texts = (
        names.SESSION_TYPE,
        names.SESSION_NAME,
        names.SESSION_PROMPT_VERSION,
        names.SESSION_CHANNEL,
        names.SESSION_OUTCOME,
    )
    said: dict[str, Any] = {**dict.fromkeys(texts, payload), "metadata.x": payload, payload: payload}
    times = {"started_ms": NOW_MS - 9_000, "last_ms": NOW_MS - 8_000, "ended_ms": NOW_MS - 7_000}
    ledger.emit(
        [end(payload, user_id=payload, reason=payload, previous_id=payload, next_id=payload, attributes=said, **times)]
    )
    return ledger


OURS = re.compile(
    r"(\.\./|\./|\?|s\?|turn\?|user\?|groups|analytics|compare|api/|static/|help|export|#main|data:,$"
    r"|https://t\.example/)"
)


SHOWING = (
    *("/", "/s", "/s?view=conversation", "/s?view=metrics", "/s?view=raw", "/turn?n=1", "/user"),
    *(f"/groups?by={name}" for name in ("type", "user_id", "metadata.x")),
    *(f"/analytics{page}" for page in ("", "/engagement", "/journeys", "/funnel", "/retention")),
    *(f"/compare?by={name}" for name in ("type", "metadata.x")),
)


def test_V5_every_page_is_attacked() -> None:
    """Each page that shows what was stored is among those that the payloads are looked for on."""
    files = ("help", "changes", "export.csv", "export.jsonl", "export.otlp.jsonl")

    assert {name for name in ROUTES if not name.startswith("api/")} - {*files} <= {place(path)[1:] for path in SHOWING}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_V5_no_stored_text_becomes_markup(payload: str) -> None:
    """Each text stands on the page as text: the same elements as for a harmless one, and no address of its own."""
    links = {"T": "https://t.example/{trace_id}", "S": "https://t.example/{session_id}/{user_id}"}

    def shapes(said: str) -> list[list[str]]:
        someone = client(attacked(said), can_view_content=lambda actor: True, trace_links=links)
        pages = []
        for path in SHOWING:
            q, more = "name:" + quoted(said), dict(parse_qsl(urlsplit(path).query))
            params = {"id": said, "q": q, "col": "metadata.x", "steps": written(said), **more}
            answer = someone.get(urlsplit(path).path, params=params)
            assert (path, 200) == (path, answer.status_code)
            found = read(answer.text).all()
            pages.append([one.tag for one in found])
            for one in found:
                assert not any(name.startswith("on") or name == "style" for name in one.attributes)
                assert OURS.match(one.attributes.get("href", "./")), one.attributes["href"]
        return pages

    assert shapes("harmless") == shapes(payload)


def test_V5_templates_trust_nothing() -> None:
    """No template calls anything safe, has a style or an event in it, or leaves an attribute without quotes."""
    folder = Path(session_mw.viewer.__file__).parent / "templates"
    texts = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}

    assert {"list.html", "analytics/frame.html"} <= texts.keys()
    for name, text in texts.items():
        assert not re.search(r"\|\s*safe|Markup|autoescape|\sstyle=|\son[a-z]+=|<style|=\s*\{\{", text), name
        assert 1 == len(re.findall("<script", text)) if name == "base.html" else "<script" not in text, name


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//t.example/{trace_id}", "https://{trace_id}/", "https://t/{nope}"]
)
def test_V5_trace_links_are_checked_at_the_start(url: str) -> None:
    """A link that could lead anywhere is refused before anybody can click it."""
    with pytest.raises(SettingsError, match=r"cannot use trace_links\['T'\]"):
        client(filled(), trace_links={"T": url})


def test_V6_what_nobody_sees_is_shown() -> None:
    """Control characters, and those that turn the direction of writing, stand on the page as escapes."""
    ledger = RingLedger()
    ledger.emit([end("a\u202eb\x07c\u2066", started_ms=NOW_MS, last_ms=NOW_MS, ended_ms=NOW_MS)])
    found = client(ledger).get("/").text

    assert "a\\u202eb\\x07c\\u2066" in found
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x07]", found)


def test_V7_limits() -> None:
    """A filter has 2,000 characters, a page 200 rows, and an actor one export at a time."""
    someone = client(filled())

    assert 400 == someone.get("/", params={"q": "a" * 2_001}).status_code
    assert 50 == int(read(someone.get("/?n=100000").text).one("option", selected="").text)


def test_V7_one_export_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one runs, the actor's next is refused; afterwards it is not."""
    someone, seen = client(filled()), []
    ledger = filled()
    turns = ledger.turns

    def slow(session_id: str, generation: int | None = None) -> Any:
        seen.append(other.get("/export.csv").status_code)
        return turns(session_id, generation)

    monkeypatch.setattr(ledger, "turns", slow)
    other, someone = client(filled()), client(ledger)
    someone.get("/export.jsonl?window=all")

    assert {429} == set(seen)
    assert 200 == other.get("/export.csv").status_code


def test_V7_an_export_that_breaks_off_makes_room() -> None:
    """Whoever closes the window, or meets a history that fails half way, can export again."""

    class Failing(RingLedger):
        def find(self, listing: Any) -> Any:
            raise StoreUnavailable("gone")

    async def gone(message: Any) -> None:
        raise OSError("the client left")

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/export.csv", "query_string": b"", "headers": []}
    scope |= {"asgi": {"version": "3.0", "spec_version": "2.4"}}
    viewer = SessionViewer(filled(), auth=ana, clock=lambda: NOW_MS)
    with pytest.raises((OSError, ClientDisconnect)):
        anyio.run(viewer, scope, nothing, gone)

    assert 200 == client(filled()).get("/export.csv").status_code
    with pytest.raises(StoreUnavailable):
        client(Failing()).get("/export.csv")
    assert 200 == client(filled()).get("/export.csv").status_code


def test_V8_out_of_scope_is_not_there() -> None:
    """Another tenant's session answers byte by byte as one that never was."""
    mine = client(filled(), scope=lambda actor: 'user.org_id = "org_2"')
    for path in ("/s?id={}", "/s?id={}&view=raw", "/api/session?id={}"):
        hidden, missing = mine.get(path.format("chat-1")), mine.get(path.format("chat-9"))
        assert (404, missing.content) == (hidden.status_code, hidden.content)
        assert 200 == mine.get(path.format("review-1")).status_code


@pytest.mark.parametrize("q", ["", "type:chat OR status:active", "chat-1", "NOT type:review", "org_1) OR (type:chat"])
def test_V8_no_filter_leads_out_of_scope(q: str) -> None:
    """Lists, sums, exports and JSON are within the scope, whatever is typed."""
    mine = client(filled(), scope=lambda actor: 'user.org_id = "org_2"')
    for path in ("/", "/export.csv", "/export.jsonl", "/api/sessions"):
        answer = mine.get(path, params={"q": q, "window": "all", "unconfirmed": "1"})
        assert JANE not in answer.text and "TimeoutError" not in answer.text and "id=chat-1" not in answer.text
        assert "$1.25" not in answer.text


@pytest.mark.parametrize("scope", ["", "# nothing", "nope:1", "type:"])
def test_V8_a_scope_that_says_nothing_shows_nothing(scope: str, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of the application's closes the viewer instead of opening it."""
    answer = client(filled(), scope=lambda actor: scope).get("/")

    assert 500 == answer.status_code
    assert "chat-1" not in answer.text
    assert "scope(actor)" in caplog.text


def test_V8_errors_show_no_inside(caplog: pytest.LogCaptureFixture) -> None:
    """A history that cannot be read is said to be so; where it is and what was asked stands in the log."""

    class Away(RingLedger):
        def find(self, listing: Any) -> Any:
            raise StoreUnavailable("cannot read '/srv/secret.db': SELECT s.pk FROM ledger_sessions")

    answer = client(Away()).get("/")

    assert 503 == answer.status_code
    assert "secret" not in answer.text and "SELECT" not in answer.text
    assert "/srv/secret.db" in caplog.text


def talked() -> RingLedger:
    """Return a history in which content was captured."""
    ledger = filled()
    said = [{"role": "user", "type": "text", "text": "my secret question", "name": ""}]
    attributes: Any = {names.TURN_MESSAGES: json.dumps(said), "input.value": "my secret question"}
    ledger.write_turns([turn("chat-1", 4, started_ms=NOW_MS - 4_000_000, attributes=attributes)])
    return ledger


CONTENT = (
    "/s?id=chat-1&view=conversation",
    "/s?id=chat-1&view=raw",
    "/api/session?id=chat-1",
    "/export.jsonl",
    "/export.otlp.jsonl",
)


@pytest.mark.parametrize(
    "path", [*CONTENT, "/s?id=chat-1", "/s?id=chat-1&view=metrics", "/", "/export.csv", "/api/sessions"]
)
@pytest.mark.parametrize("may", [None, lambda actor: False, lambda actor: "no"])
def test_V9_content_needs_permission(path: str, may: Any) -> None:
    """What was said is shown to nobody who was not allowed to read it, in no form."""
    assert "secret" not in client(talked(), can_view_content=may).get(path).text


@pytest.mark.parametrize("path", CONTENT)
def test_V9_the_audit_comes_before_content(path: str) -> None:
    """Every view of content is told first; where it cannot be told, nothing is shown."""
    told: list[tuple[Any, str, str]] = []

    def audit(actor: Any, what: str, subject: str) -> None:
        told.append((actor, what, subject))

    def full(actor: Any, what: str, subject: str) -> None:
        if what == "content":
            raise OSError("the disk is full")

    shown = client(talked(), can_view_content=lambda actor: True, audit=audit).get(path)

    assert "my secret question" in shown.text
    assert ("ana@example.com", "content", "chat-1") in told
    if not path.startswith("/export"):  # its headers are out by then: it breaks off
        assert "secret" not in client(talked(), can_view_content=lambda actor: True, audit=full).get(path).text


def test_V9_exports_are_told() -> None:
    """Who exports what is told, content or not."""
    told: list[tuple[Any, str, str]] = []
    someone = client(filled(), audit=lambda *said: told.append(said))
    someone.get("/export.csv?q=type:chat")
    someone.head("/export.csv")

    assert [("ana@example.com", "export", "type:chat")] == told
