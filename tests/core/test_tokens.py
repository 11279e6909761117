"""
Session tokens. The rows of bad input are promised one by one; their reasons are part of what operators see.

``signed`` below makes tokens with itsdangerous alone, from the written description of the format: so the tests do not
believe the code about its own format, and can sign what the code never would.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode

from session_mw._core import tokens
from session_mw._core.baggage import BaggageSigner
from session_mw._core.signing import KeyRing, PurposeSigner, salt_of
from session_mw._core.tokens import Claim, Rejected, TokenCodec, VerifiedTokens, check_times

NAME = "__Host-session_mw"
KEY, OLD_KEY, OTHER_KEY = b"current-key" * 3, b"retired-key" * 3, b"foreign-key" * 3
SALT = b"10:session-mw2:v15:token6:cookie17:__Host-session_mw"
NOW = 1_790_000_000_000
MINUTE, YEAR = 60_000, 365 * 86_400_000

CODEC = TokenCodec(KEY, (OLD_KEY,), purpose="cookie", name=NAME)
CLAIM = Claim("sess-123", NOW, NOW - 5 * MINUTE, turns=3, user_id="u_" + "a" * 32, previous_id="sess-122", boot_id="b1")
TOKEN = CODEC.dumps(CLAIM).encode()
FIELDS: dict[str, Any] = {"v": 1, "s": "sess-123", "i": NOW, "b": NOW}


def signed(
    payload: bytes | dict[str, Any], *, key: bytes = KEY, salt: bytes = SALT, digest: Any = hashlib.sha256
) -> bytes:
    """A token with any payload, made without the code under test."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = base64.urlsafe_b64encode(data).rstrip(b"=")
    return Signer(key, salt=salt, key_derivation="hmac", digest_method=digest).sign(body)


def signed_body(body: bytes) -> bytes:
    """A token whose payload is *body* as it stands, base64 or not."""
    return Signer(KEY, salt=SALT, key_derivation="hmac", digest_method=hashlib.sha256).sign(body)


def load(raw: bytes, *, codec: TokenCodec = CODEC, max_age_ms: int | None = None) -> Claim | Rejected:
    return codec.loads(raw, now_ms=NOW, skew_ms=MINUTE, max_age_ms=max_age_ms)


def altered(token: bytes, at: int, byte: int) -> bytes:
    changed = bytearray(token)
    changed[at] = byte
    return bytes(changed)


def bump(token: bytes) -> bytes:
    """The same signature with an unused bit of its last character set: lenient decoders accept it."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return altered(token, -1, alphabet[alphabet.index(token[-1]) + 1])


# A payload whose last character has unused bits, as each second and third length has.
LOOSE_BODY = base64.urlsafe_b64encode(b'{"v":1,"s":"s","i":1,"b":10}').rstrip(b"=")


# Round trip


session_ids = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,60}", fullmatch=True)
times = st.integers(0, 253_402_300_799_999)
users = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=100,
)
claims = st.builds(
    Claim,
    session_id=session_ids,
    issued_ms=times,
    started_ms=times,
    turns=st.integers(0, 2**31 - 1),
    user_id=st.none() | users,
    previous_id=st.none() | session_ids,
    provisional=st.booleans(),
    boot_id=st.none() | session_ids,
)


@given(claims, st.sampled_from(["cookie", "header"]))
def test_round_trip(claim: Claim, purpose: Literal["cookie", "header"]) -> None:
    """What was signed is what is read, and a token fits in cookies and headers as it is."""
    codec = TokenCodec(KEY, purpose=purpose, name=NAME)
    token = codec.dumps(claim)

    assert claim == codec.loads(token.encode(), now_ms=claim.issued_ms, skew_ms=0)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_token_is_written_as_described() -> None:
    """The format is fixed: a token of today is read by tomorrow's worker, and the other way round."""
    claim = Claim("sess-123", NOW, NOW - 1)
    payload = b'{"v":1,"s":"sess-123","i":1790000000000,"b":1789999999999}'

    assert signed(payload) == CODEC.dumps(claim).encode()


def test_defaults_may_be_spelled_out() -> None:
    """A count of zero is left out when written and understood when read."""
    assert Claim("sess-123", NOW, NOW) == load(signed({**FIELDS, "n": 0}))


def test_token_is_small() -> None:
    """A usual token leaves room in the 4096 bytes that a browser gives to all about it."""
    claim = Claim("x" * 32, NOW, NOW, turns=12, user_id="u_" + "a" * 32, previous_id="y" * 32)

    assert len(CODEC.dumps(claim)) < 320


