"""What comes in from other services: how long it is good, whose unsigned word is taken, what operators read."""

from __future__ import annotations

import logging
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from opentelemetry.context import Context
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from session_mw._core.admission import BAGGAGE_MAX_AGE_MS
from session_mw.telemetry.destination import destination_host
from session_mw.telemetry.notices import reset
from session_mw.telemetry.propagator import SessionBaggagePropagator
from session_mw.testing import FakeClock
from tests.integrations.servers import PATIENCE
from tests.security.signed import OURS, signed
from tests.security.test_shell_promises import counting, rejections
from tests.shells.test_websocket import Wire, connect, run
from tests.shells.worlds import World, make_world

SKEW_MS, MINUTE = 60_000, 60_000
KEY, OTHER_KEY = "baggage-key-of-both-0123456789-abcdef", "another-secret-0123456789-another-secret"


@pytest.fixture(autouse=True)
def fresh(caplog: pytest.LogCaptureFixture) -> None:
    """Every cause may be said again."""
    reset()
    caplog.set_level(logging.DEBUG, "session_mw")


UNSIGNED = f"session.id={OURS['session.id']}"


def believed(world: World, header: str, **request: Any) -> bool:
    """Return whether *world* continues the session that *header* names."""
    reply = world.request(headers={"baggage": header}, cookies=False, **request)

    assert 200 == reply.status
    return bool(reply.json()["id"] == OURS["session.id"])


# How long a signature is good


@pytest.mark.parametrize(
    ("age_ms", "reason"),
    [
        (-SKEW_MS, None),
        (-SKEW_MS - 1000, "from_future"),
        (0, None),
        (BAGGAGE_MAX_AGE_MS, None),
        (BAGGAGE_MAX_AGE_MS + SKEW_MS, None),
        (BAGGAGE_MAX_AGE_MS + SKEW_MS + 1000, "expired"),
        (86_400_000, "expired"),
    ],
)
def test_S13_captured_header_is_good_for_an_hour(make: Any, age_ms: int, reason: str | None) -> None:
    """A header replayed later is refused and counted; nothing of it reaches application or spans."""
    world = make(baggage_key=KEY)
    reader = counting(world)
    header = signed(world, world.clock() - age_ms)

    assert (reason is None) is believed(world, header)
    assert ({} if reason is None else {(reason, "baggage"): 1}) == rejections(reader)
    shown = repr([dict(span.attributes) for span in world.spans()])
    assert (reason is None) is (OURS["session.id"] in shown) is (OURS["user.id"] in shown)


def test_S13_an_hour_is_the_most() -> None:
    """What stands between a captured header and its worthlessness."""
    assert BAGGAGE_MAX_AGE_MS <= 3_600_000


class Hop:
    """An application that calls the service behind it, by the clock of the test; ``sent`` is what that one gets."""

    def __init__(self, kind: str, clock: FakeClock) -> None:
        self.clock = clock
        self.sent: dict[str, str] = {}
        self.world = make_world(kind, self.asgi if kind == "asgi" else self.wsgi, clock=clock, baggage_key=KEY)

    def call(self) -> bytes:
        propagator = SessionBaggagePropagator(self.world.engine.policy, clock=self.clock)
        token = destination_host.set("localhost")
        try:
            propagator.inject(self.sent, Context())
        finally:
            destination_host.reset(token)
        return b"called"

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.call()})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [self.call()]


def test_each_hop_signs_anew(kind: str) -> None:
    """Four services, 59 minutes between two: each believes the one before, since that one wrote the time anew."""
    clock = FakeClock()
    hops = [Hop(kind, clock) for _ in range(4)]
    received: dict[str, str] = {}
    for hop in hops:
        hop.world.request(headers=received)
        received = hop.sent
        clock.advance(seconds=59 * 60)
    seen = [dict(member.split("=") for member in hop.sent["baggage"].split(",")) for hop in hops]

    assert 1 == len({entries["session.id"] for entries in seen})
    assert 4 == len({entries["session.sig"] for entries in seen})
    assert [1, 0, 0, 0] == [hop.world.engine.store.stats().live for hop in hops]


def test_S06_the_cookies_key_signs_no_baggage(make: Any) -> None:
    """Services share ``baggage_key`` alone: who can make cookies of one cannot speak to the other, and vice versa."""
    world, same_secret, same_key = make(baggage_key=KEY), make(), make(baggage_key=KEY, secret_key=OTHER_KEY)

    assert believed(world, signed(same_key, world.clock()))
    assert not believed(world, signed(same_secret, world.clock()))


