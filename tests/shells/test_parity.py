"""The same cases, the same assertions, over both shells."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from session_mw.testing import FakeClock

BROWSER = {
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "accept": "text/html",
}
COOKIE = "__Host-session_mw"


def test_turns_are_numbered_within_one_session(world: Any) -> None:
    """Requests that bring the cookie back are turns 1, 2, 3 of one session."""
    seen = [world.request().json() for _ in range(3)]

    assert [1, 2, 3] == [s["turn"] for s in seen]
    assert 1 == len({s["id"] for s in seen})


def test_cookie_is_written_once_with_the_safe_attributes(world: Any) -> None:
    """The first response carries the cookie with every attribute; the next, within the refresh, none."""
    first, second = world.request(), world.request()

    line = first.one("set-cookie")
    assert line is not None and line.startswith(COOKIE + "=")
    assert "; Path=/" in line and "; HttpOnly" in line and "; Secure" in line and "; SameSite=Lax" in line
    assert "Domain" not in line and "Max-Age" not in line
    assert "no-store" == first.one("cache-control")
    assert second.one("set-cookie") is None
    assert second.one("cache-control") is None


def test_span_tree_of_a_turn(world: Any) -> None:
    """A server span holds the session span, that the turn span, and that the application's."""
    seen = world.request().json()

    (server,) = [s for s in world.spans() if s.kind is SpanKind.SERVER]
    (session,), (turn,), (work,) = world.spans("session"), world.spans("turn"), world.spans("work")
    assert server.parent is None
    assert server.context.span_id == session.parent.span_id
    assert session.context.span_id == turn.parent.span_id
    assert turn.context.span_id == work.parent.span_id
    assert 4 == len(world.spans())
    for span in (server, session, turn, work):
        assert seen["id"] == span.attributes["session.id"]
        assert seen["id"] == span.attributes["gen_ai.conversation.id"] == span.attributes["conversation.id"]
        assert 1 == span.attributes["turn.number"]


def test_session_and_turn_attributes(world: Any) -> None:
    """The session span says when it began and where the user is; the turn span how long it took."""
    world.request(headers={**BROWSER, "accept-language": "de-CH,de;q=0.9", "x-client-version": "2.1.0"})

    (session,), (turn,) = world.spans("session"), world.spans("turn")
    assert session.attributes["session.start_time"].endswith("Z")
    assert "web" == session.attributes["session.channel"]
    assert "de-CH" == session.attributes["session.locale"]
    assert "2.1.0" == session.attributes["session.client_version"]
    assert "chat" == session.attributes["session.type"]
    assert "user" == turn.attributes["turn.role"]
    assert isinstance(turn.attributes["turn.latency_ms"], int)
    assert isinstance(turn.attributes["turn.time_to_first_chunk_ms"], int)
    assert turn.attributes["turn.id"]


def test_page_load_is_no_turn_and_stores_nothing(world: Any) -> None:
    """A browser's GET gets a provisional session: a cookie, a session span, no row, no session.start."""
    page = world.request("GET", "/echo", BROWSER)

    assert page.one("set-cookie") is not None
    assert page.json()["turn"] is None
    assert [] == world.spans("turn")
    assert 1 == len(world.spans("session"))
    assert 0 == world.engine.store.stats().live
    assert [] == world.starts()


def test_first_turn_keeps_the_provisional_id(world: Any) -> None:
    """The session that the page's cookie promised is the one that the first turn creates."""
    page = world.request("GET", "/echo", BROWSER).json()
    turn = world.request("POST", "/echo", BROWSER).json()

    assert page["id"] == turn["id"]
    assert 1 == turn["turn"]
    assert [page["id"]] == [e.attributes["session.id"] for e in world.starts()]


@pytest.mark.parametrize(
    ("method", "headers", "turn"),
    [
        ("POST", {}, True),
        ("PUT", BROWSER, True),
        ("PATCH", BROWSER, True),
        ("DELETE", BROWSER, True),
        ("GET", {}, True),
        ("GET", {"accept": "*/*"}, True),
        ("GET", {"accept": "application/json"}, True),
        ("GET", BROWSER, False),
        ("GET", {"accept": "text/html,application/xhtml+xml"}, False),
        ("GET", {**BROWSER, "sec-fetch-dest": "empty", "accept": "*/*"}, False),
        ("GET", {**BROWSER, "sec-fetch-dest": "empty", "accept": "text/event-stream"}, True),
        ("HEAD", {}, False),
        ("OPTIONS", {}, False),
    ],
)
def test_what_is_a_turn(world: Any, method: str, headers: dict[str, str], turn: bool) -> None:
    """POST, PUT, PATCH, DELETE; GET for event streams and from no browser; never HEAD and OPTIONS."""
    world.request(method, "/echo", headers)

    assert (1 if turn else 0) == len(world.spans("turn"))


