"""Whom we believe, whom we tell, and where things are kept: peers, hosts and store URLs."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

from session_mw._settings.errors import MASK, BadValue, did_you_mean

STORE_SCHEMES = ("memory", "sqlite", "redis", "rediss", "redis+cluster", "postgresql")
# Redis is no place for history: see the ledger's queries.
LEDGER_SCHEMES = ("memory", "sqlite", "postgresql")
_HINTS = "memory://, sqlite:///sessions.db, redis://host:6379/0 or postgresql://user@host/name"

LOOPBACK = "loopback"
SINGLE_LABEL = "single-label"
# Underscores are no host name by RFC 1123, but Docker Compose services have them.
_HOST_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*")
_LONGEST_HOST = 255


def peer_network(value: object) -> IPv4Network | IPv6Network:
    """
    Read a network of trusted peers.

    Args:
        value: "10.0.0.0/8", "fd00::/8", one address, or an object of ``ipaddress``.

    Raises:
        BadValue: If it is no network, has host bits set, or holds everybody.
    """
    hint = "Write networks as 10.0.0.0/8 or single addresses as 10.1.2.3"
    try:
        network = ip_network(value if isinstance(value, IPv4Network | IPv6Network) else str(value).strip())
    except ValueError as error:
        problem = "no host bits set" if "host bits" in str(error) else "an IP network or address"
        raise BadValue(problem, _without_host_bits(str(value)) or hint) from error
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
            "*.suffix", an address or a network.

    Returns:
        The pattern in lower case; addresses and networks in their canonical form.
    """
    hint = 'Write "loopback", "single-label", a host, "*.internal", an address or a network'
    text = value.strip().lower().rstrip(".") if isinstance(value, str) else ""
    if text == "*":
        raise BadValue("not every host: user and session would be told to strangers", hint)
    address = _address(text.strip("[]"))
    if address is not None:
        return address
    if "://" in text or ":" in text:
        raise BadValue("a host without scheme and port", hint)
    if not _HOST_PATTERN.fullmatch(text) or len(text) > _LONGEST_HOST:
        raise BadValue("a host name, or '*.' and a suffix", hint)
    return text


def _address(text: str) -> str | None:
    try:
        network = ip_network(text)
    except ValueError:
        return None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def store_url(value: object) -> object:
    """Read where live sessions are kept: a URL, or a store object."""
    return _place(value, STORE_SCHEMES, f"Write one of {_HINTS}, or pass a store object")


def ledger_url(value: object) -> object:
    """Read where history is kept: a URL, or a ledger object."""
    return _place(value, LEDGER_SCHEMES, "Write sqlite:///history.db or postgresql://user@host/name, or None")


def _place(value: object, schemes: tuple[str, ...], hint: str) -> object:
    if isinstance(value, str):
        return _url(value.strip(), schemes, hint)
    if value is None or isinstance(value, type | bytes | int | float | list | tuple | dict):
        raise BadValue("a URL or an object made for it", hint)
    return value


def _url(url: str, schemes: tuple[str, ...], hint: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes:
        close = did_you_mean("postgresql" if scheme.lower() == "postgres" else scheme, schemes)
        raise BadValue(f"a URL with one of the schemes {', '.join(schemes)}", f"{close}{hint}")
    if not url.isprintable():
        raise BadValue("no control characters in a URL", hint)
    if scheme == "sqlite" and not re.fullmatch(r"/[^/?].*|//[^/?].*", rest):
        raise BadValue("a file after sqlite:///", "Write sqlite:///sessions.db, or sqlite:////var/lib/app/sessions.db")
    if MASK in url:
        raise BadValue(
            "a real password", "This URL was printed or dumped; to change settings use settings.replace(...)"
        )
    return url
