"""
Which hosts may learn who a request is about.

Rule 1: what is not understood is not allowed. A host is a plain ASCII name or an address; user names before
        it, other characters, empty labels and numbers that a resolver would take for an address
        (``2130706433``, ``0x7f.1``) are refused, not interpreted.
Rule 2: the decision is about the text alone: no name is resolved.

Source: OpenTelemetry, "Baggage security considerations": baggage goes to every host called.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # an IPv4 address in any spelling (WHATWG URL)
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]{0,5})?")
_CACHED = 1024  # hosts whose answer is remembered; an application talks to a few


class HostPolicy:
    """
    Decides by a list of patterns whether a host is one of ours.

    Args:
        patterns: Each one of: ``loopback``; ``single-label`` (names without a dot, as in container networks);
            an exact name or address; ``*.suffix`` (any name below the suffix, not the suffix itself); a
            network such as ``10.0.0.0/8``; ``*`` (every host). Case does not count. None at all: no host.

    Raises:
        ValueError: If a pattern is none of these.
    """

    __slots__ = ("_any", "_cache", "_loopback", "_names", "_networks", "_single_label", "_suffixes")

    def __init__(self, patterns: Sequence[str]) -> None:
        words = [pattern.strip().lower() for pattern in patterns]
        self._any = "*" in words
        self._loopback = "loopback" in words
        self._single_label = "single-label" in words
        self._names: set[str] = set()
        self._suffixes: tuple[str, ...] = ()
        self._networks: tuple[_Network, ...] = ()
        self._cache: dict[str, bool] = {}
        for word in words:
            if word not in ("*", "loopback", "single-label"):
                self._add(word)

    def _add(self, word: str) -> None:
        name = word.removeprefix("*.").rstrip(".")
        network = _network(word)
        if network is not None:
            self._networks += (network,)
        elif not _is_name(name):
            raise ValueError(
                f"cannot allow hosts like {word!r}: give a name, '*.suffix', an address, a network such as"
                " '10.0.0.0/8', 'loopback', 'single-label' or '*'; no scheme, port or path."
            )
        elif word.startswith("*."):
            self._suffixes += (f".{name}",)
        else:
            self._names.add(name)

    def allows(self, host: str | None) -> bool:
        """
        Tell whether *host* matches a pattern; never raises.

        Args:
            host: Name or address as in a URL or Host header: a port, brackets, upper case and a dot at the
                end may be there. None means unknown, and unknown is not allowed.
        """
        if host is None or len(host) > 300:
            return False
        answer = self._cache.get(host)
        if answer is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            answer = self._cache[host] = self._decide(host)
        return answer

    def _decide(self, host: str) -> bool:
        # lower() makes ASCII of some other characters (the Kelvin sign), so ASCII is asked for first.
        text = _bare(host.lower()) if host.isascii() else ""
        address = _address(text)
        if address is not None:
            return self._any or self._allows_address(address)
        return _is_name(text) and (self._any or self._allows_name(text))

    def _allows_address(self, address: _Address) -> bool:
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        plain = mapped or address
        return (self._loopback and plain.is_loopback) or any(plain in network for network in self._networks)

    def _allows_name(self, name: str) -> bool:
        if self._loopback and (name == "localhost" or name.endswith(".localhost")):  # RFC 6761, 6.3
            return True
        if self._single_label and "." not in name:
            return True
        return name in self._names or name.endswith(self._suffixes)


def _bare(host: str) -> str:
    """Host without port, brackets and final dot; what is not understood stays, and then is no name."""
    if host.count(":") > 1 and not host.startswith("["):
        return host  # an IPv6 address without brackets has no port
    match = _HOST_AND_PORT.fullmatch(host)
    if match is None:
        return host
    text = match.group(1)
    if text.startswith("["):
        return text[1:-1] if ":" in text else text
    return text[:-1] if text.endswith(".") else text


def _is_name(text: str) -> bool:
    return len(text) <= 253 and _NAME.fullmatch(text) is not None and _NUMBER.fullmatch(text) is None


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
