"""Global state that these tests touch is put back after each."""

from __future__ import annotations

from tests.telemetry.conftest import _put_back  # noqa: F401