@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": ""},
        {"session_id": "a b"},
        {"issued_ms": -1},
        {"issued_ms": 2**63},
        {"issued_ms": 1.0},
        {"started_ms": True},
        {"turns": -1},
        {"turns": 2**31},
        {"user_id": ""},
        {"user_id": "private\nname"},
        {"user_id": "\ud800"},
        {"previous_id": "../x"},
        {"boot_id": "x" * 201},
    ],
    ids=repr,
)
def test_dumps_refuses_what_loads_would_refuse(changes: dict[str, Any]) -> None:
    """A claim that could not be read back is a mistake in the calling code, told without its value."""
    name = next(iter(changes))

    with pytest.raises(ValueError, match=f"cannot sign a claim: {name}") as caught:
        CODEC.dumps(dataclasses.replace(CLAIM, **changes))

    assert "private" not in str(caught.value)


# Keys and signatures


def test_S01_hmac_sha256_by_hand() -> None:
    """Tokens are signed with HMAC-SHA256 under a key derived by HMAC: recomputed here without itsdangerous."""
    body, _, signature = TOKEN.partition(b".")
    derived = hmac.digest(KEY, SALT, "sha256")

    assert base64.urlsafe_b64encode(hmac.digest(derived, body, "sha256")).rstrip(b"=") == signature


def test_S01_signer_attributes() -> None:
    """The signer is itsdangerous' with SHA-256 and HMAC derivation, and there is no way to ask for another."""
    signer = PurposeSigner(KEY, b"salt")

    assert isinstance(signer, Signer)
    assert ("hmac", hashlib.sha256) == (signer.key_derivation, signer.digest_method)


@pytest.mark.parametrize("digest", [hashlib.sha1, hashlib.sha384, hashlib.sha512, hashlib.md5])
def test_S01_other_algorithms_do_not_verify(digest: Any) -> None:
    """A signature of the right key by another algorithm is no signature."""
    assert Rejected("bad_signature") == load(signed(FIELDS, digest=digest))


@pytest.mark.parametrize("key", [b"", None, "text" * 10, ["list"], bytearray(b"x" * 32)], ids=repr)
@pytest.mark.parametrize("as_fallback", [False, True])
def test_empty_or_odd_keys_are_refused(key: Any, as_fallback: bool) -> None:
    """No token is ever signed with an empty key or the text of some object."""
    with pytest.raises(ValueError, match="a key is empty or no bytes"):
        TokenCodec(KEY if as_fallback else key, (key,) if as_fallback else (), purpose="cookie", name=NAME)


@pytest.mark.parametrize("fallbacks", [(OLD_KEY, OTHER_KEY), (OTHER_KEY, OLD_KEY)])
def test_S03_new_tokens_are_signed_with_the_current_key(fallbacks: tuple[bytes, ...]) -> None:
    """Fallbacks verify and never sign, in whatever order they are given."""
    token = TokenCodec(KEY, fallbacks, purpose="cookie", name=NAME).dumps(CLAIM).encode()

    assert CLAIM == load(token, codec=TokenCodec(KEY, purpose="cookie", name=NAME))
    for key in fallbacks:
        assert Rejected("other_key") == load(token, codec=TokenCodec(key, purpose="cookie", name=NAME))


@pytest.mark.parametrize("fallbacks", [(OLD_KEY,), (OLD_KEY, OTHER_KEY), (OTHER_KEY, OLD_KEY)])
def test_S04_tokens_of_a_retired_key_ask_to_be_written_anew(fallbacks: tuple[bytes, ...]) -> None:
    """A token verified by a fallback is accepted and marked, and what is written from it needs no fallback."""
    old = TokenCodec(OLD_KEY, purpose="cookie", name=NAME).dumps(CLAIM).encode()
    codec = TokenCodec(KEY, fallbacks, purpose="cookie", name=NAME)

    claim = load(old, codec=codec)
    assert dataclasses.replace(CLAIM, rekeyed=True) == claim

    anew = codec.dumps(claim).encode()
    assert CLAIM == load(anew, codec=codec)
    assert CLAIM == load(anew, codec=TokenCodec(KEY, purpose="cookie", name=NAME))


