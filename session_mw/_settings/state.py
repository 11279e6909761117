"""
Where this user's own files are: the development secret, and what the launcher keeps.

    $XDG_STATE_HOME/session-mw                     wherever it is set to an absolute path
    %LOCALAPPDATA%\\session-mw                      on Windows
    ~/Library/Application Support/session-mw       on macOS
    ~/.local/state/session-mw                      elsewhere

Source: XDG Base Directory Specification, XDG_STATE_HOME (relative paths are to be ignored); Apple, File System
Programming Guide; Microsoft, KNOWNFOLDERID, FOLDERID_LocalAppData.
"""

from __future__ import annotations

import ntpath
import os
import posixpath
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Final

NAME: Final = "session-mw"


def state_folders(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform, home: str | None = None
) -> Iterator[str]:
    """
    Yield where the files may be, best first.

    Args:
        environ: ``XDG_STATE_HOME``, ``LOCALAPPDATA``.
        platform: As ``sys.platform`` says it.
        home: The user's home; None looks for it.
    """
    at: ModuleType = ntpath if platform == "win32" else posixpath
    given = environ.get("XDG_STATE_HOME", "")
    if at.isabs(given):
        yield at.join(given, NAME)
    base = _usual(environ, platform, os.path.expanduser("~") if home is None else home)
    if at.isabs(base):
        yield at.join(base, NAME)


def _usual(environ: Mapping[str, str], platform: str, home: str) -> str:
    if platform == "win32":
        return environ.get("LOCALAPPDATA") or ntpath.join(home, "AppData", "Local")
    if platform == "darwin":
        return posixpath.join(home, "Library", "Application Support")
    return posixpath.join(home, ".local", "state")
