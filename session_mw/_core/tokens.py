"""
Session tokens: what a cookie or a header carries, and how it is checked.

    token = payload "." signature     both base64url without padding
    payload = {"v":1,"s":id,"i":issued,"b":started, and where it is not the default: "n":turns, "u":user,
               "p":previous id, "x":provisional, "o":boot id}

Rule 1: ``loads`` never raises, whatever the bytes. A bad token is a value with a reason.
Rule 2: nothing of a token is decoded before its signature is verified (OWASP ASVS 5.0, 9.1.1).
Rule 3: one claim, one spelling: neither signature nor payload has a second form that verifies.
Rule 4: no compression, no pickle, no algorithm name inside; the schema version decides how a payload is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from itsdangerous import BadData
from itsdangerous.encoding import base64_decode, base64_encode

from .identity import valid_session_id
from .signing import KeyRing, looks_signed

MAX_TOKEN_BYTES = 4096  # with the cookie's name (RFC 6265, 6.1; OWASP ASVS 5.0, 3.3.5)
SCHEMA_VERSION = 1

RejectReason = Literal[
    "oversize",  # longer than a browser would store
    "malformed",  # not two parts of base64url
    "bad_signature",  # signed by nobody we know, and not in our form
    "other_key",  # in our form, but no key of ours signed it: another application's, or altered
    "bad_payload",  # signed by us, and yet not a claim
    "bad_version",  # of a schema that this version does not know
    "from_future",  # issued later than the clocks may differ
    "expired",  # older than allowed
    "unbound",  # the session has a user, the token does not (decided by the flows)
    "conflict",  # two tokens that exclude each other (decided by the flows)
]

_SHAPE = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_BEGINNING = b"eyJ2Ijo"  # base64 of '{"v":' and a digit: how each payload of ours begins, in any version
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LAST_MS = 253_402_300_799_999  # the year 9999 ends: later ones have no datetime
_LAST_TURN = 2**31 - 1  # what an SQL integer holds


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a token says.

    Attributes:
        session_id: The session.
        issued_ms: When the token was signed, milliseconds since the epoch.
        started_ms: When the session began, milliseconds since the epoch.
        turns: Turns so far, as of signing; the count to go on from when a store lost the session.
        user_id: Pseudonym the session is bound to. None means anonymous.
        previous_id: The session that this one continues. None means none.
        provisional: The session was never stored: no turn has happened yet.
        boot_id: The process that holds the session in its memory. None with a shared store.
        rekeyed: Verified by a retired key: write the token anew. Not part of the token.
    """

    session_id: str
    issued_ms: int
    started_ms: int
    turns: int = 0
    user_id: str | None = None
    previous_id: str | None = None
    provisional: bool = False
    boot_id: str | None = None
    rekeyed: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a token was not accepted. It holds nothing of the token, so it may be logged."""

    reason: RejectReason


class TokenCodec:
    """
    Signs claims and reads them back.

    Args:
        secret_key: The key that signs.
        fallbacks: Retired keys that still verify, in any order.
        purpose: Where the token travels. A token for one is worth nothing in the other.
        name: Name of the cookie or header; it is part of what is signed.

    Raises:
        ValueError: If a key is empty or not bytes.

    Source:
        OWASP ASVS 5.0, 9.1.1, 9.1.2, 9.2.2, 11.2.4.
    """

    __slots__ = ("_keys", "_limit")

    def __init__(
        self,
        secret_key: bytes,
        fallbacks: Sequence[bytes] = (),
        *,
        purpose: Literal["cookie", "header"],
        name: str,
    ) -> None:
        self._keys = KeyRing(secret_key, fallbacks, "token", purpose, name)
        self._limit = MAX_TOKEN_BYTES - len(name)

    def dumps(self, claim: Claim) -> str:
        """
        Sign *claim* with the current key.

        Raises:
            ValueError: If *claim* is one that ``loads`` would refuse: that is a mistake in the calling code.
        """
        body = base64_encode(json.dumps(_fields_of(claim), separators=(",", ":")))
        return (body + b"." + self._keys.sign(body)).decode("ascii")

    def loads(
        self, raw: bytes, *, now_ms: int, skew_ms: int, max_age_ms: int | None = None, ahead_ms: int | None = None
    ) -> Claim | Rejected:
        """
        Verify a token and return what it says, or why it is refused; never raises.

        Args:
            raw: The token as received, any bytes.
            now_ms: Current time, milliseconds since the epoch.
            skew_ms: By how much clocks may differ, milliseconds.
            max_age_ms: Oldest age accepted, milliseconds since signing. None means any.
            ahead_ms: How far in the future it may have been issued, milliseconds. None means *skew_ms*.
        """
        if len(raw) > self._limit:
            return Rejected("oversize")
        if _SHAPE.fullmatch(raw) is None:
            return Rejected("malformed")
        body, _, signature = raw.partition(b".")
        signed_by = self._keys.verify(body, signature)
        if signed_by is None:
            ours = looks_signed(signature) and body.startswith(_BEGINNING)
            return Rejected("other_key" if ours else "bad_signature")
        claim = _claim_of(body, rekeyed=signed_by == "retired")
        if isinstance(claim, Rejected):
            return claim
        reason = check_times(claim, now_ms=now_ms, skew_ms=skew_ms, max_age_ms=max_age_ms, ahead_ms=ahead_ms)
        return claim if reason is None else Rejected(reason)


def check_times(
    claim: Claim, *, now_ms: int, skew_ms: int, max_age_ms: int | None, ahead_ms: int | None = None
) -> Literal["from_future", "expired"] | None:
    """
    Tell whether *claim* is too new or too old to be true; None if it is neither.

    Args:
        claim: A verified claim, also one from the cache: time goes on after verification.
        now_ms: Current time, milliseconds since the epoch.
        skew_ms: By how much the signer's clock may differ from ours, in either direction, milliseconds.
        max_age_ms: Oldest age accepted, milliseconds. None means any.
        ahead_ms: How far in the future it may have been issued, milliseconds. None means *skew_ms*.
    """
    age = now_ms - claim.issued_ms
    if age < -(skew_ms if ahead_ms is None else ahead_ms):
        return "from_future"
    if max_age_ms is not None and age > max_age_ms + skew_ms:
        return "expired"
    return None


def _is_id(value: object) -> bool:
    return type(value) is str and valid_session_id(value)


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LAST_MS


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LAST_TURN


def _is_user(value: object) -> bool:
    return type(value) is str and value != "" and _CONTROL.search(value) is None


def _is_true(value: object) -> bool:
    return value is True


# Short key in the payload -> attribute of Claim and what its value must be. Types are compared exactly: for
# Python, True is an int and 1.0 equals 1.
_SCHEMA: dict[str, tuple[str, Callable[[object], bool]]] = {
    "s": ("session_id", _is_id),
    "i": ("issued_ms", _is_time),
    "b": ("started_ms", _is_time),
    "n": ("turns", _is_count),
    "u": ("user_id", _is_user),
    "p": ("previous_id", _is_id),
    "x": ("provisional", _is_true),
    "o": ("boot_id", _is_id),
}
_REQUIRED = frozenset({"v", "s", "i", "b"})
_DEFAULTS: dict[str, object] = {"n": 0, "u": None, "p": None, "x": False, "o": None}


def _fields_of(claim: Claim) -> dict[str, object]:
    fields: dict[str, object] = {"v": SCHEMA_VERSION}
    for short, (name, is_good) in _SCHEMA.items():
        value = getattr(claim, name)
        if short in _DEFAULTS and value == _DEFAULTS[short]:
            continue
        if not is_good(value):
            # Its value stays out of the message: errors are logged, and it may be a user's name.
            raise ValueError(
                f"cannot sign a claim: {name} ({type(value).__name__}) is not in its form. Clean it first."
            )
        fields[short] = value
    return fields


def _claim_of(body: bytes, *, rekeyed: bool) -> Claim | Rejected:
    """Read a payload whose signature has been verified: only a holder of our key can get this far."""
    try:
        data = base64_decode(body)
        fields = _STRICT.decode(data.decode("ascii"))
    except (BadData, ValueError, RecursionError):
        return Rejected("bad_payload")
    if base64_encode(data) != body or type(fields) is not dict or type(fields.get("v")) is not int:
        return Rejected("bad_payload")
    if fields["v"] != SCHEMA_VERSION:
        return Rejected("bad_version")
    if not _REQUIRED <= fields.keys():
        return Rejected("bad_payload")
    values: dict[str, Any] = {}
    for short, value in fields.items():
        if short == "v":
            continue
        name, is_good = _SCHEMA.get(short, ("", _is_nothing))
        if not is_good(value):
            return Rejected("bad_payload")
        values[name] = value
    return Claim(**values, rekeyed=rekeyed)


def _is_nothing(value: object) -> bool:
    return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key appears twice")
    return fields


def _refuse(text: str) -> Any:
    raise ValueError("a number that is no integer")


_STRICT = json.JSONDecoder(object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)


class VerifiedTokens:
    """
    Remembers verified tokens by their exact bytes, so that each is verified once.

    A token that differs in one bit is another token. Time checks are the caller's (``check_times``): a
    remembered claim grows old. Safe to share between threads: every step is a single operation of a dict or
    list. A ``put`` that meets a ``forget`` in the same instant may win, so the store stays the judge of what
    has ended.

    Args:
        capacity: Tokens remembered; the oldest one makes room.
    """

    __slots__ = ("_buckets", "_claims", "_ring", "_turn", "get")

    def __init__(self, capacity: int = 8192) -> None:
        if capacity < 1:
            raise ValueError(f"cannot remember {capacity} tokens: give a capacity of at least 1.")
        self._claims: dict[bytes, Claim] = {}
        # The claim of a token verified before, None if it is not remembered: the dict's own method, without a frame.
        self.get: Callable[[bytes], Claim | None] = self._claims.get
        # Who came when. Not the dict's own order: finding its first key walks over the removed ones.
        self._ring: list[bytes] = [b""] * capacity
        self._turn = count()
        # Which tokens a session may have. Sessions share buckets, so that no bucket has to be removed.
        self._buckets: tuple[dict[bytes, None], ...] = tuple({} for _ in range(256))

    def __len__(self) -> int:
        """Return how many tokens are remembered."""
        return len(self._claims)

    def put(self, raw: bytes, claim: Claim) -> None:
        """Remember that *raw* was verified and says *claim*."""
        if raw not in self._claims:
            slot = next(self._turn) % len(self._ring)
            self._drop(self._ring[slot])
            self._ring[slot] = raw
        self._claims[raw] = claim
        self._bucket(claim.session_id)[raw] = None

    def forget(self, session_id: str) -> None:
        """Forget every token of a session: it has ended, or its tokens have to be looked at again."""
        for raw in list(self._bucket(session_id)):
            claim = self._claims.get(raw)
            if claim is not None and claim.session_id == session_id:
                self._drop(raw)

    def _bucket(self, session_id: str) -> dict[bytes, None]:
        return self._buckets[hash(session_id) & 255]

    def _drop(self, raw: bytes) -> None:
        claim = self._claims.pop(raw, None)
        if claim is not None:
            self._bucket(claim.session_id).pop(raw, None)
