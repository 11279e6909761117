"""Each setting by itself: what it takes, what it keeps, and how it refuses the rest."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from session_mw._core.cookies import CookieFormat
from session_mw._core.facts import PathSet
from session_mw._core.hosts import HostPolicy
from session_mw._core.identity import make_session_id, valid_session_id
from session_mw.exceptions import SettingsError
from session_mw.settings import SessionSettings
from tests.settings.support import KEY, refused, unhurried


def user_of(request: object) -> str:
    """Stand for an application's function."""
    return "alice"


class Sink:
    """Stand for an application's sink."""


SINK = Sink()


@pytest.mark.parametrize(
    ("name", "given_value", "kept"),
    [
        ("issue", "Both", "both"),
        ("cookie_samesite", "Strict", "strict"),
        ("cookie_domain", "Example.COM", "example.com"),
        ("cookie_secure", "yes", True),
        ("sign_baggage", "OFF", False),
        ("refresh_interval", None, None),
        ("refresh_interval", "1m", 60.0),
        ("idle_timeout", "45m", 2700.0),
        ("idle_timeout", timedelta(hours=1), 3600.0),
        ("idle_timeout", 90, 90.0),
        ("clock_skew", 0, 0.0),
        ("ledger_retention", None, None),
        ("content_retention", "7d", 7 * 86_400.0),
        ("content_limit", "1KiB", 1024),
        ("content_limit", 1, 1),
        ("trusted_proxies", "2", 2),
        ("trusted_proxies", "10.0.0.7, fd00::/8", (IPv4Network("10.0.0.7/32"), IPv6Network("fd00::/8"))),
        (
            "trusted_proxies",
            ["Unix", "server", IPv4Address("10.0.0.7")],
            ("unix", "server", IPv4Network("10.0.0.7/32")),
        ),
        ("max_live", 1, 1),
        ("prompt_version", " v3 ", "v3"),
        ("session_id_prefix", "chat-", "chat-"),
        ("conversation_path_param", "conversation_id", "conversation_id"),
        ("store", "postgresql://u:p@db/app", "postgresql://u:p@db/app"),
        ("store", "redis+cluster://a:7000", "redis+cluster://a:7000"),
        ("store", "redis+cluster://u:p@a:7000,[::1]:7001?ssl=true", "redis+cluster://u:p@a:7000,[::1]:7001?ssl=true"),
        ("store", "redis://cache?prefix=shop&socket_timeout=0.1", "redis://cache?prefix=shop&socket_timeout=0.1"),
        ("store", "rediss://cache:6380/1", "rediss://cache:6380/1"),
        ("ledger", "sqlite:////var/lib/app/history.db", "sqlite:////var/lib/app/history.db"),
        ("trusted_peers", ["10.0.0.0/8", "fd00::/8"], (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))),
        ("trusted_peers", "10.1.2.3", (IPv4Network("10.1.2.3/32"),)),
        ("trusted_peers", (IPv4Network("10.0.0.0/8"),), (IPv4Network("10.0.0.0/8"),)),
        ("trusted_peers", "::ffff:10.0.0.0/104", (IPv4Network("10.0.0.0/8"),)),
        ("propagate_to", "Loopback, API.example.com", ("loopback", "api.example.com")),
        ("propagate_to", "[::1],localhost", ("::1", "localhost")),
        ("propagate_to", ["127.0.0.0/8", "*.svc", "my_service", "*"], ("127.0.0.0/8", "*.svc", "my_service", "*")),
        ("propagate_to", (), ()),
        ("dialects", {"langfuse", "OpenInference"}, frozenset({"langfuse", "openinference"})),
        ("dialects", [], frozenset()),
        ("turn_methods", "post, put", ("POST", "PUT")),
        ("turn_paths", ["/chat", "/api/*", "*/events"], ("/chat", "/api/*", "*/events")),
        ("exclude_paths", "", ()),
        ("exclude_paths", '["/a,b"]', ("/a,b",)),
        ("user", user_of, user_of),
        ("input_text", "messages[-1].content", "messages[-1].content"),
        ("output_text", user_of, user_of),
        ("event_sink", SINK, (SINK,)),
        ("event_sink", [SINK, user_of], (SINK, user_of)),
    ],
)
def test_setting_keeps_what_was_meant(name: str, given_value: Any, kept: object) -> None:
    """Every usual spelling becomes the one value that the engine reads."""
    options: dict[str, Any] = {"secret_key": KEY, "cookie_name": "sid", name: given_value}

    assert kept == getattr(SessionSettings(**options), name)


