"""
Pages of one origin that talk to an API of another, in a real Chromium: what works, and what the browser refuses without
the configuration that the README names.

Source: Fetch Standard, "CORS protocol".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.chromium import Chromium, Visitor
from tests.browser.sites import ASK, Api
from tests.integrations.servers import serve
from tests.readme import README

pytestmark = [pytest.mark.browser, pytest.mark.landing]

MakeApi = Callable[..., Api]
Page = Callable[[str], str]
HOST, NEAR, FAR = "api.example.test", "app.example.test", "shop.test"  # NEAR is of the same site, FAR is not
TOKEN = "X-Session-Token"
JSON = {"content-type": "application/json"}
REFUSED = {"error": "TypeError: Failed to fetch"}


def allowing(origin: str, **more: Any) -> dict[str, Any]:
    return {"allow_origins": [origin], "allow_methods": ["POST"], **more}


def ask(visitor: Visitor, api: Api, headers: dict[str, str], credentials: str = "omit") -> Any:
    """Have the page ask; return status, token and body of the answer, or the error."""
    options = {"method": "POST", "headers": headers, "credentials": credentials, "body": "{}"}
    return visitor.run(ASK, [api.url(HOST), options])


@pytest.mark.parametrize("order", ["outside", "inside"])
def test_cookie_over_origins_of_one_site(order: str, make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """Two turns are one session, on either side of CORSMiddleware; the browser's own question is told no cookie."""
    api = make_api(allowing(page(NEAR), allow_credentials=True), order)
    visitor.open(page(NEAR))
    answers = [ask(visitor, api, JSON, "include") for _ in range(2)]

    assert [1, 2] == [answer["body"]["turn"] for answer in answers]
    assert 1 == len({answer["body"]["id"] for answer in answers})
    assert {"OPTIONS", "POST"} == {method for method, _ in api.received}
    assert [] == api.answers("OPTIONS", "set-cookie") + api.answers("OPTIONS", "cache-control")
    assert 1 == len(api.answers("POST", "set-cookie"))
    assert (2, 2) == (len(api.world.spans("session")), len(api.world.spans("turn")))
    for vary in api.answers("POST", "vary"):
        assert {"Origin", "Cookie"} <= set(re.split(r",\s*", vary))


