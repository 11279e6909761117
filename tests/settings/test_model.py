"""The model as a whole: complete, frozen, documented, quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import session_mw
from session_mw.exceptions import SettingsError
from session_mw.settings import SessionSettings, SettingsOptions, settings_table
from tests.settings.support import KEY, OLD_KEY

DESIGNED = """
secret_key secret_key_fallbacks user_hash_key baggage_key baggage_key_fallbacks
issue cookie_name cookie_secure cookie_samesite cookie_domain cookie_path cookie_partitioned refresh_interval
token_header conversation_header conversation_path_param session_id_prefix
session_type session_name prompt_version channel user user_id_mode
store ledger idle_timeout absolute_timeout turn_timeout clock_skew sweep max_live ledger_retention
content_retention event_sink
exclude_paths turn_methods turn_paths turn_when websocket_turns input_text output_text
trusted_peers trusted_proxies sign_baggage propagate_to continue_trace
server_span session_span stamp_spans dialects capture_content content_limit redact price_for lifecycle_spans
""".split()

DEFAULTS = {
    "secret_key": "required",
    "issue": "cookie",
    "cookie_name": "__Host-session_mw",
    "cookie_secure": "true",
    "cookie_samesite": "lax",
    "cookie_path": "/",
    "refresh_interval": "none",
    "token_header": "X-Session-Token",
    "conversation_header": "X-Conversation-ID",
    "user_id_mode": "hash",
    "store": "memory://",
    "ledger": "none",
    "idle_timeout": "30m",
    "absolute_timeout": "24h",
    "turn_timeout": "10m",
    "clock_skew": "1m",
    "sweep": "thread",
    "ledger_retention": "30d",
    "content_retention": "none",
    "websocket_turns": "message",
    "trusted_peers": "empty",
    "trusted_proxies": "0",
    "sign_baggage": "true",
    "propagate_to": "loopback, single-label, *.local, *.internal, *.svc, *.cluster.local",
    "continue_trace": "always",
    "server_span": "auto",
    "session_span": "request",
    "stamp_spans": "all",
    "dialects": "openinference",
    "capture_content": "false",
    "content_limit": "64KiB",
    "lifecycle_spans": "auto",
}


def test_settings_are_those_of_the_design_in_its_order() -> None:
    """No setting is missing and none has crept in."""
    assert DESIGNED == list(SessionSettings.model_fields)


def test_options_for_type_checkers_are_the_settings() -> None:
    """What a type checker lets a caller pass is what the model takes."""
    assert list(SettingsOptions.__annotations__) == list(SessionSettings.model_fields)
    assert get_type_hints(SettingsOptions)


def test_settings_table_shows_every_setting_with_default_and_allowed_values() -> None:
    """The table for README and help texts has four filled columns."""
    rows = settings_table()

    assert DESIGNED == [row[0] for row in rows]
    assert all(text.strip() for row in rows for text in row)
    assert DEFAULTS == {name: default for name, default, _, _ in rows if name in DEFAULTS}
    assert ("sweep", "thread", "thread, request, off") == next(row[:3] for row in rows if row[0] == "sweep")


@pytest.mark.parametrize("path", ["/health", "/healthz", "/livez", "/readyz", "/metrics", "/favicon.ico", "/static/*"])
def test_default_exclusions_hold_probes_and_assets(path: str) -> None:
    """What nobody means as a visit is left alone."""
    assert path in SessionSettings(secret_key=KEY).exclude_paths


def test_defaults_pass_their_own_checks() -> None:
    """Defaults are not validated at every start, so they are here: given as arguments, nothing changes."""
    settings = SessionSettings(secret_key=KEY)
    explicit: dict[str, Any] = {name: getattr(settings, name) for name in SessionSettings.model_fields}

    assert settings == SessionSettings(**explicit)


def test_refresh_seconds_is_a_sixth_of_idle_unless_set() -> None:
    """A token is written anew well before half of the idle time."""
    assert SessionSettings(secret_key=KEY).refresh_seconds == 300
    assert SessionSettings(secret_key=KEY, idle_timeout="2m").refresh_seconds == 20
    assert SessionSettings(secret_key=KEY, refresh_interval="5s").refresh_seconds == 5


def test_settings_are_frozen() -> None:
    """Assignment and deletion raise, and say how to change settings instead; the value is not shown."""
    settings = SessionSettings(secret_key=KEY)

    with pytest.raises(SettingsError, match=r"settings are frozen.*settings\.replace\(secret_key=\.\.\.\)") as caught:
        settings.secret_key = OLD_KEY  # type: ignore[assignment]
    with pytest.raises(SettingsError, match="settings are frozen"):
        del settings.sweep

    assert OLD_KEY not in str(caught.value)
    assert settings.secret_bytes() == KEY.encode()
    assert settings == SessionSettings(secret_key=KEY)
    assert hash(settings) == hash(SessionSettings(secret_key=KEY))


@pytest.mark.parametrize("how", ["replace", "model_copy"])
def test_changed_copy_is_checked_as_a_whole(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy keeps what was set, wherever it came from, and its changes are checked with it."""
    settings = SessionSettings(
        secret_key=KEY, idle_timeout="5m", store="redis://:pass@cache", trusted_peers="10.0.0.0/8"
    )
    monkeypatch.setenv("SESSION_MW_IDLE_TIMEOUT", "9m")

    def changed(**values: Any) -> SessionSettings:
        return settings.replace(**values) if how == "replace" else settings.model_copy(update=values)

    copy = changed(sweep="off")
    assert (copy.sweep, copy.idle_timeout, copy.store) == ("off", 300, "redis://:pass@cache")
    assert copy.secret_bytes() == KEY.encode()
    assert settings.sweep == "thread"
    assert settings == settings.model_copy()
    with pytest.raises(SettingsError, match="clock_skew"):
        changed(clock_skew="5m")
    with pytest.raises(SettingsError, match="Did you mean 'sweep'"):
        changed(sweeep="off")


