"""
All settings of session-mw: one frozen model, checked once, at construction.

Rule 1: Arguments win over the environment (``SESSION_MW_*``), that over ``.env``, that over the defaults.
Rule 2: Whatever is wrong raises ``SettingsError`` with the setting's name, what was found and what to do. Unknown names
    raise too, in every source, and name the nearest known one.
Rule 3: No default secret; no secret in any repr, dump, error or traceback.
Rule 4: Nothing starts here, and the hot path does not read this model: the engine compiles it.

The settings themselves, with a reason beside each default: ``_settings/fields.py``. The README's table of them is
``settings_table()``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import SecretBytes, SerializationInfo, ValidationError, field_serializer
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from session_mw._settings.checks import first_contradiction
from session_mw._settings.dev_secret import dev_secret
from session_mw._settings.errors import from_validation, mask_url, settings_error, unknown_name
from session_mw._settings.fields import ENV_FILE, SettingsFields
from session_mw._settings.secret_values import hide_secrets
from session_mw._settings.sources import TextSource, from_django_settings, from_flask_config, text_names
from session_mw._settings.table import table_row
from session_mw._settings.types import SettingsOptions
from session_mw.exceptions import SettingsError

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["InsecureSettingsWarning", "SessionSettings", "SettingsOptions", "settings_table"]


class InsecureSettingsWarning(UserWarning):
    """These settings are for development: cookies travel over plain http, the secret lies in a file."""


class SessionSettings(SettingsFields):
    """
    Hold all settings, checked and frozen.

    Durations take seconds, a ``timedelta`` or a text as "30m", and are kept as seconds (float). Lists take a list, a
    tuple, a set, or a text with commas. In the environment every name is in capitals behind ``SESSION_MW_``.

    Args:
        _env_file: The ``.env`` file to read, relative to the working directory. None reads none.
        values: The settings by name; ``settings_table()`` lists and describes them.

    Raises:
        SettingsError: If a setting is missing, unknown, malformed or contradicts another.
    """

    def __init__(self, *, _env_file: str | Path | None = ENV_FILE, **values: Unpack[SettingsOptions]) -> None:
        problem = self._read(_env_file, hide_secrets(values))
        del values
        # Raised from here, outside any "except": no context, no frame and no local variable that holds a value.
        if problem is not None:
            raise problem.with_traceback(None)

    def _read(self, env_file: str | Path | None, values: dict[str, Any]) -> SettingsError | None:
        """Fill this model; return the first problem in place of raising it."""
        for name in values:
            if name not in type(self).model_fields:
                return unknown_name(name, type(self).model_fields)
        try:
            # By name: to a type checker SettingsFields has a constructor of its fields only.
            BaseSettings.__init__(self, _env_file=env_file, **values)
        except SettingsError as error:
            return error
        except ValidationError as error:
            return from_validation(error, type(self).model_fields)
        except (UnicodeError, OSError) as error:
            return _unreadable(env_file, error)
        return first_contradiction(self)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in their order: arguments, environment, ``.env``."""
        environment = TextSource(settings_cls, env_settings, "the environment")
        return init_settings, environment, TextSource(settings_cls, dotenv_settings, "the .env file")

    @classmethod
    def insecure_dev(cls, **overrides: Unpack[SettingsOptions]) -> Self:
        """
        Make settings for plain http on this machine, without a secret of your own.

        The cookie is named ``session_mw_dev`` and not Secure. The secret is made once and kept in a file only you can
        read (``session-mw/dev-secret`` below ``$XDG_STATE_HOME``, ``~/.local/state``, on macOS ``~/Library/Application
        Support``, on Windows ``%LOCALAPPDATA%``, or a folder of yours among the temporary files), so that reloads and
        several workers agree. A name or key from argument or environment wins.

        Args:
            overrides: Further settings, by name.

        Raises:
            SettingsError: As the constructor, or if no folder can hold the secret safely.

        Warns:
            InsecureSettingsWarning: Always.
        """
        values: dict[str, Any] = {"cookie_secure": False, **overrides}
        given = values.keys() | text_names(cls)
        if "cookie_name" not in given:
            # Browsers refuse the __Host- prefix on plain http; a name of its own never meets the real cookie.
            values["cookie_name"] = "session_mw_dev"
        if "secret_key" not in given:
            values["secret_key"] = dev_secret()
        settings = cls(**values)
        warnings.warn(
            "SessionSettings.insecure_dev() is for development only: the cookie travels over plain http, and the key "
            "is in a file. Elsewhere use SessionSettings(secret_key=...) and https.",
            InsecureSettingsWarning,
            stacklevel=2,
        )
        return settings

    @classmethod
    def from_flask(cls, config: Mapping[str, Any], **overrides: Unpack[SettingsOptions]) -> Self:
        """
        Make settings from a Flask config: keys ``SESSION_MW_*``, and names in a mapping under ``SESSION_MW``.

        Args:
            config: ``app.config`` or another mapping. It counts as arguments: it wins over the environment.
            overrides: Further settings, by name; they win over *config*.

        Raises:
            SettingsError: As the constructor, or if a key is unknown or given twice.
        """
        values: dict[str, Any] = {**from_flask_config(config, cls.model_fields), **overrides}
        return cls(**values)

    @classmethod
    def from_django(cls, settings: object, **overrides: Unpack[SettingsOptions]) -> Self:
        """
        Make settings from the mapping ``SESSION_MW`` in Django's settings, its names in lower or upper case.

        Args:
            settings: ``django.conf.settings``, a mapping that has ``SESSION_MW``, or that inner mapping itself. It
                counts as arguments: it wins over the environment.
            overrides: Further settings, by name; they win over *settings*.

        Raises:
            SettingsError: As the constructor, or if a name is unknown or given twice.
        """
        values: dict[str, Any] = {**from_django_settings(settings, cls.model_fields), **overrides}
        return cls(**values)

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Make settings from a mapping of names; pydantic's own way would wrap our error with the values in it."""
        return obj if isinstance(obj, cls) else cls(**obj)

    def replace(self, **changes: Unpack[SettingsOptions]) -> Self:
        """
        Return a copy with *changes*, checked as a whole.

        Raises:
            SettingsError: As the constructor.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        copy = type(self)(_env_file=None, **{**values, **changes})
        copy.model_fields_set.intersection_update(self.model_fields_set | changes.keys())
        return copy

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; unlike pydantic's, an update is checked."""
        return super().model_copy(deep=deep) if update is None else self.replace(**update)

    @property
    def refresh_seconds(self) -> float:
        """
        Return the age in seconds from which a token is written anew.

        Returns:
            ``refresh_interval``, or a sixth of ``idle_timeout``: each write is a Set-Cookie and spoils caching, and an
            active session must be written well before half of its idle time is over.

        Source:
            Pyramid, ``SignedCookieSessionFactory``: reissue_time about a tenth of the timeout. A sixth writes less
            often and still leaves room for several lost responses.
        """
        return self.idle_timeout / 6 if self.refresh_interval is None else self.refresh_interval

    def secret_bytes(self) -> bytes:
        """Return the key of session tokens."""
        return self.secret_key.get_secret_value()

    def fallback_bytes(self) -> tuple[bytes, ...]:
        """Return the older keys of session tokens."""
        return _reveal_all(self.secret_key_fallbacks)

    def user_hash_key_bytes(self) -> bytes | None:
        """Return the key of user pseudonyms; None means derive it from ``secret_bytes()``."""
        return None if self.user_hash_key is None else self.user_hash_key.get_secret_value()

    def baggage_key_bytes(self) -> bytes | None:
        """Return the key of baggage signatures; None means derive it from ``secret_bytes()``."""
        return None if self.baggage_key is None else self.baggage_key.get_secret_value()

    def baggage_fallback_bytes(self) -> tuple[bytes, ...]:
        """Return the older keys of baggage signatures."""
        return _reveal_all(self.baggage_key_fallbacks)

    @field_serializer(
        "store", "ledger", "event_sink", "user", "turn_when", "redact", "price_for", "input_text", "output_text"
    )
    def _dump(self, value: Any, info: SerializationInfo) -> Any:
        """Hide passwords in URLs; in JSON, write functions and objects by name."""
        return mask_url(value) if isinstance(value, str) else _by_name(value) if info.mode == "json" else value

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show what differs from the defaults, keys and passwords masked."""
        # From the dictionary: a traceback with local variables may ask while the fields are not there yet.
        for name, value in vars(self).items():
            field = type(self).model_fields[name]
            if field.is_required() or value != field.default:
                yield name, mask_url(value) if isinstance(value, str) else value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        hint = f"Make changed settings with settings.replace({name}=...)"
        raise settings_error(name, "an assignment", "settings are frozen", hint)

    def __delattr__(self, name: str) -> NoReturn:
        raise settings_error(name, "a deletion", "settings are frozen", "Make new settings")


def settings_table() -> list[tuple[str, str, str, str]]:
    """
    Return all settings for documentation and help texts.

    Returns:
        Name, default, allowed values and description of each, in the order of the model.
    """
    return [table_row(name, field) for name, field in SessionSettings.model_fields.items()]


def _reveal_all(keys: tuple[SecretBytes, ...]) -> tuple[bytes, ...]:
    return tuple(key.get_secret_value() for key in keys)


def _by_name(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return [_by_name(item) for item in value]
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _unreadable(env_file: str | Path | None, error: OSError | UnicodeError) -> SettingsError:
    # The error itself may hold the file's content, so only its kind is told.
    found = f"{str(env_file)!r}, not readable ({type(error).__name__})"
    return settings_error("_env_file", found, "a text file in UTF-8", "Correct or remove it", label="the .env file")
