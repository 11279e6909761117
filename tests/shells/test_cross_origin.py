"""
What browsers send for pages of other origins, and what they keep back. The same in a real one: ``tests/browser``.

Sources: Fetch Standard, "CORS-preflight request"; Fetch Metadata; RFC 6265bis, 5.5 ("Same-site" requests).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.shells.test_parity import BROWSER, COOKIE

CROSS_SITE = {**BROWSER, "sec-fetch-site": "cross-site"}
FETCH = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "accept": "*/*"}
PREFLIGHT = {**FETCH, "origin": "https://page.example", "access-control-request-method": "POST"}


@pytest.mark.parametrize("turn_when", [None, lambda facts: True], ids=["built-in rule", "own rule"])
def test_preflight_passes_untouched(make: Any, turn_when: Any) -> None:
    """The browser's question whether it may ask opens no session, is no turn, and is told no cookie."""
    world = make(turn_when=turn_when)
    reply = world.request("OPTIONS", "/untouched", PREFLIGHT)

    assert [None, None, None] == [reply.one(name) for name in ("set-cookie", "cache-control", "vary")]
    assert [] == world.spans()
    assert 0 == world.engine.store.stats().live


def test_options_that_is_no_preflight_has_a_session(world: Any) -> None:
    """A client that asks what a path can do is a visitor like any other; only the browser's own question is not."""
    reply = world.request("OPTIONS", "/echo", FETCH)

    assert reply.json()["id"] is not None
    assert reply.one("set-cookie") is not None


@pytest.mark.parametrize("issue", ["header", "both"])
@pytest.mark.parametrize("cookie", ["theme=dark", COOKIE + "=broken"])
def test_token_header_counts_where_no_cookie_is_ours(make: Any, issue: str, cookie: str) -> None:
    """A page in header mode may have cookies of other things; its token is read all the same."""
    world = make(issue=issue)
    first = world.request("POST", "/echo", FETCH, cookies=False)
    token = first.one("x-session-token")
    second = world.request("POST", "/echo", {**FETCH, "cookie": cookie, "x-session-token": token}, cookies=False)

    assert [first.json()["id"], 2] == [second.json()["id"], second.json()["turn"]]


def test_cookie_of_a_browser_wins_over_its_token_header(make: Any) -> None:
    """Where both are good and differ, the cookie counts: a script may have kept a token of yesterday."""
    world = make(issue="both")
    mine, other = world.request("POST", "/echo", BROWSER), world.request("POST", "/echo", FETCH, cookies=False)
    cookie = mine.one("set-cookie").partition(";")[0]
    headers = {**BROWSER, "cookie": cookie, "x-session-token": other.one("x-session-token")}
    reply = world.request("POST", "/echo", headers, cookies=False)

    assert mine.json()["id"] == reply.json()["id"] != other.json()["id"]


@pytest.mark.parametrize(
    ("samesite", "method", "headers", "written"),
    [
        ("lax", "POST", CROSS_SITE, False),  # a form of another site: a payment's way back, or an attack
        ("lax", "GET", CROSS_SITE, True),  # a link: the cookie would have come
        ("lax", "POST", {**BROWSER, "sec-fetch-site": "same-site"}, True),
        ("lax", "POST", {}, True),  # no browser
        ("strict", "GET", CROSS_SITE, False),  # a link in a mail
        ("strict", "POST", CROSS_SITE, False),
        ("strict", "GET", {**BROWSER, "sec-fetch-site": "none"}, True),  # typed, or a bookmark
        ("none", "POST", CROSS_SITE, True),
    ],
)
def test_cookie_that_may_be_kept_back_is_not_overwritten(
    make: Any, samesite: str, method: str, headers: dict[str, str], written: bool
) -> None:
    """A browser that keeps our cookie back by SameSite would take another one for it, and the session would be lost."""
    world = make(cookie_samesite=samesite)
    reply = world.request(method, "/echo", headers, cookies=False)

    assert written == (reply.one("set-cookie") is not None)
    assert reply.json()["id"] is not None


def test_session_goes_on_after_the_form_of_another_site(world: Any) -> None:
    """A customer who comes back from paying elsewhere is in the session that left."""
    before = world.request("POST", "/echo", BROWSER).json()
    world.request("POST", "/echo", CROSS_SITE, cookies=False)
    after = world.request("POST", "/echo", BROWSER).json()

    assert [before["id"], 2] == [after["id"], after["turn"]]


def test_token_header_is_given_across_sites(make: Any) -> None:
    """A page of another site cannot have our cookie, and gets its token."""
    reply = make(issue="both").request("POST", "/echo", FETCH, cookies=False)

    assert reply.one("set-cookie") is None
    assert reply.one("x-session-token") is not None


def test_login_across_sites_is_kept(world: Any) -> None:
    """An identity provider answers by a form of its own site (SAML, ``form_post``): who logs in by it gets a cookie."""
    world.request("POST", "/login?user=ada", CROSS_SITE, cookies=False)
    after = world.request("POST", "/echo", BROWSER).json()

    assert (after["user"] or "").startswith("u_")
