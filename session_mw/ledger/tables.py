"""Documents as lines of CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from .documents import flat

# A spreadsheet takes a text that begins so for a formula (OWASP ASVS 5.0, 1.2.10); some also take the wide forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of CSV (RFC 4180) in which no text is a formula."""
    line = io.StringIO()
    csv.writer(line).writerow([_guarded(cell) for cell in cells])
    return line.getvalue()


def csv_of(document: Mapping[str, Any]) -> str:
    """Return a document as a line of CSV."""
    return csv_line(flat(document).values())


def _guarded(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
