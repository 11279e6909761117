"""
Personal data in free text: e-mail addresses anywhere, and a user's raw id in what is said together with it.

Rule 1: text that becomes an attribute, a span's name or an event's message goes through here before it is cut: half an
    address may be all it takes.
Rule 2: an address becomes the pseudonym of the user whom it names as an id, so that one still finds what belongs
    together; where no pseudonyms are made, a fixed mark.
Rule 3: linear time, and nearly none for text without an address.

What is an address: ``local@domain.tld`` in any script, also with ``%40`` for the ``@``, as in the query of a URL. Not
found: quoted local parts, addresses of hosts without a dot (``jane@intranet``; versions of models and packages look
like these), and addresses that somebody has spelled differently on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

MARK = "[hidden]"
NAMED_FROM = 4  # characters from which a user's id can be told from other words and numbers

_RUN = r"[\w.+%'~-]"
# Each run of characters is entered at its beginning only, so no part of a text is looked at more than a few times.
_ADDRESS = re.compile(rf"(?<!{_RUN}){_RUN}+(?:@|%40)[\w-]+(?:\.[\w-]+)*\.(?:xn--[\w-]+|[^\W\d_]{{2,}})")
_REST = re.compile(r"[\w.+%'~@-]*")
_LONGEST = 320  # characters of an address: 64 before the "@", 255 after it (RFC 5321, 4.5.3.1)


@dataclass(frozen=True, slots=True)
class Hider:
    """
    Takes personal data out of text.

    Args:
        name_of: From a user id to its pseudonym; it may return None: then there is a mark in its place. None hides
            nothing (``user_id_mode="plain"``).
        user: A raw user id that is hidden wherever it stands as a word of its own; empty for none.
    """

    name_of: Callable[[object], str | None] | None
    user: str = ""

    def __call__(self, text: str) -> str:
        """Return *text* without what is personal; the same object when there was nothing."""
        if suspicious(text) and self.name_of is not None:
            text = _ADDRESS.sub(self._pseudonym, text)
        return self._without_user(text) if self.user and self.user in text else text

    def knowing(self, user: object) -> Hider:
        """
        Return one that also hides *user*, for what is said together with it.

        Args:
            user: As ``normalise_user`` returns it. An id of less than four characters is not looked for: it would be
                found in words and numbers that mean something else.
        """
        if not isinstance(user, str) or len(user) < NAMED_FROM or self.name_of is None or self.name_of(user) == user:
            return self
        return Hider(self.name_of, user)

    def _pseudonym(self, found: re.Match[str]) -> str:
        text = found[0]
        address = text.lstrip("'.%~-")  # quotation marks and dashes before it, not its own
        head = text[: len(text) - len(address)]
        return head + self._name(address if "@" in address else "@".join(address.rsplit("%40", 1)))

    def _name(self, user: str) -> str:
        return (None if self.name_of is None else self.name_of(user)) or MARK

    def _without_user(self, text: str) -> str:
        name = self._name(self.user)
        parts = text.split(self.user)
        kept = parts[:1]
        for before, after in pairwise(parts):
            inside = before[-1:].isalnum() or after[:1].isalnum()
            kept += [self.user if inside else name, after]
        return "".join(kept)


def suspicious(text: str) -> bool:
    """Return whether there may be an address in *text*."""
    return "@" in text or "%40" in text


hide_all = Hider(lambda user: None)  # for whoever knows no keys: log lines, messages of errors


def window(text: str, size: int) -> str:
    """
    Return the beginning of *text*: *size* characters, and the rest of an address that begins within them.

    Args:
        text: Any text.
        size: In characters.
    """
    rest = _REST.match(text, size, size + _LONGEST)
    return text[:size] if rest is None else text[: rest.end()]
