"""Whether a session fits a filter, for histories that are no database."""

from __future__ import annotations

import re

from ..rows import SessionRow
from .tree import And, Contains, Equals, Leaf, Matches, Missing, Node, Not, Or, Prefix, Range

_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def fits(node: Node, row: SessionRow) -> bool:
    """Return whether *row* fits *node*, as SQL would have it."""
    if isinstance(node, And):
        return all(fits(part, row) for part in node.parts)
    if isinstance(node, Or):
        return any(fits(part, row) for part in node.parts)
    if isinstance(node, Not):
        return not fits(node.part, row)
    field = node.field
    return _holds(node, row.attributes.get(field.column) if field.attribute else getattr(row, field.column))


def _holds(leaf: Leaf, value: object) -> bool:
    if isinstance(leaf, Missing):
        return value is None
    if isinstance(leaf, Range):
        return not isinstance(value, bool) and isinstance(value, (int, float)) and _within(leaf, value)
    if isinstance(leaf, Equals):
        return type(value) is type(leaf.value) and value == leaf.value
    return isinstance(value, str) and _spelled(leaf, value)


def _within(leaf: Range, value: float) -> bool:
    return (leaf.low is None or leaf.low <= value) and (leaf.high is None or value < leaf.high)


def _spelled(leaf: Matches | Contains | Prefix, value: str) -> bool:
    if isinstance(leaf, Prefix):
        return value.startswith(leaf.value)
    if isinstance(leaf, Contains):
        return leaf.value.translate(_FOLD) in value.translate(_FOLD)
    return re.fullmatch(".*".join(map(re.escape, leaf.parts)), value, re.DOTALL) is not None
