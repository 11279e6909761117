"""Where settings come from, which wins, and that no misspelled name is silent."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from session_mw.exceptions import SettingsError
from session_mw.settings import SessionSettings
from tests.settings.support import KEY, OLD_KEY, OTHER_KEY, refused

Env = pytest.MonkeyPatch


@pytest.fixture
def env(monkeypatch: Env) -> Env:
    """Give an environment with nothing of ours but a good key."""
    monkeypatch.setenv("SESSION_MW_SECRET_KEY", KEY)
    return monkeypatch


def dotenv(text: str) -> None:
    """Write the .env file of the working directory."""
    Path(".env").write_text(text, encoding="utf-8")


def test_argument_wins_over_environment_over_dotenv_over_default(env: Env) -> None:
    """Each source is asked only for what the ones before it did not say."""
    dotenv("SESSION_MW_IDLE_TIMEOUT=11m\nSESSION_MW_TURN_TIMEOUT=12m\nSESSION_MW_REFRESH_INTERVAL=13s\n")
    env.setenv("SESSION_MW_IDLE_TIMEOUT", "21m")
    env.setenv("SESSION_MW_TURN_TIMEOUT", "22m")

    settings = SessionSettings(idle_timeout="31m")

    assert settings.idle_timeout == 31 * 60
    assert settings.turn_timeout == 22 * 60
    assert settings.refresh_interval == 13
    assert settings.absolute_timeout == 24 * 3600


def test_dotenv_holds_the_key_and_other_peoples_names() -> None:
    """Names without our prefix in .env are none of our business."""
    dotenv(f"DATABASE_URL=postgresql://x\nSESSION_MW_SECRET_KEY={KEY}\nSESSION=1\n")

    assert SessionSettings().secret_bytes() == KEY.encode()


def test_dotenv_is_read_only_where_asked() -> None:
    """Another file can be named, and None reads none."""
    Path("other.env").write_text("SESSION_MW_SWEEP=off\n", encoding="utf-8")
    dotenv("SESSION_MW_SWEEP=request\n")

    assert SessionSettings(secret_key=KEY).sweep == "request"
    assert SessionSettings(secret_key=KEY, _env_file="other.env").sweep == "off"
    assert SessionSettings(secret_key=KEY, _env_file=None).sweep == "thread"


def test_unreadable_dotenv_is_an_error_that_does_not_quote_it() -> None:
    """A file in another encoding raises our error, without the bytes around the bad one."""
    Path(".env").write_bytes(b"SESSION_MW_SECRET_KEY=hidden-" + b"\xff\xfe" * 20)

    error = refused()

    assert "cannot use the .env file: found '.env', not readable (UnicodeDecodeError)" in str(error)
    assert "hidden" not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("COOKIE_DOMAIN", "", None),
        ("COOKIE_DOMAIN", "none", None),
        ("COOKIE_DOMAIN", " NULL ", None),
        ("LEDGER", "None", None),
        ("MAX_LIVE", "null", None),
        ("LEDGER_RETENTION", "none", None),
        ("USER", "none", None),
        ("USER_HASH_KEY", "none", None),
        ("USER_ID_MODE", "none", "none"),
        ("ISSUE", "none", "none"),
        ("SIGN_BAGGAGE", "false", False),
        ("SIGN_BAGGAGE", "0", False),
        ("CAPTURE_CONTENT", "On", True),
        ("IDLE_TIMEOUT", "1800", 1800.0),
        ("IDLE_TIMEOUT", "45m", 2700.0),
        ("CONTENT_LIMIT", "4096", 4096),
        ("TRUSTED_PROXIES", "1", 1),
        ("TRUSTED_PROXIES", "unix", ("unix",)),
        ("DIALECTS", "", frozenset()),
        ("DIALECTS", "openinference, langfuse", frozenset({"openinference", "langfuse"})),
        ("DIALECTS", '["mlflow"]', frozenset({"mlflow"})),
        ("TURN_PATHS", "/chat,/ask,", ("/chat", "/ask")),
        ("SECRET_KEY_FALLBACKS", "", ()),
        ("INPUT_TEXT", "message", "message"),
        ("PROMPT_VERSION", "7", "7"),
    ],
)
def test_environment_text_becomes_the_value(env: Env, name: str, text: str, kept: object) -> None:
    """Text is read as each setting reads it; "none", "null" and nothing mean None where None is allowed."""
    env.setenv(f"SESSION_MW_{name}", text)

    assert kept == getattr(SessionSettings(), name.lower())


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("SECRET_KEY", "", "found an empty text"),
        ("SECRET_KEY", "  ", "found white space only"),
        ("SECRET_KEY", "None", "found a placeholder"),
        ("SECRET_KEY", "false", "found a placeholder"),
        ("USER_HASH_KEY", "", "found an empty text"),
        ("BAGGAGE_KEY", " ", "found white space only"),
        ("SECRET_KEY_FALLBACKS", "none", "found a placeholder"),
        ("SECRET_KEY_FALLBACKS", '["a', "begins like JSON"),
        ("IDLE_TIMEOUT", "", "found ''"),
        ("IDLE_TIMEOUT", "none", "found 'none'"),
        ("COOKIE_SECURE", "", "found ''"),
        ("COOKIE_SECURE", "None", "found 'None'"),
        ("COOKIE_SECURE", "nein", "found 'nein'"),
        ("ISSUE", "", "found ''"),
        ("STORE", "", "found ''"),
        ("MAX_LIVE", "0", "found '0'"),
        ("USER", "myapp.users:current", "Pass the function itself, in code"),
        ("EVENT_SINK", "logger", "in code"),
        ("TURN_WHEN", "always", "Pass the function itself, in code"),
    ],
)
def test_environment_text_that_means_nothing_is_an_error(env: Env, name: str, text: str, part: str) -> None:
    """An empty or senseless variable is a deployment that went wrong, not a default."""
    env.setenv(f"SESSION_MW_{name}", text)

    with pytest.raises(SettingsError) as caught:
        SessionSettings()

    assert name.lower() == caught.value.name
    assert part in str(caught.value)


def test_environment_names_are_read_in_any_case(monkeypatch: Env) -> None:
    """Lower-case variables count, as everywhere in pydantic-settings."""
    monkeypatch.setenv("session_mw_secret_key", KEY)

    assert SessionSettings().secret_bytes() == KEY.encode()


def test_fallbacks_in_the_environment_stand_with_commas(env: Env) -> None:
    """A rotation can be done in the environment alone."""
    env.setenv("SESSION_MW_SECRET_KEY_FALLBACKS", f"{OLD_KEY}, {OTHER_KEY}")
    env.setenv("SESSION_MW_USER_HASH_KEY", OLD_KEY)

    assert SessionSettings().fallback_bytes() == (OLD_KEY.encode(), OTHER_KEY.encode())


def test_key_bytes_that_are_no_utf8_come_through_the_environment(env: Env) -> None:
    """os.environ hands such bytes over as surrogates; the key is the bytes."""
    env.setenv("SESSION_MW_SECRET_KEY", (b"\xff\xfe" + KEY.encode()).decode("utf-8", "surrogateescape"))

    assert SessionSettings().secret_bytes() == b"\xff\xfe" + KEY.encode()


UNKNOWN_NAMES = [
    ("idle_timeuot", "Did you mean 'idle_timeout'?"),
    ("secret", "Did you mean 'secret_key'?"),
    ("samesite", "Did you mean 'cookie_samesite'?"),
    ("IDLE_TIMEOUT", "Did you mean 'idle_timeout'?"),
    ("max_age", "Did you mean 'absolute_timeout'?"),
    ("https_only", "Did you mean 'cookie_secure'?"),
    ("session_cookie", "Did you mean 'cookie_name'?"),
    ("qqqq", "settings_table() lists all names"),
    ("_env_prefix", "Correct or remove it"),
]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN_NAMES)
def test_unknown_argument_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    """A misspelled setting is an error, never a default."""
    error = refused(**{name: "x"})

    assert name == error.name
    assert f"found '{name}' in an argument (no setting has this name)" in str(error)
    assert hint in str(error)


@pytest.mark.parametrize(("name", "hint"), [row for row in UNKNOWN_NAMES if row[0].islower()])
def test_unknown_environment_variable_is_refused_with_the_nearest_name(env: Env, name: str, hint: str) -> None:
    """A misspelled variable is an error and is shown as it was written."""
    env.setenv(f"SESSION_MW_{name.upper()}", "x")

    with pytest.raises(SettingsError) as caught:
        SessionSettings()

    assert f"found 'SESSION_MW_{name.upper()}' in the environment" in str(caught.value)
    assert hint in str(caught.value)


def test_unknown_name_in_dotenv_is_refused() -> None:
    """The .env file is held to the same rule."""
    dotenv("SESSION_MW_IDLE_TIMEUOT=5\n")

    assert "found 'SESSION_MW_IDLE_TIMEUOT' in the .env file" in str(refused())


def test_variables_of_test_suites_are_left_alone(env: Env) -> None:
    """SESSION_MW_TEST_* is not ours to judge, in the environment, in .env and in a Flask config."""
    env.setenv("SESSION_MW_TEST_REDIS_URL", "redis://x")
    dotenv("SESSION_MW_TEST_PG_URL=postgresql://x\n")

    assert SessionSettings.from_flask({"SESSION_MW_TEST_ANYTHING": 1}).sweep == "thread"


def test_from_flask_reads_flat_keys_and_the_nested_mapping() -> None:
    """Both ways may be mixed; other keys of the config are none of our business."""
    config = {
        "SECRET_KEY": "flask's own",
        "SESSION_COOKIE_NAME": "session",
        "SESSION_MW_SECRET_KEY": KEY,
        "SESSION_MW_IDLE_TIMEOUT": 600,
        "SESSION_MW_COOKIE_DOMAIN": None,
        "SESSION_MW": {"turn_timeout": "5m", "SWEEP": "off"},
        7: "not even a text",
    }

    settings = SessionSettings.from_flask(config)  # type: ignore[arg-type]  # Flask configs hold what they like

    assert settings.secret_bytes() == KEY.encode()
    assert (settings.idle_timeout, settings.turn_timeout, settings.sweep) == (600, 300, "off")


def test_from_flask_wins_over_the_environment_and_loses_to_overrides(env: Env) -> None:
    """A Flask config counts as arguments."""
    env.setenv("SESSION_MW_IDLE_TIMEOUT", "11m")
    env.setenv("SESSION_MW_SWEEP", "off")
    config = {"SESSION_MW_IDLE_TIMEOUT": "12m", "SESSION_MW_TURN_TIMEOUT": "12m"}

    settings = SessionSettings.from_flask(config, turn_timeout="13m")

    assert (settings.idle_timeout, settings.turn_timeout, settings.sweep) == (12 * 60, 13 * 60, "off")


def test_from_flask_takes_the_config_of_an_application() -> None:
    """The real thing, with a function in it."""
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    app.config.update(SESSION_MW_SECRET_KEY=KEY, SESSION_MW_USER=len)

    assert SessionSettings.from_flask(app.config).user is len


@pytest.mark.parametrize(
    ("config", "name", "part"),
    [
        ({"SESSION_MW_IDLE_TIMEUOT": 5}, "idle_timeuot", "found 'SESSION_MW_IDLE_TIMEUOT' in the Flask config"),
        ({"SESSION_MW": {"idle_timeuot": 5}}, "idle_timeuot", "found 'idle_timeuot' in SESSION_MW of the Flask config"),
        ({"SESSION_MW": {5: 5}}, "5", "found '5' in SESSION_MW"),
        (
            {"SESSION_MW": {"sweep": "off"}, "SESSION_MW_SWEEP": "off"},
            "sweep",
            "found SESSION_MW_SWEEP and SESSION_MW[",
        ),
        ({"SESSION_MW": ["sweep"]}, "SESSION_MW", "found an object of type list"),
        ({"SESSION_MW_SECRET_KEY": KEY, "SESSION_MW_SWEEP": "of"}, "sweep", "Did you mean 'off'?"),
        ({"SESSION_MW_SECRET_KEY": None}, "secret_key", "found None"),
        ("app", "SESSION_MW", "Pass app.config"),
    ],
)
def test_from_flask_refuses_what_it_does_not_know(config: Any, name: str, part: str) -> None:
    """Unknown keys, both ways for one setting, and things that are no config raise."""
    with pytest.raises(SettingsError) as caught:
        SessionSettings.from_flask(config)

    assert name == caught.value.name
    assert part in str(caught.value)


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("shape", ["object", "mapping", "inner"])
def test_from_django_reads_the_dict_in_either_case(upper: bool, shape: str) -> None:
    """The dict SESSION_MW of a settings object, of a mapping, or itself."""
    inner: dict[str, Any] = {"secret_key": KEY, "idle_timeout": "5m"}
    inner = {name.upper() if upper else name: value for name, value in inner.items()}
    given = {
        "object": types.SimpleNamespace(SESSION_MW=inner, DEBUG=True, SECRET_KEY="django's own"),
        "mapping": {"SESSION_MW": inner, "DEBUG": True},
        "inner": inner,
    }[shape]

    settings = SessionSettings.from_django(given)

    assert settings.secret_bytes() == KEY.encode()
    assert settings.idle_timeout == 300


def test_from_django_takes_real_settings_and_overrides() -> None:
    """Django's lazy settings object works as it is."""
    conf = pytest.importorskip("django.conf")
    lazy = conf.LazySettings()
    lazy.configure(SESSION_MW={"SECRET_KEY": KEY, "SWEEP": "off"})

    settings = SessionSettings.from_django(lazy, sweep="request")

    assert settings.secret_bytes() == KEY.encode()
    assert settings.sweep == "request"


