"""
Whatever a client sends: never a 500, never an adopted id, never slow, and what was refused is counted with its reason.

The rows are bytes on the wire; what exactly each is rejected for is tested with the codec itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any, get_args

import pytest
from itsdangerous import Signer

from session_mw._core.tokens import Claim, RejectReason, TokenCodec
from session_mw.testing import FakeClock
from tests.security.test_shell_promises import counting, rejections
from tests.shells.worlds import SECRET

NAME = b"__Host-session_mw"
CODEC = TokenCodec(SECRET.encode(), purpose="cookie", name=NAME.decode())
NOW = FakeClock()()
GOOD = CODEC.dumps(Claim("good-session-0123456789", NOW, NOW)).encode()
BODY, SIGNATURE = GOOD.rsplit(b".", 1)


def ours(value: bytes) -> bytes:
    """Return a Cookie header with our cookie."""
    return NAME + b"=" + value


def signed(payload: bytes) -> bytes:
    """Return a payload signed by us: only a leaked key could make it, and even that must not crash anything."""
    from session_mw._core.signing import salt_of

    salt = salt_of("session-mw", "v1", "token", "cookie", NAME.decode())
    body = base64.urlsafe_b64encode(payload).rstrip(b"=")
    return Signer(SECRET, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256).sign(body)


# Cookie headers in which no cookie of ours stands: a fresh session, nothing to report.
FOREIGN = [
    b"",
    b";;;; =; =x; x=",
    b"name-only",
    b"=" + NAME + b"=v",
    b"==" + NAME + b"=v",
    b"\xa0" + NAME + b"=" + GOOD,
    b"\x85" + NAME + b"=" + GOOD,
    b"\x1c" + NAME + b"=" + GOOD,
    "\u2000".encode() + NAME + b"=" + GOOD,
    b'"' + NAME + b'"=' + GOOD,
    NAME.lower() + b"=" + GOOD,
    b"$Version=1; theme=dark",
    b"a=1, b=2",
    b"\xff\xfe",
    "smörgås=1; 名前=2".encode(),
    b"; ".join(b"c%d=%d" % (n, n) for n in range(10_000)),
    b'session="' + b"\\" * 30_000 + b'"',
]

# Cookies of our name whose value is no token.
BROKEN = [
    b"",
    b"null",
    b"deleted",
    b"undefined",
    b"''",
    b".",
    b"......",
    b"a.b",
    b"value.____________",
    BODY,
    BODY + b".",
    b"." + SIGNATURE,
    BODY + b"." + SIGNATURE[:-1],
    BODY + b"." + SIGNATURE + b"=",
    BODY + b"." + SIGNATURE + b"==",
    BODY + b"=." + SIGNATURE,
    BODY[:-1] + b"." + SIGNATURE,
    GOOD.swapcase(),
    GOOD[::-1],
    b'"a\\015\\012b"',
    b'"a\\073b"',
    b'"a\\000b"',
    b"%0d%0a",
    b"\xff\xfe",
    b"\x00",
    b"\x7f\x01",
    "\u202egood".encode(),
    b"x" * 4097,
    b"x" * 8192,
    b"x" * 65_536,
    b'"' + b"\\" * 30_000 + b'"',
    b"eyJ1c2VyIjoiYWRtaW4ifQ.ZxxYYw.5tq3n7d1kF0",
    signed(b"not json"),
    signed(b"[]"),
    signed(b"1"),
    signed(b"null"),
    signed(b"NaN"),
    signed(b"[" * 1000 + b"]" * 1000),
    signed(b'{"v":1,"v":1}'),
    signed(b'{"v":1,"s":"x","i":' + b"9" * 400 + b"}"),
    signed(b'{"v":1,"s":"\\ud800","i":1,"b":1}'),
    signed(b'{"v":1}'),
    signed(b'{"v":99,"s":"x","i":1,"b":1}'),
    *[signed(json.dumps({"v": 1, "s": "x", "i": t, "b": 1}).encode()) for t in (-1, 2**63, 2**64 - 1, NOW + 61_000)],
    signed(json.dumps({"v": 1, "s": "../../etc/passwd", "i": NOW, "b": NOW}).encode()),
]


@pytest.mark.parametrize("raw", FOREIGN, ids=lambda raw: repr(raw[:24]))
def test_foreign_cookies_start_a_fresh_session(world: Any, raw: bytes) -> None:
    """Headers without our cookie are nobody's: a fresh session, and nothing counted."""
    reader = counting(world)
    reply = world.request(headers=[("cookie", raw)], cookies=False)

    assert (200, 1) == (reply.status, reply.json()["turn"])
    assert reply.json()["id"] != "good-session-0123456789"
    assert {} == rejections(reader)


