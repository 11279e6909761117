"""Whose unsigned word is taken: the socket's other end, or whom a proxy of ours names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.facts import RequestFacts
from session_mw._core.peers import MOST_ENTRIES, PeerRules

PEERS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.7/32")]
PROXIES = [ip_network("10.9.0.0/16"), ip_network("fd00:9::/32"), ip_network("127.0.0.1/32")]
BOTH = PeerRules(PEERS, PROXIES)
ALONE = PeerRules(PEERS)
SERVER = PeerRules(PEERS, [*PROXIES, "server"])
UNIX = PeerRules(PEERS, [*PROXIES, "unix"])


def judge(
    rules: PeerRules, peer: str, lines: Sequence[str] | str = (), elements: Sequence[str] | str = (), wsgi: bool = False
) -> str:
    """Ask *rules* about a request from *peer* with these lines of X-Forwarded-For and of Forwarded."""
    lines, elements = ([text] if isinstance(text, str) else text for text in (lines, elements))
    if wsgi:
        environ = {"HTTP_X_FORWARDED_FOR": ",".join(lines)} if lines else {}
        raw: dict[str, object] = {**environ, **({"HTTP_FORWARDED": ",".join(elements)} if elements else {})}
    else:
        headers = [(b"x-forwarded-for", text.encode("latin-1", "replace")) for text in lines]
        raw = {"headers": headers + [(b"forwarded", text.encode("latin-1", "replace")) for text in elements]}
    return rules.judge(facts(peer, raw))


def facts(peer: str, raw: dict[str, object]) -> RequestFacts:
    return RequestFacts("http", "POST", "/", "https", peer, raw)


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.1.2.3", "trusted"),
        ("11.1.2.3", "untrusted"),
        ("::ffff:10.1.2.3", "trusted"),
        ("::FFFF:0a01:0203", "trusted"),
        ("::ffff:11.1.2.3", "untrusted"),
        ("fd12::1", "trusted"),
        ("fd12::1%eth0", "trusted"),
        ("fe80::1%eth0", "untrusted"),
        ("192.0.2.7", "trusted"),
        ("10.9.0.1", "untrusted"),  # a proxy is no peer
        ("", "untrusted"),
        ("localhost", "untrusted"),
        ("testclient", "untrusted"),
        ("010.1.2.3", "untrusted"),
        ("10.1.2.3 ", "untrusted"),
        ("/run/app.sock", "untrusted"),
    ],
)
def test_peer_is_the_sockets_other_end(peer: str, expected: str) -> None:
    """Without forwarded headers the address of the socket decides, and a proxy's own is nobody's."""
    assert expected == judge(BOTH, peer)


# The socket is the proxy 10.9.0.1; X-Forwarded-For, or the same as Forwarded.
LISTS: list[tuple[str | list[str], str]] = [
    ("10.1.2.3", "trusted"),
    (" 10.1.2.3\t", "trusted"),
    ("10.1.2.3:4711", "trusted"),
    ("fd12::1", "trusted"),
    ("[fd12::1]", "trusted"),
    ("[fd12::1]:4711", "trusted"),
    ("::ffff:10.1.2.3", "trusted"),
    ("[::ffff:10.1.2.3]:80", "trusted"),
    ("203.0.113.9", "untrusted"),
    ("10.1.2.3, 203.0.113.9", "untrusted"),  # the client wrote the first entry itself
    ("10.1.2.3,203.0.113.9,10.9.0.2", "untrusted"),
    ("203.0.113.9,10.1.2.3", "trusted"),  # what stands before the peer is its own affair
    ("nonsense,10.1.2.3", "trusted"),
    ("10.1.2.3,10.9.0.2,127.0.0.1", "trusted"),
    ("10.1.2.3,[fd00:9::1]:80,10.9.0.2", "trusted"),
    (["10.1.2.3", "10.9.0.2"], "trusted"),
    (["10.1.2.3", "203.0.113.9"], "untrusted"),
    (["203.0.113.9", "10.1.2.3,10.9.0.2"], "trusted"),
    ("10.9.0.3,10.9.0.2", "untrusted"),  # proxies only
    ("", "untrusted"),
    (",", "untrusted"),
    ("10.1.2.3,", "untrusted"),
    (["10.1.2.3", ""], "untrusted"),
    ("10.1.2.3,,10.9.0.2", "untrusted"),
    ("10.1.2.3,unknown", "untrusted"),
    ("10.1.2.3,_hidden,10.9.0.2", "untrusted"),
    ("10.1.2.3,10.9.0.2x", "untrusted"),
    ("10.1.2.3 10.9.0.2", "untrusted"),
    ("10.1.2.3:", "untrusted"),
    ("10.1.2.3:port", "untrusted"),
    ("10.1.2.3:123456", "untrusted"),
    ("[10.1.2.3]", "untrusted"),
    ("[fd12::1", "untrusted"),
    ("fd12::1]", "untrusted"),
    ("fd12::1%eth0", "untrusted"),
    ("10.1.2.03", "untrusted"),
    ("10.1.2", "untrusted"),
    ("167838211", "untrusted"),
    ("0xa010203", "untrusted"),
    ("10.1.2.3\x00", "untrusted"),
    ("10.1.2.3\xa0", "untrusted"),
    ("10\u30021.2.3", "untrusted"),
    ("peer.internal", "untrusted"),
    ("10.0.0.0/8", "untrusted"),
    ("10.1.2.3" + ",10.9.0.2" * (MOST_ENTRIES - 1), "trusted"),
    ("10.1.2.3" + ",10.9.0.2" * MOST_ENTRIES, "trusted"),
    ("10.1.2.3" + ",10.9.0.2" * (MOST_ENTRIES + 1), "untrusted"),
    ("10.1.2.3,203.0.113.9" + ",10.9.0.2" * 5000, "untrusted"),
]


@pytest.mark.parametrize("wsgi", [False, True], ids=["asgi", "wsgi"])
@pytest.mark.parametrize(("lines", "expected"), LISTS, ids=lambda value: repr(value)[:40])
def test_first_address_from_the_right_that_is_no_proxy(lines: str | list[str], expected: str, wsgi: bool) -> None:
    """Read behind a proxy of ours, over all lines; what cannot be read is nobody."""
    assert expected == judge(BOTH, "10.9.0.1", lines, wsgi=wsgi)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ("for=10.1.2.3", "trusted"),
        ("FOR=10.1.2.3", "trusted"),
        ('for="10.1.2.3:4711"', "trusted"),
        ("for=10.1.2.3:4711", "trusted"),
        ('for="[fd12::1]:4711"', "trusted"),
        ("for=[fd12::1]", "trusted"),
        ("for=10.1.2.3;proto=https;by=_edge;host=example.org:443", "trusted"),
        ('by=10.9.0.1; proto=https ; for="10.1.2.3"', "trusted"),
        ("for=10.1.2.3;by=10.9.0.2, for=10.9.0.2;by=10.9.0.1", "trusted"),
        ("for=10.9.0.1, for=10.1.2.3", "relayed"),
        ('by="x;for=10.9.0.1, for=10.1.2.3', "relayed"),
        ("for=10.1.2.3, for=10.9.0.2", "trusted"),
        (["for=203.0.113.9", "for=10.1.2.3, for=10.9.0.2"], "trusted"),
        ("for=10.1.2.3, for=203.0.113.9", "untrusted"),
        ('for="x, for=10.1.2.3, for=203.0.113.9', "untrusted"),
        ('for=203.0.113.9, for=10.1.2.3"', "untrusted"),
        ("for=203.0.113.9;for=10.1.2.3", "untrusted"),
        ("for=unknown", "untrusted"),
        ("for=_secret", "untrusted"),
        ("for=", "untrusted"),
        ('for=""', "untrusted"),
        ("by=10.1.2.3", "untrusted"),
        ("10.1.2.3", "untrusted"),
        ("for", "untrusted"),
        ("for = 10.1.2.3", "untrusted"),
        ("for=10.1.2.3;", "untrusted"),
        ('for="10.1.2\\.3"', "untrusted"),
        ('for=10.1.2.3;host="a,b"', "untrusted"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_forwarded_header(elements: str | list[str], expected: str) -> None:
    """RFC 7239: the same walk over its ``for`` parameters; an element with none, or with two, names nobody."""
    assert expected == judge(BOTH, "10.9.0.1", (), elements)


@pytest.mark.parametrize(
    ("lines", "elements", "expected"),
    [
        ("10.1.2.3", "for=10.1.2.3", "trusted"),
        ("10.1.2.3,10.9.0.2", "for=10.1.2.3", "trusted"),
        ("203.0.113.9", "for=10.1.2.3", "untrusted"),
        ("10.1.2.3", "for=203.0.113.9", "untrusted"),
        ("10.1.2.3", "for=unknown", "untrusted"),
        ("unknown", "for=10.1.2.3", "untrusted"),
    ],
)
def test_both_headers_have_to_agree(lines: str, elements: str, expected: str) -> None:
    """A proxy writes one of them; the other one is the client's own and must not outvote it."""
    assert expected == judge(BOTH, "10.9.0.1", lines, elements)


