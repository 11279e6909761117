"""
What may serve as a key, and how a key is kept out of sight.

Rule 1: A key is at least 32 bytes: the block that HMAC-SHA256 gives is no stronger than its key (RFC 2104, section 3).
Rule 2: What looks like an unset variable or an example text is refused; CVE-2020-17526 was a key from the manual.
Rule 3: From the first line on a key travels inside ``Hidden`` or ``SecretBytes``, so no repr, no log, no error
    and no traceback with local variables shows it.

Source: OWASP ASVS 5.0, 11.2.3 and 16.5.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretBytes, SecretStr

from session_mw._settings.errors import MAKE_A_KEY, MASK, SECRET_NAMES, BadValue
from session_mw._settings.lists import as_items

MIN_BYTES = 32
# 32 random hexadecimal digits have 8 different ones or more, but for one key in a million; "password" * 4 has 7.
_MIN_DIFFERENT = 8
_LONGEST_PATTERN = 32

# str(None), a template's null, and the words of examples. Compared without case, space and punctuation.
_PLACEHOLDERS = frozenset(
    {"none", "null", "nil", "undefined", "true", "false", "secret", "secretkey", "password", "test", "dev", "todo"}
)
# Nobody's random key contains these: eight letters or more in a row.
_PLACEHOLDER_PARTS = (
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "placeholder",
    "yoursecret",
    "djangoinsecure",  # Django's startproject; its own deployment check W009 refuses it too
)
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


class Hidden:
    """A value on its way to validation. Its repr shows nothing."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return MASK


def hide_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* with every key wrapped in ``Hidden``."""
    return {name: Hidden(value) if name in SECRET_NAMES else value for name, value in values.items()}


def unhide(value: object) -> object:
    """Return what ``Hidden`` or one of pydantic's secret types holds, or *value* itself."""
    if isinstance(value, Hidden):
        return unhide(value.value)
    if isinstance(value, SecretStr | SecretBytes):
        return value.get_secret_value()
    return value


def secret(value: object) -> SecretBytes:
    """
    Check a key and wrap it.

    Args:
        value: Text (its UTF-8 bytes are the key) or bytes, bare or wrapped.

    Returns:
        The key's bytes, masked in every repr.

    Raises:
        BadValue: If it is missing, shorter than 32 bytes, a placeholder, or plainly not random.
    """
    plain = unhide(value)
    key = plain if isinstance(plain, bytes) else _bytes_of_text(plain)
    if len(key) < MIN_BYTES:
        raise _weak(f"{len(key)} bytes", f"at least {MIN_BYTES} bytes")
    _refuse_patterns(key)
    return SecretBytes(key)


def optional_secret(value: object) -> SecretBytes | None:
    """Check a key that may be None."""
    return None if unhide(value) is None else secret(value)


def secrets_tuple(value: object) -> tuple[SecretBytes, ...]:
    """Check a list of keys. In text they stand with commas between them, or as a JSON list."""
    keys = tuple(secret(item) for item in as_items(unhide(value)))
    if len(set(keys)) != len(keys):
        raise BadValue("each key once", "Remove the repeated one", f"one key twice among {len(keys)}")
    return keys


def _bytes_of_text(text: object) -> bytes:
    if text is None:
        raise _weak("None", "there is no default secret")
    if not isinstance(text, str):
        raise _weak(f"an object of type {type(text).__name__}", "text or bytes")
    if not text.strip():
        raise _weak("white space only" if text else "an empty text", "there is no default secret")
    _refuse_placeholders(text)
    if text != text.strip():
        raise BadValue(
            "nothing but the key itself",
            "Strip the white space (the line break of a file?), so that all services use the same bytes",
            "white space at its beginning or end",
        )
    try:
        # An environment variable with bytes that are no UTF-8 arrives with surrogates (PEP 383): back to those bytes.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _weak("characters that have no UTF-8 form", "text or bytes") from None


def _refuse_placeholders(text: str) -> None:
    bare = _NOT_ALPHANUMERIC.sub("", text.lower())
    repeated = bare != "" and any(not bare.replace(word, "") for word in _PLACEHOLDERS)
    if repeated or any(part in bare for part in _PLACEHOLDER_PARTS):
        raise _weak("a placeholder", "anybody can guess it")


def _refuse_patterns(key: bytes) -> None:
    different = len(set(key))
    if different < _MIN_DIFFERENT:
        what = f"{different} different characters" if different > 1 else "one repeated character"
        raise _weak(f"{what} in {len(key)} bytes", "anybody can guess it")
    longest = min(_LONGEST_PATTERN, len(key) // 2)
    if any(key[width:] == key[:-width] for width in range(1, longest + 1)):
        raise _weak("one repeated pattern", "anybody can guess it")


def _weak(found: str, rule: str) -> BadValue:
    return BadValue(rule, MAKE_A_KEY, found)
