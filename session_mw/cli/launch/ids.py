"""
Ids of launched sessions: readable, sortable by time, not to be guessed.

    code-review-20251101-143022-<32 hexadecimal digits>
    type        UTC             128 random bits

The characters are those that proxies take for a session id as they are (LiteLLM: ``[A-Za-z0-9_-]{8,}``), so there is no
dot in it, whatever the type is called.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

ENTROPY_BYTES: Final = 16  # OWASP ASVS 5.0, 7.2.3: at least 128 bits
LONGEST_TYPE: Final = 64  # characters of an id that its type may take

_ODD = re.compile(r"[^A-Za-z0-9_]+")


def slug(text: str, limit: int = LONGEST_TYPE) -> str:
    """Return *text* with anything but letters, digits and ``_`` of ASCII as single hyphens; may be empty."""
    return _ODD.sub("-", text).strip("-")[:limit].rstrip("-")


def launched_id(type_: str, at: datetime, entropy: bytes) -> str:
    """
    Make the id of a session that begins now.

    Args:
        type_: The session's type; what cannot stand in an id is left out of it.
        at: When, aware UTC.
        entropy: 16 bytes from a cryptographic source.

    Raises:
        ValueError: *entropy* has another length.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"cannot make a session id: got {len(entropy)} bytes of entropy ({ENTROPY_BYTES} are needed).")
    return f"{slug(type_).lower() or 'session'}-{at:%Y%m%d-%H%M%S}-{entropy.hex()}"
