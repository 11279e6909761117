"""
Where a real Chromium sends our cookie: by site, way, ``SameSite`` and domain, and over plain http on this machine.

Source: RFC 6265bis, "Same-site and cross-site Requests", "Cookie Name Prefixes"; CHIPS (Partitioned).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.chromium import Visitor
from tests.browser.sites import ASK, Api

pytestmark = [pytest.mark.browser, pytest.mark.landing]

MakeApi = Callable[..., Api]
Page = Callable[[str], str]
HOST, NEAR, FAR = "api.example.test", "app.example.test", "shop.test"  # NEAR is of the same site, FAR is not

GO = "url => { location.href = url }"
SUBMIT = """url => {
  const form = Object.assign(document.createElement("form"), {method: "post", action: url})
  document.body.append(form)
  form.submit()
}"""
SOCKET = """url => new Promise((done, fail) => {
  const socket = new WebSocket(url)
  socket.onopen = () => socket.send("hello")
  socket.onmessage = event => done(event.data)
  socket.onerror = fail
})"""
FRAME = """async url => {
  const frame = Object.assign(document.createElement("iframe"), {src: url})
  await new Promise(done => { frame.onload = done; document.body.append(frame) })
}"""


def by_link(visitor: Visitor, api: Api) -> str:
    return visitor.follow(GO, api.url(HOST, "/page"), api.url(HOST, "/page"))


def by_form(visitor: Visitor, api: Api) -> str:
    return visitor.follow(SUBMIT, api.url(HOST, "/page"), api.url(HOST, "/page"))


def by_frame(visitor: Visitor, api: Api) -> str:
    visitor.run(FRAME, api.url(HOST, "/page"))
    return visitor.text_of_frame()


def by_fetch(visitor: Visitor, api: Api) -> str:
    answer = visitor.run(ASK, [api.url(HOST), {"method": "POST", "credentials": "include", "body": "{}"}])
    return str(answer["body"]["id"])


def by_websocket(visitor: Visitor, api: Api) -> str:
    return str(visitor.run(SOCKET, api.url(HOST, "/ws", "wss")))


WAYS = {"link": by_link, "form": by_form, "frame": by_frame, "fetch": by_fetch, "socket": by_websocket}
# Whether the visitor's cookie goes along from a page of another site. A browser that blocks cookies of third parties
# (private windows do; 156 as playwright starts it does so with any profile) keeps even "none" from frames and scripts,
# unless it is partitioned.
FROM_FAR = {
    "lax": {"link": True, "form": False, "frame": False, "fetch": False, "socket": False},
    "strict": {"link": False, "form": False, "frame": False, "fetch": False, "socket": False},
    "none": {"link": True, "form": True, "frame": False, "fetch": False, "socket": False},
}


def allowing(origin: str) -> dict[str, Any]:
    return {"allow_origins": [origin], "allow_methods": ["POST"], "allow_credentials": True}


@pytest.mark.parametrize("samesite", FROM_FAR)
@pytest.mark.parametrize("host", [NEAR, FAR], ids=["same site", "other site"])
def test_session_by_way_and_samesite(host: str, samesite: str, make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """
    A page of the same site is in the visitor's session whatever the way; one of another as ``SameSite`` says.

    However the visitor came and whatever was kept back: who then opens the API's own page is in the session of before.
    """
    api = make_api(allowing(page(host)), cookie_samesite=samesite)
    own = visitor.open(api.url(HOST, "/page"))
    expected = dict.fromkeys(WAYS, True) if host == NEAR else FROM_FAR[samesite]
    found: dict[str, bool] = {}
    afterwards = []
    for name, way in WAYS.items():
        visitor.open(page(host))
        found[name] = own == way(visitor, api)
        afterwards.append(visitor.open(api.url(HOST, "/page")))

    assert expected == found
    assert [own] * len(WAYS) == afterwards


@pytest.mark.parametrize("way", ["frame", "fetch"])
def test_partitioned_cookie_in_pages_of_others(way: str, make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """With ``cookie_partitioned`` each site that embeds us has a session of its own, which goes on."""
    api = make_api(allowing(page(FAR)), cookie_samesite="none", cookie_partitioned=True)
    own = visitor.open(api.url(HOST, "/page"))
    visitor.open(page(FAR))
    first = WAYS[way](visitor, api)
    visitor.open(page(FAR))
    second = WAYS[way](visitor, api)

    assert first == second != own
    assert own == visitor.open(api.url(HOST, "/page"))


def test_cookie_is_of_its_host_alone(make_api: MakeApi, visitor: Visitor) -> None:
    """``__Host-``, the default: neighbours have sessions of their own, also under other ports' pages."""
    api = make_api()
    first, neighbour = visitor.open(api.url(HOST, "/page")), visitor.open(api.url(NEAR, "/page"))

    assert first != neighbour
    assert first == visitor.open(api.url(HOST, "/page"))


def test_cookie_domain_makes_one_session_of_subdomains(make_api: MakeApi, visitor: Visitor) -> None:
    """With ``cookie_domain`` every host below it is in the same session, and hosts of other domains are not."""
    api = make_api(cookie_domain="example.test", cookie_name="__Secure-session_mw")
    hosts = (HOST, NEAR, "example.test", "deep.app.example.test", HOST)
    found = {visitor.open(api.url(host, "/page")) for host in hosts}

    assert 1 == len(found)
    assert visitor.open(api.url("notexample.test", "/page")) not in found
    assert {} == visitor.cookies(api.url("notexample.test"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "app.localhost"])
def test_secure_cookie_over_plain_http_on_this_machine(host: str, make_api: MakeApi, visitor: Visitor) -> None:
    """Chromium takes the default cookie, ``__Host-`` and Secure, from loopback without https."""
    api = make_api(http=True)

    assert visitor.open(api.url(host, "/page", "http")) == visitor.open(api.url(host, "/page", "http"))


def test_secure_cookie_over_plain_http_elsewhere(make_api: MakeApi, visitor: Visitor) -> None:
    """From any other host it does not: every page is a new visitor's, as the log says."""
    api = make_api(http=True)

    assert visitor.open(api.url(HOST, "/page", "http")) != visitor.open(api.url(HOST, "/page", "http"))
