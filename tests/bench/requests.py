"""
The request that every case is given: thirteen headers, four cookies, one of them the case's own.

Servers make a new scope or environ for each request, so the drivers copy theirs; the copy is part of what the bare
application costs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

HOST, PEER = "chat.example.com", "203.0.113.9"
FOREIGN_COOKIES = "theme=dark; _ga=GA1.2.1083745631.1718000000; csrftoken=3vRkNdZ0qXo5Q1w9sYtL8uJbHc7GfDaE"
QUESTION = b'{"message":"Where is my order?"}'
Headers = list[tuple[bytes, bytes]]

_TURN = (
    ("content-length", str(len(QUESTION))),
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("origin", f"https://{HOST}"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
)
_PAGE = (
    ("cache-control", "max-age=0"),
    ("upgrade-insecure-requests", "1"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
)
_ALWAYS = (
    ("host", HOST),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("sec-fetch-site", "same-origin"),
    ("referer", f"https://{HOST}/"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
)


def headers(cookie: str | None, *, page: bool = False) -> Headers:
    """
    Return the request's headers.

    Args:
        cookie: ``name=value`` of the case's own cookie; None sends the three foreign ones only.
        page: A browser that loads a page, in place of one that posts a question.
    """
    cookies = FOREIGN_COOKIES if cookie is None else f"{FOREIGN_COOKIES}; {cookie}"
    lines = [*_ALWAYS, *(_PAGE if page else _TURN), ("cookie", cookies)]
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in lines]


def scope_of(lines: Headers, *, page: bool = False) -> dict[str, Any]:
    """Return the ASGI scope of the request."""
    path = "/" if page else "/chat"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET" if page else "POST",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode("ascii"),
        "query_string": b"",
        "root_path": "",
        "headers": lines,
        "client": (PEER, 51234),
        "server": ("10.0.0.7", 8000),
    }


def environ_of(lines: Headers, *, page: bool = False) -> dict[str, Any]:
    """Return the WSGI environ of the request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET" if page else "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/" if page else "/chat",
        "QUERY_STRING": "",
        "SERVER_NAME": HOST,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": PEER,
        "REMOTE_PORT": "51234",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(QUESTION),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in lines:
        key = name.decode("ascii").upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value.decode("ascii")
    return environ


def cookie_in(lines: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return ``name=value`` of the response's Set-Cookie, None when it has none."""
    for name, value in lines:
        if name.lower() == b"set-cookie":
            return value.split(b";", 1)[0].decode("ascii")
    return None
