"""
One language to say which sessions are meant, for the command line, the viewer and the ledgers.

    session.type = "chat" AND cost:>1.00 last 7 days
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timezone, tzinfo
from difflib import get_close_matches

from .. import values
from .conditions import Meaning
from .fields import FIELDS
from .literals import Now
from .matching import fits
from .parser import parse
from .tree import And, Equals, Field, Node, Not, Range, leaves

__all__ = ["PK", "UNCONFIRMED", "Filter", "bounds_time", "counted", "fits", "read_filter", "wanted", "within"]

PK = Field("pk", "number", "pk")
UNCONFIRMED = Equals(Field("confirmed", "flag", "confirmed"), False)


@dataclass(frozen=True, slots=True)
class Filter:
    """
    What a filter means; its times are those of the moment when it was read.

    Attributes:
        text: As it was written.
        tree: Its meaning.
    """

    text: str
    tree: Node

    def warnings(self, known: Iterable[str]) -> list[str]:
        """
        Return a sentence for each attribute that no session has.

        Args:
            known: The names of all attributes in the ledger.
        """
        names = sorted(known)
        asked = {leaf.field.column: None for leaf in leaves(self.tree) if leaf.field.attribute}
        return [_unknown(name, names) for name in asked if name not in names]


def wanted(user_id: str | None, before_pk: int | None, where: Filter | None) -> Node:
    """Return what a page of sessions is asked for: of one user, behind one row, within a filter."""
    parts: list[Node] = [] if where is None else [where.tree]
    if user_id is not None:
        parts.append(Equals(FIELDS["user_id"], values.text(user_id)))
    if before_pk is not None:
        parts.append(Range(PK, None, values.bounded(before_pk)))
    return And(tuple(parts))


def counted(where: Filter | None, include_unconfirmed: bool) -> Node:
    """Return the sessions within a filter; by default without those that nobody confirmed, as bots and webhooks do."""
    parts: list[Node] = [] if where is None else [where.tree]
    return And(tuple(parts if include_unconfirmed else [*parts, Not(UNCONFIRMED)]))


def bounds_time(where: Filter) -> bool:
    """Return whether a filter says itself when its sessions were."""
    return any(leaf.field.kind == "time" for leaf in leaves(where.tree))


def within(where: Filter, since_ms: int) -> Filter:
    """Return *where*, only for sessions that did anything since then."""
    return Filter(where.text, And((where.tree, Range(FIELDS["last"], since_ms, None))))


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1, 0.7)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No session has the attribute {name!r}.{hint}"


def read_filter(
    text: str, now_ms: int, zone: tzinfo = timezone.utc, pseudonym: Callable[[str], str] | None = None
) -> Filter:
    """
    Read a filter.

    Args:
        text: In the language of ``parser``; empty, it means all sessions.
        now_ms: What "last 24 hours" counts back from, milliseconds since the epoch.
        zone: Whose days ``today`` and ``date:2024-01-15`` are.
        pseudonym: Makes a user's own id what the history keeps of it, so that both can be asked for.

    Raises:
        FilterError: It cannot be read.
    """
    return Filter(text, parse(text, Meaning(Now(now_ms, zone), pseudonym)))