@pytest.mark.parametrize("how", ["replace", "model_copy"])
def test_changed_copy_knows_what_was_given(how: str) -> None:
    """What nobody gave is still a default, so nobody is warned of settings that they never made."""
    settings = SessionSettings(secret_key=KEY)
    copy = settings.replace(sweep="off") if how == "replace" else settings.model_copy(update={"sweep": "off"})

    assert {"secret_key", "sweep"} == copy.model_fields_set
    assert {"secret_key"} == settings.model_fields_set


def test_model_validate_takes_settings_and_mappings() -> None:
    """pydantic's entrance is open to what it is used for."""
    settings = SessionSettings.model_validate({"secret_key": KEY})

    assert settings is SessionSettings.model_validate(settings)
    assert settings == SessionSettings(secret_key=KEY)


def test_json_names_functions_and_objects() -> None:
    """A dump for a support ticket is JSON whatever the settings hold."""
    settings = SessionSettings(
        secret_key=KEY, user=len, event_sink=[print, object()], input_text="text", turn_when=bool
    )

    dump = json.loads(settings.model_dump_json())

    assert dump["user"] == "builtins.len"
    assert dump["event_sink"] == ["builtins.print", "builtins.object"]
    assert dump["input_text"] == "text"
    assert dump["idle_timeout"] == 1800
    assert dump["trusted_peers"] == []


def test_construction_takes_less_than_five_milliseconds() -> None:
    """Settings are no reason for a slow start."""
    times = []
    for _ in range(20):
        start = time.thread_time()
        SessionSettings(secret_key=KEY)
        times.append(time.thread_time() - start)

    assert min(times) < 0.005


IMPORT_ALONE = """
import json, sys, types
package = types.ModuleType("session_mw")
package.__path__ = [sys.argv[1]]
sys.modules["session_mw"] = package  # without what the package's root brings
import session_mw.settings
print(json.dumps(sorted(sys.modules)))
"""


def test_import_brings_nothing_but_pydantic() -> None:
    """Settings need the standard library, pydantic and pydantic-settings, and no layer above them."""
    folder = str(Path(session_mw.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALONE, folder], capture_output=True, text=True, check=True, timeout=30
    )
    modules = json.loads(done.stdout)
    ours = {name.split(".")[1] for name in modules if name.startswith("session_mw.")}
    packages = {name.partition(".")[0] for name in modules}

    assert {"settings", "_settings", "_durations", "exceptions"} == ours
    assert set() == packages & {"opentelemetry", "itsdangerous", "starlette", "werkzeug", "django", "flask"}


GOOD_CALL = """
SessionSettings(secret_key=b"x", idle_timeout="30m", dialects={"langfuse"}, trusted_peers=["10.0.0.0/8"], user=len)
"""
BAD_CALLS = """
SessionSettings(idle_timeuot=1)
SessionSettings(issue="cookies")
SessionSettings(max_live="3")
"""


@pytest.mark.landing
def test_typed_callers_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type checker knows every option's name and the types that may be written."""
    pytest.importorskip("mypy")
    for name, calls in (("good", GOOD_CALL), ("bad", BAD_CALLS)):
        (tmp_path / f"{name}.py").write_text(f"from session_mw.settings import SessionSettings\n{calls}")
    if "site-packages" not in os.environ["PYTHONPATH"]:
        monkeypatch.setenv("MYPYPATH", os.environ["PYTHONPATH"])
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    files = [str(tmp_path / "good.py"), str(tmp_path / "bad.py")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=60)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]

    assert [["bad.py", "3"], ["bad.py", "4"], ["bad.py", "5"]] == [
        line.rpartition("/")[2].split(":")[:2] for line in errors
    ]