@pytest.mark.parametrize(
    ("rules", "peer", "lines", "expected"),
    [
        (UNIX, "", "10.1.2.3", "trusted"),
        (UNIX, "", "203.0.113.9", "untrusted"),
        (UNIX, "", "10.1.2.3,203.0.113.9", "untrusted"),
        (UNIX, "", (), "untrusted"),
        (BOTH, "", "10.1.2.3", "untrusted"),
        (ALONE, "", "10.1.2.3", "untrusted"),
        (UNIX, "unix", "10.1.2.3", "untrusted"),
    ],
)
def test_unix_sockets(rules: PeerRules, peer: str, lines: str, expected: str) -> None:
    """Their other end has no address: a proxy where "unix" is named, else nobody."""
    assert expected == judge(rules, peer, lines)


@pytest.mark.parametrize(
    ("rules", "peer", "lines", "expected"),
    [
        # uvicorn --proxy-headers behind a proxy that it and we know, and "server" says so: both find the same.
        (SERVER, "10.1.2.3", "10.1.2.3", "trusted"),
        (SERVER, "10.1.2.3", "203.0.113.9, 10.1.2.3", "trusted"),
        (SERVER, "10.1.2.3", "10.1.2.3:443, 10.9.0.2", "trusted"),
        (SERVER, "fd12::1", "[fd12::1]:443", "trusted"),
        (SERVER, "203.0.113.9", "203.0.113.9", "untrusted"),
        (PeerRules(PEERS, ["server"]), "10.1.2.3", "203.0.113.9, 10.1.2.3", "trusted"),
        (PeerRules(PEERS, ["server"]), "10.1.2.3", "10.1.2.3, 10.9.0.2", "untrusted"),
        (PeerRules(PEERS, ["server"]), "10.1.2.3", "203.0.113.9", "relayed"),
        # --forwarded-allow-ips='*' takes the first entry, which the client wrote; the proxy added who it is.
        (SERVER, "10.1.2.3", "10.1.2.3, 203.0.113.9", "untrusted"),
        (SERVER, "10.1.2.3", "10.1.2.3:443, 203.0.113.9", "untrusted"),
        (SERVER, "10.1.2.3", "[10.1.2.3]:443, 203.0.113.9", "untrusted"),
        (SERVER, "10.1.2.3", "\xa010.1.2.3\xa0, 203.0.113.9", "untrusted"),
        (SERVER, "FD12::1", "fd12::1, 203.0.113.9", "untrusted"),
        (SERVER, "192.0.2.7", "192.0.2.7, 203.0.113.9", "untrusted"),
        (SERVER, "10.9.0.1", "10.9.0.1, 203.0.113.9", "untrusted"),
        # Without "server" whose header the server has read is not known, whatever it says.
        (BOTH, "10.1.2.3", "10.1.2.3", "relayed"),
        (BOTH, "10.1.2.3", "10.1.2.3, 10.9.0.1", "relayed"),
        (BOTH, "10.1.2.3", "10.1.2.3:443, 203.0.113.9", "relayed"),
        (BOTH, "10.1.2.3", "[10.1.2.3]:443, 203.0.113.9", "relayed"),
        (BOTH, "192.0.2.7", "\xa0192.0.2.7\xa0, 10.9.0.1", "relayed"),
        (BOTH, "10.9.0.1", "10.9.0.1, 10.1.2.3", "relayed"),
        (BOTH, "203.0.113.9", "203.0.113.9", "untrusted"),
        (ALONE, "10.1.2.3", "10.1.2.3", "relayed"),
        (ALONE, "192.0.2.7", "192.0.2.7", "relayed"),
        (ALONE, "203.0.113.9", "203.0.113.9", "untrusted"),
    ],
)
def test_address_that_the_server_took_from_a_header(rules: PeerRules, peer: str, lines: str, expected: str) -> None:
    """It counts where "server" is named and the configured proxies lead to the same address."""
    assert expected == judge(rules, peer, lines)


