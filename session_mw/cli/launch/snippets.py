"""
Configuration of agents that take headers from files: printed to be pasted, by ``session-mw config AGENT``.

Where an agent can name variables, the file stays as it is for every session; aider cannot, so its file is for one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from .choosing import ID, TYPE, VERSION, Label
from .headers import (
    LITELLM_SESSION,
    SESSION_HEADER,
    TYPE_HEADER,
    VERSION_HEADER,
    headers_of,
)
from .variables import TOKEN

_BY_VARIABLE: Final = {
    SESSION_HEADER: ID,
    LITELLM_SESSION: ID,
    TYPE_HEADER: TYPE,
    VERSION_HEADER: VERSION,
}


def codex(url: str, token_header: str) -> str:
    """Return lines for ``~/.codex/config.toml``: headers from variables; one that is not set is not sent."""
    pairs = {**_BY_VARIABLE, token_header: TOKEN}
    return (
        "# ~/.codex/config.toml. The first line belongs above all [tables] that are there.\n"
        'model_provider = "session-proxy"\n\n'
        "[model_providers.session-proxy]\n"
        'name = "proxy with sessions"\n'
        f"base_url = {json.dumps(url)}\n"
        'env_key = "OPENAI_API_KEY"\n'
        'wire_api = "responses"\n\n'
        "[model_providers.session-proxy.env_http_headers]\n"
    ) + "".join(f"{json.dumps(name)} = {json.dumps(variable)}\n" for name, variable in pairs.items())


def opencode(url: str, token_header: str) -> str:
    """Return ``opencode.json``. Not ``x-session-id``: OpenCode sends an id of its own under that name."""
    pairs = {**_BY_VARIABLE, token_header: TOKEN}
    headers = {name: f"{{env:{variable}}}" for name, variable in pairs.items() if name != SESSION_HEADER}
    options = {"baseURL": url, "headers": headers}
    document = {"$schema": "https://opencode.ai/config.json", "provider": {"anthropic": {"options": options}}}
    return json.dumps(document, indent=2) + "\n"


def aider(url: str, token_header: str, label: Label | None, token: str | None) -> str:
    """
    Return ``.aider.model.settings.yml`` for one session.

    Args:
        url: Of the proxy.
        token_header: Name of the token's header.
        label: The session; None leaves its places to be filled in.
        token: Vouches for it; None where it may not be known.
    """
    shown = label or Label("SESSION-ID", "TYPE", "VERSION")
    headers = [*headers_of(shown), *([] if token is None else [(token_header, token)])]
    return (
        "# .aider.model.settings.yml, or what --model-settings-file names: for this session only, aider reads no\n"
        "# variables here. To send requests through a proxy, before this is written:\n"
        f"# export ANTHROPIC_API_BASE={root_of(url)} OPENAI_API_BASE={url}\n"
        "- name: aider/extra_params\n"
        "  extra_params:\n"
        "    extra_headers:\n"
    ) + "".join(f"      {name}: {json.dumps(value)}\n" for name, value in headers)


def claude(url: str) -> str:
    """Return what there is to say of Claude Code."""
    return (
        "# Claude Code needs no file: session-mw run sets ANTHROPIC_CUSTOM_HEADERS. To send requests through a proxy:\n"
        f"export ANTHROPIC_BASE_URL={root_of(url)}\n"
        "# And its own spans to a collector:\n"
        "export CLAUDE_CODE_ENABLE_TELEMETRY=1 CLAUDE_CODE_ENHANCED_TELEMETRY_BETA=1\n"
        "export OTEL_TRACES_EXPORTER=otlp OTEL_LOGS_EXPORTER=otlp OTEL_METRICS_EXPORTER=otlp\n"
        "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318\n"
    )


def gemini(url: str) -> str:
    """Return what there is to say of Gemini CLI."""
    return (
        "# Gemini CLI needs no file: session-mw run sets GEMINI_CLI_CUSTOM_HEADERS. To send requests through a proxy:\n"
        f"export GOOGLE_GEMINI_BASE_URL={root_of(url)}\n"
        "# With that it takes an API key only where its settings say so. In ~/.gemini/settings.json:\n"
        '# {"security": {"auth": {"selectedType": "gemini-api-key"}}}\n'
    )


def root_of(url: str) -> str:
    """Return a proxy's address for agents that add ``/v1`` or the like themselves."""
    return url.rstrip("/").removesuffix("/v1")


def snippet(agent: str, url: str, token_header: str, label: Label | None, token: str | None = None) -> str:
    """Return the text for *agent*, one of ``AGENTS``; see ``aider`` for *label* and *token*."""
    made: dict[str, Callable[[], str]] = {
        "codex": lambda: codex(url, token_header),
        "opencode": lambda: opencode(url, token_header),
        "aider": lambda: aider(url, token_header, label, token),
        "claude": lambda: claude(url),
        "gemini": lambda: gemini(url),
    }
    return made[agent]()


# Variables by which aider, or the LiteLLM in it, is told where its requests go.
AIDER_ADDRESSES: Final = ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL", "OPENAI_API_BASE", "OPENAI_BASE_URL")
AGENTS: Final = ("codex", "opencode", "aider", "claude", "gemini")