@pytest.mark.parametrize(
    "headers",
    [
        {**BROWSER, "sec-fetch-dest": "image"},
        {**BROWSER, "sec-fetch-dest": "script"},
        {**BROWSER, "sec-fetch-dest": "style"},
        {**BROWSER, "sec-fetch-dest": "font"},
        {**BROWSER, "sec-fetch-dest": "manifest"},
        {"accept": "image/avif,image/webp,*/*"},
        {"accept": "text/css,*/*;q=0.1"},
    ],
)
def test_assets_pass_untouched(world: Any, headers: dict[str, str]) -> None:
    """Assets get no span, no cookie, no Vary."""
    reply = world.request("GET", "/untouched", headers)

    assert reply.one("set-cookie") is None and reply.one("vary") is None
    assert [] == world.spans()


@pytest.mark.parametrize("path", ["/health", "/static/app.js", "/favicon.ico", "/metrics"])
def test_excluded_paths_pass_untouched(make: Any, path: str) -> None:
    """Health checks and static files are none of our business."""
    world = make()
    reply = world.request("POST", path)

    assert reply.one("set-cookie") is None
    assert [] == world.spans("session")


def test_streamed_chunks_all_see_the_session(world: Any) -> None:
    """Identity is there for every chunk of a stream, and the turn lasts until the last."""
    reply = world.request(path="/stream")

    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert 3 == len(reply.chunks) == len(lines)
    assert 1 == len({line["id"] for line in lines})
    (turn,) = world.spans("turn")
    assert all(turn.context.span_id == span.parent.span_id for span in world.spans("work"))
    assert all(turn.end_time >= span.end_time for span in world.spans("work"))


def test_threads_see_the_session(world: Any) -> None:
    """A thread started with ``copy_context`` sees the session; its spans carry it."""
    found = world.request(path="/thread").json()

    assert world.spans("turn")[0].attributes["session.id"] == found["id"]
    assert found["id"] == world.spans("work")[0].attributes["session.id"]


def test_exception_before_the_response(world: Any) -> None:
    """The application's exception passes; the turn ends once, as an error, and counts as failed."""
    with pytest.raises(RuntimeError, match="the application failed"):
        world.request(path="/boom")

    (turn,) = world.spans("turn")
    assert StatusCode.ERROR is turn.status.status_code
    assert "RuntimeError" == turn.attributes["error.type"]
    assert "exception" == turn.events[0].name
    assert 1 == len(world.spans("session"))


def test_exception_in_the_body(world: Any) -> None:
    """An exception after the first chunk ends the turn once, as an error."""
    with pytest.raises(RuntimeError, match="failed late"):
        world.request(path="/boom-late")

    (turn,) = world.spans("turn")
    assert StatusCode.ERROR is turn.status.status_code
    assert 1 == len(world.spans("session"))


def test_server_error_fails_the_turn(world: Any) -> None:
    """A status from 500 up is a failed turn; the session's status says errored."""
    world.request()
    world.request(path="/error")
    world.request(path="/logout")

    (end,) = world.ends()
    assert [1, "errored", 3, 2] == [
        end.attributes["session.failed_turns"],
        end.attributes["session.status"],
        end.attributes["session.total_turns"],
        end.attributes["session.completed_turns"],
    ]
    assert "503" == world.spans("turn")[1].attributes["error.type"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("HEAD", "/echo", 200), ("POST", "/redirect", 303), ("POST", "/no-content", 204)]
)
def test_bodyless_responses(world: Any, method: str, path: str, status: int) -> None:
    """HEAD, redirects and 204 end their spans once, and carry the cookie."""
    reply = world.request(method, path)

    assert status == reply.status
    assert reply.one("set-cookie") is not None
    assert 1 == len(world.spans("session"))


def test_other_cookies_stay(world: Any) -> None:
    """The application's own Set-Cookie headers are neither changed nor lost; ours is appended, once."""
    lines = world.request(path="/cookies").all("set-cookie")

    assert ["theme=dark; Path=/", "lang=en; Path=/"] == lines[:2]
    assert 3 == len(lines) and lines[2].startswith(COOKIE)


