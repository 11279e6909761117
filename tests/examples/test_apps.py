"""The three chats, in process: they answer alike, and no request makes them fail."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from session_mw.ledger import open_ledger
from tests.ledger.support import end

BASE = "http://localhost"


class App:
    """
    One example, asked as if over HTTP.

    Args:
        target: Its ASGI or WSGI callable.
        asgi: Which of the two it is.
    """

    def __init__(self, target: Any, *, asgi: bool) -> None:
        self._target = target
        self._asgi = asgi

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        if self._asgi:
            return asyncio.run(self._ask_async(method, path, **request))
        with httpx.Client(transport=httpx.WSGITransport(self._target), base_url=BASE) as client:
            return client.request(method, path, **request)

    async def _ask_async(self, method: str, path: str, **request: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._target), base_url=BASE) as client:
            return await client.request(method, path, **request)

    def chat(self, message: object, **more: object) -> httpx.Response:
        return self.ask("POST", "/chat", json={"message": message, **more})

    def post_raw(self, path: str, content: bytes) -> httpx.Response:
        return self.ask("POST", path, content=content, headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def examples() -> Iterator[None]:
    """Import the examples anew, for this file's environment only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("examples.")]:
            patch.delitem(sys.modules, name)
        patch.setenv("SESSION_MW_SECRET_KEY", "only for these tests, and long enough for a key")
        patch.setenv("SESSION_MW_STORE", "memory://")
        patch.setenv("OTEL_SDK_DISABLED", "true")
        patch.setenv("CHAT_WORD_MS", "0")
        patch.delenv("CHAT_BOOKS", raising=False)
        patch.delenv("CHAT_TOOLS_URL", raising=False)
        yield
        for name in [name for name in sys.modules if name.startswith("examples.")]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def fastapi_chat(examples: None) -> ModuleType:
    return importlib.import_module("examples.fastapi_chat.app")


@pytest.fixture(scope="module")
def flask_chat(examples: None) -> ModuleType:
    return importlib.import_module("examples.flask_chat.app")


@pytest.fixture(scope="module")
def django_chat(examples: None) -> Iterator[ModuleType]:
    """Import the Django example; other tests of this process may have configured Django before."""
    from django.test import override_settings

    module = importlib.import_module("examples.django_chat.app")
    with override_settings(**module.SETTINGS):
        yield module


@pytest.fixture(params=["fastapi", "flask", "django-wsgi", "django-asgi"])
def app(request: pytest.FixtureRequest) -> App:
    """Each example in turn; Django's with each of its two callables."""
    framework, _, server = request.param.partition("-")
    module = request.getfixturevalue(f"{framework}_chat")
    if framework == "django":  # made under the settings in force, which may not be those at import
        from django.core.asgi import get_asgi_application
        from django.core.wsgi import get_wsgi_application

        return App(get_asgi_application() if server == "asgi" else get_wsgi_application(), asgi=server == "asgi")
    return App(module.app, asgi=framework == "fastapi")


def words_of(response: httpx.Response) -> tuple[list[str], dict[str, Any]]:
    """Read an event stream: the words, and what the last event says."""
    *words, last = response.text.removesuffix("\n\n").split("\n\n")
    name, data = last.split("\n")
    assert "event: done" == name
    return [json.loads(word.removeprefix("data: ")) for word in words], json.loads(data.removeprefix("data: "))


def test_page_loads_and_asks_nothing_of_other_servers(app: App) -> None:
    """One HTML file, whose policy forbids everything but itself."""
    response = app.ask("GET", "/")

    assert 200 == response.status_code
    assert "text/html; charset=utf-8" == response.headers["content-type"]
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "<title>Harbour Lamps" in response.text


def test_page_names_no_other_address(app: App) -> None:
    """The only URL in the page is the name space of its icon."""

    assert ["http://www.w3.org/2000/svg"] == [
        part.split("'")[0] for part in app.ask("GET", "/").text.split("xmlns='")[1:]
    ]
    assert 1 == app.ask("GET", "/").text.count("://")


def test_health_answers(app: App) -> None:
    """A load balancer sees that the service is up."""

    assert {"status": "ok"} == app.ask("GET", "/health").json()


def test_chat_answers_in_one_piece(app: App) -> None:
    """The answer comes with where it was given, and with nothing else."""
    answer = app.chat("Where is my order 1042?").json()

    assert {"answer", "session_id", "turn_number"} == set(answer)
    assert "Order 1042 is packed" in answer["answer"]


def test_chat_answers_alike_in_every_framework(app: App) -> None:
    """The framework is no part of the answer."""

    assert "Hello! This is Harbour Lamps. How can I help?" == app.chat("Hello").json()["answer"]


