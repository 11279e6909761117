"""
The ``session-mw`` command.

click and rich are imported below this module only, so that a program which never asks for the command never needs
them; without them the command says in one line how to get them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..exceptions import MissingDependency

__all__ = ["claude_session", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run the command and exit.

    Args:
        arguments: Words after the command's name. None takes those of the process.

    Raises:
        SystemExit: Always. 0 is success, 1 a failure that is told in one line, 2 a command line that is not understood.
    """
    _run("session-mw", arguments)


def claude_session(arguments: Sequence[str] | None = None) -> None:
    """Run ``claude-session`` and exit, as ``main``."""
    _run("claude-session", arguments)


def _run(name: str, arguments: Sequence[str] | None) -> None:
    try:
        command = _command(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        print(MissingDependency(name, package, "cli"), file=sys.stderr)
        raise SystemExit(1) from None
    command.main(None if arguments is None else list(arguments), prog_name=name)


def _command(name: str) -> Any:
    if name == "claude-session":
        from .launch.claude import claude_session

        return claude_session
    from .app import command

    return command
