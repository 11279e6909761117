"""How a child ended, and how one is run where there are neither process groups nor signals worth the name (Windows)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How a child ended.

    Attributes:
        code: As shells count: 127 not found, 126 cannot be executed, 128+n ended by signal n.
        signal: The signal that ended it, 0 for none.
        failed: Why it could not be started; empty when it was.
    """

    code: int
    signal: int = 0
    failed: str = ""


def by_signal(number: int) -> Ended:
    """Return the end by a signal."""
    return Ended(128 + number, number)


def not_started(program: str, number: int) -> Ended:
    """Return the end of what could not be started; *number* is the error's."""
    if number in (errno.ENOENT, errno.ENOTDIR):
        return Ended(NOT_FOUND, failed=f"cannot run {program!r}: it was not found")
    return Ended(NOT_EXECUTABLE, failed=f"cannot run {program!r}: {os.strerror(number).lower()}")


def run_plainly(argv: Sequence[str], environ: Mapping[str, str]) -> Ended:
    """
    Run a program to its end, without job control.

    It is looked for here, as shells do: Windows itself finds no program that is a script (npm's ``claude.cmd``).
    """
    program = shutil.which(argv[0], path=environ.get("PATH")) or argv[0]
    try:
        return Ended(subprocess.call([program, *argv[1:]], env=dict(environ)))  # noqa: S603  what the user typed
    except OSError as error:
        return not_started(argv[0], error.errno or errno.ENOENT)
