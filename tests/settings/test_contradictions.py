"""Settings that are good by themselves and cannot be together."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw.settings import SessionSettings
from tests.settings.support import KEY, OLD_KEY, OTHER_KEY, refused

Values = dict[str, Any]

CONTRADICTIONS: list[tuple[Values, str, str, str]] = [
    # settings, the one that is named, what was found, what to do
    (
        {"cookie_domain": "example.com"},
        "cookie_domain",
        "'example.com' with cookie_name='__Host-session_mw'",
        "cookie_name='__Secure-session_mw'",
    ),
    (
        {"cookie_path": "/app"},
        "cookie_path",
        "'/app' with cookie_name='__Host-session_mw'",
        "cookie_path='/', or cookie_name='__Secure-session_mw'",
    ),
    (
        {"cookie_secure": False},
        "cookie_secure",
        "False with cookie_name='__Host-session_mw'",
        "SessionSettings.insecure_dev()",
    ),
    (
        {"cookie_secure": False, "cookie_name": "__host-x"},
        "cookie_secure",
        "False with cookie_name='__host-x'",
        "cookie_name='x' for plain http",
    ),
    (
        {"cookie_secure": False, "cookie_name": "__Secure-sid"},
        "cookie_secure",
        "False with cookie_name='__Secure-sid'",
        "Leave cookie_secure=True",
    ),
    (
        {"cookie_secure": False, "cookie_name": "sid", "cookie_samesite": "none"},
        "cookie_samesite",
        "'none' with cookie_secure=False",
        "Use cookie_secure=True with https, or cookie_samesite='lax'",
    ),
    (
        {"cookie_secure": False, "cookie_name": "sid", "cookie_partitioned": True},
        "cookie_partitioned",
        "True with cookie_secure=False",
        "Use cookie_secure=True with https, or cookie_partitioned=False",
    ),
    (
        {"trusted_peers": "10.0.0.0/24", "trusted_proxies": "unix, fd00::/8, 10.0.0.0/16"},
        "trusted_peers",
        "'10.0.0.0/24', which lies in '10.0.0.0/16' of trusted_proxies",
        "Name only the proxies' own addresses",
    ),
    (
        {"conversation_header": "x-session-token"},
        "conversation_header",
        "'x-session-token', the same as token_header",
        "Give them different names",
    ),
    (
        {"turn_paths": ["/chat", "/metrics"]},
        "turn_paths",
        "'/metrics', which exclude_paths has too",
        "Remove it from exclude_paths or from turn_paths",
    ),
    (
        {"idle_timeout": "25h"},
        "idle_timeout",
        "25h with absolute_timeout='24h'",
        "Raise absolute_timeout or lower idle_timeout",
    ),
    (
        {"absolute_timeout": "20m"},
        "idle_timeout",
        "30m with absolute_timeout='20m'",
        "Raise absolute_timeout or lower idle_timeout",
    ),
    ({"refresh_interval": "15m"}, "refresh_interval", "15m with idle_timeout='30m'", "Use less than 15m, or None"),
    ({"refresh_interval": "31m"}, "refresh_interval", "31m with idle_timeout='30m'", "Use less than 15m, or None"),
    (
        {"turn_timeout": "25h"},
        "turn_timeout",
        "25h with absolute_timeout='24h'",
        "Lower turn_timeout or raise absolute_timeout",
    ),
    ({"clock_skew": "30m"}, "clock_skew", "30m with idle_timeout='30m'", "Set clock_skew below 30m, say to '3m'"),
    ({"idle_timeout": "10s"}, "clock_skew", "1m with idle_timeout='10s'", "Set clock_skew below 10s, say to '1s'"),
    (
        {"secret_key_fallbacks": [OLD_KEY, KEY], "user_hash_key": OTHER_KEY},
        "secret_key_fallbacks",
        "secret_key among the fallbacks",
        "Remove it from secret_key_fallbacks",
    ),
    (
        {"secret_key_fallbacks": [OLD_KEY, OLD_KEY], "user_hash_key": OTHER_KEY},
        "secret_key_fallbacks",
        "one key twice among 2",
        "Remove the repeated one",
    ),
    (
        {"secret_key_fallbacks": [OLD_KEY]},
        "secret_key_fallbacks",
        "1 key without user_hash_key (user pseudonyms come from secret_key otherwise, and would change with it)",
        "Set user_hash_key to the first secret_key you used",
    ),
    (
        {"baggage_key_fallbacks": [OLD_KEY, OTHER_KEY]},
        "baggage_key_fallbacks",
        "2 keys without baggage_key",
        "Set baggage_key as well",
    ),
    (
        {"baggage_key": OLD_KEY, "baggage_key_fallbacks": [OLD_KEY]},
        "baggage_key_fallbacks",
        "baggage_key among the fallbacks",
        "Remove it from baggage_key_fallbacks",
    ),
]


@pytest.mark.parametrize(
    ("values", "name", "found", "hint"),
    CONTRADICTIONS,
    ids=[f"{row[1]}-{'-'.join(row[0])}" for row in CONTRADICTIONS],
)
def test_S28_contradiction_is_refused_at_construction(values: Values, name: str, found: str, hint: str) -> None:
    """Settings that no browser, clock or key can serve together raise at once, by name, with the way out."""
    error = refused(**values)

    assert name == error.name
    assert f"cannot use setting '{name}' (SESSION_MW_{name.upper()}): found {found}" in str(error)
    assert hint in error.hint
    assert KEY not in str(error)
    assert OLD_KEY not in str(error)


@pytest.mark.parametrize(
    "values",
    [
        {"cookie_name": "__Secure-sid", "cookie_domain": "example.com", "cookie_path": "/app"},
        {"cookie_name": "sid", "cookie_secure": False},
        {"cookie_samesite": "none", "cookie_partitioned": True},
        {"idle_timeout": "24h", "absolute_timeout": "24h"},
        {"refresh_interval": 899.999},
        {"turn_timeout": "24h"},
        {"clock_skew": 1799.999},
        {"clock_skew": 0, "idle_timeout": 1},
        {"secret_key_fallbacks": [OLD_KEY], "user_hash_key": OLD_KEY},
        {"baggage_key": OTHER_KEY, "baggage_key_fallbacks": [OLD_KEY]},
        {"turn_paths": ["/static/upload"]},
    ],
    ids=lambda values: "-".join(values),
)
def test_settings_at_the_edge_of_a_contradiction_are_accepted(values: Values) -> None:
    """The rules refuse what cannot work and nothing beside it."""
    settings = SessionSettings(secret_key=KEY, **values)

    assert settings.secret_bytes() == KEY.encode()


def test_S03_rotation_keeps_current_and_older_keys_apart() -> None:
    """The key that signs is a setting of its own; the order of the others does not matter to it."""
    one = SessionSettings(secret_key=KEY, secret_key_fallbacks=[OLD_KEY, OTHER_KEY], user_hash_key=OLD_KEY)
    two = SessionSettings(secret_key=KEY, secret_key_fallbacks=[OTHER_KEY, OLD_KEY], user_hash_key=OLD_KEY)

    assert one.secret_bytes() == two.secret_bytes() == KEY.encode()
    assert one.fallback_bytes() == (OLD_KEY.encode(), OTHER_KEY.encode())
    assert two.fallback_bytes() == (OTHER_KEY.encode(), OLD_KEY.encode())