BAD_VALUES: list[tuple[str, Any, str, str]] = [
    # name, value, what the text shows as found, what it says to do
    ("issue", "cookies", "'cookies'", "Did you mean 'cookie'?"),
    ("issue", None, "None", "cookie, header, both, none"),
    ("cookie_samesite", "strikt", "'strikt'", "Did you mean 'strict'?"),
    ("sweep", "tread", "'tread'", "Did you mean 'thread'?"),
    ("websocket_turns", "messages", "'messages'", "Did you mean 'message'?"),
    ("user_id_mode", "plane", "'plane'", "Did you mean 'plain'?"),
    ("continue_trace", "allways", "'allways'", "Did you mean 'always'?"),
    ("server_span", True, "True", "auto, always, never"),
    ("session_span", "requests", "'requests'", "Did you mean 'request'?"),
    ("lifecycle_spans", "no", "'no'", "auto, always, never"),
    ("dialects", "langfus", "'langfus'", "Did you mean 'langfuse'?"),
    ("dialects", ["mlflow", "mlflow"], "'mlflow' twice", "Remove the repeated one"),
    ("dialects", 7, "type int", "Give a list"),
    ("cookie_secure", "None", "'None'", "true, false"),
    ("cookie_secure", "", "''", "true, false"),
    ("cookie_secure", 2, "2", "true, false"),
    ("cookie_secure", None, "None", "true, false"),
    ("capture_content", "maybe", "'maybe'", "true, false"),
    ("cookie_name", "my cookie", "'my cookie'", "Use letters"),
    ("cookie_name", "a;b", "'a;b'", "Use letters"),
    ("cookie_name", "a=b", "'a=b'", "Use letters"),
    ("cookie_name", "a\r\nSet-Cookie: x", r"'a\r\nSet-Cookie: x'", "Use letters"),
    ("cookie_name", "séance", "'séance'", "Use letters"),
    ("cookie_name", "", "''", "Use letters"),
    ("cookie_name", "n" * 65, "'nnnn", "Use letters"),
    ("cookie_name", None, "None", "Use letters"),
    ("cookie_domain", "https://example.com", "'https://example.com'", "Write the bare domain"),
    ("cookie_domain", "example.com:8080", "'example.com:8080'", "without scheme, port"),
    ("cookie_domain", ".example.com", "'.example.com'", "Write 'example.com'"),
    ("cookie_domain", "example.com; Secure", "'example.com; Secure'", "no ';'"),
    ("cookie_domain", "exa\x00mple.com", r"'exa\x00mple.com'", "no control character"),
    ("cookie_domain", "example.com\r\n", r"'example.com\r\n'", "no control character"),
    ("cookie_domain", "bücher.example", "'bücher.example'", "Write the bare domain"),
    ("cookie_domain", "None", "'None'", "at least one dot"),
    ("cookie_domain", "", "''", "Write the bare domain"),
    ("cookie_domain", f"{'a.' * 130}com", "'a.a.", "Write the bare domain"),
    ("cookie_path", "app", "'app'", "Write '/'"),
    ("cookie_path", "", "''", "Write '/'"),
    ("cookie_path", "/a;b", "'/a;b'", "without space and ';'"),
    ("cookie_path", "/a\n", r"'/a\n'", "Write '/'"),
    ("cookie_path", None, "None", "Write '/'"),
    ("token_header", "X Session", "'X Session'", "Use letters"),
    ("token_header", "X-Session:", "'X-Session:'", "Use letters"),
    ("token_header", "X_Session_Token", "'X_Session_Token'", "Write 'X-Session-Token'"),
    ("token_header", "Cookie", "'Cookie'", "Choose another name"),
    ("token_header", "x-session-id", "'x-session-id'", "Choose another name"),
    ("conversation_header", "", "''", "Use letters"),
    ("conversation_header", "traceparent", "'traceparent'", "Choose another name"),
    ("conversation_path_param", "{conversation}", "'{conversation}'", "Write conversation_id"),
    ("session_id_prefix", "my chat", "'my chat'", "Write a prefix"),
    ("session_id_prefix", "../", "'../'", "Write a prefix"),
    ("session_id_prefix", "", "''", "Write a prefix"),
    ("session_id_prefix", "p" * 65, "'pppp", "Write a prefix"),
    ("session_type", "", "''", "Write a short text"),
    ("session_name", "a\x1b[31m", r"'a\x1b[31m'", "Write a short text"),
    ("prompt_version", 3, "3", "Write a short text"),
    ("channel", "c" * 129, "'cccc", "Write a short text"),
    ("user", "alice", "'alice'", "Pass the function itself"),
    ("turn_when", True, "True", "Pass the function itself"),
    ("redact", "strip", "'strip'", "in code"),
    ("price_for", 0.5, "0.5", "in code"),
    ("input_text", "", "''", "pass a function"),
    ("output_text", 5, "5", "pass a function"),
    ("event_sink", "logger", "'logger'", "in code"),
    ("event_sink", Sink, "the class Sink", "Write Sink(...)"),
    ("event_sink", [], "an empty list", "Leave event_sink out"),
    ("event_sink", [SINK, None], "None", "in code"),
    ("store", "postgres://db/app", "'postgres://db/app'", "Did you mean 'postgresql'?"),
    ("store", "sqllite:///a.db", "'sqllite:///a.db'", "Did you mean 'sqlite'?"),
    ("store", "memory", "'memory'", "memory://"),
    ("store", "mysql://db", "'mysql://db'", "Write one of memory://"),
    ("store", "sqlite://", "'sqlite://'", "Write sqlite:///sessions.db"),
    ("store", "sqlite://sessions.db", "'sqlite://sessions.db'", "Write sqlite:///sessions.db"),
    ("store", "redis://ho\r\nst", r"'redis://ho\r\nst'", "Write one of"),
    ("store", "redis://u:pw@cache:x/0", "'cache:x'", "Write redis://host:6379/0"),
    ("store", "redis://cache/name", "'/name'", "Write redis://host:6379/0"),
    ("store", "redis+cluster://a:7000/1", "'/1'", "redis+cluster://host:7000"),
    ("store", "redis://a,b", "'a,b'", "redis+cluster://"),
    ("store", "redis://cache?timeout=1", "'timeout'", "Write redis://host:6379/0"),
    ("store", "redis://cache?socket_timeout=0", "'0'", "Write ?socket_timeout=0.05"),
    ("store", "redis://cache?prefix={a}", "'{a}'", "Write ?prefix=shop"),
    ("store", "redis://cache?ssl=maybe", "'maybe'", "Write ?ssl=true"),
    ("store", "redis://cache?ssl_cert_reqs=none", "'redis://cache?ssl_cert_reqs=none'", "Write rediss://"),
    ("store", "rediss://cache?ssl_cert_reqs=some", "'some'", "Write ?ssl_cert_reqs=required"),
    ("store", "redis://u:**********@h", "'redis://u:**********@h'", "settings.replace"),
    ("store", None, "None", "Write one of"),
    ("store", 5, "5", "Write one of"),
    ("ledger", "redis://cache", "'redis://cache'", "Write sqlite:///history.db"),
    ("ledger", "postgre://db", "'postgre://db'", "Did you mean 'postgresql'?"),
    ("trusted_peers", ["10.0.0.1/8"], "['10.0.0.1/8']", "Write '10.0.0.0/8'"),
    ("trusted_peers", "proxy.internal", "'proxy.internal'", "Write networks as"),
    ("trusted_peers", "*", "'*'", "Write networks as"),
    ("trusted_peers", "0.0.0.0/0", "'0.0.0.0/0'", "not everybody"),
    ("trusted_peers", "::/0", "'::/0'", "not everybody"),
    ("trusted_peers", ["10.0.0.0/8", "10.0.0.0/8"], "'10.0.0.0/8' twice", "Remove the repeated one"),
    ("trusted_peers", 5, "type int", "Give a list"),
    ("trusted_peers", "::ffff:0:0/96", "'::ffff:0:0/96'", "not everybody"),
    ("trusted_proxies", -1, "-1", "Count the proxies"),
    ("trusted_proxies", "-1", "'-1'", "Count the proxies"),
    ("trusted_proxies", 8080, "8080", "Count the proxies"),
    ("trusted_proxies", True, "True", "Count the proxies"),
    ("trusted_proxies", 1.5, "1.5", "Count the proxies"),
    ("trusted_proxies", "9" * 50, "'9999", "Count the proxies"),
    ("trusted_proxies", "*", "'*'", "unix for unix sockets"),
    ("trusted_proxies", "0.0.0.0/0", "'0.0.0.0/0'", "not everybody"),
    ("trusted_proxies", ["10.0.0.1/8"], "['10.0.0.1/8']", "Write '10.0.0.0/8'"),
    ("trusted_proxies", ["unix", "UNIX"], "'unix' twice", "Remove the repeated one"),
    ("max_live", 0, "0", "None for no limit"),
    ("max_live", "many", "'many'", "None for no limit"),
    ("propagate_to", "http://api.internal", "'http://api.internal'", "without scheme"),
    ("propagate_to", "localhost:8000", "'localhost:8000'", "without scheme, port"),
    ("propagate_to", "*.*.svc", "'*.*.svc'", "a host name"),
    ("propagate_to", "2130706433", "'2130706433'", "a host name"),
    ("propagate_to", ["svc", "SVC."], "'svc' twice", "Remove the repeated one"),
    ("propagate_to", [None], "[None]", "a host name"),
    ("exclude_paths", "health", "'health'", "Write '/health'"),
    ("exclude_paths", ["/a", "/a"], "'/a' twice", "Remove the repeated one"),
    ("exclude_paths", "/*", "'/*'", "Remove the middleware"),
    ("exclude_paths", "*", "'*'", "Remove the middleware"),
    ("exclude_paths", '["/a"', "begins like JSON", 'Write ["a", "b"]'),
    ("exclude_paths", {"/a": 1}, "type dict", "Give a list"),
    ("turn_methods", "PSOT", "'PSOT'", "Did you mean 'POST'?"),
    ("turn_methods", "HEAD", "'HEAD'", "HEAD and OPTIONS are never turns"),
    ("turn_methods", [], "an empty list", "Leave it out"),
    ("turn_paths", "chat", "'chat'", "Write '/health'"),
    ("turn_paths", [], "an empty list", "Leave it out"),
    ("content_limit", 0, "0", "capture_content=False"),
    ("content_limit", "2MiB", "'2MiB'", "1MiB"),
    ("content_limit", "64K", "'64K'", "KiB"),
    ("content_limit", -1, "-1", "Write bytes"),
    ("content_limit", 1.5, "1.5", "Write bytes"),
    *(
        (name, value, repr(value)[:100], "Write seconds")
        for name in ("idle_timeout", "absolute_timeout", "turn_timeout", "refresh_interval", "ledger_retention")
        for value in (
            0,
            -1,
            "0s",
            "30M",
            "soon",
            "",
            True,
            float("nan"),
            float("inf"),
            timedelta(-1),
            0.0001,
            "200000d",
        )
    ),
    ("clock_skew", -1, "-1", "Write seconds"),
    ("idle_timeout", None, "None", "Write seconds"),
    ("absolute_timeout", None, "None", "Write seconds"),
    ("clock_skew", None, "None", "Write seconds"),
]


