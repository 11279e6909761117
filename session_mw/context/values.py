"""Values fit for attributes, and for messages of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .._core.identity import clean_attribute
from .._core.privacy import hide_all, suspicious
from .._core.records import AttributeValue

Hide = Callable[[str], str]


def cleaned(value: AttributeValue, hide: Hide | None) -> AttributeValue:
    """
    Return *value* fit for an attribute: text printable, bounded and without what is personal, numbers as they are.

    Args:
        value: Anything; what is no number is taken as text.
        hide: The session's (``scope.rules.hide``). None where it is known that there is nothing to hide.
    """
    if isinstance(value, (bool, int, float)):
        return value
    return clean_attribute(str(value), hide=hide) or ""


def cleaned_all(attributes: Mapping[str, AttributeValue | None], hide: Hide | None) -> dict[str, AttributeValue]:
    """Return what was given of *attributes*, fit for a span: their names may be personal, too."""
    kept = {key: cleaned(value, hide) for key, value in attributes.items() if value is not None}
    if hide is not None and suspicious("".join(map(str, kept))):
        return {hide(str(key)): value for key, value in kept.items()}
    return kept


def quoted(value: object) -> str:
    """Return *value* for the message of an error: it is repeated for whoever wrote the call, but no address is."""
    return hide_all(repr(value))[:200]
