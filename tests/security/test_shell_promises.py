"""Security promises that show in whole requests: the same assertions over ASGI and WSGI."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from session_mw import current_session
from session_mw.telemetry.metrics import Metrics
from session_mw.telemetry.notices import reset
from tests.shells.worlds import SECRET, make_world

COOKIE = "__Host-session_mw"
BROWSER = {
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "accept": "text/html",
}
MALFORMED = ["", "x" * 9000, "{c6df0f1c-0000-4000-8000-000000000000}", "urn:uuid:1", "a b", "../../etc", "a:b*?"]
MALFORMED += ["' OR 1=1 --", "KEYS *", "eyJzIjoieCJ9.c2ln=", ".hidden", "\u00e9", "a,b"]
WIDE = ["\U0001f600", "\u202eabc", "abc\u200b", "e\u0301"]  # as UTF-8 bytes on the wire


def counting(world: Any) -> InMemoryMetricReader:
    """Let the world count into a reader."""
    reader = InMemoryMetricReader()
    world.engine.metrics = Metrics(MeterProvider([reader]))
    return reader


def rejections(reader: InMemoryMetricReader) -> dict[tuple[str, str], int]:
    """Return how many tokens were rejected, by reason and source."""
    data = reader.get_metrics_data()
    found: dict[tuple[str, str], int] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == "session_mw.session_token.rejected":
                    for point in metric.data.data_points:
                        found[point.attributes["reason"], point.attributes["source"]] = point.value
    return found


@pytest.mark.parametrize("value", ["attacker", "sess-123", "a.b", "null", "deleted", "", "../../etc/passwd"])
def test_S16_presented_ids_are_never_adopted(world: Any, value: str) -> None:
    """An id that we did not issue starts nothing under its name: a fresh one is issued, and the event counted."""
    reader = counting(world)
    reply = world.request(headers={"cookie": f"{COOKIE}={value}"}, cookies=False)

    assert reply.status == 200 and reply.json()["id"] != value
    assert reply.one("set-cookie") is not None
    assert 1 == sum(rejections(reader).values())


def test_S17_reading_stores_nothing(world: Any) -> None:
    """A page load writes one cookie and no row, however often; a turn writes one row."""
    for _ in range(5):
        world.jar.clear()
        world.request("GET", "/echo", BROWSER)

    assert 0 == world.engine.store.stats().live
    world.request("POST", "/echo", BROWSER)
    assert 1 == world.engine.store.stats().live


def test_S18_rotation_is_linked_and_reported(world: Any) -> None:
    """rotate() gives a new id, names the old one, and both ends of it are reported."""
    first = world.request(path="/set?plan=gold").json()
    world.request(path="/rotate")
    second = world.request().json()

    assert first["id"] == second["previous"]
    (end,) = world.ends()
    starts = [e.attributes["session.id"] for e in world.starts()]
    assert first["id"] == end.attributes["session.id"] and [first["id"], second["id"]] == starts


def test_S19_a_planted_token_is_worth_nothing_after_login(world: Any) -> None:
    """Once the client shows the token bound to its user, the one from before login is refused after the grace."""
    world.request()
    planted = dict(world.jar)
    world.request(path="/login?user=ada")
    victim = world.request().json()
    bound = dict(world.jar)
    world.clock.advance(seconds=61)
    world.jar = planted
    attacker = world.request().json()
    world.jar = bound
    still = world.request().json()

    assert attacker["id"] != victim["id"] and attacker["user"] is None
    assert victim["id"] == still["id"] and victim["user"] == still["user"]


def test_S20_token_after_logout_is_worthless(world: Any) -> None:
    """A token kept from before logout continues nothing and names no user."""
    world.request(path="/login?user=ada")
    old = world.request().json()
    kept = dict(world.jar)
    world.request(path="/logout")
    world.jar = kept
    after = world.request().json()

    assert after["id"] != old["id"] and after["user"] is None


def test_S21_writes_after_the_end_change_nothing(world: Any) -> None:
    """A request that ends after its session was ended does not bring it back."""
    world.request()
    kept = dict(world.jar)
    world.request(path="/logout")
    assert 1 == len(world.ends())
    world.jar = kept
    world.request(path="/set?plan=gold")

    assert 1 == len(world.ends())
    assert "metadata.plan" not in world.ends()[0].attributes


def test_S22_timeouts_hold_whatever_the_client_says(world: Any) -> None:
    """The cookie says nothing of its own age that the server believes: an old one starts the next session."""
    first = world.request().json()
    kept = dict(world.jar)
    world.clock.advance(seconds=25 * 3600)
    world.jar = kept
    late = world.request().json()

    assert first["id"] != late["id"] and 1 == late["turn"]


def test_S24_absolute_timeout_survives_rotation(make: Any) -> None:
    """Rotating does not reset the absolute timeout."""
    world = make(idle_timeout="30m", absolute_timeout="1h")
    world.request()
    for _ in range(3):
        world.clock.advance(seconds=19 * 60)
        world.request(path="/rotate")
        world.request()
    before = world.request().json()
    world.clock.advance(seconds=4 * 60)
    after = world.request().json()

    assert before["id"] != after["id"]
    assert "max_lifetime" in [e.attributes["session.end_reason"] for e in world.ends()]


def test_S32_cookie_is_not_written_without_need(world: Any) -> None:
    """Ten requests in a minute write one cookie."""
    written = [world.request().one("set-cookie") is not None for _ in range(10)]

    assert [True] + [False] * 9 == written


def test_S33_vary_whenever_it_matters(make: Any) -> None:
    """Vary names where identity was read from, when a token is written or the application looked; never twice."""
    world = make(issue="both")
    written, looked, neither = world.request(path="/untouched"), world.request(), world.request(path="/untouched")

    assert "Cookie, X-Session-Token" == written.one("vary") == looked.one("vary")
    assert neither.one("vary") is None


def test_S34_no_store_with_the_cookie(world: Any) -> None:
    """A response that sets the cookie is not cached, unless the application was stricter already."""
    assert "no-store" == world.request(path="/vary").one("cache-control")
    world.jar.clear()
    assert "private, max-age=60" == world.request(path="/private").one("cache-control")


def test_S35_logout_deletes_with_the_same_attributes(world: Any) -> None:
    """The deleting cookie differs from the setting one by its value, Max-Age and Expires only."""
    set_line = world.request().one("set-cookie") or ""
    delete_line = world.request(path="/logout").one("set-cookie") or ""

    kept = {p for p in delete_line.split("; ")[1:] if not p.startswith(("Max-Age", "Expires"))}
    assert set(set_line.split("; ")[1:]) == kept
    assert "Max-Age=0" in delete_line


def test_S37_too_late_is_said(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A change after the response began, which no header can carry any more, is one warning."""
    reset()

    def late() -> bytes:
        session = current_session()
        assert session is not None
        session.rotate()
        return b"x"

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": late()})

    def wsgi(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return (late() for _ in range(1))

    world = make_world(kind, asgi if kind == "asgi" else wsgi)
    first = world.request()
    world.request()

    assert 200 == first.status
    assert 1 == len([r for r in caplog.records if "too late to rotate" in r.message])


def test_S38_handled_errors_carry_the_cookie(world: Any) -> None:
    """A 503 that the application answers carries the cookie like any response."""
    assert world.request(path="/error").one("set-cookie") is not None


def test_S40_first_valid_duplicate_wins(world: Any) -> None:
    """Of several cookies of our name the first that verifies counts; a second session in it is counted."""
    reader = counting(world)
    first = world.request().json()
    mine = world.jar[COOKIE]
    world.jar.clear()
    world.request()
    other = world.jar[COOKIE]
    line = f"{COOKIE}=junk; {COOKIE}={mine}; {COOKIE}={other}"
    reply = world.request(headers={"cookie": line}, cookies=False)

    assert first["id"] == reply.json()["id"]
    assert 1 == rejections(reader)["conflict", "cookie"]


def test_S41_bare_ids_only_from_trusted_peers(make: Any) -> None:
    """X-Session-ID is believed from a trusted network only, by the socket's address."""
    world = make(trusted_peers=["10.0.0.0/8"])
    trusted = world.request(headers={"x-session-id": "sess-123"}, peer="10.1.2.3").json()
    stranger = world.request(headers={"x-session-id": "sess-123"}, cookies=False).json()

    assert "sess-123" == trusted["id"] != stranger["id"]


def test_S42_underscored_headers_are_other_headers() -> None:
    """``X_Session_ID`` is not ``X-Session-ID``. WSGI servers fold both into one key before we could tell."""
    world = make_world("asgi", trusted_peers=["10.0.0.0/8"])
    reply = world.request(headers={"x_session_id": "sess-123"}, peer="10.1.2.3").json()

    assert "sess-123" != reply["id"]


def test_S43_forwarded_headers_are_not_read(make: Any) -> None:
    """X-Forwarded-For makes nobody a trusted peer."""
    world = make(trusted_peers=["10.0.0.0/8"])
    headers = {"x-session-id": "sess-123", "x-forwarded-for": "10.1.2.3", "forwarded": "for=10.1.2.3"}

    assert "sess-123" != world.request(headers=headers).json()["id"]


@pytest.mark.parametrize("value", [*MALFORMED, "\u00ff\u00fe", "sess\r\nX: y"])
def test_S44_malformed_ids_are_ignored(make: Any, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """Ids outside the alphabet are ignored even from a trusted peer, and never logged."""
    world = make(trusted_peers=["10.0.0.0/8"])
    reader = counting(world)
    reply = world.request(headers={"x-session-id": value}, peer="10.1.2.3")

    assert 200 == reply.status and reply.json()["id"] != value
    assert ({("malformed", "peer"): 1} if value else {}) == rejections(reader)
    assert not value or value not in caplog.text


@pytest.mark.parametrize("value", WIDE)
def test_S44_ids_of_wide_characters_are_ignored(make: Any, value: str) -> None:
    """The same for what arrives as UTF-8 bytes: emoji, bidi controls, zero width, combining characters."""
    world = make(trusted_peers=["10.0.0.0/8"])
    reader = counting(world)
    reply = world.request(headers=[("x-session-id", value.encode())], peer="10.1.2.3")

    assert 200 == reply.status
    assert {("malformed", "peer"): 1} == rejections(reader)


def test_S47_nothing_goes_to_strangers(world: Any) -> None:
    """Our entries go to allowed hosts only, the raw token and raw user ids to nobody."""
    from opentelemetry import propagate

    found: dict[str, dict[str, str]] = {}

    def call() -> bytes:
        for host in ("api.vendor.example", "orders.internal", "localhost:8001"):
            carrier: dict[str, str] = {"host": host}
            propagate.inject(carrier)
            found[host] = carrier
        return b"x"

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": call()})

    def wsgi(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [call()]

    inner = make_world(world.kind, asgi if world.kind == "asgi" else wsgi, user=lambda facts: "ada@example.org")
    inner.request()

    assert "baggage" not in found["api.vendor.example"]
    assert "session.id=" in found["orders.internal"]["baggage"] and "session.sig=" in found["localhost:8001"]["baggage"]
    assert "example.org" not in repr(found) and inner.jar[COOKIE] not in repr(found)


def test_S48_users_are_pseudonyms(make: Any) -> None:
    """user.id is keyed, stable for one key, and different under another."""
    ids = []
    for secret in (SECRET, SECRET, SECRET[::-1]):
        world = make(secret_key=secret, user=lambda facts: "ada@example.org")
        ids.append(world.request().json()["user"])

    assert ids[0] == ids[1] != ids[2]
    assert all(i.startswith("u_") and len(i) == 34 for i in ids)


def test_S49_the_id_in_telemetry_is_no_credential(world: Any) -> None:
    """The session id that telemetry shows opens nothing when it is presented as a cookie or header."""
    session_id = world.request().json()["id"]
    world.jar.clear()
    cookie = world.request(headers={"cookie": f"{COOKIE}={session_id}"}, cookies=False).json()
    header = world.request(headers={"x-session-token": session_id, "x-session-id": session_id}, cookies=False).json()

    assert session_id not in (cookie["id"], header["id"])


def test_S50_logs_hold_no_token(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client presents, no log line holds a token, a signature or the secret."""
    reset()
    caplog.set_level(logging.DEBUG)
    world = make()
    world.request()
    good = world.jar[COOKIE]
    planted = "session.id=planted,session.sig=planted"
    world.request(headers={"cookie": f"{COOKIE}={good[:-2]}xx", "baggage": planted}, cookies=False)
    other = make(secret_key=SECRET[::-1])
    other.request(headers={"cookie": f"{COOKIE}={good}"}, cookies=False)

    body, signature = good.rsplit(".", 1)
    for text in (good, body, signature, good[:-2], SECRET, "planted"):
        assert text not in caplog.text
    assert "cookie_name" in caplog.text


def test_S51_client_text_in_attributes_is_clean(world: Any) -> None:
    """Headers that become attributes are printable and bounded."""
    world.request(headers={"x-client-version": "1.0\x00\x1b[31m" + "9" * 500, "accept-language": "en\r\nX: y,de"})

    (session,) = world.spans("session")
    version = session.attributes["session.client_version"]
    assert len(version) <= 200 and version.isprintable()
    assert "session.locale" not in session.attributes


def test_S52_broken_telemetry_breaks_nothing(make: Any) -> None:
    """With a sink that raises, status, body and headers are the same."""

    def broken(records: Any) -> None:
        raise OSError("collector is gone")

    world = make(event_sink=broken)
    replies = [world.request() for _ in range(2)]
    world.work()

    assert [200, 200] == [r.status for r in replies]
    assert 2 == replies[1].json()["turn"]


def test_S53_contexts_do_not_leak(world: Any) -> None:
    """After a request, streamed or failed, its thread knows no session."""
    world.request(path="/stream")
    with pytest.raises(RuntimeError):
        world.request(path="/boom-late")

    assert current_session() is None


def test_S54_spans_end_when_the_body_is_abandoned() -> None:
    """A WSGI body closed half-way, or never pulled, ends every span once, and is no error."""
    world = make_world("wsgi")
    for chunks in (0, 1):
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/stream"}
        setup_testing_defaults(environ)
        body = world.app(environ, lambda *args: None)
        for _ in range(chunks):
            next(body)
        body.close()
        body.close()

    assert 2 == len(world.spans("turn")) == len(world.spans("session"))
    assert 2 == len([s for s in world.spans() if s.parent is None])
    assert not any(s.status.status_code.name == "ERROR" for s in world.spans("turn"))


def test_S54_a_body_may_be_pulled_by_another_thread() -> None:
    """A WSGI body pulled and closed by another thread is served inside its own context."""
    world = make_world("wsgi")
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/stream"}
    setup_testing_defaults(environ)
    body = world.app(environ, lambda *args: None)
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: (found.extend(body), body.close()))
    thread.start()
    thread.join()

    assert 3 == len(found) and b'"turn": 1' in found[2]
    assert 1 == len(world.spans("turn"))


def test_S55_several_workers_report_each_end_once(kind: str) -> None:
    """Workers over one store claim atomically: the end comes once, and a session touched meanwhile is not ended."""
    first = make_world(kind)
    second = make_world(kind, clock=first.clock)
    for name in ("store", "async_store"):
        setattr(second.engine, name, getattr(first.engine, name))
    second.engine.background._plan.store = first.engine.store
    idle = first.request().json()["id"]
    first.jar.clear()
    alive = first.request().json()["id"]
    first.clock.advance(seconds=1700)
    second.jar = dict(first.jar)
    assert alive == second.request().json()["id"]
    first.clock.advance(seconds=200)
    first.work()
    second.work()
    ended = [e.attributes["session.id"] for e in first.events + second.events if e.event_name == "session.end"]

    assert [idle] == ended


def test_S56_sweeping_is_bounded_and_errors_are_contained(world: Any) -> None:
    """A failing sweep raises nothing, and the next one goes on."""
    world.request()
    world.clock.advance(seconds=3600)
    claim = world.engine.store.claim
    world.engine.store.claim = lambda ask: (_ for _ in ()).throw(OSError("disk"))
    world.work()
    world.engine.store.claim = claim

    assert 1 == len(world.ends())


def test_S57_no_keyspace_notifications() -> None:
    """No store relies on Redis' keyspace notifications: nothing in the package subscribes to them."""
    import session_mw

    root = os.path.dirname(session_mw.__file__)
    for folder, _, names in os.walk(root):
        for name in (n for n in names if n.endswith(".py")):
            with open(os.path.join(folder, name), encoding="utf-8") as source:
                text = source.read()
            assert "keyspace" not in text and "psubscribe" not in text