@pytest.mark.parametrize("rules", [ALONE, BOTH], ids=["no-proxies", "proxies"])
@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.1.2.3", "relayed"),  # may be a load balancer of that network
        ("192.0.2.7", "trusted"),  # named by its own address: it speaks for itself
        ("::ffff:192.0.2.7", "trusted"),
        ("203.0.113.9", "untrusted"),
    ],
)
def test_peer_that_relays_and_is_no_proxy_of_ours(rules: PeerRules, peer: str, expected: str) -> None:
    """A trusted network does not vouch for whom its load balancer serves, whatever the header says."""
    assert expected == judge(rules, peer, "198.51.100.5")
    assert expected == judge(rules, peer, (), "for=198.51.100.5")
    assert expected == judge(rules, peer, "10.1.1.1, nonsense")


@pytest.mark.parametrize(
    ("hops", "lines", "elements", "expected"),
    [
        (1, "10.1.2.3", (), "trusted"),
        (1, "10.1.2.3, 203.0.113.9", (), "untrusted"),  # what stands before it the client wrote
        (2, "10.1.2.3, 203.0.113.9", (), "trusted"),
        (2, ["198.51.100.5", "10.1.2.3, 203.0.113.9"], (), "trusted"),
        (2, "10.1.2.3", (), "untrusted"),  # it did not come through both
        (2, (), "for=10.1.2.3, for=203.0.113.9", "trusted"),
        (1, "10.1.2.3", "for=10.1.2.3", "trusted"),
        (1, "10.1.2.3", "for=10.1.2.4", "untrusted"),
        (1, "unknown", (), "untrusted"),
        (1, (), (), "untrusted"),
    ],
)
@pytest.mark.parametrize("peer", ["203.0.113.9", "10.9.0.1", "10.1.2.3", ""])
def test_counted_proxies(
    hops: int, lines: list[str] | str, elements: list[str] | str, expected: str, peer: str
) -> None:
    """The last of so many entries from the right is the peer, whatever address the socket has."""
    rules = PeerRules(PEERS, hops)

    assert [expected] * 2 == [judge(rules, peer, lines, elements, wsgi) for wsgi in (False, True)]