def test_from_django_without_the_dict_reads_the_environment(env: Env) -> None:
    """A project may keep everything in the environment."""
    assert SessionSettings.from_django(types.SimpleNamespace()).secret_bytes() == KEY.encode()


@pytest.mark.parametrize(
    ("inner", "name", "part"),
    [
        ({"IDLE_TIMEUOT": 5}, "idle_timeuot", "found 'IDLE_TIMEUOT' in SESSION_MW of Django's settings"),
        ({"sweep": "off", "SWEEP": "off"}, "sweep", "found two spellings of it"),
        (["sweep"], "SESSION_MW", "found an object of type list"),
        ({"SECRET_KEY": KEY, "SWEEP": "of"}, "sweep", "Did you mean 'off'?"),
    ],
)
def test_from_django_refuses_what_it_does_not_know(inner: Any, name: str, part: str) -> None:
    """Unknown and repeated names raise, with the dict named."""
    with pytest.raises(SettingsError) as caught:
        SessionSettings.from_django(types.SimpleNamespace(SESSION_MW=inner))

    assert name == caught.value.name
    assert part in str(caught.value)


def test_from_django_refuses_flat_settings() -> None:
    """SESSION_MW_SWEEP beside the dict would be silently without effect, so it is an error."""
    with pytest.raises(SettingsError, match=r"found SESSION_MW_SWEEP in Django's settings .*SESSION_MW = \{'sweep'"):
        SessionSettings.from_django(types.SimpleNamespace(SESSION_MW={}, SESSION_MW_SWEEP="off"))