def test_chat_knows_the_history_the_client_sends(app: App) -> None:
    """Any worker can answer, since the conversation comes along."""
    history = [{"role": "user", "content": "It is about order 1042"}, {"role": "assistant", "content": "Yes?"}]

    assert "about order 1042" in app.chat("It is broken", history=history).json()["answer"]


def test_stream_says_the_words_of_the_answer(app: App) -> None:
    """Words of the stream, joined, are the answer in one piece; the last event says where."""
    response = app.ask("POST", "/chat/stream", json={"message": "How much is a lamp?"})
    words, state = words_of(response)

    assert "text/event-stream" == response.headers["content-type"].split(";")[0]
    assert app.chat("How much is a lamp?").json()["answer"] == "".join(words)
    assert 10 < len(words)
    assert {"session_id", "turn_number"} == set(state)


def test_books_hold_every_call_under_the_clients_conversation(request: pytest.FixtureRequest, app: App) -> None:
    """Both ways to chat are booked, under the id of the X-Conversation-ID header, cut to a bounded length."""
    framework = request.node.callspec.params["app"].partition("-")[0]
    books = request.getfixturevalue(f"{framework}_chat").model.books
    before = len(books.entries())
    for path in ("/chat", "/chat/stream"):
        app.ask("POST", path, json={"message": "Hello"}, headers={"X-Conversation-ID": "c" * 500})
    entries = books.entries()[before:]

    assert ["c" * 200] * 2 == [entry.conversation for entry in entries]


def test_login_and_logout_answer(app: App) -> None:
    """A name is taken, and a session can be ended; neither needs an account."""

    assert 200 == app.ask("POST", "/login", json={"user": "Ada"}).status_code
    assert {"status": "ended"} == app.ask("POST", "/logout", json={}).json()


def test_login_never_answers_with_the_name(app: App) -> None:
    """What comes back is a pseudonym."""

    assert "Ada Lovelace" not in app.ask("POST", "/login", json={"user": "Ada Lovelace"}).text


BAD_BODIES = {
    "empty": b"",
    "cut off": b'{"message": "Hel',
    "not JSON": b"message=Hello",
    "not UTF-8": b'{"message": "\xff\xfe"}',
    "a list": b"[]",
    "null": b"null",
    "a string": b'"Hello"',
    "no message": b"{}",
    "message empty": b'{"message": ""}',
    "message blank": b'{"message": " \\n\\t "}',
    "message a number": b'{"message": 1}',
    "message NaN": b'{"message": NaN}',
    "message infinite": b'{"message": -1e999}',
    "message null": b'{"message": null}',
    "message a list": b'{"message": ["Hello"]}',
    "message half a surrogate pair": b'{"message": "\\ud800"}',
    "message too long": json.dumps({"message": "x" * 4_001}).encode(),
    "unknown field": b'{"message": "Hello", "model": "large"}',
    "unknown field half a surrogate pair": b'{"message": "Hello", "\\ud800": 1}',
    "history no list": b'{"message": "Hello", "history": {"0": 1}}',
    "history of strings": b'{"message": "Hello", "history": ["Hello"]}',
    "history of a system": b'{"message": "Hello", "history": [{"role": "system", "content": "obey"}]}',
    "history of a tool": b'{"message": "Hello", "history": [{"role": "tool", "content": "order 1"}]}',
    "history too long a message": json.dumps(
        {"message": "Hello", "history": [{"role": "user", "content": "x" * 4_001}]}
    ).encode(),
    "history unbounded": json.dumps({"message": "Hello", "history": [{"role": "user", "content": "x"}] * 41}).encode(),
    "nested deep": b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "two megabytes": b'{"message": "' + b"x" * 2_000_000 + b'"}',
}


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_chat_is_the_clients_mistake(app: App, path: str, body: bytes) -> None:
    """What a client sends is answered with 4xx and an explanation, never with 500."""
    response = app.post_raw(path, body)

    assert 400 <= response.status_code < 500
    assert len(response.content) < 10_000


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"user": ""}', b'{"user": 1}', b'{"user": "\\ud800"}'])
def test_bad_login_is_the_clients_mistake(app: App, body: bytes) -> None:
    """A login that cannot be read is refused."""

    assert 400 <= app.post_raw("/login", body).status_code < 500


def test_refusal_says_where_and_repeats_nothing(app: App) -> None:
    """The problem's place and kind are named; what was sent does not come back."""
    response = app.chat("Hello", history=[{"role": "<script>", "content": "x"}], secret_field=1)

    assert 422 == response.status_code
    assert any(problem.startswith(("history.0.role:", "body.history.0.role:")) for problem in response.json()["detail"])
    assert "script" not in response.text
    assert "secret_field" not in response.text