def test_S04_a_removed_key_verifies_nothing() -> None:
    """Once a key is no fallback any more, its tokens are foreign."""
    old = TokenCodec(OLD_KEY, purpose="cookie", name=NAME).dumps(CLAIM).encode()

    assert Rejected("other_key") == load(old, codec=TokenCodec(KEY, purpose="cookie", name=NAME))


OTHER_CODECS = {
    "key": TokenCodec(OTHER_KEY, purpose="cookie", name=NAME),
    "purpose": TokenCodec(KEY, purpose="header", name=NAME),
    "name": TokenCodec(KEY, purpose="cookie", name="session_mw"),
    "purpose and name": TokenCodec(KEY, purpose="header", name="X-Session-Token"),
}


@given(claims)
def test_S05_tokens_of_another_key_purpose_or_name_are_rejected(claim: Claim) -> None:
    """A token proves something only where it was made for: same key, same purpose, same name."""
    for codec in OTHER_CODECS.values():
        token = codec.dumps(claim).encode()

        assert isinstance(load(token), Rejected)
        assert isinstance(load(CODEC.dumps(claim).encode(), codec=codec), Rejected)


def test_S05_salts_are_injective() -> None:
    """No two purposes share a salt, however their parts are cut."""
    lists = [(), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("abc",), ("1:a",), ("a", "1:b"), ("a1:b",)]

    assert len(lists) == len({salt_of(*parts) for parts in lists})
    assert SALT == salt_of("token", "cookie", NAME)


@pytest.mark.parametrize(
    "foreign",
    [
        Signer(KEY).sign(TOKEN.partition(b".")[0]),
        Signer(KEY, digest_method=hashlib.sha256).sign(TOKEN.partition(b".")[0]),
        TimestampSigner(KEY).sign(TOKEN.partition(b".")[0]),
        URLSafeTimedSerializer(KEY, salt="cookie-session").dumps({"s": "sess-123"}),
    ],
    ids=["Signer", "Signer sha256", "TimestampSigner", "URLSafeTimedSerializer"],
)
def test_S05_other_signers_with_the_same_secret(foreign: bytes | str) -> None:
    """What the application signs for itself with the same secret never becomes a session."""
    assert isinstance(load(foreign.encode() if isinstance(foreign, str) else foreign), Rejected)


def test_S06_baggage_signatures_are_no_tokens() -> None:
    """Signing baggage and signing tokens are different purposes, even under one key."""
    body = TOKEN.partition(b".")[0]

    assert Rejected("other_key") == load(body + b"." + KeyRing(KEY, (), "baggage").sign(body))
    assert Rejected("malformed") == load(BaggageSigner(KEY).sign({"session.id": "sess-123"}, NOW).encode())


def test_S07_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every comparison of signatures goes through ``hmac.compare_digest``."""
    compared: list[int] = []
    original = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append(len(a))
        return original(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)

    assert CLAIM == load(TOKEN)
    assert [32] == compared
    assert Rejected("other_key") == load(bytes(signed(FIELDS, key=OTHER_KEY)))
    assert [32] * 3 == compared


def test_S08_nothing_is_decoded_before_the_signature_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload without a valid signature never reaches base64 or JSON."""

    def explode(*args: object) -> None:
        raise AssertionError("decoded too early")

    monkeypatch.setattr(tokens, "base64_decode", explode)
    monkeypatch.setattr(json.JSONDecoder, "decode", explode)

    assert Rejected("other_key") == load(signed(FIELDS, key=OTHER_KEY))
    assert Rejected("bad_signature") == load(signed(b"[" * 1000)[:-2])
    with pytest.raises(AssertionError, match="decoded too early"):
        load(TOKEN)


@pytest.mark.parametrize(("total", "accepted"), [(4095, True), (4096, True), (4097, False)])
def test_S09_tokens_above_4096_bytes_with_their_name_are_refused(total: int, accepted: bool) -> None:
    """The limit holds for name and token together, however well signed the token is."""
    for length in (20, 21):  # base64 alone cannot have every length
        codec = TokenCodec(KEY, purpose="cookie", name="n" * length)
        tokens_of = (codec.dumps(Claim("s", NOW, NOW, user_id="u" * n)).encode() for n in range(2900, 3100))
        for token in tokens_of:
            if len(token) + length == total:
                result = load(token, codec=codec)

                assert accepted is isinstance(result, Claim)
                assert accepted or Rejected("oversize") == result
                return
    pytest.fail("no token of that length")


