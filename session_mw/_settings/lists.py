"""
Settings that hold several values.

In text (environment, ``.env``, Flask's prefixed variables) they stand with commas between them, or as a JSON list
where a value contains a comma. In code any list, tuple or set will do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeVar

from session_mw._settings.errors import BadValue

T = TypeVar("T")

# "[::1]" is an address: only a bracket before a quotation mark or another bracket begins a JSON list.
_JSON_LIST = re.compile(r'\[\s*["\]]')


def as_items(value: object) -> list[object]:
    """
    Return the single values of a setting that holds several.

    Args:
        value: A list, tuple or set, or a text with commas or in JSON. None means none.

    Raises:
        BadValue: If it is something else, or broken JSON. The value is not shown: it may be a list of keys.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return _items_of_text(value.strip())
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)  # sets have no order of their own, and it differs from process to process
    if isinstance(value, list | tuple):
        return list(value)
    raise BadValue("a list", 'Give a list, or a text as "a, b"', f"an object of type {type(value).__name__}")


def _items_of_text(text: str) -> list[object]:
    if not _JSON_LIST.match(text):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        items = json.loads(text)
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise BadValue("a JSON list", 'Write ["a", "b"] or a, b', "a text that begins like JSON and is none")
    return items


def tuple_of(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """
    Return a reader of tuples whose items *read* reads.

    Args:
        read: Reads one item or raises ``BadValue``.

    Returns:
        A function that raises ``BadValue`` for a bad or repeated item.
    """

    def read_all(value: object) -> tuple[T, ...]:
        result: list[T] = []
        for item in as_items(value):
            one = read(item)
            if one in result:
                raise BadValue("each value once", "Remove the repeated one", f"{str(one)!r} twice")
            result.append(one)
        return tuple(result)

    return read_all


def optional(read: Callable[[object], T]) -> Callable[[object], T | None]:
    """Return a reader that leaves None as it is and gives everything else to *read*."""
    return lambda value: None if value is None else read(value)
