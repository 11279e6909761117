"""
The generated parts of README.md, written anew by ``python -m tests.readme``; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from session_mw._core.states import diagram
from session_mw.ledger.filters.fields import TABLE
from session_mw.settings import settings_table

README = Path(__file__).parents[1] / "README.md"


def settings_markdown() -> str:
    """Return the settings as a Markdown table."""
    rows = ["| setting | default | allowed | |", "|---|---|---|---|"]
    for name, default, allowed, text in settings_table():
        cells = [f"`{name}`", shown(default), allowed.replace("|", "\\|"), text.replace("|", "\\|")]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def shown(default: str) -> str:
    """Return a default as a cell: values as code, words as words."""
    return default if default in ("required", "none", "empty") else f"`{default}`"


KINDS = {
    "text": "text, exactly; `*` stands for anything",
    "number": "counts: `5`, `1.5k`",
    "money": "US dollars: `0.50`",
    "duration": "milliseconds, or `90s`, `5m`, `2h`",
    "time": "`2026-01-15`, `2026-01-15T10:30Z`, `-24h`, `today`",
    "flag": "`true`, `false`",
}


def fields_markdown() -> str:
    """Return what filters may name as a Markdown table: a line for each kind of value."""
    rows = ["| takes | fields (and other names for them) |", "|---|---|"]
    for kind, takes in KINDS.items():
        mine = [_field(field.name, field.choices, others) for field, others in TABLE if field.kind == kind]
        rows.append(f"| {takes} | {', '.join(mine)} |")
    return "\n".join(rows)


def _field(name: str, choices: tuple[str, ...], others: tuple[str, ...]) -> str:
    said = [f"`{other}`" for other in others] + ([f"one of {', '.join(choices)}"] if choices else [])
    return f"`{name}`" + (f" ({', '.join(said)})" if said else "")


def backends_markdown() -> str:
    """Return what back ends read, and find in what is exported, as a Markdown table; see ``tests/backends``."""
    from tests.backends.conformance import markdown  # imports packages of vendors, which takes a second

    return markdown()


def spellings_markdown() -> str:
    """Return the seeds' filters and today's spellings of Phoenix as a Markdown table."""
    from tests.backends.spellings import markdown

    return markdown()


Parts = Mapping[str, Callable[[], str]]
PARTS: Parts = {
    "settings": settings_markdown,
    "fields": fields_markdown,
    "states": lambda: f"```mermaid\n{diagram()}\n```",
    "spellings": spellings_markdown,
}
EXPORTED: Parts = {"backends": backends_markdown}  # tests/backends/test_conformance.py looks at it


def regenerated(text: str, parts: Parts = PARTS) -> str:
    """Return *text* with every generated part as it should be."""
    for name, make in parts.items():
        mark = f"<!-- {name} -->"
        body = re.compile(re.escape(mark) + r"\n.*?" + re.escape(mark), re.S)
        if not body.search(text):
            raise ValueError(f"README.md has no part between two {mark}")
        part = f"{mark}\n{make()}\n{mark}"
        text = body.sub(lambda _, part=part: part, text)
    return text


if __name__ == "__main__":
    README.write_text(regenerated(README.read_text(encoding="utf-8"), {**PARTS, **EXPORTED}), encoding="utf-8")
