"""Shows results: a table for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from .measure import Spread
from .result import CaseLine, Line


def table(lines: Sequence[Line]) -> str:
    """Return the promises as aligned text."""
    rows = [("#", "what", "measured (quartiles)", "up to the last byte", "target", "")]
    rows += [(line.number, line.what, line.measured, line.on_path, line.target, line.verdict) for line in lines]
    return _aligned(rows)


def case_table(lines: Sequence[CaseLine]) -> str:
    """Return the cases as aligned text."""
    rows = [("case", "cpu us", "added us (quartiles)", "of it after the response", "spans")]
    for line in lines:
        spans = str(line.spans) if line.spans else ""
        rows.append((line.name, f"{line.total.median:.1f}", _spread(line.added), f"{line.off_path:.1f}", spans))
    return _aligned(rows)


def _spread(found: Spread) -> str:
    return f"{found.median:.1f} ({found.low:.1f}..{found.high:.1f})"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(max(lines, key=len)), *lines[1:]])


def save(path: Path, lines: Sequence[Line], cases: Sequence[CaseLine], where: Mapping[str, str]) -> None:
    """Write everything as JSON; times in microseconds."""
    document = {
        "where": dict(where),
        "promises": [{**asdict(line), "verdict": line.verdict} for line in lines],
        "cases": [asdict(line) for line in cases],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
