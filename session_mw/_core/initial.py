"""What a session begins with, as far as the request tells that begins it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import names
from .admission import Presented
from .facts import RequestFacts, channel_of, locale_of
from .identity import clean_attribute
from .policy import Policy
from .records import AttributeValue


class Initial(Mapping[str, AttributeValue]):
    """What a session made by this request starts with, worked out only if one is made."""

    __slots__ = ("_facts", "_found", "_made", "_policy")

    def __init__(self, facts: RequestFacts, found: Presented, policy: Policy) -> None:
        self._facts = facts
        self._found = found
        self._policy = policy
        self._made: dict[str, AttributeValue] | None = None

    def _all(self) -> dict[str, AttributeValue]:
        if self._made is None:
            self._made = initial_attributes(self._facts, self._found, self._policy)
        return self._made

    def __getitem__(self, key: str) -> AttributeValue:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def initial_attributes(facts: RequestFacts, found: Presented, policy: Policy) -> dict[str, AttributeValue]:
    """Return what a session that begins with this request is known by."""
    known = dict(policy.attributes)
    by_header = policy.header_codec is not None and (found.source == "header" or policy.cookie_codec is None)
    known[names.SESSION_TYPE] = policy.session_type or ("api" if by_header else "chat")
    known[names.SESSION_CHANNEL] = policy.channel or channel_of(facts, found.source)
    if facts.client_version:
        version = clean_attribute(facts.client_version.decode("latin-1"), hide=policy.rules.hide)
        if version is not None:
            known[names.SESSION_CLIENT_VERSION] = version
    locale = locale_of(facts.language) if facts.language else None
    if locale is not None:
        known[names.SESSION_LOCALE] = locale
    return known if found.said is None else {**known, **found.said}