def test_vary_and_cache_control_are_merged(world: Any) -> None:
    """Vary names the cookie once; a cacheable response that sets it becomes no-store; a stricter value stays."""
    first = world.request(path="/vary")
    second = world.request(path="/vary")
    world.jar.clear()
    private = world.request(path="/private")

    assert "Accept-Encoding, cookie" == first.one("vary") == second.one("vary")
    assert "no-store" == first.one("cache-control")
    assert "max-age=60" == second.one("cache-control")
    assert "private, max-age=60" == private.one("cache-control")


def test_untouched_session_does_not_vary(world: Any) -> None:
    """A response varies only when the cookie is written or the application looked."""
    first, second, third = world.request(path="/untouched"), world.request(path="/untouched"), world.request()

    assert "Cookie" == first.one("vary")
    assert second.one("vary") is None
    assert "Cookie" == third.one("vary")


def test_continuity_within_thirty_minutes(world: Any) -> None:
    """Five minutes later it is the same session; after thirty without activity it is the next one, linked."""
    first = world.request().json()
    world.clock.advance(seconds=300)
    same = world.request().json()
    world.clock.advance(seconds=1801)
    other = world.request().json()

    assert first["id"] == same["id"] and 2 == same["turn"]
    assert other["id"] != first["id"] and first["id"] == other["previous"] and 1 == other["turn"]
    (end,) = world.ends()
    assert "idle_timeout" == end.attributes["session.end_reason"]
    assert other["id"] == end.attributes["session.next_id"]
    assert 1_800_000 == end.attributes["session.idle_time_ms"]


def test_absolute_timeout(make: Any) -> None:
    """Activity keeps a session alive only until the absolute timeout."""
    world = make(idle_timeout="30m", absolute_timeout="1h")
    ids = []
    for _ in range(5):
        ids.append(world.request().json()["id"])
        world.clock.advance(seconds=20 * 60)

    assert [1, 1, 1, 2, 2] == [list(dict.fromkeys(ids)).index(i) + 1 for i in ids]
    (end,) = world.ends()
    assert "max_lifetime" == end.attributes["session.end_reason"]


def test_logout_ends_the_session_at_once(world: Any) -> None:
    """After logout the cookie is deleted, and the token is worth nothing: what it starts is new."""
    first = world.request().json()
    stale = dict(world.jar)
    out = world.request(path="/logout")
    line = out.one("set-cookie")
    assert line is not None and "Max-Age=0" in line
    world.jar = stale
    after = world.request().json()

    assert first["id"] != after["id"] and 1 == after["turn"]
    (end,) = world.ends()
    assert ("user_exit", 2) == (end.attributes["session.end_reason"], end.attributes["session.total_turns"])
    assert first["id"] == end.attributes["session.id"]


def test_rotation(world: Any) -> None:
    """A rotated session goes on under a new id that names the old one; its old token follows it."""
    first = world.request().json()
    stale = dict(world.jar)
    world.request(path="/rotate")
    after = world.request().json()
    world.jar = stale
    late = world.request().json()

    assert first["id"] == after["previous"] != after["id"]
    assert after["id"] == late["id"] and [1, 2] == [after["turn"], late["turn"]]
    (end,) = world.ends()
    assert ("replaced", after["id"]) == (end.attributes["session.end_reason"], end.attributes["session.next_id"])


def test_identification_keeps_the_session(world: Any) -> None:
    """The first user keeps the session, as a pseudonym; spans still open carry it at once."""
    anonymous = world.request().json()
    login = world.request(path="/login?user=ada@example.org&tier=premium").json()
    after = world.request().json()

    assert anonymous["id"] == login["id"] == after["id"]
    assert anonymous["user"] is None
    assert after["user"].startswith("u_") and 34 == len(after["user"])
    span = world.spans("turn")[1]
    assert after["user"] == span.attributes["user.id"] == world.spans("session")[1].attributes["user.hash"]
    assert "premium" == world.spans("session")[2].attributes["user.tier"]
    ours = [s.attributes for s in world.spans() if s.kind is not SpanKind.SERVER]  # that one has the test's own URL
    assert "example.org" not in repr([dict(a) for a in ours]) + repr(world.events)


