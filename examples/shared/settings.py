"""Settings of session-mw for the examples."""

from __future__ import annotations

import os
from typing import Any

from session_mw import SessionSettings

STORE = "sqlite:///sessions.db"  # in the current directory; several workers share it


def session_settings(**overrides: Any) -> SessionSettings:
    """
    Read the settings from ``SESSION_MW_*``.

    Without ``SESSION_MW_SECRET_KEY`` they are those for plain http on your own machine.
    """
    if "SESSION_MW_STORE" not in os.environ:
        overrides.setdefault("store", STORE)
    if "SESSION_MW_SECRET_KEY" in os.environ:
        return SessionSettings(**overrides)
    return SessionSettings.insecure_dev(**overrides)
