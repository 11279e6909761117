"""Ids of sessions, users and conversations."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.identity import (
    _head,
    clean_attribute,
    derive_key,
    hash_user_id,
    is_pseudonym,
    make_session_id,
    normalise_user,
    sampling_key_of,
    scope_conversation_id,
    shard_of,
    valid_session_id,
)

ENTROPY = bytes(range(24))
KEY = b"k" * 32

entropies = st.binary(min_size=24, max_size=24)


# Session ids


@pytest.mark.parametrize(
    "text",
    ["a", "sess-123", "code-review-20251101-143022-x", "_", "-", "A.b_c-9", "x" * 200, uuid.UUID(int=7).hex],
)
def test_valid_session_id_plain_names(text: str) -> None:
    """Ids of applications pass as they are, if they are plain."""
    assert valid_session_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        ".hidden",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "a:b*?",
        "sess-*",
        "a b",
        " a",
        "a\n",
        "a\r\nX-Evil: 1",
        "a\x00",
        "{c6df}",
        "urn:uuid:c6df",
        "a;b",
        "a,b",
        "a=b",
        "a%41",
        "é",
        "\u0430",  # Cyrillic a
        "a\u200b",
        "\u202egnirts",
        "🙂",
        "\ud800",
        "١٢٣",  # digits, but not ours
        "x" * 201,
        "x" * 100_000,
    ],
)
def test_S25_session_ids_outside_the_alphabet_are_refused(text: str) -> None:
    """An id is checked by alphabet and length before it is used as a key anywhere."""
    assert not valid_session_id(text)


def test_make_session_id_layout() -> None:
    """The id is sampling key, shard and random bytes in base64url without padding."""
    made = make_session_id(b"\x01\x02\x03\x04\x05\x06\x07" + b"\x2a" + b"\xff" * 16)

    assert 32 == len(made)
    assert b"\x01\x02\x03\x04\x05\x06\x07\x2a" + b"\xff" * 16 == base64.urlsafe_b64decode(made)
    assert 0x01020304050607 == sampling_key_of(made)
    assert 42 == shard_of(made)


@given(entropies, st.sampled_from([None, "chat", "chat-", "code-review-20251101-143022", "a.b_c", "9"]))
def test_make_session_id_is_valid_and_decodes(entropy: bytes, prefix: str | None) -> None:
    """Whatever the entropy, the id is valid and its parts can be read back, prefix or not."""
    made = make_session_id(entropy, prefix=prefix)

    assert valid_session_id(made)
    assert int.from_bytes(entropy[:7], "big") == sampling_key_of(made)
    assert entropy[7] & 63 == shard_of(made)
    assert ("" if prefix is None else prefix.removesuffix("-") + "-") == made[:-32]


@pytest.mark.parametrize("byte", range(8, 24))
@pytest.mark.parametrize("bit", range(8))
def test_S15_every_random_bit_is_in_the_id(byte: int, bit: int) -> None:
    """Session ids hold 128 bits of the given entropy, and no bit of them is fixed as in a UUID."""
    changed = bytearray(ENTROPY)
    changed[byte] ^= 1 << bit

    assert make_session_id(ENTROPY) != make_session_id(bytes(changed))


@given(entropies, entropies)
def test_make_session_id_keep_carries_key_and_shard(first: bytes, second: bytes) -> None:
    """A successor is sampled as its predecessor and lies in its shard; its random bits are fresh."""
    old = make_session_id(first, prefix="chat")
    new = make_session_id(second, keep=old)

    assert (sampling_key_of(old), shard_of(old)) == (sampling_key_of(new), shard_of(new))
    assert make_session_id(second)[-21:] == new[-21:]


@given(st.text(alphabet=st.characters(codec="ascii"), min_size=1, max_size=40), entropies)
def test_make_session_id_keep_of_a_foreign_id(old: str, entropy: bytes) -> None:
    """An id that the application chose hands its hashed key and shard on."""
    new = make_session_id(entropy, keep=old)

    assert (sampling_key_of(old), shard_of(old)) == (sampling_key_of(new), shard_of(new))


@pytest.mark.parametrize("entropy", [b"", b"x" * 16, b"x" * 23, b"x" * 25])
def test_make_session_id_wrong_entropy(entropy: bytes) -> None:
    """Too little entropy is a mistake that is told, not filled up."""
    with pytest.raises(ValueError, match=rf"got {len(entropy)} bytes of entropy"):
        make_session_id(entropy)


@pytest.mark.parametrize("prefix", [".x", "a b", "a/b", "é", "x\n", "x" * 168])
def test_make_session_id_bad_prefix(prefix: str) -> None:
    """A prefix that cannot begin an id is a configuration mistake."""
    with pytest.raises(ValueError, match="session_id_prefix"):
        make_session_id(ENTROPY, prefix=prefix)


@given(st.text())
def test_shard_and_sampling_key_of_any_text(text: str) -> None:
    """Any text has a shard and a sampling key, always the same ones."""
    assert 0 <= shard_of(text) < 64
    assert 0 <= sampling_key_of(text) < 2**56
    assert sampling_key_of(text) == sampling_key_of("".join(list(text)))


@given(st.from_regex(r"(chat-)?[A-Za-z0-9_-]{32}", fullmatch=True) | st.text(max_size=40))
def test_shard_is_the_byte_behind_the_sampling_key(text: str) -> None:
    """It is read without decoding the rest of the id, and is the same: also of ids that only look like ours."""
    assert _head(text)[7] == shard_of(text)


def test_foreign_ids_hash_the_same_forever() -> None:
    """The hash of foreign ids is part of the format: workers of two versions must agree."""
    assert (61, 61730500176466949) == (shard_of("sess-123"), sampling_key_of("sess-123"))


@pytest.mark.parametrize(
    "make", [lambda n: uuid.UUID(int=n).hex, lambda n: uuid.UUID(int=n).hex.upper(), "sess-{}".format]
)
def test_sampling_key_of_foreign_ids_is_uniform(make: Callable[[int], str]) -> None:
    """Of foreign ids, UUIDs in hexadecimal too, a tenth falls below a tenth of the range."""
    numbers = [int.from_bytes(hashlib.sha256(b"%d" % n).digest()[:16], "big") for n in range(4000)]
    keys = [sampling_key_of(make(n)) for n in numbers]

    assert 0.08 < sum(key < 2**56 // 10 for key in keys) / len(keys) < 0.12
    assert 64 == len({shard_of(make(n)) for n in numbers})


@pytest.mark.parametrize("byte", [64, 128, 255])
def test_ids_with_the_upper_bits_of_byte_7_are_foreign(byte: int) -> None:
    """Only what we wrote is decoded: our byte 7 is the shard and nothing else."""
    text = base64.urlsafe_b64encode(b"\x01" * 7 + bytes((byte,)) + b"\xff" * 16).decode()

    assert 0x01010101010101 != sampling_key_of(text)


# Keys and users


def test_S06_keys_of_different_purposes_are_unrelated() -> None:
    """Cookies, pseudonyms and baggage are signed with different keys, none of them the secret itself."""
    keys = {derive_key(KEY, purpose) for purpose in ("cookie", "user", "baggage", "", "1:a", "a")}

    assert 6 == len(keys)
    assert {32} == {len(key) for key in keys}
    assert KEY not in keys


def test_derive_key_is_stable() -> None:
    """The derivation is part of the format: a change would turn every pseudonym into another."""
    expected = hmac.new(KEY, b"session-mw/v1/4:user", hashlib.sha256).digest()

    assert expected == derive_key(KEY, "user")


def test_hash_user_id_can_be_recomputed_elsewhere() -> None:
    """A data warehouse that has the key can compute the pseudonym with a plain HMAC-SHA256."""
    expected = "u_" + hmac.new(KEY, "zoë@example.com".encode(), hashlib.sha256).hexdigest()[:32]

    assert expected == hash_user_id("zoë@example.com", KEY)


@given(st.text())
def test_hash_user_id_is_never_hashed_twice(user_id: str) -> None:
    """Hashing a pseudonym again gives the pseudonym, and no text makes it fail."""
    pseudonym = hash_user_id(user_id, KEY)

    assert is_pseudonym(pseudonym)
    assert pseudonym == hash_user_id(pseudonym, b"another key")


def test_hash_user_id_depends_on_the_key() -> None:
    """Without the key a pseudonym cannot be computed, nor can two systems' pseudonyms be matched."""
    assert hash_user_id("alice", KEY) != hash_user_id("alice", b"x" * 32)


