"""
The secret of ``SessionSettings.insecure_dev()``: made once per machine and user, kept in a file of mode 0600.

Rule 1: Workers that start together agree. The file is written under another name (``O_EXCL``) and then linked into
    place: ``link`` fails for all but the first, and nobody ever sees a half-written file.
Rule 2: A file or folder that others could have written or read is refused, as ssh does with its keys.
Rule 3: No secret is made up in memory when there is no place to keep it: two workers would differ.

Source: link(2), open(2).
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from session_mw._settings.errors import settings_error
from session_mw._settings.secret_values import MIN_BYTES, Hidden
from session_mw._settings.state import state_folders
from session_mw.exceptions import SettingsError

_FILE = "dev-secret"
_WRITABLE_BY_OTHERS = 0o022
_OPEN_TO_OTHERS = 0o077
_SET_IT = "or set SESSION_MW_SECRET_KEY"
# Windows has neither; its home directories are private by access list.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_HAS_OWNERS = hasattr(os, "getuid")


def dev_secret() -> Hidden:
    """
    Return this machine's development secret; make it when there is none.

    Returns:
        The secret, hidden.

    Raises:
        SettingsError: If no folder can hold it, or the file is not safe or not whole.
    """
    for folder in _folders():
        try:
            return _secret_in(folder)
        except OSError:  # not writable, no links, no space: the next folder may do
            continue
    found = "no folder to keep a development secret in"
    raise settings_error("secret_key", found, "one secret for all workers", f"Make HOME writable, {_SET_IT}")


def _folders() -> Iterator[Path]:
    """Yield where the secret may be, best first; all processes of one user see the same order."""
    yield from map(Path, state_folders())
    owner = os.getuid() if _HAS_OWNERS else "user"
    yield Path(tempfile.gettempdir()) / f"session-mw-{owner}"


def _secret_in(folder: Path) -> Hidden:
    path = folder / _FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Anybody may have made a folder, or a link to one, of this name in /tmp: whose it is counts.
    _check_owner(os.lstat(folder), folder)
    _check_mode(os.stat(folder), folder, _WRITABLE_BY_OTHERS)
    if not path.exists():
        _publish(path)
    return _read(path)


def _publish(path: Path) -> None:
    draft = path.with_name(f"{_FILE}.{os.getpid()}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600)
    try:
        try:
            os.write(file, secrets.token_urlsafe(48).encode("ascii"))
            os.fsync(file)
        finally:
            os.close(file)
        os.link(draft, path)
    except FileExistsError:
        pass  # another worker was first: its secret is the secret
    finally:
        os.unlink(draft)


def _read(path: Path) -> Hidden:
    file = os.open(path, os.O_RDONLY | _NOFOLLOW)
    try:
        _check_owner(os.fstat(file), path)
        _check_mode(os.fstat(file), path, _OPEN_TO_OTHERS)
        content = Hidden(os.read(file, 4096).decode("ascii", "replace").strip())
    finally:
        os.close(file)
    if len(str(content.value)) < MIN_BYTES:
        raise _unusable(path, "is too short", f"Delete {path} so that it is made again")
    return content


def _check_owner(status: os.stat_result, path: Path) -> None:
    if _HAS_OWNERS and status.st_uid != os.getuid():
        raise _unusable(path, "belongs to another user", f"Delete {path}")


def _check_mode(status: os.stat_result, path: Path, forbidden: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if _HAS_OWNERS and mode & forbidden:
        right = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise _unusable(path, f"is open to others (mode {mode:04o})", f"Run chmod {right} {path}")


def _unusable(path: Path, problem: str, hint: str) -> SettingsError:
    return settings_error("secret_key", f"the development secret {path} {problem}", "yours alone", f"{hint}, {_SET_IT}")