def test_S09_length_is_checked_before_hmac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text costs no HMAC."""
    monkeypatch.setattr(KeyRing, "verify", None)

    assert Rejected("oversize") == load(b"A" * 2000 + b"." + b"A" * 2080)


def test_S10_payload_is_plain_json() -> None:
    """The payload is JSON without compression: a small token cannot become a large one, nor an object code."""
    body = TOKEN.partition(b".")[0]
    fields = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    packed = b"." + base64_encode(zlib.compress(json.dumps(FIELDS).encode()))

    assert {"v", "s", "i", "b", "n", "u", "p", "o"} == set(fields)
    assert Rejected("malformed") == load(signed_body(packed))


# What is no token, row by row


UNSIGNED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed"),
    "dot": (b".", "malformed"),
    "dots": (b"......", "malformed"),
    "a.b": (b"a.b", "bad_signature"),
    "no dot": (TOKEN.replace(b".", b""), "malformed"),
    "payload only": (TOKEN.partition(b".")[0] + b".", "malformed"),
    "signature only": (b"." + TOKEN.partition(b".")[2], "malformed"),
    "filler signature": (b"value.____________", "bad_signature"),
    "not base64": (b"!!!.???", "malformed"),
    "padded": (TOKEN + b"=", "malformed"),
    "padded twice": (TOKEN + b"==", "malformed"),
    "padded payload": (TOKEN.replace(b".", b"=."), "malformed"),
    "standard base64": (b"a+/b." + b"A" * 43, "malformed"),
    "space inside": (TOKEN[:10] + b" " + TOKEN[10:], "malformed"),
    "newline inside": (TOKEN[:10] + b"\n" + TOKEN[10:], "malformed"),
    "newline at end": (TOKEN + b"\n", "malformed"),
    "blanks around": (b" " + TOKEN + b" ", "malformed"),
    "quoted": (b'"' + TOKEN + b'"', "malformed"),
    "nul": (TOKEN + b"\x00", "malformed"),
    "delete": (TOKEN + b"\x7f", "malformed"),
    "not utf-8": (b"\xff\xfe", "malformed"),
    "utf-8": ("é.ü".encode(), "malformed"),
    "crlf": (TOKEN + b"\r\nX-Evil: 1", "malformed"),
    "percent crlf": (TOKEN + b"%0d%0a", "malformed"),
    "octal crlf": (rb"a\015\012b", "malformed"),
    "null": (b"null", "malformed"),
    "deleted": (b"deleted", "malformed"),
    "two quotes": (b"''", "malformed"),
    "undefined": (b"undefined", "malformed"),
    "uuid": (b"c6df1b0e-0a4b-4c5e-9607-1f2d3c4b5a69", "malformed"),
    "a session id": (b"sess-123", "malformed"),
    "signature one character off": (altered(TOKEN, len(TOKEN) - 20, 0x41 if TOKEN[-20] != 0x41 else 0x42), "other_key"),
    "unused bits changed": (bump(TOKEN), "bad_signature"),
    "signature one short": (TOKEN[:-1], "bad_signature"),
    "signature one long": (TOKEN + b"A", "bad_signature"),
    "signature of another token": (
        TOKEN.partition(b".")[0] + b"." + CODEC.dumps(Claim("s", 0, 0)).encode().partition(b".")[2],
        "other_key",
    ),
    "other key": (signed(FIELDS, key=OTHER_KEY), "other_key"),
    "other salt": (signed(FIELDS, salt=b"cookie-session"), "other_key"),
    "other cookie": (signed(FIELDS, salt=SALT.replace(b"17:__Host-session_mw", b"7:session")), "other_key"),
    "other key, other version": (signed({**FIELDS, "v": 2}, key=OTHER_KEY), "other_key"),
    "other key, other payload": (signed(b"[1]", key=OTHER_KEY), "bad_signature"),
    "sha-1": (signed(FIELDS, digest=hashlib.sha1), "bad_signature"),
    "sha-512": (signed(FIELDS, digest=hashlib.sha512), "bad_signature"),
    "flask": (b"eyJhIjoxfQ.aR8KZg.dGhpcyBpcyBub3QgYSBzaWduYXR1cmU", "malformed"),
    "starlette": (b"eyJhIjoxfQ==.aR8KZg.dGhpcyBpcyBub3QgYSBzaWduYXR1cmU", "malformed"),
    "django": (b"eyJhIjoxfQ:1vMabc:dGhpcyBpcyBub3QgYSBzaWduYXR1cmU", "malformed"),
    "express": (b"s%3Aabc.dGhpcyBpcyBub3QgYSBzaWduYXR1cmU", "malformed"),
    "jwt": (b"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "malformed"),
    "2000 dots": (b"." * 2000, "malformed"),
    "4 KB": (b"A" * 4080, "oversize"),
    "8 KB": (b"A" * 8192, "oversize"),
    "1 MB": (b"A" * 2**20, "oversize"),
}

SIGNED: dict[str, tuple[bytes, str]] = {
    "no json": (signed(b"not json"), "bad_payload"),
    "empty payload": (signed_body(b""), "malformed"),
    "list": (signed(b"[1]"), "bad_payload"),
    "int": (signed(b"1"), "bad_payload"),
    "null": (signed(b"null"), "bad_payload"),
    "string": (signed(b'"v"'), "bad_payload"),
    "nan": (signed(b"NaN"), "bad_payload"),
    "nan inside": (signed(b'{"v":1,"s":"s","i":NaN,"b":1}'), "bad_payload"),
    "infinity inside": (signed(b'{"v":1,"s":"s","i":-Infinity,"b":1}'), "bad_payload"),
    "deeply nested": (signed(b"[" * 1400 + b"]" * 1400), "bad_payload"),
    "deeply nested objects": (signed(b'{"v":' * 420 + b"1" + b"}" * 420), "bad_payload"),
    "duplicate key": (signed(b'{"v":1,"s":"a","s":"b","i":1,"b":1}'), "bad_payload"),
    "duplicate version": (signed(b'{"v":2,"v":1,"s":"a","i":1,"b":1}'), "bad_payload"),
    "10^400": (signed(b'{"v":1,"s":"s","b":1,"i":1' + b"0" * 400 + b"}"), "bad_payload"),
    "10^2900": (signed(b'{"v":1,"s":"s","b":1,"i":1' + b"0" * 2900 + b"}"), "bad_payload"),
    "1e400": (signed(b'{"v":1,"s":"s","b":1,"i":1e400}'), "bad_payload"),
    "lone surrogate in id": (signed(b'{"v":1,"s":"\\ud800","i":1,"b":1}'), "bad_payload"),
    "lone surrogate in user": (signed(b'{"v":1,"s":"s","i":1,"b":1,"u":"\\ud800"}'), "bad_payload"),
    "lone surrogate in key": (signed(b'{"v":1,"s":"s","i":1,"b":1,"\\ud800":1}'), "bad_payload"),
    "nul in user": (signed({**FIELDS, "u": "a\x00b"}), "bad_payload"),
    "next line in user": (signed({**FIELDS, "u": "a\x85b"}), "bad_payload"),
    "not ascii": (signed('{"v":1,"s":"s","i":1,"b":1,"u":"é"}'.encode()), "bad_payload"),
    "not utf-8": (signed(b"\xff\xfe"), "bad_payload"),
    "utf-16": (signed('{"v":1}'.encode("utf-16")), "bad_payload"),
    "byte order mark": (signed(b"\xef\xbb\xbf{}"), "bad_payload"),
    "empty object": (signed({}), "bad_payload"),
    "text after json": (signed(json.dumps(FIELDS).encode() + b"x"), "bad_payload"),
    "nul after json": (signed(json.dumps(FIELDS).encode() + b"\x00"), "bad_payload"),
    "unknown field": (signed({**FIELDS, "admin": True}), "bad_payload"),
    "no version": (signed({"s": "s", "i": 1, "b": 1}), "bad_payload"),
    "no id": (signed({"v": 1, "i": 1, "b": 1}), "bad_payload"),
    "no time of issue": (signed({"v": 1, "s": "s", "b": 1}), "bad_payload"),
    "no start": (signed({"v": 1, "s": "s", "i": 1}), "bad_payload"),
    "version 2": (signed({**FIELDS, "v": 2}), "bad_version"),
    "version 0": (signed({**FIELDS, "v": 0}), "bad_version"),
    "version -1": (signed({**FIELDS, "v": -1}), "bad_version"),
    "version 2, other fields": (signed({"v": 2, "id": []}), "bad_version"),
    "version text": (signed({**FIELDS, "v": "1"}), "bad_payload"),
    "version float": (signed({**FIELDS, "v": 1.0}), "bad_payload"),
    "version bool": (signed({**FIELDS, "v": True}), "bad_payload"),
    "version null": (signed({**FIELDS, "v": None}), "bad_payload"),
    "id int": (signed({**FIELDS, "s": 1}), "bad_payload"),
    "id list": (signed({**FIELDS, "s": ["s"]}), "bad_payload"),
    "id null": (signed({**FIELDS, "s": None}), "bad_payload"),
    "id empty": (signed({**FIELDS, "s": ""}), "bad_payload"),
    "id path": (signed({**FIELDS, "s": "../../etc/passwd"}), "bad_payload"),
    "id pattern": (signed({**FIELDS, "s": "a:b*?"}), "bad_payload"),
    "id too long": (signed({**FIELDS, "s": "x" * 201}), "bad_payload"),
    "time text": (signed({**FIELDS, "i": "1"}), "bad_payload"),
    "time float": (signed({**FIELDS, "i": 1.5}), "bad_payload"),
    "time whole float": (signed({**FIELDS, "i": 1.0}), "bad_payload"),
    "time bool": (signed({**FIELDS, "i": True}), "bad_payload"),
    "time null": (signed({**FIELDS, "b": None}), "bad_payload"),
    "time object": (signed({**FIELDS, "b": {}}), "bad_payload"),
    "turns negative": (signed({**FIELDS, "n": -1}), "bad_payload"),
    "turns huge": (signed({**FIELDS, "n": 2**31}), "bad_payload"),
    "turns bool": (signed({**FIELDS, "n": True}), "bad_payload"),
    "user int": (signed({**FIELDS, "u": 1}), "bad_payload"),
    "user empty": (signed({**FIELDS, "u": ""}), "bad_payload"),
    "previous id bad": (signed({**FIELDS, "p": "a b"}), "bad_payload"),
    "provisional text": (signed({**FIELDS, "x": "true"}), "bad_payload"),
    "provisional one": (signed({**FIELDS, "x": 1}), "bad_payload"),
    "provisional false": (signed({**FIELDS, "x": False}), "bad_payload"),
    "boot id bad": (signed({**FIELDS, "o": "\r\n"}), "bad_payload"),
    "payload not a multiple": (signed_body(b"A"), "bad_payload"),
    "payload with unused bits": (signed_body(bump(LOOSE_BODY)), "bad_payload"),
    "payload padded": (signed_body(base64.urlsafe_b64encode(b'{"v":1}')), "malformed"),
    "payload with dots": (signed_body(b"a.b"), "malformed"),
}


@pytest.mark.parametrize(("raw", "reason"), UNSIGNED.values(), ids=UNSIGNED.keys())
def test_S11_what_nobody_signed(raw: bytes, reason: str) -> None:
    """Whatever a client sends as a token becomes a reason, never an exception."""
    assert Rejected(reason) == load(raw)  # type: ignore[arg-type]


@pytest.mark.parametrize(("raw", "reason"), SIGNED.values(), ids=SIGNED.keys())
def test_S11_what_we_would_never_sign(raw: bytes, reason: str) -> None:
    """Even under our own signature, what is not exactly a claim becomes a reason, never an exception."""
    assert Rejected(reason) == load(raw)  # type: ignore[arg-type]


@given(st.binary() | st.binary(max_size=60).map(lambda data: data + b"." + data) | st.text().map(lambda t: t.encode()))
def test_S11_any_bytes(raw: bytes) -> None:
    """No bytes at all make reading a token raise, and none of them is a token."""
    assert isinstance(load(raw), Rejected)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_S11_any_signed_payload(payload: bytes) -> None:
    """No payload makes reading a token raise, even if our own key signed it."""
    assert isinstance(load(signed(payload)), Rejected)


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from("vsibnupxo"), json_values), st.sets(st.sampled_from("vsib")))
def test_S11_any_signed_fields(changes: dict[str, Any], removed: set[str]) -> None:
    """Any value in any field gives a claim of exact types or a reason."""
    fields = {**FIELDS, **changes}
    for key in removed:
        del fields[key]

    result = load(signed(fields))
    assert isinstance(result, (Claim, Rejected))
    if isinstance(result, Claim):
        assert result == load(CODEC.dumps(result).encode())


def test_S12_every_single_byte_mutation_is_rejected() -> None:
    """One byte changed, anywhere, to anything: rejected. So no token has a second spelling."""
    survivors = [
        (at, byte)
        for at in range(len(TOKEN))
        for byte in range(256)
        if byte != TOKEN[at] and not isinstance(load(altered(TOKEN, at, byte)), Rejected)
    ]

    assert [] == survivors


@given(st.integers(0, len(TOKEN)), st.binary(min_size=1, max_size=4), st.integers(0, 4))
def test_S12_insertions_and_deletions_are_rejected(at: int, inserted: bytes, deleted: int) -> None:
    """Whatever is put in or taken out, a changed token is no token."""
    for raw in (TOKEN[:at] + inserted + TOKEN[at:], TOKEN[:at] + TOKEN[at + deleted :], TOKEN[:at] + inserted):
        assert (raw == TOKEN) is isinstance(load(raw), Claim)


def test_S12_lenient_payloads_are_rejected_even_if_signed() -> None:
    """A payload has one spelling too."""
    assert isinstance(load(signed_body(LOOSE_BODY)), Claim)
    assert Rejected("bad_payload") == load(signed_body(bump(LOOSE_BODY)))


def test_S12_lenient_spellings_verify_elsewhere_but_not_here() -> None:
    """Three spellings that itsdangerous takes for the same signature are not our token."""
    signer = Signer(KEY, salt=SALT, key_derivation="hmac", digest_method=hashlib.sha256)

    for spelling in (bump(TOKEN), TOKEN + b"=", TOKEN + b"=="):
        assert signer.validate(spelling)
        assert isinstance(load(spelling), Rejected)


# Times


@pytest.mark.parametrize(
    ("issued_ms", "max_age_ms", "expected"),
    [
        (0, None, None),
        (0, 30 * MINUTE, "expired"),
        (2**31, 30 * MINUTE, "expired"),
        (2**32, 30 * MINUTE, "expired"),
        (NOW, 30 * MINUTE, None),
        (NOW + 1000, 30 * MINUTE, None),
        (NOW + 61_000, 30 * MINUTE, "from_future"),
        (NOW + 61_000, None, "from_future"),
        (NOW + YEAR, None, "from_future"),
        (NOW + YEAR, 2 * YEAR, "from_future"),
        (NOW - YEAR, None, None),
        (NOW - YEAR, 10**30, None),
        (NOW, 0, None),
        (NOW - MINUTE, 0, None),
        (NOW - MINUTE - 1, 0, "expired"),
        (NOW, -2 * MINUTE, "expired"),
        (NOW - MINUTE, 0.5, None),
        (NOW - 2 * MINUTE, True, "expired"),
    ],
)
def test_times(issued_ms: int, max_age_ms: Any, expected: str | None) -> None:
    """A token is neither from the future nor older than allowed; odd limits decide, they do not raise."""
    claim = Claim("s", issued_ms, issued_ms)

    assert expected == check_times(claim, now_ms=NOW, skew_ms=MINUTE, max_age_ms=max_age_ms)
    result = load(CODEC.dumps(claim).encode(), max_age_ms=max_age_ms)
    assert (claim if expected is None else Rejected(expected)) == result


@pytest.mark.parametrize("issued_ms", [-1, 2**63, 2**64 - 1, 253_402_300_800_000])
def test_times_that_no_clock_shows(issued_ms: int) -> None:
    """Times before 1970 and after the year 9999 are no times; they do not overflow anything."""
    assert Rejected("bad_payload") == load(signed({**FIELDS, "i": issued_ms}))


@pytest.mark.parametrize(
    ("offset_ms", "expected"),
    [
        (61_000, "from_future"),
        (60_001, "from_future"),
        (60_000, None),
        (1, None),
        (0, None),
        (-1, None),
        (-30 * MINUTE, None),
        (-30 * MINUTE - 60_000, None),
        (-30 * MINUTE - 60_001, "expired"),
        (-30 * MINUTE - 61_000, "expired"),
    ],
)
def test_S13_clock_skew_is_tolerated_in_both_directions(offset_ms: int, expected: str | None) -> None:
    """A signer's clock may be 60 s ahead or behind, and not a millisecond more."""
    claim = Claim("s", NOW + offset_ms, NOW)

    assert expected == check_times(claim, now_ms=NOW, skew_ms=60_000, max_age_ms=30 * MINUTE)


