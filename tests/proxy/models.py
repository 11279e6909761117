"""
A model server on this machine, in the dialects that coding agents speak: Anthropic, OpenAI (both), Gemini.

Every answer is "pong". What it is said to have used stands in the question: "use 1500 300" is 1500 tokens in and 300
out; anything else 12 and 5. "fail 500" is refused with that status, "break" and nothing else breaks off half way where
it is streamed, "slowly" takes its time between two pieces; "think 123456", or any other six digits, is not answered for
two minutes. Each answer has an id of its own.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Event = tuple[str, Any]
_WANTED = re.compile(r"use (\d+) (\d+)")
_THINK = re.compile(r"think \d{6}")  # no word of an agent's own
_FAILING = re.compile(r"fail (\d{3})")
SLOWLY = 0.2  # seconds
FAILED = b'{"type": "error", "error": {"type": "test", "message": "as asked"}}'
_ids = itertools.count(1)


@contextmanager
def model_server(port: int = 0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve until the end of the block; give the URL, and the requests as they come: path, headers, body."""
    asked: list[dict[str, Any]] = []
    over = threading.Event()
    server = _Server(("127.0.0.1", port), _handler(asked, over))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(asked: list[dict[str, Any]], over: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(_Talking):
        def do_POST(self) -> None:
            raw = self.body()
            body = json.loads(raw or b"{}")
            path = self.path.partition("?")[0]
            asked.append({"path": path, "headers": dict(self.headers), "body": body})
            text = raw.decode("utf-8", "replace")
            over.wait(120 if _THINK.search(text) else 0)
            failing = _FAILING.search(text)
            answer, events = _answer(path, body, *_used(text))
            if failing:
                self.send(FAILED, "application/json", int(failing[1]))
            elif body.get("stream") or "stream" in path:
                self.stream([_written(event) for event in events], b'"break"' in raw, b"slowly" in raw)
            else:
                self.send(json.dumps(answer).encode(), "application/json")

    return Handler


def _used(text: str) -> tuple[int, int]:
    found = _WANTED.search(text)
    return (int(found[1]), int(found[2])) if found else (12, 5)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # as many may come at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # LiteLLM was killed, or its client has left
            super().handle_error(request, client_address)


class _Talking(BaseHTTPRequestHandler):
    """Reads bodies and writes answers."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send(b"", "text/plain")

    def do_GET(self) -> None:
        self.send(b'{"object": "list", "data": []}', "application/json")

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def stream(self, pieces: list[bytes], breaks: bool, slowly: bool) -> None:
        if not (breaks or slowly):
            self.send(b"".join(pieces), "text/event-stream")
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces[:3] if breaks else pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
            time.sleep(SLOWLY if slowly else 0)
        if breaks:
            self.close_connection = True  # without the last chunk: whoever reads sees that it broke off
        else:
            self.wfile.write(b"0\r\n\r\n")

    def send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


def _written(event: Event) -> bytes:
    name, data = event
    return ((f"event: {name}\n" if name else "") + f"data: {_dumped(data)}\n\n").encode()


def _dumped(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data)


def _answer(path: str, body: dict[str, Any], into: int, out: int) -> tuple[dict[str, Any], list[Event]]:
    """Return the answer whole, and as events."""
    number, model = next(_ids), body.get("model", "gemini-2.5-pro")
    if path.endswith("/messages"):
        return _anthropic(f"msg_{number}", model, into, out)
    if path.endswith("/responses"):
        return _responses(f"resp_{number}", model, into, out)
    if path.endswith("/embeddings"):
        return _embeddings(model, into), []
    if "enerateContent" in path:
        return _gemini(into, out)
    return _chat(f"chatcmpl-{number}", model, into, out)


def _anthropic(name: str, model: str, into: int, out: int) -> tuple[dict[str, Any], list[Event]]:
    whole = {"id": name, "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    usage = {"input_tokens": into, "output_tokens": out}
    begin = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    block = {"type": "text", "text": ""}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    events = [
        {"type": "message_start", "message": begin},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "pong"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": out}},
        {"type": "message_stop"},
    ]
    content = [{"type": "text", "text": "pong"}]
    return {**whole, "content": content, "stop_reason": "end_turn", "usage": usage}, [
        (str(e["type"]), e) for e in events
    ]


def _chat(name: str, model: str, into: int, out: int) -> tuple[dict[str, Any], list[Event]]:
    usage = {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
    base = {"id": name, "created": 1, "model": model}
    message = {"role": "assistant", "content": "pong"}
    piece = {**base, "object": "chat.completion.chunk"}
    chunks = [
        {**piece, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**piece, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**piece, "choices": [], "usage": usage},
        "[DONE]",
    ]
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = {**base, "object": "chat.completion", "choices": choices, "usage": usage}
    return whole, [("", chunk) for chunk in chunks]


def _responses(name: str, model: str, into: int, out: int) -> tuple[dict[str, Any], list[Event]]:
    said = {"type": "output_text", "text": "pong", "annotations": []}
    item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [said]}
    usage = {"input_tokens": into, "output_tokens": out, "total_tokens": into + out}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    whole = {"id": name, "object": "response", "created_at": 1, "model": model, "status": "completed"}
    whole |= {"output": [item], "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    begin = {**whole, "status": "in_progress", "output": [], "usage": None}
    at = {"output_index": 0, "content_index": 0, "item_id": "m1"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begin},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", "delta": "pong", **at},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [(event["type"], {**event, "sequence_number": at}) for at, event in enumerate(events)]


def _embeddings(model: str, into: int) -> dict[str, Any]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3]}]
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": into, "total_tokens": into}}


def _gemini(into: int, out: int) -> tuple[dict[str, Any], list[Event]]:
    content = {"role": "model", "parts": [{"text": "pong"}]}
    usage = {"promptTokenCount": into, "candidatesTokenCount": out, "totalTokenCount": into + out}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    whole = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-pro"}
    return whole, [("", whole)]
