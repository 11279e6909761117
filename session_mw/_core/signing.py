"""
What tokens and signed baggage have in common: one current key, retired ones that still verify, one purpose.

Rule 1: HMAC-SHA256 by itsdangerous, its key derived by HMAC; no other algorithm can be asked for.
Rule 2: the current key is an argument of its own: of one ordered list the wrong end signed (CVE-2025-47278).
Rule 3: a signature means nothing outside its purpose. The salt has the length before every part, so that no
        two lists of parts give the same one (CVE-2026-6873).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

from itsdangerous import Signer

# 32 bytes are 43 characters, of which the last has two unused bits: only its canonical spelling is ours.
SIGNATURE = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
_SIGNATURE = re.compile(SIGNATURE.encode("ascii"))


class PurposeSigner(Signer):
    """An itsdangerous signer for one key, which it derives once instead of at every signature."""

    def __init__(self, secret_key: bytes, salt: bytes) -> None:
        super().__init__(secret_key, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
        self._derived = super().derive_key()

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        """Return the derived key; there is but one secret to derive it from."""
        return self._derived


class KeyRing:
    """
    Signs with the current key, verifies with it and then with the retired ones.

    Args:
        secret_key: The key that signs.
        fallbacks: Retired keys that still verify, in any order. A leaked key does not belong here.
        parts: What the signatures are for. A signature made for other parts never verifies.

    Raises:
        ValueError: If a key is empty or not bytes. The message does not show it.
    """

    __slots__ = ("_current", "_retired")

    def __init__(self, secret_key: bytes, fallbacks: Sequence[bytes], *parts: str) -> None:
        for key in (secret_key, *fallbacks):
            if type(key) is not bytes or not key:
                raise ValueError(
                    f"cannot sign for {'/'.join(parts)}: a key is empty or no bytes. Give 32 random bytes."
                )
        salt = salt_of(*parts)
        self._current = PurposeSigner(secret_key, salt)
        self._retired = tuple(PurposeSigner(key, salt) for key in fallbacks)

    def sign(self, message: bytes) -> bytes:
        """Return the signature alone, 43 characters of base64url."""
        return self._current.get_signature(message)

    def verify(self, message: bytes, signature: bytes) -> Literal["current", "retired"] | None:
        """Tell which kind of key made *signature*, comparing in constant time; None if none of ours did."""
        if _SIGNATURE.fullmatch(signature) is None:
            return None
        if self._current.verify_signature(message, signature):
            return "current"
        if any(signer.verify_signature(message, signature) for signer in self._retired):
            return "retired"
        return None


def salt_of(*parts: str) -> bytes:
    """Encode *parts* such that different lists never give the same salt."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in ("session-mw", "v1", *parts)]
    return b"".join(b"%d:%b" % (len(part), part) for part in encoded)


def looks_signed(signature: bytes) -> bool:
    """Tell whether *signature* has the shape of one of ours."""
    return _SIGNATURE.fullmatch(signature) is not None
