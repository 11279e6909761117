"""Reading one cookie out of request headers, and writing one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.cookies import CookieFormat, find_cookies
from session_mw._core.tokens import Claim, Rejected, TokenCodec

NAME = b"__Host-session_mw"
N = NAME.decode()
NOW = 1_790_000_000_000
CODEC = TokenCodec(b"k" * 32, purpose="cookie", name=N)
CLAIM = Claim("sess-123", NOW, NOW)
TOKEN = CODEC.dumps(CLAIM).encode()
GOOD = NAME + b"=" + TOKEN

# Case -> Cookie headers, values found, outcome of each value as a token (None: accepted).
ROWS: dict[str, tuple[list[bytes], list[bytes], list[str | None]]] = {
    "absent": ([], [], []),
    "empty": ([b""], [], []),
    "only delimiters": ([b";;;; =; =x; x="], [], []),
    "delimiters around": ([b";; ;" + GOOD + b";;"], [TOKEN], [None]),
    "alone": ([GOOD], [TOKEN], [None]),
    "among others": ([b"a=1; " + GOOD + b"; b=2"], [TOKEN], [None]),
    "without blanks": ([b"a=1;" + GOOD + b";b=2"], [TOKEN], [None]),
    "name only": ([NAME], [], []),
    "name and semicolon": ([NAME + b";"], [], []),
    "no value": ([NAME + b"="], [b""], ["malformed"]),
    "no equals sign anywhere": ([b"abc; def"], [], []),
    "10000 cookies": ([b"; ".join(b"c%d=v" % n for n in range(10_000)) + b"; " + GOOD], [TOKEN], [None]),
    "500 duplicates, good one first": (
        [b"; ".join([GOOD] + [NAME + b"=x.y"] * 499)],
        [TOKEN] + [b"x.y"] * 7,
        [None] + ["bad_signature"] * 7,
    ),
    "500 duplicates, good one last": (
        [b"; ".join([NAME + b"=x.y"] * 499 + [GOOD])],
        [b"x.y"] * 8,
        ["bad_signature"] * 8,
    ),
    "seven duplicates before the good one": (
        [b"; ".join([NAME + b"=x.y"] * 7 + [GOOD])],
        [b"x.y"] * 7 + [TOKEN],
        ["bad_signature"] * 7 + [None],
    ),
    "two good ones": ([GOOD + b"; " + GOOD], [TOKEN, TOKEN], [None, None]),
    "4097 bytes": ([NAME + b"=" + b"A" * 4097], [b"A" * 4097], ["oversize"]),
    "8 KB": ([NAME + b"=" + b"A" * 8192], [b"A" * 8192], ["oversize"]),
    "64 KB": ([NAME + b"=" + b"A" * 65536], [b"A" * 65536], ["oversize"]),
    "30000 backslashes in quotes": ([NAME + b'="' + b"\\" * 30_000 + b'"'], [b"\\" * 30_000], ["oversize"]),
    "4000 backslashes in quotes": ([NAME + b'="' + b"\\" * 4000 + b'"'], [b"\\" * 4000], ["malformed"]),
    "quoted": ([NAME + b'="' + TOKEN + b'"'], [TOKEN], [None]),
    "quoted twice": ([NAME + b'=""' + TOKEN + b'""'], [b'"' + TOKEN + b'"'], ["malformed"]),
    "unbalanced quote before": ([NAME + b'="' + TOKEN], [b'"' + TOKEN], ["malformed"]),
    "unbalanced quote after": ([NAME + b"=" + TOKEN + b'"'], [TOKEN + b'"'], ["malformed"]),
    "one quote": ([NAME + b'="'], [b'"'], ["malformed"]),
    "two quotes": ([NAME + b'=""'], [b""], ["malformed"]),
    "sandwich": ([b'a="x; ' + GOOD + b'; b=y"'], [TOKEN], [None]),
    "sandwich around ours": ([NAME + b'="x; a=1; b=y"'], [b'"x'], ["malformed"]),
    "octal line break": ([NAME + rb'="a\015\012b"'], [rb"a\015\012b"], ["malformed"]),
    "octal semicolon": ([NAME + rb'="a\073 Domain=evil.com"'], [rb"a\073 Domain=evil.com"], ["malformed"]),
    "octal nul": ([NAME + rb'="a\000"'], [rb"a\000"], ["malformed"]),
    "percent line break": ([NAME + b"=a%0d%0ab"], [b"a%0d%0ab"], ["malformed"]),
    "nameless": ([b"=" + GOOD], [], []),
    "nameless twice": ([b"==" + GOOD], [], []),
    "no-break space before the name": ([b"a=1; \xa0" + GOOD], [], []),
    "next line before the name": ([b"a=1; \x85" + GOOD], [], []),
    "file separator before the name": ([b"a=1; \x1c" + GOOD], [], []),
    "vertical tab before the name": ([b"a=1; \x0b" + GOOD], [], []),
    "form feed after the name": ([b"a=1; " + NAME + b"\x0c=" + TOKEN], [], []),
    "U+2000 before the name": (["a=1; \u2000".encode() + GOOD], [], []),
    "tab before the name": ([b"a=1;\t" + GOOD], [TOKEN], [None]),
    "blanks around all": ([b" \t" + NAME + b" \t= \t" + TOKEN + b" \t"], [TOKEN], [None]),
    "quoted name": ([b'"' + NAME + b'"=' + TOKEN], [], []),
    "upper case": ([NAME.upper() + b"=" + TOKEN], [], []),
    "lower case": ([NAME.lower() + b"=" + TOKEN], [], []),
    "longer name": ([b"x" + GOOD + b"; " + NAME + b"2=" + TOKEN], [], []),
    "name as a value": ([b"a=" + NAME + b"; b=" + GOOD], [], []),
    "name as a value before ours": ([b"a=" + NAME + b"; " + GOOD], [TOKEN], [None]),
    "equals signs in the value": ([NAME + b"=a=b==c"], [b"a=b==c"], ["malformed"]),
    "not utf-8 beside ours": ([b"a=\xff\xfe; " + GOOD], [TOKEN], [None]),
    "not utf-8 as value": ([NAME + b"=\xff\xfe"], [b"\xff\xfe"], ["malformed"]),
    "utf-8 as value": ([NAME + b"=" + "é🙂".encode()], ["é🙂".encode()], ["malformed"]),
    "nul": ([NAME + b"=a\x00b"], [b"a\x00b"], ["malformed"]),
    "delete": ([NAME + b"=a\x7fb"], [b"a\x7fb"], ["malformed"]),
    "control characters": ([NAME + b"=\x01\x02\x1b[31m"], [b"\x01\x02\x1b[31m"], ["malformed"]),
    "line break before ours": ([b"a=1\r\n" + GOOD], [], []),
    "line break in the value": ([GOOD + b"\r\nX-Evil: 1"], [TOKEN + b"\r\nX-Evil: 1"], ["malformed"]),
    "several headers": ([b"a=1", GOOD, b"b=2", NAME + b"=x.y"], [TOKEN, b"x.y"], [None, "bad_signature"]),
    "folded line": ([b"a=1;\r\n " + GOOD], [], []),
    "$Version": ([b"$Version=1; " + GOOD + b"; $Path=/"], [TOKEN], [None]),
    "comma before": ([b"a=1, " + GOOD], [], []),
    "comma after": ([GOOD + b", a=1"], [TOKEN + b", a=1"], ["malformed"]),
    "null": ([NAME + b"=null"], [b"null"], ["malformed"]),
    "deleted": ([NAME + b"=deleted"], [b"deleted"], ["malformed"]),
    "two single quotes": ([NAME + b"=''"], [b"''"], ["malformed"]),
    "undefined": ([NAME + b"=undefined"], [b"undefined"], ["malformed"]),
}


@pytest.mark.parametrize(("headers", "values", "outcomes"), ROWS.values(), ids=ROWS.keys())
def test_S39_cookie_headers(headers: list[bytes], values: list[bytes], outcomes: list[str | None]) -> None:
    """Split at ";", trim only space and tab, exact name, nothing decoded: what is left is the token or nothing."""
    found = find_cookies(headers, NAME)
    results = [CODEC.loads(value, now_ms=NOW, skew_ms=0) for value in found]

    assert values == found
    assert [CLAIM if reason is None else Rejected(reason) for reason in outcomes] == results  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_S40_duplicates_are_capped(limit: int) -> None:
    """Of many cookies of our name only the first few are looked at, over all headers, in order of appearance."""
    headers = [b"; ".join(NAME + b"=%d" % n for n in range(start, start + 5)) for start in (0, 5)]

    assert [b"%d" % n for n in range(limit)] == find_cookies(headers, NAME, limit)


def by_splitting(header: bytes, name: bytes) -> list[bytes]:
    """The rule, written down without any care for speed."""
    pairs = [pair.split(b"=", 1) for pair in header.split(b";") if b"=" in pair]
    values = [value.strip(b" \t") for key, value in pairs if key.strip(b" \t") == name]
    return [value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value for value in values]


@given(
    st.lists(st.sampled_from([b"n", b"nn", b"x", b"=", b";", b" ", b"\t", b'"', b"\xa0", b"\r\n", b","])).map(b"".join)
)
def test_S39_finder_agrees_with_the_plain_rule(header: bytes) -> None:
    """The fast finder finds exactly what splitting finds, in any order of the characters that matter."""
    assert by_splitting(header, b"n") == find_cookies([header], b"n", 1000)


@given(st.lists(st.binary()), st.binary())
def test_S39_any_bytes(headers: list[bytes], name: bytes) -> None:
    """No bytes make the finder raise or hang, not even as a name."""
    assert len(find_cookies(headers, name)) <= 8


FILLERS = [
    b"\\",
    b";",
    b",",
    b"=",
    b"%",
    b'"',
    b" ",
    b"a=b; ",
    NAME,
    NAME + b";",
    NAME + b"=",
    b" " + NAME,
    b"x=" + NAME,
]


@pytest.mark.parametrize("filler", FILLERS)
def test_S39_finding_takes_linear_time(filler: bytes, best_ms: Callable[[Callable[[], object]], float]) -> None:
    """64 KB of anything cost under 5 ms (CVE-2024-7592 cost seconds), even if no limit stops the search."""
    header = filler * (65536 // len(filler))

    assert best_ms(lambda: find_cookies([header], NAME, 10**9)) < 5
    assert best_ms(lambda: find_cookies([NAME + b'="' + header + b'"'], NAME, 10**9)) < 5


# Writing


GOLDEN: dict[str, tuple[dict[str, Any], bytes]] = {
    "default": ({"name": N}, b"__Host-session_mw=VALUE; Path=/; Secure; HttpOnly; SameSite=Lax"),
    "strict": (
        {"name": N, "samesite": "strict"},
        b"__Host-session_mw=VALUE; Path=/; Secure; HttpOnly; SameSite=Strict",
    ),
    "cross-site": (
        {"name": N, "samesite": "none", "partitioned": True},
        b"__Host-session_mw=VALUE; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
    ),
    "shared by subdomains": (
        {"name": "__Secure-s", "domain": "example.com", "path": "/app"},
        b"__Secure-s=VALUE; Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=Lax",
    ),
    "development": (
        {"name": "session_mw", "secure": False},
        b"session_mw=VALUE; Path=/; HttpOnly; SameSite=Lax",
    ),
    "read by scripts": ({"name": "s", "http_only": False}, b"s=VALUE; Path=/; Secure; SameSite=Lax"),
}


@pytest.mark.parametrize(("settings", "expected"), GOLDEN.values(), ids=GOLDEN.keys())
def test_S27_set_cookie_headers(settings: dict[str, Any], expected: bytes) -> None:
    """By default the cookie is __Host-, Secure, HttpOnly, SameSite=Lax, Path=/, without Domain and without Max-Age."""
    assert expected == CookieFormat(**settings).set("VALUE")


@pytest.mark.parametrize(("settings", "expected"), GOLDEN.values(), ids=GOLDEN.keys())
def test_S35_deletion_has_the_same_attributes(settings: dict[str, Any], expected: bytes) -> None:
    """A deletion that differs in an attribute deletes nothing."""
    deletion = expected.replace(b"VALUE", b"") + b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"

    assert deletion == CookieFormat(**settings).delete()


BAD_FORMATS: dict[str, tuple[dict[str, Any], str]] = {
    "__Host- with domain": ({"name": N, "domain": "example.com"}, "__Host- with a Domain"),
    "__Host- with path": ({"name": N, "path": "/app"}, "__Host- with path '/app'"),
    "__Host- without secure": ({"name": N, "secure": False}, "without Secure"),
    "__HOST- with domain": ({"name": N.upper(), "domain": "example.com"}, "__Host- with a Domain"),
    "__Secure- without secure": ({"name": "__Secure-s", "secure": False}, "without Secure"),
    "SameSite=None without secure": ({"name": "s", "samesite": "none", "secure": False}, "SameSite=None needs Secure"),
    "Partitioned without secure": ({"name": "s", "partitioned": True, "secure": False}, "Partitioned needs Secure"),
    "samesite unknown": ({"name": "s", "samesite": "loose"}, "samesite is 'loose'"),
    "empty name": ({"name": ""}, "no HTTP token"),
    "name with space": ({"name": "a b"}, "no HTTP token"),
    "name with semicolon": ({"name": "a;b"}, "no HTTP token"),
    "name with equals sign": ({"name": "a=b"}, "no HTTP token"),
    "name with control character": ({"name": "a\x00"}, "no HTTP token"),
    "name with line break": ({"name": "a\r\nX: y"}, "no HTTP token"),
    "name not ascii": ({"name": "sitzung_ü"}, "no HTTP token"),
    "domain with port": ({"name": "s", "domain": "example.com:80"}, "no host name"),
    "domain with leading dot": ({"name": "s", "domain": ".example.com"}, "no host name"),
    "domain with line break": ({"name": "s", "domain": "example.com\r\nX: y"}, "no host name"),
    "domain with semicolon": ({"name": "s", "domain": "example.com; Secure"}, "no host name"),
    "domain empty": ({"name": "s", "domain": ""}, "no host name"),
    "domain too long": ({"name": "s", "domain": "a." * 130 + "com"}, "no host name"),
    "path without slash": ({"name": "s", "path": "app"}, "must begin with '/'"),
    "path with semicolon": ({"name": "s", "path": "/a; Domain=evil.com"}, "must begin with '/'"),
    "path with line break": ({"name": "s", "path": "/a\r\nX: y"}, "must begin with '/'"),
    "path not ascii": ({"name": "s", "path": "/ü"}, "must begin with '/'"),
}


@pytest.mark.parametrize(("settings", "message"), BAD_FORMATS.values(), ids=BAD_FORMATS.keys())
def test_S28_cookies_that_browsers_would_refuse(settings: dict[str, Any], message: str) -> None:
    """A cookie that would not come back, or would break the header, is refused when it is configured."""
    with pytest.raises(ValueError, match="cannot write cookie") as caught:
        CookieFormat(**settings)

    assert message in str(caught.value)


def test_S29_insecure_cookies_need_another_name() -> None:
    """A cookie for plain http is possible, explicitly, and never under the name of the secure one."""
    with pytest.raises(ValueError, match="Set secure=True or rename it"):
        CookieFormat(N, secure=False)

    assert b"Secure" not in CookieFormat("session_mw_dev", secure=False).set("v")


@pytest.mark.parametrize(
    "value", ["", "a b", "a;b", "a,b", 'a"b', "a\\b", "a\r\nSet-Cookie: b=c", "a\x00", "a\x7f", "é", "\ud800", "a\n"]
)
def test_S30_values_that_would_break_the_header(value: str) -> None:
    """Only cookie octets get into the header; the message does not show the value."""
    with pytest.raises(ValueError, match="no cookie may have") as caught:
        CookieFormat(N).set(value)

    assert value == "" or value not in str(caught.value)


@given(st.text())
def test_S31_one_header_of_one_cookie(value: str) -> None:
    """What is written is one header line with one cookie, which a request gives back as it was."""
    cookie = CookieFormat(N)
    try:
        header = cookie.set(value)
    except ValueError:
        return
    pair, _, attributes = header.partition(b"; ")

    assert b"Path=/; Secure; HttpOnly; SameSite=Lax" == attributes
    assert [value.encode()] == find_cookies([b"a=1; " + pair], NAME)


@pytest.mark.parametrize(("length", "too_big"), [(1, False), (4096 - 17, False), (4096 - 16, True), (10_000, True)])
def test_S36_size_with_the_name(length: int, too_big: bool) -> None:
    """Name and value together have 4096 bytes: more, and browsers drop the cookie without a word."""
    assert too_big is CookieFormat(N).too_big("v" * length)


def test_cookie_format_is_a_value() -> None:
    """Formats of the same settings are equal and cannot be changed."""
    cookie = CookieFormat(N)

    assert CookieFormat(N) == cookie
    with pytest.raises(dataclasses.FrozenInstanceError):
        cookie.path = "/x"  # type: ignore[misc]
