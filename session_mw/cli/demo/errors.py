"""What stops the demo before there is anything to check."""

from __future__ import annotations

from ...exceptions import SessionError


class DemoError(SessionError):
    """The demo cannot go on; the message says what was found and what to do."""
