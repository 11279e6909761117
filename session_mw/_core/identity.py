"""
Names of sessions, users and conversations: how they are made, recognised, hidden and bounded.

Rule 1: what comes from outside is checked against an alphabet and a length before anything else sees it.
Rule 2: nothing here raises for the content of a client's text; only a programmer's mistake is a ValueError.
Rule 3: no randomness here: the caller brings the entropy.

A session id of our own is 24 bytes as 32 characters of base64url, perhaps behind a readable prefix:

    bytes 0-6    sampling key: 56 uniform bits, the size that OpenTelemetry's consistent sampling compares
    byte  7      shard, 0..63; its two upper bits are 0
    bytes 8-23   128 random bits: these make the id unguessable (OWASP ASVS 5.0, 7.2.3 and 11.5.1)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from binascii import a2b_base64
from collections.abc import Callable
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase, digits

from .privacy import window

SHARDS = 64
SESSION_ID_LIMIT = 200  # characters; short enough for the index of every store

_SESSION_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_CONVERSATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
# The 32 characters that make_session_id writes. Hexadecimal is somebody else's UUID: its digits are a quarter
# of the base64 alphabet, so a sampling key read from them would be anything but uniform. Byte 7 tells lower case
# apart (its upper bits are never 0 there), this pattern upper case.
_OWN_BYTES = re.compile(r"(?!(?=[0-9A-F]{32}\Z).*[0-9])[A-Za-z0-9_-]{32}")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # from base64url to base64
_SIX_BITS = {character: value for value, character in enumerate(f"{ascii_uppercase}{ascii_lowercase}{digits}-_")}
_PSEUDONYM = re.compile(r"u_[0-9a-f]{32}")
_SURROGATE = re.compile("[\ud800-\udfff]")

# "AnonymousUser" is what str() makes of Django's user of a visitor who is not logged in.
_NOBODY = frozenset({"", "anonymous", "anonymoususer"})

_LONG_ENOUGH = 20  # characters from which a client's conversation id is taken for unique by itself


def valid_session_id(text: str) -> bool:
    """
    Tell whether *text* may be used as a session id, in stores, headers and file names.

    Args:
        text: 1 to 200 characters of ``A-Z a-z 0-9 . _ -``, the first one no dot.

    Source:
        OWASP Session Management Cheat Sheet, "Session ID Properties"; CVE-2011-0698 (path traversal).
    """
    return _SESSION_ID.fullmatch(text) is not None


def valid_conversation_id(text: str) -> bool:
    """Tell whether *text* may be used as a conversation id: 1 to 200 characters of ``A-Z a-z 0-9 . _ : -``."""
    return _CONVERSATION_ID.fullmatch(text) is not None


def make_session_id(entropy: bytes, *, prefix: str | None = None, keep: str | None = None) -> str:
    """
    Make a session id.

    Args:
        entropy: 24 bytes from a cryptographic source.
        prefix: Readable beginning; "chat" and "chat-" give "chat-...". None means none.
        keep: The id that this one replaces: its sampling key and shard are carried over, so that the
            successor is sampled alike and lies in the same place. None draws both from *entropy*.

    Raises:
        ValueError: If *entropy* has another length or *prefix* cannot begin a session id.
    """
    if len(entropy) != 24:
        raise ValueError(f"cannot make a session id: got {len(entropy)} bytes of entropy (24 are needed).")
    key = entropy[:7] if keep is None else sampling_key_of(keep).to_bytes(7, "big")
    shard = entropy[7] & 63 if keep is None else shard_of(keep)
    made = base64.urlsafe_b64encode(key + bytes((shard,)) + entropy[8:]).decode("ascii")
    if prefix is None:
        return made
    made = f"{prefix.removesuffix('-')}-{made}"
    if not valid_session_id(made):
        raise ValueError(
            f"cannot make a session id: the prefix {prefix!r} is too long or has other characters than"
            " A-Z a-z 0-9 . _ - (at most 167, no dot at the beginning). Choose another session_id_prefix."
        )
    return made


def shard_of(session_id: str) -> int:
    """Tell in which of the 64 shards the session lies; a foreign id is placed by a hash of its text."""
    tail = session_id[-32:]
    if session_id[-33:-32] in ("", "-") and _OWN_BYTES.fullmatch(tail):
        # Byte 7 lies in two characters. No more is decoded: a sweep asks this ten thousand times.
        shard = (_SIX_BITS[tail[9]] & 15) << 4 | _SIX_BITS[tail[10]] >> 2
        if shard < SHARDS:
            return shard
    return _head(session_id)[7]


@lru_cache(maxsize=4096)  # a client sends its session with each request, and each request is sampled
def sampling_key_of(session_id: str) -> int:
    """Return 56 bits, uniform and the same in every process, by which a session is sampled as a whole."""
    return int.from_bytes(_head(session_id)[:7], "big")


def _head(session_id: str) -> bytes:
    """Bytes 0-7 of the id; of a foreign one, eight bytes of a hash in the same layout."""
    tail = session_id[-32:]
    if session_id[-33:-32] in ("", "-") and _OWN_BYTES.fullmatch(tail):
        raw = a2b_base64(tail[:12].encode("ascii").translate(_STANDARD))
        if raw[7] < SHARDS:
            return raw[:8]
    text = session_id.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8, person=b"session-mw/id").digest()
    return digest[:7] + bytes((digest[7] & 63,))


def derive_key(secret: bytes, purpose: str) -> bytes:
    """
    Derive the key for one purpose, so that what is made for one proves nothing for another.

    Args:
        secret: The key to derive from.
        purpose: Any text. Different purposes never share a key: the length stands before the text.

    Returns:
        32 bytes.

    Source:
        OWASP ASVS 5.0, 11.1.2; CVE-2026-6873 (a salt concatenated without lengths).
    """
    text = purpose.encode("utf-8", "surrogatepass")
    return hmac.digest(secret, b"session-mw/v1/%d:%b" % (len(text), text), "sha256")


def hash_user_id(user_id: str, key: bytes) -> str:
    """
    Make the pseudonym of a user: the same for the same id and key, and not to be reversed without the key.

    Args:
        user_id: The application's id, exactly. A pseudonym is returned as it is, never hashed twice.
        key: The secret for pseudonyms. An unkeyed hash of an id is undone by trying all ids.

    Returns:
        ``u_`` and the first 32 hexadecimal digits of HMAC-SHA256(key, user_id as UTF-8).

    Source:
        FTC, "No, hashing still doesn't make your data anonymous" (2024); AEPD and EDPS (2019).
    """
    if is_pseudonym(user_id):
        return user_id
    return "u_" + hmac.digest(key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def is_pseudonym(text: str) -> bool:
    """Tell whether *text* looks as ``hash_user_id`` writes it."""
    return _PSEUDONYM.fullmatch(text) is not None


def normalise_user(value: object) -> str | None:
    """
    Turn what an application calls its user's id into text, or None for nobody.

    Args:
        value: Text, a number, a UUID, or anything that ``str()`` understands. Nobody: None, a bool (as in
            ``user and user.id``), "", blanks, "anonymous", and an object whose ``str()`` fails.

    Returns:
        The whole text without blanks around it, however long; always encodable as UTF-8. Hash it, or bound it
        with ``clean_attribute``, before it goes anywhere.
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    except Exception:  # the application's own __str__ may do anything; a request must not fail by it
        return None
    text = _SURROGATE.sub("\ufffd", text).strip()
    return None if text.lower() in _NOBODY else text


