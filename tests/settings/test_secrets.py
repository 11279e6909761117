"""Keys: what may be one, and that nobody ever sees it."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import pickle
import secrets
import traceback
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from session_mw.exceptions import SettingsError
from session_mw.settings import SessionSettings
from tests.settings.support import KEY, OLD_KEY, OTHER_KEY, refused, unhurried

COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'
KEY_NAMES = ["secret_key", "secret_key_fallbacks", "user_hash_key", "baggage_key", "baggage_key_fallbacks"]
ALPHANUMERIC = st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"])
THREE_KEYS = st.lists(
    st.integers(0, 2**64).map(lambda seed: hashlib.sha256(b"%d" % seed).hexdigest()),
    min_size=3,
    max_size=3,
    unique=True,
)


def test_S02_missing_secret_says_how_to_make_one() -> None:
    """No default secret: the error names the setting, both ways to set it, the command, and the way for development."""
    with pytest.raises(SettingsError) as caught:
        SessionSettings()
    text = str(caught.value)

    assert caught.value.name == "secret_key"
    assert text.startswith("cannot use setting 'secret_key' (SESSION_MW_SECRET_KEY): found nothing")
    assert "secret_key=... or SESSION_MW_SECRET_KEY" in text
    assert COMMAND in text
    assert "SessionSettings.insecure_dev()" in text


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        (None, "None"),
        ("", "an empty text"),
        (" \t\n ", "white space only"),
        (b"", "0 bytes"),
        (12345678901234567890123456789012, "an object of type int"),
        (["a", "b"], "an object of type list"),
        ("None", "a placeholder"),
        ("null", "a placeholder"),
        ("changeme", "a placeholder"),
        ("change-me-" * 5, "a placeholder"),
        ("please CHANGE THIS before you deploy it!", "a placeholder"),
        ("secret" * 8, "a placeholder"),
        ("Secret Key " * 4, "a placeholder"),
        ("password" * 5, "a placeholder"),
        ("django-insecure-8f3k2l9x7q1w6e5r4t0y2u3i4o5p6a7s8d9f", "a placeholder"),
        ("x" * 64, "one repeated character in 64 bytes"),
        (b"\x00" * 32, "one repeated character in 32 bytes"),
        ("abcabcab" * 6, "3 different characters in 48 bytes"),
        ("1234567" * 6, "7 different characters in 42 bytes"),
        ("0123456789abcdef" * 2, "one repeated pattern"),
        ("0123456789abcdef0123456789abcdef0123", "one repeated pattern"),
        ("Ab3dEf6h" * 5, "one repeated pattern"),
        ("kT4vB9xQ2mZ7pL0sW6yR3cF8hJ1nD5g", "31 bytes"),
        (bytes(range(7, 224, 7)), "31 bytes"),
        (KEY + "\n", "white space at its beginning or end"),
        (" " + KEY, "white space at its beginning or end"),
        ("\ud800" + KEY, "characters that have no UTF-8 form"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_S02_weak_secret_is_refused_and_described_not_shown(secret: Any, found: str) -> None:
    """None, short, repeated, patterned and placeholder secrets raise; the text says what was wrong, not what it was."""
    error = refused(secret_key=secret)

    assert error.name == "secret_key"
    assert f"(SESSION_MW_SECRET_KEY): found {found} (" in str(error)
    assert COMMAND in str(error) or "Strip the white space" in str(error)


@pytest.mark.parametrize(
    "secret",
    [
        secrets.token_urlsafe(24),
        secrets.token_urlsafe(48),
        secrets.token_hex(32),
        secrets.token_bytes(32),
        b"\x20" + secrets.token_bytes(40) + b"\x0a",
        "ключ, которого никто не угадает 7315",
        SecretStr(KEY),
        SecretBytes(KEY.encode()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_S02_good_secret_is_kept_byte_for_byte(secret: Any) -> None:
    """Text is kept as its UTF-8 bytes, bytes as they are; wrapped ones are unwrapped."""
    plain = secret.get_secret_value() if isinstance(secret, SecretStr | SecretBytes) else secret
    expected = plain.encode() if isinstance(plain, str) else plain

    assert expected == SessionSettings(secret_key=secret).secret_bytes()


@pytest.mark.parametrize("name", ["user_hash_key", "baggage_key"])
@pytest.mark.parametrize("secret", ["", "short", "x" * 40, 7])
def test_S02_other_keys_are_held_to_the_same_rules(name: str, secret: Any) -> None:
    """A weak key for pseudonyms or baggage is no better than a weak secret."""
    error = refused(**{name: secret})

    assert name == error.name
    assert COMMAND in str(error)
    assert "insecure_dev" not in str(error)


def test_unset_keys_are_none_for_the_engine_to_derive() -> None:
    """What was not set is None or empty, never the secret itself."""
    settings = SessionSettings(secret_key=KEY)

    assert settings.fallback_bytes() == ()
    assert settings.user_hash_key_bytes() is None
    assert settings.baggage_key_bytes() is None
    assert settings.baggage_fallback_bytes() == ()


def test_set_keys_are_revealed_to_the_engine_only_by_name() -> None:
    """Each key has one method that gives its bytes."""
    settings = all_keys(KEY, OLD_KEY, OTHER_KEY)

    assert settings.secret_bytes() == KEY.encode()
    assert settings.fallback_bytes() == (OLD_KEY.encode(),)
    assert settings.user_hash_key_bytes() == OLD_KEY.encode()
    assert settings.baggage_key_bytes() == OTHER_KEY.encode()
    assert settings.baggage_fallback_bytes() == (OLD_KEY.encode(),)


def all_keys(one: str, two: str, three: str) -> SessionSettings:
    """Return settings that hold the given keys in every place for keys."""
    return SessionSettings(
        secret_key=one,
        secret_key_fallbacks=[two],
        user_hash_key=two,
        baggage_key=three,
        baggage_key_fallbacks=[two],
        store=f"redis://user:{one}@cache/0",
        ledger=f"postgresql://db/app?user=u&password={three}",
        _env_file=None,
    )


def logged(settings: SessionSettings) -> str:
    """Return what a log shows of *settings*."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    args = (settings, settings, {"settings": settings})
    handler.handle(logging.LogRecord("anybody", logging.ERROR, __file__, 1, "settings: %s %r %s", args, None))
    return stream.getvalue()