@pytest.mark.parametrize("raw", BROKEN, ids=lambda raw: repr(raw[:24]))
def test_broken_tokens_are_counted_once(world: Any, raw: bytes) -> None:
    """A value of ours that is no token starts a fresh session and is counted once, with a reason."""
    reader = counting(world)
    reply = world.request(headers=[("cookie", ours(raw))], cookies=False)

    assert (200, 1) == (reply.status, reply.json()["turn"])
    assert reply.json()["id"].encode() not in raw
    (((reason, source), count),) = rejections(reader).items()
    assert ("cookie", 1) == (source, count)
    assert reason in get_args(RejectReason)


def test_good_token_is_found_among_many(world: Any) -> None:
    """The control: the same harness with a good token continues its session."""
    reply = world.request(headers=[("cookie", b"a=1; " + ours(GOOD) + b"; b=2")], cookies=False)

    assert "good-session-0123456789" == reply.json()["id"]


@pytest.mark.parametrize("position", ["first", "last"])
def test_good_token_among_five_hundred_duplicates(world: Any, position: str) -> None:
    """Of hundreds of duplicates a few are tried; a good one at the front is found, none costs much."""
    junk = [ours(b"junk%d" % n) for n in range(500)]
    parts = [ours(GOOD), *junk] if position == "first" else [*junk, ours(GOOD)]
    began = time.process_time()
    reply = world.request(headers=[("cookie", b"; ".join(parts))], cookies=False)

    assert 200 == reply.status
    assert (position == "first") is (reply.json()["id"] == "good-session-0123456789")
    assert time.process_time() - began < 0.25


def test_several_cookie_headers(world: Any) -> None:
    """HTTP/2 may split the Cookie header: all parts are read."""
    reply = world.request(headers=[("cookie", b"a=1"), ("cookie", ours(GOOD))], cookies=False)

    assert "good-session-0123456789" == reply.json()["id"]


@pytest.mark.parametrize("raw", [r for r in BROKEN if r], ids=lambda raw: repr(raw[:24]))
def test_broken_header_tokens(make: Any, raw: bytes) -> None:
    """The same values in X-Session-Token: a fresh session, counted once."""
    world = make(issue="header")
    reader = counting(world)
    reply = world.request(headers=[("x-session-token", raw)], cookies=False)

    assert (200, 1) == (reply.status, reply.json()["turn"])
    assert 1 == sum(rejections(reader).values())
    assert {"header"} == {source for _, source in rejections(reader)}


BAGGAGE = [
    b"session.id=evil",
    b"session.id=evil,session.sig=1.2.3",
    b"session.id=evil;prop=1",
    b"%73ession.id=evil",
    b"Session.Id=evil,SESSION.ID=evil",
    b"session.id=abc%0d%0aX-Evil:1",
    b"session.id=%00",
    b"session.id=%ff%fe",
    b"session.id=%zz",
    b'session.id="evil"',
    b"session.id = evil , user.id = admin",
    b"session.id=" + b"e" * 5000,
    b"," * 8000,
    b"=" * 100,
    b"user.id=admin,gen_ai.conversation.id=evil,conversation.id=evil,turn.number=99",
    b",".join(b"k%d=v" % n for n in range(500)) + b",session.id=evil",
    b"a=" + b"x" * 8191 + b",session.id=evil",
    "session.id=\u00e9vil".encode(),
]


@pytest.mark.parametrize("raw", BAGGAGE, ids=lambda raw: repr(raw[:24]))
def test_hostile_baggage_is_never_believed(world: Any, raw: bytes) -> None:
    """Unsigned baggage never becomes identity, whatever its spelling, and nothing of it shows on a span."""
    reply = world.request(headers=[("baggage", raw)])

    assert (200, 1) == (reply.status, reply.json()["turn"])
    assert reply.json()["user"] is None
    shown = repr([dict(s.attributes) for s in world.spans()])
    assert "evil" not in shown and "admin" not in shown


def test_many_baggage_headers(world: Any) -> None:
    """Our entries are stripped from every baggage line, not only from the first."""
    reply = world.request(headers=[("baggage", b"a=1"), ("baggage", b"session.id=evil")])

    assert "evil" != reply.json()["id"]
    assert 200 == reply.status


@pytest.mark.parametrize("char", [b"\\", b";", b",", b"=", b"%", b'"', b"."])
def test_sixty_four_kilobytes_of_anything_are_cheap(world: Any, char: bytes) -> None:
    """64 KB of one character in cookie and baggage cost milliseconds: everything is linear."""
    world.request()
    best = 1.0
    for _ in range(3):
        began = time.process_time()
        headers = [("cookie", ours(char * 65_536)), ("baggage", char * 65_536)]
        assert 200 == world.request(headers=headers, cookies=False).status
        best = min(best, time.process_time() - began)

    assert best < 0.05
