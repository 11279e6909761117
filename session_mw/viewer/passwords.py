"""
A file of names and passwords, for ``session-mw view`` where others may reach it.

A line is ``name:scrypt:N:r:p:salt:hash``, salt and hash in base64. Cost: OWASP Password Storage Cheat Sheet, scrypt
with N=2^15, r=8, p=3 (32 MiB, a few tenths of a second).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import SettingsError

SHORTEST = 12  # characters of a password
LONGEST = 1_024  # of a password that is looked at
LONGEST_NAME = 64
COST = (2**15, 8, 3)
MOST_MEMORY = 256 * 2**20  # of one check, whatever a line asks for


@dataclass(frozen=True, slots=True)
class Hash:
    """What is kept of a password."""

    cost: tuple[int, int, int]
    salt: bytes
    digest: bytes

    def fits(self, password: str) -> bool:
        """Return whether it is of *password*, in a time that does not depend on the answer."""
        return hmac.compare_digest(_digest(password, self.salt, self.cost), self.digest)

    def __str__(self) -> str:
        words = [base64.b64encode(part).decode() for part in (self.salt, self.digest)]
        return ":".join(["scrypt", *map(str, self.cost), *words])


def hashed(password: str, cost: tuple[int, int, int] = COST) -> Hash:
    """Return what is kept of a password."""
    salt = secrets.token_bytes(16)
    return Hash(cost, salt, _digest(password, salt, cost))


def _digest(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    said = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(said, salt=salt, n=n, r=r, p=p, maxmem=MOST_MEMORY, dklen=32)


class Users:
    """
    Names and passwords of a file, read again whenever it has changed: who was taken out is out.

    Args:
        path: Of the file. Only its owner may read or write it (mode 0600).

    Raises:
        SettingsError: It is not there, others may read it, or a line cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._state: object = None
        self._known: Mapping[str, Hash] = {}
        self._nobody: Hash | None = None
        self._lock = threading.Lock()
        if not self.known():
            raise _refused(self.path, "nobody is in it", "Add somebody with session-mw view --add-user FILE NAME.")

    def known(self) -> Mapping[str, Hash]:
        """Return the names and what is kept of their passwords. Raises as the constructor does."""
        with self._lock:
            state = _checked(self.path)
            if state != self._state:
                self._known, self._state = read(self.path), state
            return self._known

    def check(self, name: str, password: str) -> bool:
        """Return whether *name* is known and the password is theirs; an unknown name takes as long as a known one."""
        if len(password) > LONGEST:
            return False
        kept = self.known().get(name)
        fits = (kept or self._stranger()).fits(password)
        return kept is not None and fits

    def _stranger(self) -> Hash:
        """Return the hash of a password that nobody knows."""
        if self._nobody is None:
            cost = next((one.cost for one in self._known.values()), COST)
            self._nobody = hashed(secrets.token_urlsafe(16), cost)
        return self._nobody


def read(path: Path) -> dict[str, Hash]:
    """
    Return what a file says.

    Raises:
        SettingsError: A line cannot be read.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, _, said = line.strip().partition(":")
            if (one := _hash(said)) is None or not is_name(name):
                raise _refused(path, f"line {number} is not as session-mw view --add-user writes it")
            found[name] = one
    return found


def _hash(said: str) -> Hash | None:
    try:
        kind, n, r, p, salt, digest = said.split(":")
        cost = int(n), int(r), int(p)
        made = Hash(cost, base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True))
    except (ValueError, binascii.Error):
        return None
    sound = kind == "scrypt" and _sound(cost) and len(made.salt) >= 16 and len(made.digest) == 32
    return made if sound else None


def _sound(cost: tuple[int, int, int]) -> bool:
    n, r, p = cost
    power = n > 1 and n & (n - 1) == 0
    return power and r > 0 and 0 < p <= 16 and 128 * r * (n + p + 2) <= MOST_MEMORY


def is_name(name: str) -> bool:
    """Return whether somebody can be called so in a file and in HTTP Basic: no colon, nothing that nobody sees."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip() and not set(name) & {":", "#"}


def _checked(path: Path) -> object:
    """Return what changes when a file does, after having looked at whose it is."""
    try:
        found = path.stat()
    except OSError as error:
        raise _refused(path, (error.strerror or "it cannot be read").lower()) from error
    if os.name == "posix" and (found.st_mode & 0o077 or found.st_uid not in (os.getuid(), 0)):
        mode = f"its mode is {stat.S_IMODE(found.st_mode):04o} and others may read or write it"
        raise _refused(path, mode, f"Make it yours alone: chmod 600 {path}")
    return found.st_mtime_ns, found.st_size, found.st_ino


def _refused(path: Path, why: str, hint: str = "") -> SettingsError:
    text = f"cannot use the password file {str(path)!r}: {why}. {hint}".strip()
    return SettingsError(text, name="auth_file", found=str(path), hint=hint)


def add(path: Path, name: str, password: str, cost: tuple[int, int, int] = COST) -> bool:
    """
    Write somebody's password down; an older one of theirs is replaced.

    Returns:
        Whether the name was there already.

    Raises:
        SettingsError: The name or the password cannot be used, or the file.
    """
    if not is_name(name):
        raise _refused(path, f"{name!r} is no name: 1 to {LONGEST_NAME} visible characters, without ':' and '#'")
    if not SHORTEST <= len(password) <= LONGEST:
        raise _refused(path, f"a password has {SHORTEST} to {LONGEST:,} characters, this one has {len(password):,}")
    lines = []
    if path.exists():
        _checked(path)
        read(path)
        lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.strip().partition(":")[0] != name]
    _write(path, [*kept, f"{name}:{hashed(password, cost)}"])
    return len(kept) < len(lines)


def _write(path: Path, lines: list[str]) -> None:
    """Put a whole new file in the old one's place: nobody reads half of one, and it is private from its first byte."""
    handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise
