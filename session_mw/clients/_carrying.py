"""What the clients have in common: the wrappers of ``session_mw.telemetry.outgoing`` inject for those entered here."""

from __future__ import annotations

from typing import Any

from ..telemetry import outgoing
from ..telemetry.install import instrument


def begin(client: Any, wanted: tuple[type, ...], names: str) -> None:
    """
    Inject into everything that *client* sends. A second time changes nothing.

    Args:
        client: The application's.
        wanted: What it has to be.
        names: Of these, for the error.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(client, wanted):
        raise TypeError(f"cannot instrument a client: {type(client).__name__!r} found. Give {names}.")
    instrument(processors=False)
    outgoing.carry(client)


def end(client: Any) -> None:
    """Inject no more."""
    outgoing.let_go(client)
