"""
Logfire: its scrubbing takes every attribute with ``session`` in its name for a secret.

The id in ``session.id`` is none: it is made for telemetry, and no token can be made of it. What Logfire would send
without this is ``[Scrubbed due to 'session']``, and nothing could be grouped by it.
"""

from __future__ import annotations

from typing import Any

from .._core import names
from .._core.dialects import DIALECTS

_OURS = frozenset(
    value for key, value in vars(names).items() if key.isupper() and isinstance(value, str) and key != "SESSION_SIG"
).union(theirs for row in DIALECTS.values() for theirs in (*row.every.values(), *row.aliases.values()))


def keep_session(match: Any) -> Any:
    """
    Keep what session-mw writes from being scrubbed; leave everything else to Logfire.

    Use: ``logfire.configure(scrubbing=logfire.ScrubbingOptions(callback=keep_session))``.

    Args:
        match: Logfire's ``ScrubMatch``: path, value and what matched.

    Returns:
        The value where the attribute is one of ours; None, which has it scrubbed, for any other.

    Source:
        logfire 5.4, ``ScrubbingOptions.callback``.
    """
    path = match.path
    return match.value if len(path) == 2 and path[0] == "attributes" and path[1] in _OURS else None
