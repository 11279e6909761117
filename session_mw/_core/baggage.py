"""
W3C Baggage: reading it without trusting it, taking our entries out, writing ours first, and signing them.

Rule 1: limits hold over all headers together, and a member is kept whole or dropped whole. A single one may be as long
        as all together: the standard knows no limit of its own for it, OpenTelemetry's 4096 bytes are not in it.
Rule 2: a member that decodes to a control character is dropped: others decode it into logs and headers. A tab is white
        space there, as in any header's value (RFC 9110, 5.5).
Rule 3: members of others stay byte for byte as they came, in their order.
Rule 4: a key that some reader could take for one of ours is ours to remove: in other case, percent-encoded, or under
        the name that another SDK makes ``session.id`` of. What the application itself sends so goes out.
Rule 5: problems are named, never quoted: what a client sends does not reach a log from here.
Rule 6: of the members of others that come in, the first 64 are kept. A span holds 128 attributes: where an application
        copies all baggage onto its spans, a client could push the session's own attributes out with more.

Source: W3C Baggage, "Baggage HTTP Header Format"; CVE-2026-29181 (a limit for each header, none for headers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import normalize
from urllib.parse import quote, unquote

from .hosts import HostPolicy as HostPolicy
from .signing import SIGNATURE, KeyRing

MAX_BYTES = 8192  # the least that platforms must carry, and our most
MAX_MEMBERS = 180  # the most that the standard's grammar allows
MAX_FOREIGN = 64  # what platforms must carry; see Rule 6
SIGNATURE_KEY = "session.sig"

Verdict = Literal["ok", "missing", "malformed", "bad_signature", "expired", "from_future"]

_Line = str | bytes
_Member = tuple[str, str, str]  # key, decoded value, raw text
_Problems = dict[str, None]  # a set that keeps its order

_NAMESPACES = ("session.", "user.", "conversation.", "turn.")
_CONVERSATION = "gen_ai.conversation.id"
_ALIASES = ("langfuse_session_id", "langfuse_user_id")  # what Langfuse's SDK makes session.id and user.id of
_LOOKED_FOR = (*_NAMESPACES, "langfuse_")

_OWS = " \t"
_KEY = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_OCTET = r"[!#-+\--:<-\[\]-~]"
_TOKEN = re.compile(_KEY)
# Each class is disjoint from what follows it, so that a mismatch is found in linear time.
_MEMBER = re.compile(rf"({_KEY})[ \t]*=[ \t]*(?:({_OCTET}+)[ \t]*)?(?:;[\t -~]*)?")
# A whole header as most senders write it: nothing to decode ("%", and "+" in keys), no blanks, no properties.
_PLAIN_MEMBER = r"[!#$&'*\-.^_`|~0-9A-Za-z]+=[!#$&-+\--:<-\[\]-~]*"
_PLAIN = re.compile(f"{_PLAIN_MEMBER}(?:,{_PLAIN_MEMBER})*")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_RAW_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")  # the rest may be halves of UTF-8 there
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
_SIGNATURE = re.compile(rf"1\.(0|[1-9][0-9]{{0,11}})\.({SIGNATURE})")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One member of a baggage header.

    Attributes:
        key: As received: keys are not percent-decoded.
        value: Percent-decoded, without properties.
        raw: The member as received, properties included, without blanks around it.
    """

    key: str
    value: str
    raw: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    What could be read, and why the rest could not.

    Attributes:
        entries: Members in order, duplicates included.
        problems: Each once: "oversize", "too_many", "bad_key", "bad_value", "control_character".
    """

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]


def is_ours(key: str) -> bool:
    """
    Tell whether *key* is in the namespaces that only we may write, or could be taken for such a key.

    Other case counts, and so does what a lenient reader would decode or trim: OpenTelemetry for Python makes
    ``session.id`` of ``%73ession.id`` and of ``+session.id``. So do letters that others take for these (a long s, full
    width), and characters that nobody sees.
    """
    plain = _plain_key(key)
    return plain.startswith(_NAMESPACES) or plain == _CONVERSATION


def claims(key: str) -> bool:
    """Tell whether a client that sends *key* would say who it is: ours, or what an SDK takes for it."""
    return is_ours(key) or _plain_key(key) in _ALIASES


def _plain_key(key: str) -> str:
    if "%" in key or "+" in key:
        key = unquote(key.replace("+", " "))
        if not key.isascii():
            key = "".join(c for c in normalize("NFKC", key).casefold() if c.isprintable())
    return key.strip().lower()


def parse(lines: Sequence[_Line]) -> Parsed:
    """
    Read baggage headers; never raises, in linear time.

    Args:
        lines: Values of all baggage headers of a message, in order. Bytes are read as latin-1.

    Returns:
        The members within 8192 bytes and 180 members over all headers: beyond that the last ones are
        dropped. Percent-decoding as the standard has it: "+" is a plus, invalid UTF-8 becomes U+FFFD.
    """
    problems: _Problems = {}
    entries = tuple([Entry(*member) for member in _members(lines, problems)])
    return Parsed(entries, tuple(problems))


def split(lines: Sequence[_Line]) -> tuple[dict[str, str], str | None, tuple[str, ...]]:
    """
    Separate our entries from everybody else's; never raises.

    Args:
        lines: As for ``parse``.

    Returns:
        Our entries, decoded, of duplicates the last; the header to pass on without them (None if nothing is
        left), at most 64 members of it; and the problems. Keys that only resemble ours are in neither and
        reported as "bad_key".
    """
    if not lines:
        return {}, None, ()
    header = _all_foreign(lines)
    if header is not None:
        return {}, header, ()
    ours: dict[str, str] = {}
    foreign: list[str] = []
    problems: _Problems = {}
    for key, value, raw in _members(lines, problems):
        if not claims(key):
            if len(foreign) < MAX_FOREIGN:
                foreign.append(raw)
            else:
                problems["too_many"] = None
        elif is_ours(key) and key == _plain_key(key) and "%" not in key and "+" not in key:
            ours[key] = value
        else:
            problems["bad_key"] = None
    return ours, ",".join(foreign) or None, tuple(problems)


def encode(key: str, value: str) -> str | None:
    """
    Return the member for *key* and *value*; None if there is no key or no header has room for it (8192 bytes).

    All but letters, digits and ``. _ ~ -`` is percent-encoded: readers disagree about "+", "/" and "=".
    """
    name = key if _TOKEN.fullmatch(key) else quote(key, safe="", errors="replace")
    text = value if _UNRESERVED.fullmatch(value) else quote(value, safe="", errors="replace")
    return f"{name}={text}" if name and len(name) + len(text) < MAX_BYTES else None


def render(ours: Mapping[str, str], foreign: Iterable[str]) -> str:
    """
    Write a baggage header.

    Args:
        ours: Our entries; they come first, so that limits on the way never cost the identity.
        foreign: Members or whole headers of others, as received. What is no member is left out, and so is a
            key that could be taken for one of ours: readers let the last one win.

    Returns:
        At most 180 whole members in at most 8192 bytes; beyond that the last ones are dropped. "" for none.
    """
    members = [pair for key, value in ours.items() if (pair := encode(key, value)) is not None]
    for text in (foreign,) if isinstance(foreign, str) else foreign:
        members += [raw for part in text.split(",") if _is_foreign(raw := part.strip(_OWS))]
    size = -1
    for count, member in enumerate(members):
        size += 1 + len(member)
        if size > MAX_BYTES or count == MAX_MEMBERS:
            return ",".join(members[:count])
    return ",".join(members)


def _is_foreign(raw: str) -> bool:
    match = _MEMBER.fullmatch(raw)
    return match is not None and not is_ours(match.group(1))


def _all_foreign(lines: Sequence[_Line]) -> str | None:
    """The header itself, if a quick look finds nothing of ours in it and nothing to drop or decode."""
    if len(lines) != 1 or isinstance(lines, (str, bytes)):
        return None
    line = lines[0]
    if len(line) > MAX_BYTES:
        return None
    text = line if isinstance(line, str) else line.decode("latin-1")
    if _PLAIN.fullmatch(text) is None or text.count(",") >= MAX_FOREIGN:
        return None
    plain = text.lower()  # five searches for a word are ten times as fast as one for a pattern
    return None if any(word in plain for word in _LOOKED_FOR) else text


def _members(lines: Sequence[_Line], problems: _Problems) -> Iterator[_Member]:
    count = 0
    for part in _joined(lines, problems).split(","):
        raw = part.strip(_OWS)
        if not raw:
            continue  # RFC 9110, 5.6.1: empty list elements are to be ignored
        count += 1
        if count > MAX_MEMBERS:
            problems["too_many"] = None
            return
        member = _member(raw)
        if isinstance(member, str):
            problems[member] = None
        else:
            yield member


def _joined(lines: Sequence[_Line], problems: _Problems) -> str:
    """All headers as one, without the members that are beyond the limit."""
    parts: list[str] = []
    size = -1
    for line in (lines,) if isinstance(lines, (str, bytes)) else lines:
        size += 1 + len(line)
        part = line[: MAX_BYTES + 1]  # the rest is dropped anyway
        parts.append(part if isinstance(part, str) else part.decode("latin-1"))
        if size > MAX_BYTES:
            break
    text = ",".join(parts)
    if size <= MAX_BYTES:
        return text
    problems["oversize"] = None
    return text[: max(text.rfind(",", 0, MAX_BYTES + 1), 0)]


def _member(raw: str) -> _Member | str:
    """Key, value and raw text of a member, or what is wrong with it."""
    match = _MEMBER.fullmatch(raw)
    if match is None:
        return _complaint(raw)
    key, value = match[1], match[2] or ""
    if "%" in raw:
        if _CONTROL.search(unquote(raw)):  # in properties too: some readers take them for a part of the value
            return "control_character"
        value = unquote(value)
    return key, value, raw


def _complaint(raw: str) -> str:
    if _RAW_CONTROL.search(raw):
        return "control_character"
    key, equals, _ = raw.partition("=")
    return "bad_key" if equals and not _TOKEN.fullmatch(key.rstrip(_OWS)) else "bad_value"


class BaggageSigner:
    """
    Signs our entries, so that a service believes them without knowing who carried them.

    The signature is over all of our entries: one added, removed or changed on the way, and it is void.

    Args:
        key: The key that signs; the services of a system share it.
        fallbacks: Retired keys that still verify, in any order.

    Raises:
        ValueError: If a key is empty or not bytes.
    """

    __slots__ = ("_keys",)

    def __init__(self, key: bytes, fallbacks: Sequence[bytes] = ()) -> None:
        self._keys = KeyRing(key, fallbacks, "baggage")

    def sign(self, ours: Mapping[str, str], now_ms: int) -> str:
        """
        Return the value for ``session.sig``: version, time of signing in seconds, signature.

        Args:
            ours: Our entries, decoded.
            now_ms: Current time, milliseconds since the epoch.
        """
        issued = now_ms // 1000
        return f"1.{issued}.{self._keys.sign(_canonical(ours, issued)).decode('ascii')}"

    def verify(self, ours: Mapping[str, str], *, now_ms: int, max_age_ms: int, skew_ms: int) -> Verdict:
        """
        Tell whether ``session.sig`` among *ours* vouches for the others; never raises.

        Args:
            ours: Our entries as ``split`` returned them.
            now_ms: Current time, milliseconds since the epoch.
            max_age_ms: Oldest signature accepted, milliseconds.
            skew_ms: By how much the signer's clock may differ from ours, in either direction, milliseconds.
        """
        value = ours.get(SIGNATURE_KEY)
        if value is None:
            return "missing"
        match = _SIGNATURE.fullmatch(value)
        if match is None:
            return "malformed"
        issued = int(match[1])
        if self._keys.verify(_canonical(ours, issued), match[2].encode("ascii")) is None:
            return "bad_signature"
        age = now_ms - 1000 * issued
        if age < -skew_ms:
            return "from_future"
        return "expired" if age > max_age_ms + skew_ms else "ok"


def _canonical(ours: Mapping[str, str], issued: int) -> bytes:
    """What is signed: sorted, and every text behind its length, so that no two sets of entries read alike."""
    texts = [text for key in sorted(ours) if key != SIGNATURE_KEY for text in (key, ours[key])]
    encoded = [text.encode("utf-8", "surrogatepass") for text in ("1", str(issued), *texts)]
    return b"".join([b"%d:%b" % (len(text), text) for text in encoded])
