"""Pseudonyms of users, with the keys of the engine that was made last."""

from __future__ import annotations

from collections.abc import Callable

from .._core.identity import derive_key, is_pseudonym, normalise_user
from .._core.identity import hash_user_id as _hash
from ..settings import SessionSettings

_hashers: list[Callable[[object], str | None]] = []
_makers: list[Callable[[], Callable[[object], str | None]]] = []


def use_hasher(hasher: Callable[[object], str | None]) -> None:
    """Let ``hash_user_id`` use the keys of the engine that was made last."""
    _hashers[:] = [hasher]


def use_maker(maker: Callable[[], Callable[[object], str | None]]) -> None:
    """Let ``hash_user_id`` ask *maker* for a hasher where no engine was made yet."""
    _makers[:] = [maker]


def hash_user_id(user_id: object) -> str:
    """
    Return the pseudonym of a user id: ``u_`` and 32 hexadecimal digits, HMAC-SHA256 with a key of its own.

    A plain hash of an id can be turned back by trying all ids; a keyed one cannot, without the key. A pseudonym is
    recognised and returned as it is, so hashing twice does no harm.

    Args:
        user_id: Your id of the user.

    Raises:
        SettingsError: ``SESSION_MW_*`` holds something that cannot be used. Where it has no secret, and no middleware
            was made in this process, a key of this machine is used, and one log line says so.
        ValueError: *user_id* names nobody (None, "", "anonymous").
    """
    text = normalise_user(user_id)
    if text is None:
        raise ValueError("cannot make a pseudonym: the user id is empty or anonymous. Leave the user out instead.")
    if is_pseudonym(text):
        return text
    if not _hashers and _makers:
        use_hasher(_makers[0]())
    pseudonym = _hashers[0](text) if _hashers else None
    if pseudonym is not None and is_pseudonym(pseudonym):
        return pseudonym
    settings = SessionSettings()
    return _hash(text, derive_key(settings.user_hash_key_bytes() or settings.secret_bytes(), "user-hash"))
