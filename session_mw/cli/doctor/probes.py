"""Looks at the way from this shell to the proxy, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from ..launch.variables import host_in
from .findings import Answer, Key, Seen
from .http import ask

ECHO: Final = "/session-mw/echo"
HEALTH: Final = "/health/liveliness"
MODELS: Final = "/v1/models"
KEYS: Final = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")


def look(proxy: str, environ: Mapping[str, str], token_header: str) -> Seen:
    """
    Look at everything once.

    Args:
        proxy: URL of LiteLLM's proxy.
        environ: Of this shell: headers for agents, ``PHOENIX_SESSION_ID``, the agent's key.
        token_header: Name of the header that brings the signed token.
    """
    headers = agent_headers(environ)
    health = ask(proxy + HEALTH)
    well = health.status == 200
    return Seen(
        proxy,
        health,
        ask(proxy + ECHO, headers) if well else Answer(),
        _naming(headers, token_header),
        environ.get("PHOENIX_SESSION_ID") or None,
        _key(proxy, environ) if well else None,
    )


def _naming(headers: Mapping[str, str], token_header: str) -> tuple[str, ...]:
    """Return the names of those headers that name a session."""
    ours = (token_header.lower(), "x-session-id", "baggage")
    return tuple(name for name in headers if name.lower() in ours)


def _key(proxy: str, environ: Mapping[str, str]) -> Key | None:
    """Ask with the agent's key, where the agent sends it: to the proxy that its variable names, and nowhere else."""
    variable = next((name for name in KEYS if environ.get(name, "").strip()), None)
    if variable is None or host_in(environ.get("ANTHROPIC_BASE_URL", "").strip()) != urlsplit(proxy).netloc:
        return None
    headers = {"Authorization": f"Bearer {environ[variable].strip()}"}
    return Key(variable, ask(proxy + MODELS, headers).status)


def agent_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that an agent started here would send: Claude Code's variable, else Gemini's."""
    text, end = environ.get("ANTHROPIC_CUSTOM_HEADERS", ""), "\n"
    if not text.strip():
        text, end = environ.get("GEMINI_CLI_CUSTOM_HEADERS", ""), ","
    pairs = (line.partition(":") for line in text.split(end))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}
