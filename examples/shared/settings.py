"""Settings of session-mw for the examples."""

from __future__ import annotations

import os
from typing import Any

from session_mw import SessionSettings

from .local_model import price

DEFAULTS: dict[str, Any] = {
    "store": "sqlite:///sessions.db",  # in the current directory; several workers share it
    "price_for": price,  # tokens are counted from the model's spans; what they cost only its maker knows
    "turn_paths": ("/chat", "/chat/stream", "/ws"),  # logging in and out is no exchange with the model
    # Who looks at sessions is in none.
    "exclude_paths": (*SessionSettings.model_fields["exclude_paths"].default, "/sessions", "/sessions/*"),
}


def session_settings(**overrides: Any) -> SessionSettings:
    """
    Read the settings from ``SESSION_MW_*``; what is not there is as above.

    Without ``SESSION_MW_SECRET_KEY`` they are those for plain http on your own machine.
    """
    values = {name: value for name, value in DEFAULTS.items() if f"SESSION_MW_{name.upper()}" not in os.environ}
    values |= overrides
    if "SESSION_MW_SECRET_KEY" in os.environ:
        return SessionSettings(**values)
    return SessionSettings.insecure_dev(**values)


def given(settings: SessionSettings) -> dict[str, Any]:
    """List what *settings* were given, apart from defaults: Django keeps its settings in a plain mapping."""
    return {name: value for name, value in settings if name in settings.model_fields_set}
