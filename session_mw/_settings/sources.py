"""
Where settings come from, apart from arguments: environment, ``.env``, Flask's config, Django's settings.

Rule 1: A name with our prefix that is no setting is an error, wherever it stands: a typing error must not be silent.
Rule 2: ``SESSION_MW_TEST_*`` belongs to test suites and is left alone.
Rule 3: Text says None only where None is allowed: "none" or "null", or nothing at all. An empty key is an error:
    it is a variable that was not filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource

from session_mw._settings.errors import SECRET_NAMES, env_name, settings_error, unknown_name
from session_mw._settings.secret_values import hide_secrets
from session_mw.exceptions import SettingsError

_PREFIX = "session_mw_"
_NOT_OURS = "session_mw_test_"
_GROUP = "SESSION_MW"
_NONE_WORDS = ("", "none", "null")


class TextSource(PydanticBaseSettingsSource):
    """
    The settings that an environment or a ``.env`` file holds, as text.

    pydantic-settings has already read and merged the variables; this picks ours and refuses unknown ones, which its own
    sources let pass.

    Args:
        settings_cls: The settings model.
        inner: The source of pydantic-settings that has read the variables.
        where: How an error names it.
    """

    def __init__(self, settings_cls: type[BaseSettings], inner: PydanticBaseSettingsSource, where: str) -> None:
        super().__init__(settings_cls)
        self._variables = inner.env_vars if isinstance(inner, EnvSettingsSource) else {}
        self._where = where

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the text of one setting, None when it is not set."""
        return self._variables.get(_PREFIX + field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """
        Return all settings of this source, keys hidden.

        Raises:
            SettingsError: If a name is unknown.
        """
        fields = self.settings_cls.model_fields
        ours = {key: text for key, text in self._variables.items() if _is_ours(key)}
        found = _check_names({key.removeprefix(_PREFIX): key.upper() for key in ours}, fields, self._where)
        return hide_secrets({name: _value_of_text(name, fields[name], ours[_PREFIX + name]) for name in found})


def text_names(settings_cls: type[BaseSettings]) -> set[str]:
    """Return the names that the environment or the ``.env`` file sets, unchecked; the constructor checks them."""
    try:
        sources = (EnvSettingsSource(settings_cls), DotEnvSettingsSource(settings_cls))
    except (UnicodeError, OSError):
        return set()
    return {key.removeprefix(_PREFIX) for source in sources for key in source.env_vars if _is_ours(key)}


def _is_ours(key: str) -> bool:
    lowered = key.lower()
    return lowered.startswith(_PREFIX) and not lowered.startswith(_NOT_OURS)


def _check_names(written: Mapping[str, str], known: Iterable[str], where: str) -> list[str]:
    for name, as_written in written.items():
        if name not in known:
            raise unknown_name(name, known, where=where, written=as_written)
    return list(written)


def _value_of_text(name: str, field: FieldInfo, text: str | None) -> str | None:
    is_none = text is None or text.strip().lower() in _NONE_WORDS
    if not is_none or type(None) not in get_args(field.annotation):
        return text
    # "none" is a decision; nothing at all, for a key, is a deployment that forgot to fill it in.
    return text if name in SECRET_NAMES and not (text or "").strip() else None


def from_flask_config(config: object, known: Iterable[str]) -> dict[str, Any]:
    """
    Return the settings of a Flask config.

    Args:
        config: ``app.config`` or another mapping: keys ``SESSION_MW_*``, and a mapping under ``SESSION_MW``.
        known: The names of all settings.

    Raises:
        SettingsError: If a name is unknown or given in both ways, or *config* is no mapping.
    """
    entries = _mapping(config, "a Flask config", "Pass app.config")
    flat = {key: value for key, value in entries.items() if isinstance(key, str) and _is_ours(key)}
    nested = _mapping(entries.get(_GROUP, {}), f"{_GROUP} of the Flask config", f"Write {_GROUP} = {{...}}")
    values = _by_name({key[len(_PREFIX) :]: value for key, value in flat.items()}, known, "the Flask config", _PREFIX)
    for name, value in _by_name(nested, known, f"{_GROUP} of the Flask config").items():
        if name in values:
            raise _given_twice(name, f"{env_name(name)} and {_GROUP}[{name!r}]")
        values[name] = value
    return values


def from_django_settings(settings: object, known: Iterable[str]) -> dict[str, Any]:
    """
    Return the settings under ``SESSION_MW`` of a Django project.

    Args:
        settings: ``django.conf.settings``, a mapping with ``SESSION_MW`` in it, or that inner mapping itself.
        known: The names of all settings.

    Raises:
        SettingsError: If a name is unknown, given twice, or stands flat as ``SESSION_MW_*`` beside the mapping.
    """
    if isinstance(settings, Mapping):
        group: object = settings.get(_GROUP, settings)
        names = [name for name in settings if isinstance(name, str)]
    else:
        group = getattr(settings, _GROUP, {})
        names = dir(settings)
    for name in filter(_is_ours, names):
        short = name[len(_PREFIX) :].lower()
        hint = f"Write {_GROUP} = {{{short!r}: ...}}"
        raise settings_error(short, f"{name} in Django's settings", f"one mapping {_GROUP} holds them all", hint)
    where = f"{_GROUP} of Django's settings"
    return _by_name(_mapping(group, where, f"Write {_GROUP} = {{...}}"), known, where)


def _by_name(entries: Mapping[Any, Any], known: Iterable[str], where: str, prefix: str = "") -> dict[str, Any]:
    """Return *entries* by lower-case name; unknown and repeated names raise."""
    values: dict[str, Any] = {}
    for key, value in entries.items():
        name = str(key).lower()
        _check_names({name: f"{prefix.upper()}{key}"}, known, where)
        if name in values:
            raise _given_twice(name, "two spellings of it")
        values[name] = value
    return values


def _mapping(value: object, what: str, hint: str) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    found = f"an object of type {type(value).__name__}"
    raise settings_error(_GROUP, found, "a mapping of names and values", hint, label=what)


def _given_twice(name: str, found: str) -> SettingsError:
    return settings_error(name, found, "one value for one setting", "Remove one of them")