@pytest.mark.parametrize(
    ("name", "value", "found", "hint"),
    BAD_VALUES,
    ids=[f"{row[0]}-{str(row[1])[:20]!r}" for row in BAD_VALUES],
)
def test_bad_value_is_refused_by_name_with_what_was_found_and_what_to_do(
    name: str, value: Any, found: str, hint: str
) -> None:
    """Every bad value raises one error that names the setting, shows the value and tells the way out."""
    error = refused(**{name: value})

    assert name == error.name
    assert f"'{name}' (SESSION_MW_{name.upper()})" in str(error)
    assert found in str(error)
    assert hint in str(error)
    assert str(error).endswith(f"{error.hint}.")


def test_several_bad_values_are_named_in_one_error() -> None:
    """The first is told in full, the others by name, so that one start shows all."""
    error = refused(sweep="never", cookie_path="app", idle_timeout=0)

    assert str(error).startswith("cannot use setting 'cookie_path'")
    assert str(error).endswith(" Also wrong: idle_timeout, sweep.")


def test_long_value_is_cut_in_the_error() -> None:
    """An error stays readable whatever was pasted into a setting."""
    assert len(str(refused(cookie_name="x" * 100_000))) < 600


@pytest.mark.parametrize("name", ["idle_timeout", "absolute_timeout"])
@pytest.mark.parametrize("value", [None, 0, -1, float("inf"), "never"])
def test_S22_neither_timeout_can_be_switched_off(name: str, value: Any) -> None:
    """Idle and absolute timeout always exist and end."""
    assert name == refused(**{name: value}).name


