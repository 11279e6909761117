"""The table of all settings, made from the model, so that README and ``--help`` cannot differ from the code."""

from __future__ import annotations

from typing import get_args

from pydantic.fields import FieldInfo

from session_mw._durations import format_duration, format_size
from session_mw._settings.types import Allowed


def table_row(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    """Return name, default, allowed values and description of one setting, as text."""
    return name, _default_text(field), _allowed_text(field), field.description or ""


def _default_text(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return format_duration(value)
    if isinstance(value, int):
        # Sizes are written with a unit; the only other whole number is a count of proxies.
        return format_size(value) if value >= 1024 else str(value)
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(value) if isinstance(value, frozenset) else value) or "empty"
    return str(value)


def _allowed_text(field: FieldInfo) -> str:
    for note in field.metadata:
        if isinstance(note, Allowed):
            return note.text
    return ", ".join(get_args(field.annotation))
