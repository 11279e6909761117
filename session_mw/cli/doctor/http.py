"""Asks over HTTP, with the standard library, a few seconds each at most."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPException
from typing import Any, Final

from .findings import Answer

SECONDS: Final = 3.0
LARGEST: Final = 64 * 1024  # bytes of an answer that are read


class _Staying(urllib.request.HTTPRedirectHandler):
    """Does not follow a redirect: headers, a key among them, go where they were told to go."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ask(
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    *,
    follow: bool = False,
) -> Answer:
    """
    Ask for *url*, or send *body* there; whatever goes wrong is an answer, too.

    Args:
        url: http or https.
        headers: Text of other characters than Latin ones goes as UTF-8, as agents send it.
        body: None asks, anything else is posted.
        tls: What verifies certificates; None takes the system's authorities.
        follow: Whether to follow redirects; else one is the answer.
    """
    # No proxy of the environment's: what is asked is named.
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)]
    opener = urllib.request.build_opener(*handlers, *([] if follow else [_Staying()]))
    try:
        request = urllib.request.Request(url, body, _carried(headers or {}))  # noqa: S310 http and https, see command
        with opener.open(request, timeout=SECONDS) as response:
            return Answer(response.status, _decoded(response.read(LARGEST)), "", _lower(response.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _decoded(error.read(LARGEST)), "", _lower(error.headers))
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return Answer(error=getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)


def _carried(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in headers.items()}


def _decoded(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