def test_S23_default_timeouts_are_within_nist_aal2() -> None:
    """NIST SP 800-63B-4, AAL2: at most one hour idle, at most 24 hours in all."""
    settings = SessionSettings(secret_key=KEY)

    assert settings.idle_timeout <= 3600
    assert settings.absolute_timeout <= 86400


def test_S27_default_cookie_is_the_strictest_that_works() -> None:
    """__Host- name, Secure, SameSite=Lax, Path=/, no Domain."""
    settings = SessionSettings(secret_key=KEY)

    assert settings.cookie_name.startswith("__Host-")
    assert settings.cookie_secure is True
    assert settings.cookie_samesite == "lax"
    assert settings.cookie_path == "/"
    assert settings.cookie_domain is None


# Mostly good pieces, so that many of the texts are accepted, and one of the bad ones now and then.
WIRE_TEXT = st.lists(
    st.sampled_from(["a", "B3", "-", "_", ".", "x.y", "*.", "*", "/", "/p", "8", "0x1", "~"])
    | st.sampled_from(
        [" ", ";", "=", ":", "[", "]", "\r\n", "\x00", "\x7f", "é", "\t", "%", "\\", '"', "?", "..", "K"]
    ),
    max_size=6,
).map("".join)


def accepts(**values: Any) -> SessionSettings | None:
    """Return settings, or None when they refuse *values*."""
    try:
        return SessionSettings(**{"secret_key": KEY, "cookie_name": "sid", **values}, _env_file=None)
    except SettingsError:
        return None


