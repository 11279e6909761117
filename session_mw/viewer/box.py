"""
The filter box that every page about sessions begins with, what it offers, and what it says of a filter that is wrong.

Rule 1: what else a page was asked for stays when the filter changes: it stands in links and in hidden fields.
Rule 2: a condition that is added narrows what is there: a filter that is an OR goes into parentheses first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..exceptions import FilterError
from ..ledger import SessionRow, read_filter
from ..ledger.filters.tree import Or
from .pages import Verbatim
from .visits import WINDOW_DAYS, Asked, Query, Visit, known_sort
from .zones import UTC, zone_named

SUGGESTED = ("has_errors:true", "status:active", "resolved:false", "cost:>1", "last 24 hours")
_MEANT = re.compile(r"Did you mean '([^']+)'")


@dataclass(frozen=True, slots=True)
class Spot:
    """
    A page with a filter box.

    Attributes:
        page: Where it is.
        own: What only this page is asked, by name.
        fields: Template of its own part of the box; empty when it has none.
        visible: What has a field there, so that it needs no hidden one.
        days: Of its usual window.
    """

    page: str = ""
    own: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    fields: str = ""
    visible: tuple[str, ...] = ()
    days: int = WINDOW_DAYS


def box(
    visit: Visit, query: Query, spot: Spot, rows: Sequence[SessionRow] = (), asked: Asked | None = None
) -> dict[str, Any]:
    """
    Return what the templates ``filter.html`` and ``window.html`` need.

    Args:
        visit: Who asks.
        query: What was asked for, as far as it makes sense.
        spot: On which page.
        rows: Sessions on the page: what distinguishes them is offered.
        asked: What the filter means; None when it is wrong.
    """
    first = replace(query, c="")

    def here(**changes: Any) -> str:
        return visit.link(spot.page, replace(first, **changes), **spot.own)

    return {
        "typed": Verbatim(query.q),
        "action": f"{visit.up}{spot.page}" or "./",
        "hidden": _hidden(first, spot),
        "own_fields": spot.fields,
        "suggestions": [(text, here(q=narrowed(query.q, text))) for text in _suggested(query, rows)],
        "bounded": asked is not None and asked.unbounded is None,
        "window_days": spot.days,
        "window_link": here(all_time=not query.all_time),
        "unconfirmed_link": here(unconfirmed=not query.unconfirmed),
        "clear_link": here(q=""),
    }


def _hidden(query: Query, spot: Spot) -> list[tuple[str, str]]:
    own = [(name, said) for name, value in spot.own.items() for said in ((value,) if isinstance(value, str) else value)]
    return [(name, value) for name, value in (*query.pairs(), *own) if name not in ("q", "c", *spot.visible)]


def _suggested(query: Query, rows: Sequence[SessionRow]) -> list[str]:
    """Return conditions worth a click: usual ones, and what distinguishes the sessions of this page."""
    versions = Counter(row.prompt_version for row in rows if row.prompt_version)
    types = Counter(row.type for row in rows if row.type)
    found = [f"type:{quoted(name)}" for name, _ in types.most_common(2) if len(types) > 1]
    found += [f"prompt_version:{quoted(name)}" for name, _ in versions.most_common(2) if len(versions) > 1]
    return [text for text in (*SUGGESTED, *found) if text not in query.q]


def quoted(text: str) -> str:
    """Return a text as a value of a filter."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def narrowed(q: str, text: str) -> str:
    """Return a filter with one more condition."""
    if _is_or(q):
        q = f"(\n{q}\n)" if "#" in q else f"({q})"
    return f"{q}\n{text}" if "#" in q else f"{q} {text}".strip()


def _is_or(q: str) -> bool:
    try:
        return isinstance(read_filter(q, 0).tree, Or)
    except FilterError:
        return False


def mended(query: Query) -> Query:
    """Return what of a query makes sense, for the links of a page that says what does not."""
    return replace(query, sort=known_sort(query.sort), c="", tz=query.tz if zone_named(query.tz) else UTC)


def known_zone(query: Query) -> None:
    """
    Look at the time zone of a query.

    Raises:
        FilterError: There is no such.
    """
    if zone_named(query.tz) is None:
        hint = "Name it as Europe/Berlin."
        raise FilterError(f"this machine knows no time zone {query.tz!r}", query.tz, 0, len(query.tz), hint)


def is_wrong(visit: Visit, query: Query) -> bool:
    """Return whether the filter cannot be read: then it is not something else that is wrong."""
    try:
        visit.ask(query)
    except FilterError:
        return True
    return False


def problem(visit: Visit, query: Query, error: FilterError, spot: Spot, in_filter: bool = True) -> dict[str, Any]:
    """
    Return what is wrong, the line with the place marked, and a link to what may have been meant.

    Args:
        visit: Who asks.
        query: What was asked for.
        error: What is wrong with it.
        spot: On which page.
        in_filter: It is the filter that is wrong, and not what else the page was asked.
    """
    lines = str(error).split("\n")
    source = lines[-2][2:] if len(lines) > 2 else ""
    begin, end = error.column - 1, error.end - 1
    meant = _MEANT.search(error.hint)
    return {
        "in_filter": in_filter,
        "source": source,
        "told": lines[0],
        "before": Verbatim(source[:begin]),
        "marked": Verbatim(source[begin:end]),
        "after": Verbatim(source[end:]),
        "fix": _fix(visit, query, error, spot, meant[1] if in_filter else (source, meant[1])) if meant else "",
        "meant": meant[1] if meant else "",
    }


def _fix(visit: Visit, query: Query, error: FilterError, spot: Spot, meant: str | tuple[str, str]) -> str:
    """Return a link to what may have been meant by a filter, or by something else that the page was asked."""
    if isinstance(meant, str):
        return visit.link(spot.page, replace(query, q=_mended(query.q, error, meant)), **spot.own)
    own = {name: _instead(value, *meant) for name, value in spot.own.items()}
    return "" if own == spot.own else visit.link(spot.page, query, **own)


def _instead(value: str | tuple[str, ...], said: str, meant: str) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return meant if value == said else value
    return tuple(meant if one == said else one for one in value)


def _mended(q: str, error: FilterError, meant: str) -> str:
    lines = q.split("\n")
    if error.line > len(lines):
        return q
    text = lines[error.line - 1]
    lines[error.line - 1] = text[: error.column - 1] + meant + text[error.end - 1 :]
    return "\n".join(lines)
