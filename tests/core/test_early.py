"""A request looked at before the middleware has it: who may see what was found, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw._core.cookies import CookieFormat
from session_mw._core.early import Desk, Early
from session_mw._core.facts import RequestFacts
from session_mw._core.identity import make_session_id, sampling_key_of
from session_mw._core.policy import Policy
from session_mw._core.tokens import Claim, TokenCodec
from tests.telemetry.support import make_policy

NOW = 1_700_000_000_000
KEY = b"k" * 32


class Counting(TokenCodec):
    """Counts how often a token is verified."""

    asked = 0

    def loads(self, raw: bytes, **given: Any) -> Any:
        self.asked += 1
        return super().loads(raw, **given)


def policy_of(prefix: str | None = None) -> tuple[Policy, Counting]:
    ids = iter(range(1, 100))
    codec = Counting(KEY, purpose="cookie", name="sid")
    policy = make_policy()
    policy.cookie, policy.cookie_codec = CookieFormat(name="sid"), codec
    policy.new_id = lambda keep: make_session_id(bytes([next(ids)]) * 24, prefix=prefix, keep=keep)
    return policy, codec


def desk_of(policy: Policy) -> Desk:
    desk = Desk(policy, lambda: NOW)
    desk.readers["asgi"] = read
    return desk


def read(scope: Any) -> RequestFacts:
    facts = RequestFacts("http", "POST", "/chat", "https", scope.get("peer", ""), scope)
    facts.cookies = [value for name, value in scope["headers"] if name == b"cookie"]
    return facts


def scope_with(*cookies: bytes) -> dict[str, Any]:
    return {"type": "http", "headers": [(b"cookie", cookie) for cookie in cookies]}


def cookie_for(codec: TokenCodec, session_id: str = "s-1") -> bytes:
    return b"sid=" + codec.dumps(Claim(session_id, NOW, NOW)).encode()


def look(desk: Desk, carrier: Any) -> Early:
    early = desk.look(carrier)
    assert early is not None
    return early


def test_nothing_is_verified_before_somebody_asks() -> None:
    """Most requests have a remote parent, or no sampler that asks."""
    policy, codec = policy_of()
    scope = scope_with(cookie_for(codec))
    early = look(desk_of(policy), scope)

    assert 0 == codec.asked
    assert "s-1" == early.session_id
    assert 1 == codec.asked


@pytest.mark.parametrize("good", [True, False], ids=["good", "forged"])
def test_token_is_verified_once(good: bool) -> None:
    """The middleware gets what was found; a rejected token is reported once too."""
    policy, codec = policy_of()
    cookie = cookie_for(codec if good else TokenCodec(b"x" * 32, purpose="cookie", name="sid"))
    scope = scope_with(cookie)
    early = look(desk_of(policy), scope)
    decided = early.session_id
    found = early.hand_over(read(scope), policy, NOW)

    assert 1 == codec.asked
    assert decided == found.decided == (found.claim.session_id if found.claim else found.minted)
    assert ([] if good else ["other_key"]) == [event.reason for event in found.rejected]


def test_minted_id_is_handed_over_once() -> None:
    """A context that leaks into the next request on a thread must not make two visitors one session."""
    policy, _ = policy_of()
    early = look(desk_of(policy), scope_with())
    minted = early.session_id
    first, second = (early.hand_over(read(scope_with()), policy, NOW) for _ in range(2))

    assert (minted, None) == (first.minted, second.minted)
    assert second.decided is None


def test_other_request_is_verified_anew() -> None:
    """What somebody changed on the way, or another request in a leaked context, presents what it presents."""
    policy, codec = policy_of()
    early = look(desk_of(policy), scope_with(cookie_for(codec, "s-1")))
    assert "s-1" == early.session_id
    found = early.hand_over(read(scope_with(cookie_for(codec, "s-2"))), policy, NOW)

    assert found.claim is not None
    assert ("s-2", "s-1") == (found.claim.session_id, found.decided)


def _other_cookie(scope: dict[str, Any]) -> None:
    scope["headers"][0] = (b"cookie", b"sid=other")


def _other_peer(scope: dict[str, Any]) -> None:
    scope["client"] = ("198.51.100.7", 1)


def _other_value(environ: dict[str, Any]) -> None:
    environ["HTTP_COOKIE"] = "sid=other"


@pytest.mark.parametrize("change", [None, _other_cookie, _other_peer, _other_value])
def test_request_is_read_once_unless_it_changes(change: Any) -> None:
    """The middleware takes the facts over; what others change in place on the way is read as it is then."""
    policy, _ = policy_of()
    desk = desk_of(policy)
    desk.readers["wsgi"] = lambda environ: RequestFacts("http", "POST", "/chat", "https", "", environ)
    wsgi = change is _other_value
    carrier: dict[str, Any] = {"REQUEST_METHOD": "POST", "HTTP_COOKIE": "sid=1"} if wsgi else scope_with(b"sid=1")
    early = look(desk, carrier)
    assert early.facts_of(carrier) is None  # nobody has read them
    facts = early.facts
    if change is not None:
        change(carrier)

    assert (facts if change is None else None) is early.facts_of(carrier)
    assert early.facts_of(dict(carrier)) is None


def test_other_middleware_keeps_the_key() -> None:
    """Another one of the same process has its own prefix; what its new session was sampled by is the same."""
    policy, _ = policy_of()
    other, _ = policy_of("chat")
    early = look(desk_of(policy), scope_with())
    minted = early.session_id
    found = early.hand_over(read(scope_with()), other, NOW)

    assert found.minted is not None
    assert found.minted.startswith("chat-")
    assert sampling_key_of(minted) == sampling_key_of(found.minted)


def test_nobody_asked() -> None:
    """Then the middleware does what it does without: ids are made when they are needed."""
    policy, codec = policy_of()
    scope = scope_with(cookie_for(codec))
    found = look(desk_of(policy), scope).hand_over(read(scope), policy, NOW)

    assert found.claim is not None
    assert (None, None, 1) == (found.minted, found.decided, codec.asked)


@pytest.mark.parametrize(
    "carrier",
    [
        {"traceparent": "00-1-1-01"},
        {"type": "lifespan"},
        {"type": "http"},
        {"REQUEST_METHOD": "GET"},
        [("cookie", "sid=1")],
        None,
    ],
    ids=["message", "lifespan", "no headers", "a world that is not served", "pairs", "nothing"],
)
def test_what_is_no_request_of_ours_is_not_looked_at(carrier: Any) -> None:
    """Messages of a queue, metadata of gRPC, an environment: none has a visitor."""
    policy, _ = policy_of()

    assert desk_of(policy).look(carrier) is None