@pytest.mark.parametrize(
    "text",
    ["", "u_", "alice", "u_" + "a" * 31, "u_" + "a" * 33, "u_" + "A" * 32, "U_" + "a" * 32, "u_" + "a" * 32 + "\n"],
)
def test_is_pseudonym_other_texts(text: str) -> None:
    """Only the exact form counts: anything else is a raw id and has to be hashed."""
    assert not is_pseudonym(text)


class Odd:
    def __init__(self, text: object) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Odd({self.text!r})"

    def __str__(self) -> str:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("  \t\n", None),
        ("anonymous", None),
        (" Anonymous ", None),
        ("ANONYMOUS", None),
        (Odd("AnonymousUser"), None),
        (False, None),
        (True, None),
        (Odd(ValueError("no")), None),
        (Odd(RecursionError("no")), None),
        (Odd(7), None),
        (0, "0"),
        (42, "42"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (" alice ", "alice"),
        ("anonymous-7", "anonymous-7"),
        (b"alice", "alice"),
        (b"\xff", "\ufffd"),
        ("\ud800", "\ufffd"),
        (Odd("bob"), "bob"),
        ("x" * 1000, "x" * 1000),
    ],
    ids=repr,
)
def test_normalise_user(value: object, expected: str | None) -> None:
    """Whatever an application calls its user becomes text that can be hashed, or nobody."""
    assert expected == normalise_user(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.lists(st.text())))
