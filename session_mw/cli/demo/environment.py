"""
What the demo's services find in their environment.

Their own settings, all of them: nothing that happens to be set for the reader's applications may change what is shown.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from .place import Place

IDLE_SECONDS = 3.0  # a script types fast; a slow machine must not make a session end between two of its turns
WORD_MS = 20

TIMES = {
    "SESSION_MW_IDLE_TIMEOUT": f"{IDLE_SECONDS:.0f}s",
    "SESSION_MW_ABSOLUTE_TIMEOUT": "1h",
    "SESSION_MW_TURN_TIMEOUT": "30s",
    "SESSION_MW_CLOCK_SKEW": "500ms",
}
KEEP_TIMES = {**TIMES, "SESSION_MW_IDLE_TIMEOUT": "30s", "SESSION_MW_CLOCK_SKEW": "5s"}  # people type slowly

# How to reach a back end: the reader's, when he gives one, otherwise not his.
REACHING = (
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
)
OURS = ("OTEL_", "SESSION_MW_", "CHAT_")


def base_environment(given: Mapping[str, str], root: Path | None, keep_reaching: bool) -> dict[str, str]:
    """
    Return the reader's environment without what belongs to his applications.

    Args:
        given: The environment of this process.
        root: Folder from which the examples are imported; None when they are installed.
        keep_reaching: Whether headers and certificates for OTLP are kept.
    """
    kept = REACHING if keep_reaching else ()
    found = {name: value for name, value in given.items() if not name.startswith(OURS) or name in kept}
    found["PYTHONUNBUFFERED"] = "1"
    if root is not None:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), given.get("PYTHONPATH", ""))))
    for name in ("NO_PROXY", "no_proxy"):  # the services talk to each other, and to a receiver on this machine
        found[name] = ",".join(filter(None, (given.get(name, ""), "127.0.0.1")))
    return found


def service_environment(
    base: Mapping[str, str], place: Place, endpoint: str, times: Mapping[str, str], key: str
) -> dict[str, str]:
    """
    Return the environment that both services share.

    Args:
        base: See ``base_environment``.
        place: Where database and books lie.
        endpoint: Base URL of OTLP/HTTP.
        times: Time limits of sessions.
        key: Secret key.
    """
    return {
        **base,
        **times,
        "SESSION_MW_SECRET_KEY": key,
        "SESSION_MW_STORE": place.store,
        "SESSION_MW_SESSION_NAME": place.name,
        "SESSION_MW_COOKIE_NAME": "session_mw_demo",
        "SESSION_MW_COOKIE_SECURE": "false",  # plain http on this machine
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "CHAT_BOOKS": str(place.books),
        "CHAT_WORD_MS": str(WORD_MS),
    }


def new_key() -> str:
    """Return a secret key for one demo."""
    return secrets.token_urlsafe(48)
