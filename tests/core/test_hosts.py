"""Which hosts may learn who a request is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.baggage import HostPolicy

DEFAULT = HostPolicy(("loopback", "single-label", "*.local", "*.internal", "*.svc", "*.cluster.local"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost:8000",
        "localhost.",
        "localhost.:80",
        "app.localhost",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.10",
        "[::1]",
        "[::1]:8000",
        "::1",
        "[::ffff:127.0.0.1]",
        "billing",
        "billing:8080",
        "my_service",
        "local",
        "printer.local",
        "3com.local",
        "10.internal",
        "10-0-0-1.pod.cluster.local",
        "Billing.Prod.SVC.Cluster.Local",
        "billing.prod.svc",
        "ip-10-0-0-1.ec2.internal",
        "a.internal.:443",
    ],
)
def test_default_hosts_inside(host: str) -> None:
    """Loopback, container networks and the usual private suffixes are told by default."""
    assert DEFAULT.allows(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ".",
        ":80",
        "api.openai.com",
        "example.com",
        "10.0.0.1",
        "192.168.1.1",
        "0.0.0.0",
        "[2001:db8::1]",
        "2001:db8::1",
        "internal.example.com",
        "evillocal.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "evil.com.",
        "user@localhost",
        "user:pass@localhost:80",
        "localhost@evil.com",
        "localhost/evil.com",
        "evil.com/localhost",
        "evil.com#.internal",
        "evil.com?.internal",
        "evil.com\\.internal",
        "evil.com%00.internal",
        "evil.com\x00.internal",
        "evil.com\r\n.internal",
        "evil.com .internal",
        " localhost",
        "localhost ",
        "http://localhost",
        "localhost:80:80",
        "localhost:http",
        "localhost:123456",
        "[localhost]",
        "[127.0.0.1]",
        "[::1",
        "::1]",
        "[::1]evil.com",
        "[::1]:80.internal",
        "a..internal",
        ".internal",
        "2130706433",
        "134744072",
        "0x8080808",
        "0x",
        "8.8.8.08",
        "127.1",
        "1.2.3.4.5",
        "billing.123",
        "billing\u3002internal",
        "billing\uff0einternal",
        "ⓛocalhost",
        "\u212aube.internal",  # the Kelvin sign, whose lower case is an ASCII k
        "münchen.local",
        "x" * 64 + ".local",
        "a." * 130 + "local",
        "a" * 100_000,
    ],
    ids=lambda host: repr(host)[:40],
)
def test_default_hosts_outside(host: str | None) -> None:
    """Everybody else is not told, and neither is what is not plainly a host."""
    assert not DEFAULT.allows(host)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("loopback", "localhost", "billing"),
        ("single-label", "billing", "127.0.0.1"),
        ("single-label", "localhost", "app.localhost"),
        ("api.example.com", "API.example.com:443", "x.api.example.com"),
        ("Api.Example.COM.", "api.example.com", "example.com"),
        ("*.example.com", "a.b.example.com", "example.com"),
        ("*.example.com", "a.example.com", "aexample.com"),
        ("10.1.2.3", "10.1.2.3:80", "10.1.2.4"),
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.1.2.3/8", "10.255.0.1", "11.0.0.1"),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]", "[::ffff:11.0.0.1]"),
        ("fd00::/8", "[fd12::1]:443", "[fe80::1]"),
        ("fe80::/10", "[fe80::1%eth0]", "fd00::1"),
        ("[::1]", "::1", "127.0.0.1"),
        (" *.example.com ", "a.example.com", "example.com"),
        ("*", "api.openai.com", "user@localhost"),
        ("*", "8.8.8.8", "2130706433"),
    ],
)
def test_patterns(pattern: str, inside: str, outside: str) -> None:
    """Words, names, suffixes, addresses and networks match what they say and nothing near it."""
    policy = HostPolicy((pattern,))

    assert policy.allows(inside)
    assert not policy.allows(outside)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*.",
        "**",
        "api.*.com",
        "*example.com",
        "*.*.com",
        "http://example.com",
        "example.com:80",
        "example.com/path",
        "user@example.com",
        "münchen.de",
        "a b",
        "a..b",
        ".example.com",
        "10.0.0.0/33",
        "256.1.1.1",
        "300",
        "*.10",
        "example.com\n.local",
    ],
)
def test_patterns_that_cannot_be_meant(pattern: str) -> None:
    """A pattern that matches nothing, or something else than it seems to, is refused when it is configured."""
    with pytest.raises(ValueError, match="cannot allow hosts like"):
        HostPolicy(("loopback", pattern))


def test_no_patterns() -> None:
    """With an empty list nobody is told, not even this machine."""
    assert not HostPolicy(()).allows("localhost")


def test_answers_are_remembered_within_bounds() -> None:
    """A client that names ever new hosts does not fill the memory, and answers stay right."""
    policy = HostPolicy(("*.local",))

    for n in range(5000):
        assert policy.allows(f"h{n}.local")
        assert not policy.allows(f"h{n}.com")
    assert len(policy._cache) <= 1024


@given(st.text() | st.text("[]:.%@0123456789abcdefx*-_lo "))
def test_any_text(host: str) -> None:
    """No text makes the policy raise; asked twice it says the same."""
    assert DEFAULT.allows(host) is DEFAULT.allows(host)


@pytest.mark.parametrize("filler", [".", ":", "[", "]", "a.", "0.", "%", "@", "::"])
def test_deciding_takes_no_time(filler: str, best_ms: Callable[[Callable[[], object]], float]) -> None:
    """A host that no name server would accept is refused at a glance."""
    text = filler * (65536 // len(filler))

    assert best_ms(lambda: HostPolicy(("*.local",)).allows(text)) < 5
    assert best_ms(lambda: HostPolicy(("*.local",)).allows(text[:299])) < 5