def test_S46_a_signature_is_no_other_sets(make: Any) -> None:
    """Two captured headers cannot be crossed: the signature is bound to the values."""
    world = make(baggage_key=KEY)
    first = signed(world, world.clock(), {**OURS, "session.id": "sess-of-mine"})
    signature = first.rpartition("session.sig=")[2]
    crossed = signed(world, world.clock()).rpartition("session.sig=")[0] + "session.sig=" + signature

    assert not believed(world, crossed)


def test_S45_handshakes_baggage_is_verified_too() -> None:
    """A websocket continues a session whose signature is fresh, and no other."""
    world = connect(baggage_key=KEY)
    now = world.clock()
    headers = [signed(world, now), signed(world, now - 2 * BAGGAGE_MAX_AGE_MS), UNSIGNED]
    answers: list[str] = []

    async def scenario() -> None:
        for header in headers:
            wire = Wire(world, [("baggage", header)])
            await wire.accepted()
            answers.append((await wire.ask("one")).split("|")[0])
            await wire.close()

    run(scenario)
    assert [True, False, False] == [answer == OURS["session.id"] for answer in answers]


# What operators read


def changed(header: str) -> str:
    return header.replace(OURS["session.id"], "sess-of-somebody-else")


LINES: dict[str, tuple[Callable[[World], str], tuple[str, ...]]] = {
    "untrusted": (lambda w: "session.id=abc", ("baggage_key", "trusted_peers", "sign_baggage")),
    "bad_signature": (lambda w: changed(signed(w, w.clock())), ("baggage_key", "trusted_peers", "sign_baggage")),
    "expired": (lambda w: signed(w, w.clock() - 2 * BAGGAGE_MAX_AGE_MS), ("clock_skew",)),
    "from_future": (lambda w: signed(w, w.clock() + 5 * MINUTE), ("clock_skew",)),
    "malformed": (lambda w: "session.id=abc,session.sig=1.2.3", ("session.sig", "same release")),
}


@pytest.mark.parametrize("reason", LINES)
def test_a_set_that_cannot_be_verified_is_one_line(make: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """It says why, and what to configure; once, however many come; and nothing of what came."""
    write, words = LINES[reason]
    world = make(baggage_key=KEY)
    reader = counting(world)
    header = write(world)
    for _ in range(3):
        assert not believed(world, header)

    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "baggage" in r.getMessage()]
    assert reason in line
    assert all(word in line for word in words)
    assert not any(value in caplog.text for value in ("abc", "sess-of", OURS["user.id"], "1.2.3"))
    assert {(reason, "baggage"): 3} == rejections(reader)


