"""
What the launcher keeps on disk, for its user alone: folder 0700, files 0600, below the folder of ``_settings.state``.

    sessions.db          live sessions and their history, where no other store was named
    active/<hash>.json   the session that is kept for a working directory
    runs/<name>.json     a command that runs; the file is locked for as long as its launcher lives, so what is not
                         locked belonged to one that was killed
    said/<word>          that something was said, which is said once

A session is kept for a directory by its path: it stays behind when the directory is moved, and is there again when it
is moved back.

Source: flock(2).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..._core.identity import valid_session_id
from ..._settings.state import state_folders
from ...exceptions import SessionError
from .choosing import Label, clean

try:
    import fcntl
except ImportError:  # Windows: nobody can tell there whether a launcher still lives
    fcntl = None  # type: ignore[assignment]

DRAFT_SECONDS = 3600  # a file is written in milliseconds
WAIT_SECONDS = 2  # for other launchers that write into the same file


class PlaceError(SessionError):
    """A folder or file of the launcher cannot be used."""


def state_folder() -> Path:
    """
    Return the launcher's folder, made when there is none.

    Raises:
        PlaceError: It cannot be made, or is not this user's alone.
    """
    found = next(state_folders(), None)
    if found is None:
        raise PlaceError("cannot keep sessions: no home directory is known. Set XDG_STATE_HOME.")
    return _private(Path(found))


def _private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        link, found = os.lstat(folder), os.stat(folder)
    except OSError as error:
        raise PlaceError(f"cannot keep sessions in {str(folder)!r}: {error.strerror}. Set XDG_STATE_HOME.") from error
    if not hasattr(os, "getuid"):
        return folder
    if {link.st_uid, found.st_uid} != {os.getuid()}:  # whose link it is, too: it may lead anywhere tomorrow
        raise PlaceError(f"cannot keep sessions in {str(folder)!r}: it belongs to another user. Set XDG_STATE_HOME.")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise PlaceError(f"cannot keep sessions in {str(folder)!r}: others may write there. Run chmod 700 on it.")
    return folder


def own_store() -> str:
    """
    Return the URL of this user's own file, which is made for them alone.

    Raises:
        PlaceError: There is no place for it.
    """
    path = state_folder() / "sessions.db"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its other files the same mode
    except OSError as error:
        raise PlaceError(f"cannot keep sessions in {str(path)!r}: {error.strerror}.") from error
    return f"sqlite:///{quote(str(path))}?timeout={WAIT_SECONDS}"


@dataclass(frozen=True, slots=True)
class Kept:
    """
    The session that is kept for a directory.

    Attributes:
        label: It.
        directory: The directory's path.
        until_ms: Until when it is joined: each use renews it.
    """

    label: Label
    directory: str
    until_ms: int


def kept_for(directory: str, now_ms: int) -> Kept | None:
    """Return the session that is kept for *directory*; None when there is none any more."""
    found = _read(_active(directory))
    try:
        label = Label(str(found["id"]), str(found["type"]), str(found["version"]), clean(found["name"]))
        kept = Kept(label, directory, int(found["until_ms"]))
    except (KeyError, TypeError, ValueError):
        return None
    return kept if kept.until_ms > now_ms and valid_session_id(label.id) else None


def keep(kept: Kept) -> None:
    """Keep a session for a directory, in the place of any other."""
    _write(_active(kept.directory), {**asdict(kept.label), "directory": kept.directory, "until_ms": kept.until_ms})


def forget(directory: str) -> None:
    """Keep none for *directory* any more."""
    _active(directory).unlink(missing_ok=True)


def _active(directory: str) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:32]
    return _private(state_folder() / "active") / f"{name}.json"


@dataclass(frozen=True, slots=True)
class Run:
    """
    A command that runs.

    Attributes:
        session_id: Its session.
        store: Which store holds it: a hash of its URL, where a password may be.
        ends: Whether the session ends with it.
        pid: The launcher's process.
        command: Name of the program.
        started_ms: Since when, milliseconds since the epoch.
    """

    session_id: str
    store: str
    ends: bool
    pid: int
    command: str
    started_ms: int


class Running:
    """
    Says that *run* runs, for as long as this object is open or this process lives.

    Raises:
        PlaceError: There is no place to say it.
        OSError: The same.
    """

    def __init__(self, run: Run) -> None:
        folder = _private(state_folder() / "runs")
        self._path = folder / f"{run.pid}-{secrets.token_hex(8)}.json"
        draft = self._path.with_suffix(".draft")
        self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(self._file, json.dumps(asdict(run)).encode())
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        os.replace(draft, self._path)  # nobody sees it unlocked

    def close(self) -> None:
        """Say that it does not run any more."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def runs() -> list[Run]:
    """Return the commands that run at present."""
    return [run for path in _run_files() if not _abandoned(path) and (run := _run_of(_read(path))) is not None]


def take_abandoned(store: str) -> Iterator[Run]:
    """Yield the runs in *store* whose launcher was killed, each to one caller; what is yielded is forgotten then."""
    _forget_drafts()
    for path in _run_files():
        file = _locked(path)
        if file is None:
            continue
        try:
            run = _run_of(_read(path))
            if run is None or run.store == store:
                if run is not None and path.exists():
                    yield run
                path.unlink(missing_ok=True)
        finally:
            os.close(file)


def _forget_drafts() -> None:
    """Remove what launchers began to write that were killed within that instant."""
    for path in state_folder().glob("*/*.draft"):  # those that begin with a dot as well
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > DRAFT_SECONDS:
                path.unlink()


def _run_files() -> list[Path]:
    folder = state_folder() / "runs"
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _abandoned(path: Path) -> bool:
    file = _locked(path)
    if file is None:
        return False
    os.close(file)
    return True


def _locked(path: Path) -> int | None:
    """Return the file, locked, of a launcher that lives no more; None of one that lives."""
    if fcntl is None:
        return None
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _run_of(found: Any) -> Run | None:
    try:
        return Run(**found)
    except TypeError:
        return None


def store_mark(url: str) -> str:
    """Return what tells one store from others in a run's file."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def once(word: str) -> bool:
    """Return whether *word* is said for the first time, to this user; True where that cannot be kept."""
    try:
        path = _private(state_folder() / "said") / word
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except (OSError, PlaceError):
        pass
    return True


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write a file that is whole whenever somebody reads it."""
    file, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".draft")  # 0600
    try:
        with os.fdopen(file, "w", encoding="utf-8") as out:
            json.dump(document, out)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
