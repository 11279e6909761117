"""
From a bad value to one readable ``SettingsError``.

Rule 1: Every error names the setting, says what was found and what to do.
Rule 2: The value of a key is never shown, only described. pydantic's own errors carry their input, so none gets out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from session_mw.exceptions import SettingsError

SECRET_NAMES = frozenset(
    {"secret_key", "secret_key_fallbacks", "user_hash_key", "baggage_key", "baggage_key_fallbacks"}
)

# Every error about a weak or missing key ends with one of these.
MAKE_A_KEY = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'
_WHERE_TO_SET_IT = (
    ", and give it to all workers as secret_key=... or SESSION_MW_SECRET_KEY; "
    "for plain http on this machine use SessionSettings.insecure_dev()"
)

# What Starlette, starsessions, scs and express call the same thing, where the names themselves are not alike.
_FOREIGN_NAMES = {
    "max_age": "absolute_timeout",
    "lifetime": "absolute_timeout",
    "timeout": "idle_timeout",
    "ttl": "idle_timeout",
    "https_only": "cookie_secure",
    "session_cookie": "cookie_name",
    "reissue_time": "refresh_interval",
}
_SHOWN = 120  # characters of a found value; the rest helps nobody
_URL_PASSWORD = re.compile(r"([?&](?:\w*pass\w*|\w*token|\w*secret)=)[^&]*", re.IGNORECASE)
MASK = "**********"


class BadValue(ValueError):
    """
    A value that its setting cannot take; becomes a ``SettingsError`` once the name is known.

    Args:
        rule: What holds for this setting, as a short clause.
        hint: What to do, as a sentence without its full stop.
        found: A description to show in place of the value's repr.
    """

    def __init__(self, rule: str, hint: str, found: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.hint = hint
        self.found = found


def env_name(name: str) -> str:
    """Return the environment variable of the setting *name*."""
    return f"SESSION_MW_{name.upper()}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like *name*, or None when nothing is."""
    lowered = name.lower()
    by_lower = {one.lower(): one for one in known}
    if _FOREIGN_NAMES.get(lowered) in by_lower:
        return _FOREIGN_NAMES[lowered]
    found = difflib.get_close_matches(lowered, by_lower, n=1)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'? " for the nearest known name, or an empty text."""
    close = nearest(name, known)
    return f"Did you mean {close!r}? " if close else ""


def show(value: object) -> str:
    """Return *value* for people: its repr, without passwords, not too long."""
    text = repr(mask_url(value) if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def mask_url(url: str) -> str:
    """
    Hide the password of a store's URL, wherever its driver takes one: before the "@" or in the query.

    Args:
        url: A URL, well-formed or not.

    Returns:
        The same text with every password replaced by ``**********``. Rather too much is hidden than too little.
    """
    scheme, separator, rest = url.partition("://")
    login, at, host = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    if at and colon:
        rest = f"{user}:{MASK}@{host}"
    return _URL_PASSWORD.sub(rf"\g<1>{MASK}", scheme + separator + rest)


def settings_error(name: str, found: str, rule: str, hint: str, *, label: str | None = None) -> SettingsError:
    """
    Make the one error this package raises for a setting.

    Args:
        name: The setting.
        found: What was found, safe to show.
        rule: The rule it breaks, a short clause.
        hint: What to do, without its full stop.
        label: How the text names it; the setting and its environment variable by default.
    """
    label = label or f"setting {name!r} ({env_name(name)})"
    return SettingsError(f"cannot use {label}: found {found} ({rule}). {hint}.", name=name, found=found, hint=hint)


def unknown_name(name: str, known: Iterable[str], *, where: str = "an argument", written: str = "") -> SettingsError:
    """
    Make the error for a name that is no setting.

    Args:
        name: The name, without prefix.
        known: All names of settings.
        where: Where it was found.
        written: The name as it stands there, prefix and all.
    """
    advice = did_you_mean(name, known) or "session_mw.settings.settings_table() lists all names. "
    hint = f"{advice}Correct or remove it"
    text = f"cannot use setting {name!r}: found {written or name!r} in {where} (no setting has this name). {hint}."
    return SettingsError(text, name=name, found=written or name, hint=hint)


def from_validation(error: ValidationError, fields: Mapping[str, FieldInfo]) -> SettingsError:
    """
    Turn pydantic's report into ours: the first problem in full, the others by name.

    Args:
        error: What pydantic raised. It must not be chained to the result: it holds the values.
        fields: The fields of the settings model.
    """
    details = error.errors(include_url=False)
    names = [str(detail["loc"][0]) if detail["loc"] else "settings" for detail in details]
    first = _one_error(names[0], details[0], fields)
    others = list(dict.fromkeys(name for name in names[1:] if name != names[0]))
    if not others:
        return first
    return SettingsError(
        f"{first} Also wrong: {', '.join(others)}.", name=first.name, found=first.found, hint=first.hint
    )


def _one_error(name: str, detail: ErrorDetails, fields: Mapping[str, FieldInfo]) -> SettingsError:
    if detail["type"] == "missing":
        return settings_error(name, "nothing", "there is no default secret", MAKE_A_KEY + _WHERE_TO_SET_IT)
    if detail["type"] == "extra_forbidden":
        return unknown_name(name, fields)
    shown = "a value that is not shown" if name in SECRET_NAMES else show(detail["input"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, BadValue):
        where = _WHERE_TO_SET_IT if (name, cause.hint) == ("secret_key", MAKE_A_KEY) else ""
        return settings_error(name, cause.found or shown, cause.rule, cause.hint + where)
    if detail["type"] == "literal_error":
        return _no_such_choice(name, detail["input"], shown, get_args(fields[name].annotation))
    return settings_error(name, shown, detail["msg"], "Give a value of the right type")


def _no_such_choice(name: str, value: Any, shown: str, allowed: tuple[str, ...]) -> SettingsError:
    hint = f"{did_you_mean(str(value), allowed)}Choose one of the allowed values"
    return settings_error(name, shown, f"allowed: {', '.join(allowed)}", hint)
