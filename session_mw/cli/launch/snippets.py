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
        "# ~/.codex/config.toml\n"
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


def aider(label: Label | None) -> str:
    """Return ``.aider.model.settings.yml`` for one session; *label* None leaves its places to be filled in."""
    shown = label or Label("SESSION-ID", "TYPE", "VERSION")
    lines = "".join(f"      {name}: {json.dumps(value)}\n" for name, value in headers_of(shown))
    return (
        "# .aider.model.settings.yml: for this session only, aider reads no variables here\n"
        "- name: aider/extra_params\n"
        "  extra_params:\n"
        "    extra_headers:\n"
    ) + lines


def claude() -> str:
    """Return what there is to say of Claude Code."""
    return (
        "# Claude Code needs no file: session-mw run sets ANTHROPIC_CUSTOM_HEADERS. To send requests through a proxy,\n"
        "# and its own spans to a collector:\n"
        "export ANTHROPIC_BASE_URL=http://localhost:4000\n"
        "export CLAUDE_CODE_ENABLE_TELEMETRY=1 CLAUDE_CODE_ENHANCED_TELEMETRY_BETA=1\n"
        "export OTEL_TRACES_EXPORTER=otlp OTEL_LOGS_EXPORTER=otlp OTEL_METRICS_EXPORTER=otlp\n"
        "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318\n"
    )


def gemini() -> str:
    """Return what there is to say of Gemini CLI."""
    return (
        "# Gemini CLI needs no file: session-mw run sets GEMINI_CLI_CUSTOM_HEADERS. To send requests through a proxy:\n"
        "export GOOGLE_GEMINI_BASE_URL=http://localhost:4000\n"
    )


def snippet(agent: str, url: str, token_header: str, label: Label | None) -> str:
    """Return the text for *agent*, one of ``AGENTS``."""
    made: dict[str, Callable[[], str]] = {
        "codex": lambda: codex(url, token_header),
        "opencode": lambda: opencode(url, token_header),
        "aider": lambda: aider(label),
        "claude": claude,
        "gemini": gemini,
    }
    return made[agent]()


AGENTS: Final = ("codex", "opencode", "aider", "claude", "gemini")