def test_another_user_gets_another_session(world: Any) -> None:
    """A session never holds two users: the second ends it and starts the next, from the next request on."""
    world.request(path="/login?user=ada")
    first = world.request().json()
    switch = world.request(path="/login?user=bob").json()
    second = world.request().json()

    assert first["id"] == switch["id"] != second["id"]
    assert first["user"] == switch["user"] != second["user"]
    assert first["id"] == second["previous"]
    (end,) = world.ends()
    assert "replaced" == end.attributes["session.end_reason"]
    assert first["user"] == end.attributes["user.id"]


def test_totals_of_the_end(world: Any) -> None:
    """session.end carries turns, tokens, cost and latency as reported; unknown stays absent."""
    world.request(path="/usage")
    world.request()
    world.request(path="/logout")

    (end,) = world.ends()
    found = end.attributes
    assert [3, 123, 101, 22] == [
        found["session.total_turns"],
        found["session.total_tokens"],
        found["session.total_input_tokens"],
        found["session.total_output_tokens"],
    ]
    assert 0.00013 == found["session.total_cost_usd"]
    assert 41 == found["session.avg_turn_tokens"]
    assert isinstance(found["session.avg_turn_latency_ms"], int)
    assert "session.user_satisfaction" not in found


def test_start_and_end_come_once(world: Any) -> None:
    """One session.start, one session.end, each with its own log.record.uid."""
    world.request()
    world.request()
    world.clock.advance(seconds=1801)
    world.work()
    world.work()

    assert 1 == len(world.starts()) and 1 == len(world.ends())
    uids = {e.attributes["log.record.uid"] for e in world.events}
    assert 2 == len(uids)


def test_session_attributes_follow_the_session(world: Any) -> None:
    """What the application sets shows on open spans now, and on every span of the next request."""
    world.request(path="/set?name=demo&prompt_version=v2&plan=gold")
    world.request()

    first, second = world.spans("turn")
    assert "v2" == first.attributes["session.prompt_version"] == second.attributes["session.prompt_version"]
    assert "demo" == world.spans("work")[-1].attributes["session.name"]
    world.request(path="/logout")
    assert "gold" == world.ends()[0].attributes["metadata.plan"]


def test_header_mode(make: Any) -> None:
    """With ``issue="header"`` the token travels in X-Session-Token, and no cookie is written."""
    world = make(issue="header")
    first = world.request()
    token = first.one("x-session-token")
    assert token is not None and first.one("set-cookie") is None
    second = world.request(headers={"x-session-token": token})

    assert first.json()["id"] == second.json()["id"] and 2 == second.json()["turn"]
    assert "api" == second.json()["type"] == second.json()["channel"]


def test_issue_none_only_reads_nothing(make: Any) -> None:
    """With ``issue="none"`` nothing is issued; each request without identity is its own session."""
    world = make(issue="none")
    first, second = world.request(), world.request()

    assert first.one("set-cookie") is None and first.one("x-session-token") is None
    assert first.json()["id"] != second.json()["id"]


def test_cookie_is_refreshed_after_a_sixth_of_the_idle_time(world: Any) -> None:
    """The token is written anew when it is older than idle_timeout / 6, not before."""
    world.request()
    world.clock.advance(seconds=299)
    early = world.request()
    world.clock.advance(seconds=1)
    due = world.request()

    assert early.one("set-cookie") is None
    assert due.one("set-cookie") is not None


def test_conversation_header_is_scoped(world: Any) -> None:
    """Short ids of clients are scoped to their user or session; long ones stay as they are."""
    short = world.request(headers={"x-conversation-id": "conv-1"}).json()
    world.jar.clear()
    other = world.request(headers={"x-conversation-id": "conv-1"}).json()
    long = world.request(headers={"x-conversation-id": "thread-0123456789abcdef"}).json()

    assert short["conversation"] != other["conversation"]
    assert short["conversation"].endswith("conv-1")
    assert "thread-0123456789abcdef" == long["conversation"]


