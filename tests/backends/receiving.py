"""A receiver that keeps headers too, and reads OTLP in both of its encodings."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.message import Message

from session_mw.cli.demo.receiver import Receiver

M = TypeVar("M", bound=Message)
IDS = ("traceId", "spanId", "parentSpanId")


class Receiving(Receiver):
    """
    The demo's receiver; what it got also by headers.

    Attributes:
        headers: Path and headers of each request, names in lower case, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[tuple[str, dict[str, str]]] = []

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        seen = self.headers
        plain = cast(Any, super()._handler())

        class Handler(plain):  # type: ignore[misc]
            def do_POST(self) -> None:
                seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                super().do_POST()

        return Handler

    def messages(self, path: str, kind: type[M]) -> list[M]:
        """Return what arrived at *path*, whichever way it was encoded."""
        return [read(body, kind) for body in self.bodies(path)]


def read(body: bytes, kind: type[M]) -> M:
    """
    Read one request.

    Raises:
        ParseError: JSON that is not what protobuf's mapping says: unknown fields, wrong types.

    Source:
        OTLP 1.9, "JSON Protobuf Encoding": protobuf's mapping, but for ids, which are hexadecimal.
    """
    message = kind()
    if body[:1] != b"{":
        message.ParseFromString(body)
        return message
    return json_format.ParseDict(_ids(json.loads(body)), message)


def _ids(found: Any) -> Any:
    """Return *found* with its ids in protobuf's own mapping: base64."""
    if isinstance(found, list):
        return [_ids(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        name: base64.b64encode(bytes.fromhex(value)).decode() if name in IDS else _ids(value)
        for name, value in found.items()
    }
