"""
Sums over sessions, a line for each group of them: by any field or attribute, or by two.

Rule 1: what is unknown stands beside what is known: a rate never counts it.
Rule 2: groups that are too many are added up in a last line; users are not, since one may be in several groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...ledger import Group, Summing
from ...ledger.documents import group_document, usd
from ...ledger.filters.tree import Field
from ...ledger.shown import many, shown_ms, shown_number, shown_usd
from ...ledger.summary import field_named
from ..box import quoted
from ..list import dash
from ..visits import Visit
from ..zones import day_time
from .sight import SECONDS, Asking, Own, Sight

MOST, MOST_INNER = 100, 20  # lines of a level
USUAL = ("type",)
LEVELS = 2
CHOICES = ("type", "prompt_version", "name", "channel", "user_id", "status", "outcome", "end_reason", "metadata.source")
PRESETS = (
    ("type", ("type",)),
    ("prompt version", ("prompt_version",)),
    ("type, then prompt version", ("type", "prompt_version")),
    ("channel", ("channel",)),
    ("outcome", ("outcome",)),
    ("end reason", ("end_reason",)),
    ("user", ("user_id",)),
)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


# Title, what its button sorts by, and the value that it sorts.
COLUMNS: Sequence[tuple[str, str, Callable[[Group], float | None]]] = (
    ("Sessions", "sessions", lambda group: group.sessions),
    ("Users", "users", lambda group: group.users),
    ("Turns", "turns", lambda group: group.turns),
    ("Tokens", "tokens", lambda group: group.tokens if group.counted else None),
    ("Cost", "cost", lambda group: group.cost_microusd if group.priced else None),
    ("a session", "per_session", lambda group: _ratio(group.cost_microusd, group.priced)),
    ("Priced", "priced", lambda group: _ratio(group.priced, group.sessions)),
    ("Latency", "latency", lambda group: group.avg_turn_latency_ms),
    ("Errors", "errors", lambda group: _ratio(group.with_errors, group.sessions)),
    ("Resolved", "resolution", lambda group: group.resolution_rate),
    ("Unknown", "unknown", lambda group: _ratio(group.sessions - group.settled, group.sessions)),
)
VALUES = {sort: value for _, sort, value in COLUMNS}


@dataclass(frozen=True, slots=True)
class Sums:
    """
    An answer.

    Attributes:
        outer: Groups of the first level.
        inner: Groups of both levels; empty when there is one level.
    """

    outer: list[Group]
    inner: list[Group]


def own(visit: Visit) -> Own:
    """Return by what, and in which order."""
    by = tuple(dict.fromkeys(name.strip() for name in visit.params.getlist("by") if name.strip()))[:LEVELS] or USUAL
    order = visit.params.get("order", "")
    usual = "name" if by[-1] in ("prompt_version", "version", "session.prompt_version") else "-sessions"
    return {"by": by, "order": order if order.removeprefix("-") in ("name", *VALUES) else usual}


def check(own: Own) -> None:
    """Raise FilterError for what nothing can be grouped by."""
    for name in own["by"]:
        field_named(name)


def find(asking: Asking) -> Sums:
    """Ask for the sums."""
    by = tuple(asking.own["by"])

    def sums(by: tuple[str, ...]) -> list[Group]:
        unconfirmed = asking.query.unconfirmed
        return asking.visit.ledger.summary(Summing(asking.where, by, unconfirmed, SECONDS))

    return Sums(sums(by[:1]), sums(by) if len(by) > 1 else [])


def ordered(groups: Sequence[Group], order: str) -> list[Group]:
    """Return groups, which come in the order in which people count, in another one; what is not known stands last."""
    name, falling = order.removeprefix("-"), order.startswith("-")
    if name == "name":
        turned = groups[::-1] if falling else groups
        return sorted(turned, key=lambda group: None in group.key)
    value = VALUES[name]
    known = [group for group in groups if value(group) is not None]
    known.sort(key=lambda group: value(group) or 0, reverse=falling)
    return [*known, *(group for group in groups if value(group) is None)]


def together(groups: Sequence[Group], key: tuple[str | None, ...]) -> Group:
    """Return groups added up; how many users they are together nobody can say, so it is 0."""
    sums = {one.name: sum(getattr(group, one.name) for group in groups) for one in fields(Group) if one.name != "key"}
    return replace(Group(key, **sums), users=0)


def largest(groups: Sequence[Group], most: int, order: str) -> tuple[list[Group], Group | None, int]:
    """Return at most so many groups in an order, the rest of them added up, and how many those are."""
    some = ordered(groups, order)
    if len(some) <= most:
        return some, None, 0
    ranked = ordered(groups, "-sessions") if order.endswith("name") else some
    shown, rest = ranked[:most], ranked[most:]
    if ranked is not some:
        among = {group.key for group in shown}
        shown = [group for group in some if group.key in among]
    return shown, together(rest, shown[0].key), len(rest)


# -- for people


@dataclass(frozen=True, slots=True)
class Line:
    """
    A line of the table.

    Attributes:
        name: Of its group.
        link: To the list of its sessions; empty when there is none.
        kind: ``outer``, ``inner``, ``rest`` or ``sum``.
        share: Of all sessions, in hundredths.
        cells: Values for people, in the order of the columns.
    """

    name: str
    link: str
    kind: str
    share: float
    cells: list[str]


def values(asking: Asking, found: Sums) -> dict[str, Any]:
    """Return what the page shows."""
    by, order = tuple(asking.own["by"]), str(asking.own["order"])
    total = together(found.outer, ()) if found.outer else None
    return {
        "lines": list(_lines(asking, found, total)) if total else [],
        "total": _line("All", "", "sum", total, total.sessions) if total else None,
        "told": f"{many(total.sessions, 'session')} in {many(len(found.outer), 'group')}" if total else "",
        "heads": [_heading(title, sort, order) for title, sort, _ in COLUMNS],
        "first": _heading(", ".join(name.replace("_", " ") for name in by), "name", order),
        "presets": [(title, asking.here(by=names, order=""), names == by) for title, names in PRESETS],
    }


def _lines(asking: Asking, found: Sums, total: Group) -> Iterable[Line]:
    by, order = tuple(asking.own["by"]), str(asking.own["order"])
    first = field_named(by[0])
    inner: dict[str | None, list[Group]] = {}
    for group in found.inner:
        inner.setdefault(group.key[0], []).append(group)
    shown, rest, left = largest(found.outer, MOST, order)
    for group in shown:
        condition = _condition(first, group.key[0])
        name = _name(first, group.key[0], asking)
        yield _line(name, asking.listed(condition), "outer", group, total.sessions)
        if len(by) > 1:
            yield from _inner(asking, condition, inner.get(group.key[0], []), total)
    if rest is not None:
        yield _line(f"the rest: {many(left, 'group')}", "", "rest", rest, total.sessions)


def _inner(asking: Asking, condition: str, groups: list[Group], total: Group) -> Iterable[Line]:
    second, order = field_named(asking.own["by"][1]), str(asking.own["order"])
    shown, rest, left = largest(groups, MOST_INNER, order)
    for group in shown:
        link = asking.listed(f"{condition} {_condition(second, group.key[1])}")
        yield _line(_name(second, group.key[1], asking), link, "inner", group, total.sessions)
    if rest is not None:
        yield _line(f"the rest: {many(left, 'group')}", "", "inner rest", rest, total.sessions)


def _line(name: str, link: str, kind: str, group: Group, all_sessions: int) -> Line:
    several = kind.endswith(("rest", "sum"))
    cells = [
        shown_number(group.sessions),
        dash("-" if several else shown_number(group.users)),
        shown_number(group.turns),
        dash(shown_number(group.tokens if group.counted else None)),
        _money(group.cost_microusd if group.priced else None),
        _money(_ratio(group.cost_microusd, group.priced)),
        percent(_ratio(group.priced, group.sessions)),
        dash(shown_ms(group.avg_turn_latency_ms)),
        percent(_ratio(group.with_errors, group.sessions)),
        percent(group.resolution_rate),
        percent(_ratio(group.sessions - group.settled, group.sessions)),
    ]
    share = round(100 * group.sessions / all_sessions, 2) if all_sessions else 0.0
    return Line(name, link, kind, share, cells)


def _money(microusd: float | None) -> str:
    return dash(shown_usd(usd(microusd)))


def percent(share: float | None) -> str:
    """Return a share for people."""
    return dash("-") if share is None else f"{100 * share:.1f} %"


def round_percent(share: float | None) -> str:
    """Return a share of an axis, which has few digits anyhow."""
    return dash("-") if share is None else f"{100 * share:.4g} %"


def _heading(title: str, sort: str, order: str) -> dict[str, str]:
    falling = order == f"-{sort}"
    state = "descending" if falling else "ascending" if order == sort else ""
    begin = sort if sort == "name" and order != "name" else f"-{sort}"
    return {"title": title, "sort": sort, "state": state, "next": sort if falling else begin}


def _condition(field: Field, key: str | None) -> str:
    """Return the filter of a group."""
    if key is None:
        return f"{field.name} IS NULL"
    if not field.attribute and field.kind == "money":
        return f"{field.name}:{int(key) / 1_000_000:f}"
    return f"{field.name}:{key if field.attribute and not _is_text(key) else quoted(key)}"


def _is_text(key: str) -> bool:
    """Return whether an attribute's value, told as text, was none: ``true`` and ``5`` are looked for as such."""
    return not (key in ("true", "false") or key.lstrip("-").replace(".", "", 1).isdigit())


def _name(field: Field, key: str | None, asking: Asking) -> str:
    if key is None:
        return "not known"
    if field.attribute or field.kind not in _SHOWN:
        return key or '""'
    return _SHOWN[field.kind](int(key)) if field.kind != "time" else day_time(int(key), asking.visit.zone)


_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "money": lambda microusd: shown_usd(usd(microusd)),
    "duration": shown_ms,
    "number": shown_number,
    "time": str,
}


# -- for programs


def document(asking: Asking, found: Sums) -> dict[str, Any]:
    """Return the same for programs: all groups, in the order in which people count."""
    by = tuple(asking.own["by"])
    groups = found.inner if len(by) > 1 else found.outer
    body: dict[str, Any] = {"by": list(by), "groups": [group_document(group, by) for group in groups]}
    return {**body, "stopped": False}


GROUPS = Sight(
    "groups",
    "Groups",
    "analytics/groups.html",
    find,
    values,
    document,
    own,
    check,
    fields="analytics/by.html",
    visible=("by",),
    more={"choices": CHOICES},
)
