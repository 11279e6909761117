"""
Whose word about sessions is taken unsigned: who the peer is, when proxies stand between us and it.

Rule 1: the peer is the other end of the socket. Where that is a proxy of ours, the forwarded headers say who it is: the
        list is read from the right, proxies of ours are passed over, the first other address is the peer.
Rule 2: nothing is guessed. An entry that is no address, nothing but proxies, two headers that name different peers:
        nobody. A client that writes one of the headers itself, the one our proxy does not write, gains nothing.
Rule 3: a proxy of ours is no peer: what it sends without a forwarded header may be anybody's.
Rule 4: a unix socket has no address. Its other end is a proxy where "unix" is named, else nobody.
Rule 5: an address that stands in a forwarded header too may have been put in the socket's place by the server (uvicorn
        --proxy-headers), whoever wrote that header: the client, with --forwarded-allow-ips='*'. It counts where
        "server" is named, which says that the server's list is right, and Rule 1 finds the same address.
Rule 6: a peer that sends a forwarded header and is no proxy of ours speaks for others. It is believed where it was
        named by its own address, not as a part of a network: a load balancer is a part of the network, too.
Rule 7: proxies may be counted instead of named: the last of so many entries from the right is the peer, whatever the
        socket says. That is true where nobody reaches the server but through all of them.

Source: RFC 7239, 4 and 6 (syntax), 8.1 (the list is true from the right only, and as far as its writers are ours).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from .facts import RequestFacts

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Judgement = Literal["trusted", "untrusted", "relayed"]

UNIX, SERVER = "unix", "server"
MOST_ENTRIES = 32  # no chain of proxies is longer; what stands before them is not looked at
LONGEST_ELEMENT = 1024  # characters: an address, a host and a scheme

# With a port, or without one; IPv6 in brackets wherever a port may follow.
_NODE = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})")
# Of a quoted string only what needs no escaping: no address does.
_PAIR = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:\"([^\"\\]*)\"|([^\"\\ \t=]+))")
_BY = re.compile(r"(?<![^;, \t])by=[^;,]*", re.IGNORECASE)
_OWS = " \t"


class PeerRules:
    """
    Decides whether a request comes from whom we believe without a signature.

    Args:
        peers: Networks that are believed. None: nobody is.
        proxies: Networks of the proxies in front; "unix" for the other end of a unix socket; "server" for addresses
            that the server has taken from a header. Or how many there are.
    """

    __slots__ = ("_hops", "_peers", "_proxies", "_server", "_unix")

    def __init__(self, peers: Sequence[Network] = (), proxies: Sequence[Network | str] | int = ()) -> None:
        self._peers = tuple(peers)
        self._hops, proxies = (proxies, ()) if isinstance(proxies, int) else (0, proxies)
        self._proxies = tuple(proxy for proxy in proxies if not isinstance(proxy, str))
        self._unix, self._server = UNIX in proxies, SERVER in proxies

    def judge(self, facts: RequestFacts) -> Judgement:
        """
        Tell whether the peer is believed; never raises, in linear time.

        Returns:
            "relayed" is a no as well: the peer is in a trusted network, and sent a forwarded header that nothing
            configured accounts for.
        """
        if not self._peers:
            return "untrusted"
        lines, elements = facts.lines("x-forwarded-for"), facts.lines("forwarded")
        if self._hops:
            return "trusted" if self._believes(self._behind(lines, elements)) else "untrusted"
        address = _address(facts.peer.partition("%")[0])
        proxy = self._is_proxy(address) or (self._unix and not facts.peer)
        if not lines and not elements:
            return "trusted" if self._believes(address) and not proxy else "untrusted"
        replaced = _stands_in(facts.peer, lines, elements)
        if replaced and not self._server:
            return "relayed" if proxy or self._believes(address) else "untrusted"
        if proxy or replaced:
            peer = self._behind(lines, elements)
            return "trusted" if self._believes(peer) and (proxy or peer == address) else "untrusted"
        if not self._believes(address):
            return "untrusted"
        return "trusted" if self._named(address) else "relayed"

    def _believes(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._peers)

    def _named(self, address: Address | None) -> bool:
        return any(network.num_addresses == 1 and address in network for network in self._peers)

    def _is_proxy(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._proxies)

    def _behind(self, lines: Sequence[str], elements: Sequence[str]) -> Address | None:
        """Return the address that stands before our proxies; where both headers came, they agree."""
        found = set()
        if lines:
            found.add(self._first(lines, _node))
        if elements:
            found.add(self._first(elements, _element))
        return found.pop() if len(found) == 1 else None

    def _first(self, lines: Sequence[str], read: Callable[[str], Address | None]) -> Address | None:
        """Return the first address from the right that is no proxy of ours."""
        if self._hops:
            entries = ",".join(lines).rsplit(",", self._hops)[-self._hops :]
            return read(entries[0].strip(_OWS)) if len(entries) == self._hops else None
        for text in reversed(",".join(lines).rsplit(",", MOST_ENTRIES)):
            address = read(text.strip(_OWS))
            if address is None or not self._is_proxy(address):
                return address
        return None


def _element(text: str) -> Address | None:
    """Return the address in one element of ``Forwarded`` (RFC 7239, 4); None where it names none, or two."""
    if len(text) > LONGEST_ELEMENT:
        return None
    found: list[str] = []
    for part in text.split(";"):
        pair = _PAIR.fullmatch(part.strip(_OWS))
        if pair is None:
            return None
        if pair[1].lower() == "for":
            found.append(pair[2] if pair[3] is None else pair[3])
    return _node(found[0]) if len(found) == 1 else None


def _node(text: str) -> Address | None:
    """Return the address of one entry of ``X-Forwarded-For``; None for "unknown", hidden names, and nonsense."""
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    if match[1] and ":" not in match[1]:  # brackets are for IPv6
        return None
    return _address(match[1] or match[2] or match[3])


def _address(text: str) -> Address | None:
    """Read an address; IPv4 inside IPv6 (``::ffff:10.1.2.3``, as dual-stack sockets have it) is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _stands_in(peer: str, lines: Sequence[str], elements: Sequence[str]) -> bool:
    """
    Return whether the socket's address is written in a forwarded header as well; ``by`` names the proxy itself.

    Servers cut it out of there in ways of their own, with ports and brackets: any occurrence counts.
    """
    peer, text = peer.lower(), ",".join((*lines, *elements)).lower()
    if not peer or peer not in text:
        return False
    written = re.compile(rf"(?<![0-9a-f.:]){re.escape(peer)}(?![0-9a-f.])")
    return written.search(",".join((*lines, *(_BY.sub("", element) for element in elements))).lower()) is not None
