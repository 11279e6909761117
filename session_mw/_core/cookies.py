"""
Reading one cookie out of request headers, and writing one.

Hand-written on purpose. Cookie libraries unquote (which was quadratic in CPython, CVE-2024-7592, and turns
``\\015\\012`` into a line break), trim white space that no browser writes (which lets a planted cookie pass
for a ``__Host-`` one), or let a quoted value swallow its neighbours. Here a header is split as RFC 6265 has
browsers write it, and nothing else.

Rule 1: linear time. Rule 2: nothing is decoded: the value is the token's exact bytes or it is no token.
Rule 3: what is written consists of checked parts; nothing that a client sent is reflected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

MAX_COOKIE_BYTES = 4096  # name and value together (OWASP ASVS 5.0, 3.3.5); browsers drop longer ones silently

_OWS = b" \t"
_QUOTE = b'"'
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = re.compile(rb"[!#-:<-~]+").fullmatch  # nothing around it to take off
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]+")  # cookie-octet of RFC 6265
_PATH = re.compile(r"/[ -:<-~]*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def find_cookies(headers: Iterable[bytes], name: bytes, limit: int = 8) -> list[bytes]:
    """
    Return the values of the cookie *name*, in order of appearance.

    Args:
        headers: Values of all Cookie headers of a request; HTTP/2 clients send several.
        name: Exact name; case counts.
        limit: Stop after so many values, so that planted cookies of the same name cost little.

    Returns:
        Values without blanks around them and without one pair of double quotes; empty ones too.

    Source:
        RFC 6265, 4.2.1 and 5.4; CVE-2023-23934 (a nameless cookie that looks like a ``__Host-`` one).
    """
    found: list[bytes] = []
    for header in headers:
        at = header.find(name)
        start = 0
        while at >= 0:
            start = header.rfind(b";", start, at) + 1 or start
            end = header.find(b";", at)
            if end < 0:
                end = len(header)
            key, equals, value = header[start:end].partition(b"=")
            if equals and key.strip(_OWS) == name:
                found.append(value if _PLAIN(value) else _bare(value))
                if len(found) >= limit:
                    return found
            start = end + 1
            at = header.find(name, start)
    return found


def _bare(value: bytes) -> bytes:
    value = value.strip(_OWS)
    if len(value) >= 2 and value[:1] == _QUOTE == value[-1:]:
        return value[1:-1]
    return value


@dataclass(frozen=True, slots=True)
class CookieFormat:
    """
    How our cookie is written: its name and attributes, checked once.

    Attributes:
        name: Name of the cookie. ``__Host-`` and ``__Secure-`` bring the rules of browsers.
        secure: Only over https, and on localhost.
        samesite: Which requests of other sites carry it.
        domain: Also sent to the hosts below this one. None means to this host alone.
        path: Sent to this path and those below it.
        partitioned: One jar for each top-level site (CHIPS).
        http_only: Hidden from scripts.

    Raises:
        ValueError: If browsers would refuse such a cookie, or a part would break the header.

    Source:
        RFC 6265bis, "Cookie Name Prefixes"; OWASP ASVS 5.0, 3.3.1 to 3.3.4; NIST SP 800-63B-4, 5.1.1. There
        is never a Max-Age: when a session ends is the server's business (NIST), and the cookie goes with the
        browser session.
    """

    name: str
    secure: bool = True
    samesite: Literal["lax", "strict", "none"] = "lax"
    domain: str | None = None
    path: str = "/"
    partitioned: bool = False
    http_only: bool = True
    _head: bytes = field(init=False, repr=False, compare=False)
    _tail: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for wrong, what in self._mistakes():
            if wrong:
                raise ValueError(f"cannot write cookie {self.name!r}: {what}")
        parts = [f"; Path={self.path}"]
        parts += [f"; Domain={self.domain}"] if self.domain is not None else []
        parts += ["; Secure"] if self.secure else []
        parts += ["; HttpOnly"] if self.http_only else []
        parts += [f"; SameSite={self.samesite.capitalize()}"]
        parts += ["; Partitioned"] if self.partitioned else []
        object.__setattr__(self, "_head", f"{self.name}=".encode("ascii"))
        object.__setattr__(self, "_tail", "".join(parts).encode("ascii"))

    def set(self, value: str) -> bytes:
        """
        Return the Set-Cookie header for *value*.

        Raises:
            ValueError: If *value* is no cookie value. The message does not show it, since it is a secret.
        """
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"cannot write cookie {self.name!r}: its value has characters that no cookie may have.")
        return self._head + value.encode("ascii") + self._tail

    def delete(self) -> bytes:
        """Return the Set-Cookie header that removes the cookie; its attributes are those it was set with."""
        return self._head + self._tail + b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"

    def too_big(self, value: str) -> bool:
        """Tell whether browsers would drop the cookie: name and value are above 4096 bytes."""
        return len(self.name) + len(value) > MAX_COOKIE_BYTES

    def _mistakes(self) -> Iterable[tuple[bool, str]]:
        # Browsers compare the prefixes without case.
        host = self.name.lower().startswith("__host-")
        prefixed = host or self.name.lower().startswith("__secure-")
        domain, path = self.domain, self.path
        return (
            (not _NAME.fullmatch(self.name), "the name is no HTTP token. Use letters, digits, '_' and '-'."),
            (
                domain is not None and (len(domain) > 253 or not _DOMAIN.fullmatch(domain)),
                f"domain {domain!r} is no host name. Give it without a leading dot, port or scheme.",
            ),
            (
                not _PATH.fullmatch(path),
                f"path {path!r} must begin with '/' and have no ';', control or non-ASCII character.",
            ),
            (
                self.samesite not in ("lax", "strict", "none"),
                f"samesite is {self.samesite!r}. Use lax, strict or none.",
            ),
            (
                prefixed and not self.secure,
                "browsers refuse this prefix without Secure. Set secure=True or rename it.",
            ),
            (
                host and domain is not None,
                "browsers refuse __Host- with a Domain. Use __Secure- for shared cookies.",
            ),
            (
                host and path != "/",
                f"browsers refuse __Host- with path {path!r}. Set path='/' or use __Secure-.",
            ),
            (self.samesite == "none" and not self.secure, "SameSite=None needs Secure. Set secure=True."),
            (self.partitioned and not self.secure, "Partitioned needs Secure. Set secure=True."),
        )