def test_normalise_user_is_encodable(value: object) -> None:
    """What comes out can be encoded and does not change when it goes in again."""
    user = normalise_user(value)

    assert user is None or user.encode("utf-8")
    assert user == normalise_user(user)


# Attributes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello world", "hello world"),
        ("  padded  ", "padded"),
        ("Zoë 北京 🙂", "Zoë 北京 🙂"),
        ("a\r\nlevel=ERROR fake", "a  level=ERROR fake"),
        ("a\tb\u00a0c\u2028d", "a b c d"),
        ("\x00\x1b[31mred\x7f\x9b", "[31mred"),
        ("ab\u202egnp.exe\u2066", "abgnp.exe"),
        ("a\u200bb\ufeffc", "abc"),
        ("a\ud800b", "ab"),
        ("", None),
        ("   ", None),
        ("\x00\x01\u202e", None),
        ("x" * 300, "x" * 200),
        ("x" * 199 + " y", "x" * 199),
        ("\x00" * 10_000_000 + "x", None),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_S51_attributes_are_printable_and_bounded(text: str, expected: str | None) -> None:
    """Client text reaches spans without control characters, direction marks and surrogates, 200 characters long."""
    assert expected == clean_attribute(text)


@given(st.text(alphabet=st.characters()), st.integers(1, 50))
def test_S51_attributes_of_any_text(text: str, limit: int) -> None:
    """No text gets a control character or more than the limit through, and cleaning is done once and for all."""
    cleaned = clean_attribute(text, limit)

    assert cleaned is None or (cleaned.isprintable() and 1 <= len(cleaned) <= limit)
    assert cleaned is None or cleaned == clean_attribute(cleaned, limit)


# Conversations


@pytest.mark.parametrize(
    "client_id", ["", "a b", "a/b", "a\n", "é", "a\x00", "a,b", "a;b", "a=b", "a%41", "x" * 201, "\ud800"]
)
def test_scope_conversation_id_invalid(client_id: str) -> None:
    """An id outside the alphabet or the length is no id."""
    assert scope_conversation_id(client_id, "s1") is None


def test_scope_conversation_id_short_ids_of_two_clients_never_meet() -> None:
    """Two clients' ``conv-1`` are two conversations; one client's is the same one every day."""
    alice, bob = scope_conversation_id("conv-1", "u_alice"), scope_conversation_id("conv-1", "u_bob")

    assert alice == scope_conversation_id("conv-1", "u_alice")
    assert alice is not None
    assert bob is not None
    assert alice != bob
    assert [(12, "conv-1")] * 2 == [(len(mark), rest) for mark, _, rest in (alice.partition("-"), bob.partition("-"))]


@pytest.mark.parametrize("client_id", ["x" * 20, "x" * 200, str(uuid.UUID(int=7)), "thread:2026-11-20.00001"])
def test_scope_conversation_id_long_ids_stay(client_id: str) -> None:
    """From 20 characters up an id stays as it is, so that the application finds it again."""
    assert client_id == scope_conversation_id(client_id, "u_alice")


@given(st.from_regex(r"[A-Za-z0-9._:-]{1,19}", fullmatch=True), st.text())
def test_scope_conversation_id_is_scoped_once(client_id: str, scope: str) -> None:
    """A client that sends back the scoped id it was told stays in its conversation."""
    scoped = scope_conversation_id(client_id, scope)

    assert scoped is not None
    assert len(scoped) <= 32
    assert scoped == scope_conversation_id(scoped, scope)
