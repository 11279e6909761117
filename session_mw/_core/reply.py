"""
What the response says about the session: Set-Cookie, token header, Vary, Cache-Control. Pure: nothing may delay the
first byte.

A cookie is written only when it is due (new, rotated, re-keyed, bound, past its refresh, or to be deleted), because a
Set-Cookie on every response races with login and logout in parallel requests. With it goes ``Cache-Control: no-store``
(OWASP Session Management): a cached Set-Cookie hands one user's session to another. ``Vary`` names what identity was
read from, when a cookie is written or the application looked (RFC 9110, 12.5.5).

A cookie that the browser may have, and kept back because a page of another site asks, is not overwritten: the session
that it names would be lost with the form that brings a customer back from paying, or by anybody's link or form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .facts import RequestFacts
from .policy import Policy
from .scope import SessionScope
from .tokens import Claim

Header = tuple[bytes, bytes]
NO_STORE: Header = (b"cache-control", b"no-store")
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1


def claim_for(scope: SessionScope, policy: Policy, now_ms: int) -> Claim | None:
    """Return what the client's next token says; None when the session ended and nothing follows."""
    turns = scope.turn.number if scope.turn is not None and scope.turn.number is not None else 0
    if scope.successor is not None:
        same_user = scope.successor_user == scope.user_id
        return Claim(
            scope.successor,
            issued_ms=now_ms,
            started_ms=scope.origin_ms if same_user else now_ms,
            user_id=scope.successor_user,
            previous_id=scope.session_id,
            provisional=True,
        )
    if scope.end_reason is not None:
        return None
    policy.last_boot = policy.boot_id()
    return Claim(
        scope.session_id,
        issued_ms=now_ms,
        started_ms=scope.origin_ms,
        turns=turns,
        user_id=scope.user_id,
        previous_id=scope.previous_id,
        provisional=not scope.stored,
        boot_id=policy.last_boot,
    )


def may_be_kept_back(facts: RequestFacts, policy: Policy) -> bool:
    """
    Return whether a browser that has our cookie would have sent this request without it.

    Source:
        RFC 6265bis, "Same-site and cross-site Requests": to pages of other sites "lax" gives navigations by a safe
        method, "strict" nothing.
    """
    if policy.cookie is None or policy.cookie.samesite == "none" or not facts.browser:
        return False
    if policy.cookie.samesite == "lax" and facts.method in SAFE:
        return False
    return facts.header("sec-fetch-site") == "cross-site"


def token_headers(scope: SessionScope, policy: Policy, now_ms: int, cookie: bool = True) -> list[Header]:
    """Return the headers that give the client its token, or take it away; without the cookie if told so."""
    claim = claim_for(scope, policy, now_ms)
    headers: list[Header] = []
    if cookie and policy.cookie is not None and policy.cookie_codec is not None:
        value = policy.cookie_codec.dumps(claim) if claim is not None else None
        line = policy.cookie.delete() if value is None else policy.cookie.set(value)
        headers.append((b"set-cookie", line))
    if policy.header_codec is not None and claim is not None:
        headers.append((policy.token_header, policy.header_codec.dumps(claim).encode("ascii")))
    return headers


def amend(headers: Sequence[Header], new: Sequence[Header], policy: Policy, vary: bool) -> list[Header]:
    """
    Return an application's response headers with ours.

    Args:
        headers: The application's, names in lower case.
        new: From ``token_headers``; every other Set-Cookie stays as it is.
        policy: Says which request headers identity was read from.
        vary: Whether the response depends on who asks.
    """
    result = list(headers)
    if any(name == b"set-cookie" for name, _ in new):
        _replace(result, b"cache-control", _stricter)
    result.extend(new)
    if vary or new:
        fields = [b"Cookie"] if policy.cookie_codec is not None else []
        if policy.header_codec is not None:
            fields.append(policy.token_header.title())
        _replace(result, b"vary", lambda old: _vary(old, fields))
    return result


def _replace(headers: list[Header], name: bytes, value: Callable[[bytes], bytes]) -> None:
    """Put one header of *name* in the place of all, its value computed from the old ones joined."""
    old = b", ".join(v for k, v in headers if k == name)
    headers[:] = [h for h in headers if h[0] != name]
    headers.append((name, value(old)))


def _stricter(old: bytes) -> bytes:
    directives = {d.strip().lower() for d in old.split(b",")}
    return old if directives & {b"no-store", b"private"} else b"no-store"


def _vary(old: bytes, fields: Sequence[bytes]) -> bytes:
    known = [f.strip() for f in old.split(b",") if f.strip()]
    if b"*" in known:
        return b"*"
    lower = {f.lower() for f in known}
    return b", ".join([*known, *(f for f in fields if f.lower() not in lower)])
