"""Values fit for attributes."""

from __future__ import annotations

from .._core.identity import clean_attribute
from .._core.records import AttributeValue


def cleaned(value: AttributeValue) -> AttributeValue:
    """Return *value* fit for an attribute: text printable and bounded, numbers as they are."""
    if isinstance(value, (bool, int, float)):
        return value
    return clean_attribute(str(value)) or ""