def test_nobody_is_trusted_by_default() -> None:
    """Proxies alone make no peers."""
    assert "untrusted" == judge(PeerRules(), "127.0.0.1")
    assert "untrusted" == judge(PeerRules((), PROXIES), "127.0.0.1", "10.1.2.3")


addresses = st.ip_addresses() | st.sampled_from(["10.1.2.3", "fd12::1"]).map(ip_address)
proxies = st.sampled_from(["10.9.0.2", "127.0.0.1", "fd00:9::1", "[fd00:9::2]:80", "10.9.7.7:1"])


@given(st.lists(st.text(max_size=20) | addresses.map(str), max_size=5), addresses, st.lists(proxies, max_size=4))
def test_only_the_address_beside_the_proxies_counts(claimed: list[str], client: object, behind: list[str]) -> None:
    """Whatever a client writes before it, the verdict is that on the address which the first proxy saw."""
    lines = ",".join([*claimed, str(client), *behind])

    assert judge(BOTH, str(client)) == judge(BOTH, "10.9.0.1", lines)


@given(st.text(), st.lists(st.text() | st.text('0123456789abcdef.:[]"=;,for '), max_size=3), st.text())
def test_any_text(peer: str, lines: list[str], element: str) -> None:
    """Nothing that a client can send raises."""
    for rules in (BOTH, ALONE, UNIX, SERVER):
        assert judge(rules, peer, lines, element) in ("trusted", "untrusted", "relayed")
        assert "trusted" != judge(rules, "203.0.113.9", lines, element)


@pytest.mark.parametrize("filler", [",", ";", "=", '"', "1.", "10.9.0.2,", "for=10.9.0.2,", "[", ":", " ", "a=b;"])
def test_judging_takes_linear_time(filler: str, best_ms: Callable[[Callable[[], object]], float]) -> None:
    """64 KB of anything in both headers cost a few milliseconds: anything worse than linear costs seconds."""
    text = filler * (65536 // len(filler))

    assert best_ms(lambda: judge(BOTH, "10.9.0.1", text, text)) < 25
    assert best_ms(lambda: judge(ALONE, "10.1.2.3", [text[:80]] * 800, text)) < 25
