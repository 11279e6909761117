"""Answers as JSON: their fields, and what follows from them. Lengths of time are milliseconds, money US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any

from ...ledger.documents import usd

_MONEY = "_microusd"


def plain(value: Any) -> Any:
    """Return an answer, or a part of one, as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in fields(value)] + _derived(type(value))
        return dict(_pair(name, getattr(value, name)) for name in names)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _derived(kind: type) -> list[str]:
    """Return the names of what an answer computes: shares and rates."""
    return [name for name, one in vars(kind).items() if isinstance(one, property)]


def _pair(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith(_MONEY):
        return f"{name.removesuffix(_MONEY)}_usd", usd(value)
    return name, plain(value)
