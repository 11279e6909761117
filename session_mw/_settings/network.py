"""Whom we believe, whom we tell, and where things are kept: peers, hosts and store URLs."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from session_mw._settings.errors import MASK, BadValue, did_you_mean
from session_mw._settings.redis_url import SCHEMES as REDIS_SCHEMES
from session_mw._settings.redis_url import read_redis_url
from session_mw._settings.sqlite_url import read_sqlite_url

STORE_SCHEMES = ("memory", "sqlite", "redis", "rediss", "redis+cluster", "postgresql")
# Redis is no place for history: see the ledger's queries.
LEDGER_SCHEMES = ("memory", "sqlite", "postgresql")
_STORES = "memory://, sqlite:///sessions.db, redis://host:6379/0 or postgresql://user@host/name"

# Underscores are no host name by RFC 1123, but Docker Compose services have them.
_HOST_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
# What ends in a number is an address in some spelling (WHATWG URL), and ``ipaddress`` did not know this one.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_LONGEST_HOST = 253
Proxy = IPv4Network | IPv6Network | Literal["unix", "server"]


def peer_network(value: object) -> IPv4Network | IPv6Network:
    """
    Read a network of trusted peers.

    Args:
        value: "10.0.0.0/8", "fd00::/8", one address, or an object of ``ipaddress``.

    Raises:
        BadValue: If it is no network, has host bits set, or holds everybody.
    """
    return _network(value, "Write networks as 10.0.0.0/8 or single addresses as 10.1.2.3")


def proxy_network(value: object) -> Proxy:
    """
    Read a network of proxies in front.

    Args:
        value: As for ``peer_network``; "unix", for whoever connects to a unix socket; or "server", for whom the server
            finds by itself in forwarded headers (uvicorn --proxy-headers with a right --forwarded-allow-ips).

    Raises:
        BadValue: As for ``peer_network``.
    """
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("unix", "server"):
        return "unix" if word == "unix" else "server"
    hint = "Write the proxies' networks as 10.0.0.0/24, single addresses as 10.1.2.3, or unix for unix sockets"
    return _network(value, hint)


def _network(value: object, hint: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(value if isinstance(value, IPv4Network | IPv6Network) else str(value).strip())
    except ValueError as error:
        problem = "no host bits set" if "host bits" in str(error) else "an IP network or address"
        raise BadValue(problem, _without_host_bits(str(value)) or hint) from error
    # Addresses are compared as IPv4 wherever they are: "::ffff:10.0.0.0/104" is 10.0.0.0/8.
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        network = IPv4Network((mapped, network.prefixlen - 96))
    if network.prefixlen == 0:
        raise BadValue("not everybody: any client could name any session and user", hint)
    return network


def _without_host_bits(text: str) -> str | None:
    try:
        return f"Write {str(ip_network(text.strip(), strict=False))!r}"
    except ValueError:
        return None


def host_pattern(value: object) -> str:
    """
    Read a host that may receive our baggage.

    Args:
        value: "loopback" (localhost, 127.0.0.0/8, ::1), "single-label" (names without a dot), a host name,
            "*.suffix", an address, a network, or "*" for every host.

    Returns:
        The pattern in lower case; addresses and networks in their canonical form.
    """
    hint = 'Write "loopback", "single-label", a host, "*.internal", an address or a network'
    text = value.strip().lower().rstrip(".") if isinstance(value, str) else ""
    address = _address(text.strip("[]"))
    if address is not None:
        return address
    if text == "*":
        return text
    if ":" in text or "/" in text:
        raise BadValue("a host without scheme, port and path", hint)
    if not _HOST_PATTERN.fullmatch(text) or _NUMBER.fullmatch(text) or len(text) > _LONGEST_HOST:
        raise BadValue("a host name, or '*.' and a suffix", hint)
    return text


def _address(text: str) -> str | None:
    try:
        network = ip_network(text)
    except ValueError:
        return None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def store_url(value: object) -> str:
    """Read the URL of the store: where live sessions are kept."""
    return _url(value, STORE_SCHEMES, f"Write one of {_STORES}")


def ledger_url(value: object) -> str:
    """Read the URL of the ledger: where history is kept."""
    return _url(value, LEDGER_SCHEMES, "Write sqlite:///history.db or postgresql://user@host/name, or None")


def _url(value: object, schemes: tuple[str, ...], hint: str) -> str:
    url = value.strip() if isinstance(value, str) else ""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        close = did_you_mean("postgresql" if scheme.lower() == "postgres" else scheme, schemes)
        raise BadValue(f"a URL with one of the schemes {', '.join(schemes)}", f"{close}{hint}")
    if not url.isprintable():
        raise BadValue("no control characters in a URL", hint)
    if scheme == "sqlite":
        read_sqlite_url(url)
    if MASK in url:
        raise BadValue(
            "a real password", "This URL was printed or dumped; to change settings use settings.replace(...)"
        )
    if scheme in REDIS_SCHEMES:
        read_redis_url(url)
    return url