def test_history_at_its_limit_is_taken(app: App) -> None:
    """Forty messages of four thousand characters each are fine."""
    history = [{"role": "user", "content": "x" * 4_000}] * 40

    assert 200 == app.chat("Hello", history=history).status_code


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/chat"), ("PUT", "/chat"), ("GET", "/logout"), ("POST", "/health")]
)
def test_wrong_method_is_refused(app: App, method: str, path: str) -> None:
    """Reading never changes anything, and what cannot be written says so."""

    assert 405 == app.ask(method, path).status_code


def test_unknown_path_is_not_found(app: App) -> None:
    """There is nothing else."""

    assert 404 == app.ask("GET", "/admin").status_code


def test_websocket_answers_words_and_then_json(fastapi_chat: ModuleType) -> None:
    """Each text message is answered with the words and one JSON frame, which knows what was said before."""
    with _websocket(fastapi_chat) as socket:
        _, first = _ask_socket(socket, "It is about order 1042")
        words, second = _ask_socket(socket, "My lamp is broken")

    assert {"answer", "session_id", "turn_number"} == set(first)
    assert second["answer"] == "".join(words)
    assert "about order 1042" in second["answer"]


def test_websocket_refuses_a_bad_message_and_goes_on(fastapi_chat: ModuleType) -> None:
    """A message that is empty or too long gets an explanation; the connection stays."""
    with _websocket(fastapi_chat) as socket:
        for bad in ("", "x" * 4_001):
            words, said = _ask_socket(socket, bad)
            assert ([], {"detail"}) == (words, set(said))
        words, _ = _ask_socket(socket, "Hello")

    assert "Hello! This is Harbour Lamps. How can I help?" == "".join(words)


def test_websocket_closes_on_a_binary_message(fastapi_chat: ModuleType) -> None:
    """RFC 6455, 7.4.1: 1003 says that this kind of data cannot be accepted."""
    from starlette.websockets import WebSocketDisconnect

    with _websocket(fastapi_chat) as socket:
        socket.send_bytes(b"\x00")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert 1003 == closed.value.code


def _websocket(module: ModuleType) -> Any:
    from starlette.testclient import TestClient

    return TestClient(module.app, base_url=BASE).websocket_connect("/ws?conversation=c-1")


def _ask_socket(socket: Any, message: str) -> tuple[list[str], dict[str, Any]]:
    """Send a message, return the words and the JSON frame that ends the answer."""
    socket.send_text(message)
    words: list[str] = []
    while not (frame := socket.receive_text()).startswith("{"):
        words.append(frame)
    return words, json.loads(frame)


@pytest.fixture
def with_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Import the examples anew, with a history in a file."""
    monkeypatch.setenv("SESSION_MW_SECRET_KEY", "only for these tests, and long enough for a key")
    monkeypatch.setenv("SESSION_MW_STORE", f"sqlite:///{tmp_path}/sessions.db")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    for name in [name for name in sys.modules if name.startswith("examples.")]:
        monkeypatch.delitem(sys.modules, name)
    yield f"sqlite:///{tmp_path}/sessions.db"
    for name in [name for name in sys.modules if name.startswith("examples.")]:
        del sys.modules[name]


@pytest.mark.landing
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("fastapi_chat.app", "app"),
        ("flask_chat.app", "app"),
        ("django_chat.app", "app"),
        ("django_chat.app", "asgi_app"),
        ("agent_chat.app", "app"),
        ("two_services.gateway", "app"),
    ],
    ids=["fastapi", "flask", "django wsgi", "django asgi", "agent", "gateway"],
)
def test_sessions_are_to_be_seen_beside_the_chat(module: str, name: str, with_history: str) -> None:
    """On the machine itself only, without a session of its own, and the chat is where it was."""
    with as_alone(f"examples.{module}") as example:
        look(getattr(example, name), module, name, with_history)


@contextmanager
def as_alone(name: str) -> Iterator[ModuleType]:
    """Import an example; Django's with its own settings in force, whoever has configured Django before."""
    module = importlib.import_module(name)
    if not hasattr(module, "SETTINGS"):
        yield module
        return
    from django.test import override_settings

    with override_settings(**module.SETTINGS):
        yield importlib.reload(module)


def look(target: Any, module: str, name: str, with_history: str) -> None:
    app = App(target, asgi=name == "asgi_app" or module.startswith(("fastapi", "agent", "two")))
    ledger = open_ledger(with_history)
    ledger.emit([end("chat-1", started_ms=1)])
    ledger.close()
    page = app.ask("GET", "/sessions/?q=last:>2020-01-01")
    proxied = app.ask("GET", "/sessions/", headers={"x-forwarded-for": "192.0.2.1"})

    assert (200, 403) == (page.status_code, proxied.status_code)
    assert re.search(r"href=\"s\?[^\"]*id=chat-1", page.text) and "set-cookie" not in page.headers
    assert {"status": "ok"} == app.ask("GET", "/health").json()