def clean_attribute(text: str, limit: int = 200, hide: Callable[[str], str] | None = None) -> str | None:
    """
    Make client text fit for spans, logs and terminals.

    Args:
        text: Any text.
        limit: Length of the result, in characters. Of the input, four times as many are looked at.
        hide: Takes out what is personal, before the text is cut. None leaves it in.

    Returns:
        The printable characters, any white space as a plain space, none at the ends; None when nothing is
        left. Control characters, line breaks, direction marks, zero-width characters and surrogates are gone.

    Source:
        OWASP ASVS 5.0, 16.4.1 (log injection); CVE-2021-42574 (direction marks).
    """
    if len(text) > limit:
        text = text[: 4 * limit] if hide is None else window(text, 4 * limit)
    if not text.isprintable():
        text = "".join([c if c.isprintable() else " " if c.isspace() else "" for c in text])
    if hide is not None:
        text = hide(text)
    return text.strip()[:limit].rstrip() or None


def scope_conversation_id(client_id: str, scope: str) -> str | None:
    """
    Make a client's conversation id safe to share a system with other clients' ids.

    Args:
        client_id: What the client sent: 1 to 200 characters of ``A-Z a-z 0-9 . _ : -``.
        scope: Whose id it is: the pseudonym of the user or, of an anonymous one, the session id.

    Returns:
        The id as it is from 20 characters up, since such ids do not meet by accident; else 12 hexadecimal
        digits of a hash of *scope*, "-" and the id. An id that came back with its scope before it is returned
        as it is. None if it has other characters or another length.
    """
    if _CONVERSATION_ID.fullmatch(client_id) is None:
        return None
    if len(client_id) >= _LONG_ENOUGH:
        return client_id
    text = scope.encode("utf-8", "surrogatepass")
    mark = hashlib.blake2b(text, digest_size=6, person=b"session-mw/conv").hexdigest()
    return client_id if client_id.startswith(f"{mark}-") else f"{mark}-{client_id}"