def test_a_trusted_network_that_relays_is_one_line(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A load balancer inside a trusted network: its clients are not believed, and the line names both settings."""
    world = make(trusted_peers="10.0.0.0/8")
    reader = counting(world)
    for _ in range(2):
        headers = {"baggage": "session.id=abc", "x-forwarded-for": "203.0.113.9", "x-session-id": "abc"}
        assert "abc" != world.request(headers=headers, peer="10.0.0.7", cookies=False).json()["id"]

    (line,) = [r.getMessage() for r in caplog.records if "relay" in r.getMessage() or "proxy" in r.getMessage()]
    assert "trusted_proxies" in line and "trusted_peers" in line
    assert {("relayed", "baggage"): 2, ("relayed", "peer"): 2} == rejections(reader)


# Whose unsigned word is taken


PEER, CLIENT, PROXY = "10.1.2.3", "203.0.113.9", "10.9.0.1"
TRUST: dict[str, Any] = {"trusted_peers": "10.0.0.0/8", "trusted_proxies": ["10.9.0.0/16", "127.0.0.1"]}


def asked(world: World, peer: str, **forwarded: str) -> bool:
    headers = {name.replace("_", "-"): value for name, value in forwarded.items()}
    reply = world.request(headers={"baggage": UNSIGNED, **headers}, peer=peer, cookies=False)
    return bool(reply.json()["id"] == OURS["session.id"])


def test_S43_forwarded_headers_count_through_configured_proxies_only(make: Any) -> None:
    """Whoever writes the header itself is whom the socket says; the proxy's own address is nobody."""
    world = make(**TRUST)

    assert asked(world, PEER)
    assert asked(world, PROXY, x_forwarded_for=PEER)
    assert asked(world, PROXY, forwarded=f"for={PEER};proto=https")
    assert not asked(world, PROXY)
    assert not asked(world, CLIENT)
    assert not asked(world, CLIENT, x_forwarded_for=PEER)
    assert not asked(world, CLIENT, x_forwarded_for=f"{PEER}, {PROXY}", forwarded=f"for={PEER}")
    assert not asked(world, PROXY, x_forwarded_for=f"{PEER}, {CLIENT}")
    assert not asked(world, PROXY, x_forwarded_for=CLIENT, forwarded=f"for={PEER}")
    assert not asked(world, PROXY, x_forwarded_for="unknown")


def test_S41_bare_ids_through_proxies(make: Any) -> None:
    """``X-Session-ID`` follows the same rule."""
    world = make(**TRUST)
    headers = {"x-session-id": "sess-123", "x-forwarded-for": PEER}

    assert "sess-123" == world.request(headers=headers, peer=PROXY, cookies=False).json()["id"]
    assert "sess-123" != world.request(headers=headers, peer=CLIENT, cookies=False).json()["id"]


@pytest.mark.parametrize("peer", [PROXY, CLIENT, PEER])
@pytest.mark.parametrize(
    "header", [None, PEER, CLIENT, f"{PEER}, {CLIENT}", f"{CLIENT}, {PEER}", f"{PEER}, {PROXY}", "x"]
)
def test_werkzeugs_proxy_fix_changes_nothing(peer: str, header: str | None) -> None:
    """It replaces REMOTE_ADDR and keeps the socket's: the verdict is the same outside of it and inside."""
    world = make_world("wsgi", **TRUST)
    forwarded = {} if header is None else {"x_forwarded_for": header}
    plain = asked(world, peer, **forwarded)
    world.app = ProxyFix(world.app)

    assert plain is asked(world, peer, **forwarded)


@pytest.mark.parametrize(
    ("allowed", "peer", "header", "expected"),
    [
        ("10.9.0.0/16", PROXY, PEER, True),
        ("10.9.0.0/16", PROXY, f"{CLIENT}, {PEER}", True),
        ("10.9.0.0/16", PROXY, f"{PEER}, {CLIENT}", False),
        ("10.9.0.0/16", CLIENT, PEER, False),
        ("127.0.0.1", PROXY, PEER, True),
        ("*", PROXY, PEER, True),
        ("*", PROXY, f"{PEER}, {CLIENT}", False),
        ("*", PROXY, f"{PEER}:443, {CLIENT}", False),
        ("*", PROXY, f"[{PEER}]:443, {CLIENT}", False),
    ],
)
def test_uvicorns_proxy_headers(allowed: str, peer: str, header: str, expected: bool) -> None:
    """uvicorn puts an address from the header in the socket's place; "server" says that it may."""
    world = make_world("asgi", **{**TRUST, "trusted_proxies": [*TRUST["trusted_proxies"], "server"]})
    world.app = ProxyHeadersMiddleware(world.app, allowed)

    assert expected is asked(world, peer, x_forwarded_for=header)


@pytest.mark.parametrize("header", [PEER, f"{PEER}, {PROXY}", f"{PROXY}, {PEER}", f"{PEER}:443", f"[{PEER}]"])
@pytest.mark.parametrize("allowed", ["*", CLIENT])
def test_uvicorns_proxy_headers_unless_said_are_nobodys(allowed: str, header: str) -> None:
    """Who reaches a server that believes everybody writes the whole list; what it makes of that is not believed."""
    world = make_world("asgi", **TRUST)
    world.app = ProxyHeadersMiddleware(world.app, allowed)

    assert not asked(world, CLIENT, x_forwarded_for=header)


@contextmanager
def listening_on_unix(app: Any) -> Iterator[str]:
    """Serve *app* by uvicorn on a unix socket, whose path is given."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder) / "s")
        listener.bind(path)
        listener.listen()  # from here on a client waits for the server, which is slow to start on a busy machine
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@pytest.mark.parametrize(("proxies", "expected"), [(["unix"], [True, False, False]), ([], [False, False, False])])
def test_unix_socket_of_a_real_server(proxies: list[str], expected: list[bool]) -> None:
    """nginx in front of ``uvicorn --uds``: its header counts where "unix" is named; without a header, nobody."""
    world = make_world("asgi", trusted_peers="10.0.0.0/8", trusted_proxies=proxies)
    with (
        listening_on_unix(world.app) as path,
        httpx.Client(transport=httpx.HTTPTransport(uds=path), timeout=PATIENCE) as client,
    ):
        found = []
        for header in ({"x-forwarded-for": PEER}, {"x-forwarded-for": f"{PEER}, {CLIENT}"}, {}):
            reply = client.post("http://app/echo", headers={"baggage": UNSIGNED, **header})
            found.append(reply.json()["id"] == OURS["session.id"])

    assert expected == found