def test_middleware_installed_twice_works_once(kind: str, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The inner of two middlewares does nothing, and says so once."""
    from session_mw.telemetry.notices import reset

    reset()
    inner = make()
    world = make(inner.app)
    reply = world.request()
    world.request()

    assert 1 == len(reply.all("set-cookie"))
    assert 2 == len(world.spans("turn"))
    assert 1 == len([r for r in caplog.records if "installed twice" in r.message])


def test_nothing_leaks_into_the_next_request(world: Any) -> None:
    """Outside of a request there is no session: in this thread, and in a new one."""
    from session_mw import current_session

    world.request()
    found: list[Any] = [current_session()]
    thread = threading.Thread(target=lambda: found.append(current_session()))
    thread.start()
    thread.join()

    assert [None, None] == found


def test_forged_baggage_is_stripped(make: Any) -> None:
    """A client's session.* and user.* baggage never becomes identity, and the application does not see it."""
    found: list[str] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        found.extend(v.decode() for k, v in scope["headers"] if k == b"baggage")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        found.append(environ["HTTP_BAGGAGE"])
        start_response("200 OK", [])
        return [b""]

    world = make()
    app = asgi if world.kind == "asgi" else wsgi
    world = make(app)
    world.request(headers={"baggage": "session.id=evil,user.id=admin,tenant=t1"})

    assert ["tenant=t1"] == found
    assert "evil" not in repr([s.attributes for s in world.spans()])


def test_service_behind_continues_the_session(kind: str, make: Any) -> None:
    """A service that gets our signed baggage stamps its spans with session, user and turn, and owns none of them."""
    from opentelemetry import propagate

    carriers: list[dict[str, str]] = []

    def call() -> bytes:
        carrier = {"host": "localhost:8001"}
        propagate.inject(carrier)
        carriers.append(carrier)
        return b"x"

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": call()})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [call()]

    now = FakeClock(time.time_ns() // 1_000_000)  # the propagator signs by the real clock
    front = make(asgi if kind == "asgi" else wsgi, clock=now, user=lambda facts: "ada@example.org")
    front.request()
    front.request()
    (first, second) = front.spans("turn")
    behind = make(clock=now)
    reply = behind.request(headers={"baggage": carriers[1]["baggage"]})

    assert first.attributes["session.id"] == reply.json()["id"]
    assert reply.one("set-cookie") is None
    assert [] == behind.spans("turn") + behind.spans("session")
    (work,) = behind.spans("work")
    for name in ("session.id", "user.id", "turn.number", "gen_ai.conversation.id", "session.type"):
        assert second.attributes[name] == work.attributes[name], name
    assert 0 == behind.engine.store.stats().live
    assert [] == behind.events


def test_samplers_that_tell_spans_apart_are_asked_for_each(make: Any) -> None:
    """A sampler of the application's that drops the session's span still decides about the turn's."""
    from opentelemetry.sdk.trace import sampling

    class NoSessions(sampling.Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **more: Any) -> Any:
            keep = name != "session"
            return sampling.SamplingResult(sampling.Decision.RECORD_AND_SAMPLE if keep else sampling.Decision.DROP)

        def get_description(self) -> str:
            return "all but sessions"

    found = {}
    for title, sampler in (
        ("own", NoSessions()),
        ("own below a dropped parent", sampling.ParentBased(NoSessions(), local_parent_not_sampled=NoSessions())),
        ("off", sampling.ALWAYS_OFF),
        ("parent based", sampling.ParentBased(sampling.ALWAYS_OFF)),
    ):
        world = make(server_span="never")
        world.provider.sampler = sampler
        world.request()
        found[title] = len(world.spans("turn"))

    assert {"own": 1, "own below a dropped parent": 1, "off": 0, "parent based": 0} == found


def test_no_sdk_still_tracks(make: Any) -> None:
    """Without an SDK sessions are kept and ends come out; no span is made."""
    from opentelemetry.trace import NoOpTracerProvider

    world = make()
    world.app.engine.spans._given = NoOpTracerProvider()
    world.request()
    world.request(path="/logout")

    assert [] == world.spans("turn")
    assert 2 == world.ends()[0].attributes["session.total_turns"]


def test_failing_store_never_harms_the_application(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With the store failing, status and body are as ever; the turn has no number, and one line is logged."""
    from session_mw.exceptions import StoreUnavailable
    from session_mw.telemetry.notices import reset

    reset()
    world = make()

    def fail(*args: Any) -> Any:
        raise StoreUnavailable("the store is down")

    world.engine.store.touch = fail
    replies = [world.request() for _ in range(3)]

    assert [200] * 3 == [r.status for r in replies]
    assert replies[0].json()["id"] == replies[2].json()["id"]
    assert replies[0].json()["turn"] is None
    assert 1 == len([r for r in caplog.records if "store failed" in r.message])