def test_S16_a_rejection_holds_nothing_of_the_token() -> None:
    """An id that was never issued cannot be adopted: the result has a reason and no id."""
    rejected = load(signed({**FIELDS, "s": "ATTACKER"}, key=OTHER_KEY))

    assert Rejected("other_key") == rejected
    assert ["reason"] == [field.name for field in dataclasses.fields(rejected)]
    assert "ATTACKER" not in repr(rejected)


def test_codec_repr_hides_keys() -> None:
    """No key appears where objects are printed."""
    assert not any(key.decode() in text for key in (KEY, OLD_KEY) for text in (repr(CODEC), str(CODEC)))


def test_claims_and_rejections_cannot_be_changed() -> None:
    """One claim is shared by all requests that bring its token."""
    for value, name in ((CLAIM, "user_id"), (Rejected("expired"), "reason")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, "x")


# Remembered tokens


def test_verified_tokens_by_exact_bytes() -> None:
    """A token is found by its own bytes only."""
    verified = VerifiedTokens()
    verified.put(TOKEN, CLAIM)

    assert verified.get(TOKEN) is CLAIM
    assert verified.get(bump(TOKEN)) is None
    assert 1 == len(verified)


def test_verified_tokens_forget_by_session() -> None:
    """Forgetting a session forgets all of its tokens, in whatever bytes, and no others."""
    verified = VerifiedTokens()
    for n in range(1000):
        verified.put(b"%d" % n, Claim(f"s{n % 10}", n, n))
    verified.forget("s3")
    verified.forget("unknown")

    assert 900 == len(verified)
    assert {False} == {verified.get(b"%d" % n) is not None for n in range(3, 1000, 10)}


