"""What is wrong with a filter, for programs."""

from __future__ import annotations

from typing import Any

from ..exceptions import FilterError


def refusal(error: FilterError) -> dict[str, Any]:
    """Return what is wrong with a filter."""
    places = {"line": error.line, "column": error.column, "end": error.end}
    return {"error": {"message": error.message, **places, "hint": error.hint}}
