"""Under which name, version and schema this package's telemetry leaves: the instrumentation scope."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

LIBRARY_NAME: Final = "session_mw"

# Where session.id, user.id, log.record.uid and the events session.start and session.end stand as used here.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"


@lru_cache(maxsize=1)
def library_version() -> str:
    """Return the installed version; empty when the package runs from a source tree that is not installed."""
    try:
        return version("session-mw")
    except PackageNotFoundError:
        return ""