def test_verified_tokens_forget_spares_other_sessions() -> None:
    """Among thousands of sessions, exactly the tokens of one are forgotten."""
    verified = VerifiedTokens()
    for n in range(4000):
        verified.put(b"%d" % n, Claim(f"s{n}", n, n))
    verified.forget("s3")

    assert 3999 == len(verified)


def test_verified_tokens_oldest_makes_room() -> None:
    """Above its capacity the cache drops what came first; putting a token again does not make it new."""
    verified = VerifiedTokens(capacity=3)
    for raw in (b"a", b"b", b"a", b"c", b"d"):
        verified.put(raw, CLAIM)

    assert [False, True, True, True] == [verified.get(raw) is not None for raw in (b"a", b"b", b"c", b"d")]


def test_verified_tokens_keeps_the_mark_of_a_retired_key() -> None:
    """A token that has to be written anew says so at every request, not only at the first."""
    verified = VerifiedTokens()
    verified.put(TOKEN, dataclasses.replace(CLAIM, rekeyed=True))

    claim = verified.get(TOKEN)
    assert claim is not None
    assert claim.rekeyed


def test_verified_tokens_capacity() -> None:
    """A cache for nothing is a configuration mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        VerifiedTokens(0)


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.booleans(), st.integers(0, 12))),
)
def test_verified_tokens_against_a_model(capacity: int, steps: list[tuple[bool, int]]) -> None:
    """Any order of putting and forgetting: never too many, nothing false, and nothing of a forgotten session."""
    verified, known = VerifiedTokens(capacity), dict[bytes, Claim]()
    for put, n in steps:
        if put:
            known[b"%d" % n] = Claim(f"s{n % 3}", n, n)
            verified.put(b"%d" % n, known[b"%d" % n])
            assert verified.get(b"%d" % n) is known[b"%d" % n]
        else:
            verified.forget(f"s{n % 3}")
            assert [] == [raw for raw, claim in known.items() if claim.session_id == f"s{n % 3}" and verified.get(raw)]
        assert len(verified) <= capacity
        assert {verified.get(raw) for raw in known} <= {None, *known.values()}


def test_verified_tokens_shared_by_threads() -> None:
    """Threads that put and forget at once neither raise nor fill the cache beyond its capacity."""
    verified = VerifiedTokens(capacity=64)
    failures: list[Exception] = []

    def work(offset: int) -> None:
        try:
            for n in range(3000):
                key = (n * 7 + offset) % 200
                verified.put(b"%d" % key, Claim(f"s{key % 20}", 0, 0))
                if n % 5 == 0:
                    verified.forget(f"s{n % 20}")
        except Exception as error:  # shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert len(verified) <= 64
    for n in range(20):
        verified.forget(f"s{n}")
    assert 0 == len(verified)


# Cost


@pytest.mark.parametrize("character", [b"\\", b";", b",", b"=", b"%", b'"', b".", b"A", b"\xff"])
@pytest.mark.parametrize("length", [4000, 65536])
def test_S11_reading_takes_linear_time(
    character: bytes, length: int, best_ms: Callable[[Callable[[], object]], float]
) -> None:
    """Below or above the limit, a hostile token costs a fraction of a millisecond."""
    raw = character * length

    assert best_ms(lambda: load(raw)) < 5
