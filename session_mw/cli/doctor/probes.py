"""Looks: HTTP and TCP, with the standard library, a few seconds each at most."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPException
from urllib.parse import unquote, urlsplit

from .findings import Answer, Port, Seen

SECONDS = 3.0
LARGEST = 64 * 1024  # bytes of an answer that are read
ECHO = "/session-mw/echo"
HEALTH = "/health/liveliness"
DEFAULT_PORTS = {"grpc": 4317, "http": 4318}
# No proxy of the environment's: what is asked is named.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def look(proxy: str, page: str, environ: Mapping[str, str]) -> Seen:
    """
    Look at everything once.

    Args:
        proxy: URL of LiteLLM's proxy.
        page: URL of the back end.
        environ: Of this shell: headers for agents, ``PHOENIX_SESSION_ID``, ``OTEL_EXPORTER_OTLP_*``.
    """
    headers = agent_headers(environ)
    health = get(proxy + HEALTH)
    return Seen(
        proxy,
        health,
        get(proxy + ECHO, headers) if health.status == 200 else Answer(),
        tuple(headers),
        environ.get("PHOENIX_SESSION_ID") or None,
        ports(environ),
        page,
        get(page),
    )


def agent_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that an agent started here would send: Claude Code's variable, else Gemini's."""
    text, end = environ.get("ANTHROPIC_CUSTOM_HEADERS", ""), "\n"
    if not text.strip():
        text, end = environ.get("GEMINI_CLI_CUSTOM_HEADERS", ""), ","
    pairs = (line.partition(":") for line in text.split(end))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}


def get(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask for *url*; whatever goes wrong is an answer, too."""
    try:
        request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 http and https only, see command
        with _opener.open(request, timeout=SECONDS) as response:
            return Answer(response.status, _json(response.read(LARGEST)), "", _lower(response.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _json(error.read(LARGEST)), "", _lower(error.headers))
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return Answer(error=getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)


def ports(environ: Mapping[str, str]) -> tuple[Port, ...]:
    """Look at where OTLP is sent: what the environment names, else the protocol's own ports on this machine."""
    named = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if named:
        parts = urlsplit(named if "//" in named else f"//{named}")
        kind = "grpc" if "grpc" in environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "") else "http"
        try:
            host, port = parts.hostname or "localhost", parts.port or DEFAULT_PORTS[kind]
        except ValueError:  # no number
            return (Port(kind, named, False, True),)
        return (Port(kind, f"{host}:{port}", listens(host, port), True),)
    return tuple(
        Port(kind, f"localhost:{port}", listens("localhost", port), False) for kind, port in DEFAULT_PORTS.items()
    )


def listens(host: str, port: int) -> bool:
    """Return whether something takes connections at *port*."""
    try:
        with socket.create_connection((unquote(host), port), timeout=SECONDS):
            return True
    except OSError:
        return False


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
