"""
What a filter means, without a word about how it was written or where it is asked.

Rule 1: a condition on something that a session does not have is false; ``Not`` is the complement. So there are two
    truth values, and SQL's third is closed up where a ``Not`` meets it.
Rule 2: every comparison of numbers is a half-open range in the column's own unit (integer milliseconds, millionths of
    a dollar): indices serve it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind = Literal["text", "number", "money", "duration", "time", "flag"]


@dataclass(frozen=True, slots=True)
class Field:
    """
    Something that sessions have.

    Attributes:
        name: As it is written in filters.
        kind: Which values it takes.
        column: Where it stands; for an attribute its wire name.
        attribute: Whether it is kept as an attribute, under any type.
        choices: All values that there are, where they are few.
    """

    name: str
    kind: Kind
    column: str
    attribute: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class And:
    """All of them; none is true."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them; none is false."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """All sessions but those."""

    part: Node


@dataclass(frozen=True, slots=True)
class Range:
    """A number: *low* <= it < *high*; None is unbounded. Integers for columns, floats for attributes."""

    field: Field
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Equals:
    """A text, exactly; for attributes also a flag."""

    field: Field
    value: str | bool


@dataclass(frozen=True, slots=True)
class Matches:
    """A text that consists of *parts*, with anything between them."""

    field: Field
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A text with *value* somewhere in it; A to Z are the same as a to z."""

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """A text that begins with *value*."""

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The session does not have it."""

    field: Field


Leaf: TypeAlias = Range | Equals | Matches | Contains | Prefix | Missing
Node: TypeAlias = And | Or | Not | Leaf


def leaves(node: Node) -> list[Leaf]:
    """Return the conditions of *node*, from left to right."""
    if isinstance(node, (And, Or)):
        return [leaf for part in node.parts for leaf in leaves(part)]
    return leaves(node.part) if isinstance(node, Not) else [node]