@pytest.mark.parametrize("order", ["outside", "inside"])
def test_token_header_over_sites(order: str, make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """A page of another site reads its token off the answer, sends it back, and stays in its session; no cookie."""
    cors = allowing(page(FAR), allow_headers=["Content-Type", TOKEN], expose_headers=[TOKEN])
    api = make_api(cors, order, issue="header")
    visitor.open(page(FAR))
    first = ask(visitor, api, JSON)
    second = ask(visitor, api, {**JSON, TOKEN: first["token"]})

    assert first["body"]["id"] == second["body"]["id"]
    assert [1, 2] == [first["body"]["turn"], second["body"]["turn"]]
    assert [] == api.answers("POST", "set-cookie") + api.answers("OPTIONS", TOKEN.lower())
    assert 2 == len(api.world.spans("session"))


def test_token_is_hidden_unless_exposed(make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """Without ``expose_headers`` the token is in the answer, and no script can read it."""
    api = make_api(allowing(page(FAR), allow_headers=["Content-Type"]), issue="header")
    visitor.open(page(FAR))
    answer = ask(visitor, api, JSON)

    assert (200, None) == (answer["status"], answer["token"])
    assert 1 == len(api.answers("POST", TOKEN.lower()))


@pytest.mark.parametrize("name", [TOKEN, "baggage", "traceparent", "X-Conversation-ID"])
def test_header_is_refused_unless_allowed(name: str, make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """Without ``allow_headers`` the browser asks, is told no, and the turn never comes: no session, no span."""
    api = make_api(allowing(page(FAR)), "inside", issue="header")
    visitor.open(page(FAR))

    assert REFUSED == ask(visitor, api, {name: "x"})
    assert ["OPTIONS"] == [method for method, _ in api.received]
    assert [] == api.world.spans() + api.answers("OPTIONS", TOKEN.lower())


def test_trace_and_baggage_of_a_page(make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """A page's trace is continued and its baggage handed on, without what it says of sessions and users."""
    api = make_api(allowing(page(FAR), allow_headers=["traceparent", "tracestate", "baggage"]))
    visitor.open(page(FAR))
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01", "tracestate": "shop=1"}
    answer = ask(visitor, api, {**headers, "baggage": "session.id=forged,user.id=admin,tenant=acme"})

    assert {"tenant": "acme"} == answer["body"]["baggage"]
    assert answer["body"]["user"] is None
    assert {answer["body"]["id"]} == {span.attributes["session.id"] for span in api.world.spans()} != {"forged"}
    assert {trace_id} == {format(span.context.trace_id, "032x") for span in api.world.spans()}


@pytest.mark.parametrize("cors", ["nobody", "no credentials", "everybody"])
def test_answer_is_unreadable_without_credentials_for_the_origin(
    cors: str, make_api: MakeApi, page: Page, visitor: Visitor
) -> None:
    """
    Without CORS, without ``allow_credentials``, or with ``*``: the page gets nothing.

    The API has answered all the same (a form could ask as much): CORS protects what is read, not what is done.
    """
    configured = {"nobody": None, "no credentials": allowing(page(NEAR)), "everybody": allowing("*")}
    api = make_api(configured[cors])
    visitor.open(page(NEAR))

    assert REFUSED == ask(visitor, api, {}, "include")
    assert ["POST"] == [method for method, _ in api.received]
    assert 1 == len(api.world.spans("turn"))


def test_turns_without_credentials_are_sessions_of_their_own(make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """A page that does not say ``credentials: "include"`` brings no cookie, and keeps none."""
    api = make_api(allowing(page(NEAR), allow_credentials=True))
    visitor.open(page(NEAR))
    answers = [ask(visitor, api, {}, credentials) for credentials in ("omit", "same-origin")]

    assert [1, 1] == [answer["body"]["turn"] for answer in answers]
    assert 2 == len({answer["body"]["id"] for answer in answers})
    assert {} == visitor.cookies(api.url(HOST))


def test_page_of_a_stranger_reads_nothing_and_does_no_harm(make_api: MakeApi, page: Page, visitor: Visitor) -> None:
    """An origin that is not named gets no answer; the visitor's session does not take part, and goes on."""
    api = make_api(allowing(page(NEAR), allow_credentials=True))
    visitor.open(page(NEAR))
    before = ask(visitor, api, {}, "include")
    visitor.open(page(FAR))
    refused = [ask(visitor, api, headers, "include") for headers in ({}, JSON)]
    visitor.open(page(NEAR))
    after = ask(visitor, api, {}, "include")

    assert [REFUSED, REFUSED] == refused
    assert ["POST", "POST", "OPTIONS", "POST"] == [method for method, _ in api.received]
    assert [before["body"]["id"], 2] == [after["body"]["id"], after["body"]["turn"]]


def test_page_of_the_readme(page: Page, chromium: Chromium, certificate: dict[str, str], own_home: None) -> None:
    """The README's application and script, each as it stands but for the host names: two turns of one session."""
    text = README.read_text(encoding="utf-8")
    (python,) = [body for body in re.findall(r"```python\n(.*?)```", text, re.S) if "CORSMiddleware" in body]
    (script,) = re.findall(r"```js\n(.*?)```", text, re.S)
    space: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="development"):
        exec(compile(python.replace("https://app.example.com", page(FAR)), "README.md", "exec"), space)
    with serve(space["app"], **certificate) as port, chromium.visitor() as visitor:
        visitor.open(page(FAR))
        script = script.replace("https://api.example.com", f"https://{HOST}:{port}")
        answers = visitor.run(f"async () => {{ {script}; return [await ask('hello'), await ask('again')] }}")

    assert [1, 2] == [answer["turn"] for answer in answers]
    assert answers[0]["session"] == answers[1]["session"]