@unhurried
@given(THREE_KEYS)
def test_S14_no_view_of_settings_shows_a_key(keys: list[str]) -> None:
    """repr, str, format, dumps, JSON, variables, iteration and logs are masked, passwords of stores too."""
    settings = all_keys(*keys)
    views = [
        repr(settings),
        str(settings),
        f"{settings}",
        repr(settings.model_dump()),
        repr(settings.model_dump(mode="json")),
        settings.model_dump_json(),
        repr(dict(settings.model_dump(exclude_defaults=True))),
        repr([(name, value) for name, value in settings if name not in ("store", "ledger")]),
        repr(list(settings.__repr_args__())),
        repr(settings.secret_key),
        str(settings.secret_key_fallbacks),
        logged(settings),
    ]

    for view in views:
        for key in keys:
            assert key not in view


def test_S14_repr_names_what_was_set_and_masks_keys() -> None:
    """repr shows the settings that differ from their defaults."""
    settings = SessionSettings(secret_key=KEY, idle_timeout="5m", store="redis://:pass@cache")
    expected = (
        "SessionSettings(secret_key=SecretBytes(b'**********'), store='redis://:**********@cache', idle_timeout=300.0)"
    )

    assert expected == repr(settings)


def told(error: BaseException) -> str:
    """Return everything a reporter could tell: text, attributes, and the traceback with local variables."""
    # The first frame is the caller's own: what it holds, it holds.
    lines = list(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    ours = "".join(line for line in lines if "/tests/" not in line)
    return ours + str(error) + repr(error) + repr(vars(error))


@unhurried
@given(st.sampled_from(KEY_NAMES), st.text(ALPHANUMERIC, min_size=6, max_size=28).map("zq7".__add__))  # no word of ours
def test_S14_error_about_a_key_does_not_show_it(name: str, weak: str) -> None:
    """Whichever key is refused, no text, attribute, cause, context or traceback of the error holds it."""
    assume(weak.lower() not in COMMAND)
    values: dict[str, Any] = {"secret_key": KEY, name: [weak] if name.endswith("fallbacks") else weak}

    with pytest.raises(SettingsError) as caught:
        SessionSettings(**values, _env_file=None)

    assert weak not in told(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@unhurried
@given(THREE_KEYS, st.sampled_from([{"sweep": "never"}, {"idle_timeout": "2d"}, {"secret_ky": "x"}]))
def test_S14_error_about_something_else_does_not_show_keys(keys: list[str], mistake: dict[str, Any]) -> None:
    """Good keys beside a mistake stay hidden: bad value, contradiction or unknown name."""
    one, two, three = keys
    values = {"secret_key": one, "secret_key_fallbacks": f"{two},{three}", "user_hash_key": two, **mistake}

    with pytest.raises(SettingsError) as caught:
        SessionSettings(**values)

    for key in keys:
        assert key not in told(caught.value)


@pytest.mark.parametrize("name", KEY_NAMES)
def test_S14_error_about_the_environment_does_not_show_a_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys from the environment are hidden as those from arguments."""
    monkeypatch.setenv("SESSION_MW_SECRET_KEY", KEY)
    monkeypatch.setenv(f"SESSION_MW_{name.upper()}", "tooShort8472")

    with pytest.raises(SettingsError) as caught:
        SessionSettings()

    assert name == caught.value.name
    assert "tooShort8472" not in told(caught.value)
    assert KEY not in told(caught.value)


def test_S14_misspelled_name_of_a_key_does_not_show_its_value() -> None:
    """A key under a wrong name is still a key."""
    error = refused(secretkey=OTHER_KEY)

    assert "Did you mean 'secret_key'?" in str(error)
    assert OTHER_KEY not in told(error)


def test_S14_bad_store_url_does_not_show_its_password() -> None:
    """A URL in an error is shown without its password."""
    for url in ("postgres://me:hunter2-hunter2@db/app", "mysql://db/app?password=hunter2-hunter2&x=1"):
        error = refused(store=url)

        assert "hunter2-hunter2" not in told(error)
        assert "**********" in str(error)


@pytest.mark.parametrize("obj", [{"secret_key": "tooShort8472"}, {"secret_key": KEY, "sweep": "no"}, {}])
def test_S14_model_validate_raises_our_error_only(obj: dict[str, Any]) -> None:
    """pydantic's entrance does not wrap the values in a ValidationError."""
    with pytest.raises(SettingsError) as caught:
        SessionSettings.model_validate(obj)

    assert not isinstance(caught.value, ValidationError)
    assert "tooShort8472" not in str(caught.value)


def test_S14_settings_inside_another_model_stay_masked() -> None:
    """A field of an application's own model shows no more than the settings do."""

    class Application(BaseModel):
        sessions: SessionSettings

    assert KEY not in repr(Application(sessions=SessionSettings(secret_key=KEY)))


def test_settings_survive_copies_with_their_keys() -> None:
    """Copy and pickle give equal settings, so worker processes can be handed them."""
    settings = all_keys(KEY, OLD_KEY, OTHER_KEY)

    for twin in (copy.copy(settings), copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert twin == settings
        assert twin.secret_bytes() == KEY.encode()