@unhurried
@given(WIRE_TEXT, WIRE_TEXT, WIRE_TEXT)
def test_S28_accepted_cookie_settings_make_a_cookie(name: str, domain: str, path: str) -> None:
    """What the settings accept, the cookie writer accepts: nothing fails later, in a request."""
    for values in ({"cookie_name": name}, {"cookie_domain": domain}, {"cookie_path": path}):
        settings = accepts(**values)
        if settings is not None:
            header = CookieFormat(settings.cookie_name, domain=settings.cookie_domain, path=settings.cookie_path).set(
                "value"
            )

            assert header.isascii()
            assert not set(header) & set(b"\r\n\x00")


@unhurried
@given(WIRE_TEXT)
def test_accepted_hosts_make_a_host_policy(text: str) -> None:
    """What the settings accept as a host, the policy understands."""
    settings = accepts(propagate_to=[text])
    if settings is not None:
        policy = HostPolicy(settings.propagate_to)

        assert policy.allows("example.com") in (True, False)
        assert not policy.allows(None)


@unhurried
@given(WIRE_TEXT)
@example("/*")
def test_accepted_paths_make_a_path_set(text: str) -> None:
    """What the settings accept as a path, the path set compiles; one without wildcards covers itself, no stranger."""
    settings = accepts(exclude_paths=[text])
    if settings is None:
        return

    paths = PathSet(settings.exclude_paths)

    if not any(c in text for c in "*?["):
        assert text in paths
        assert "/never/excluded/by-chance" not in paths
    elif text == "/*":
        assert "/anything/at-all" in paths


@unhurried
@given(WIRE_TEXT)
def test_accepted_prefix_makes_a_valid_session_id(text: str) -> None:
    """What the settings accept as a prefix begins a valid id."""
    settings = accepts(session_id_prefix=text)
    if settings is not None:
        assert valid_session_id(make_session_id(bytes(range(24)), prefix=settings.session_id_prefix))
