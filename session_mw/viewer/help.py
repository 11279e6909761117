"""The reference of the filter language, from the table of its fields."""

from __future__ import annotations

from starlette.responses import Response

from ..ledger.filters.fields import TABLE
from .pages import page
from .visits import Query, Visit

KINDS = {
    "text": ("Texts", 'type:chat   name:auth-*   user_id:"u_7b1e"'),
    "number": ("Counts", "turn_count:>5   tokens:1k..10k"),
    "money": ("US dollars", "cost:>0.50"),
    "duration": ("Lengths of time", "duration:>5m   duration:90s"),
    "time": ("Times", "started:2026-01-15   last 24 hours   ended:>-7d"),
    "flag": ("Yes or no", "has_errors:true   resolved:false"),
}


def help_page(visit: Visit) -> Response:
    """Return the reference."""
    query = Query.of(visit.params)
    groups = []
    for kind, (title, example) in KINDS.items():
        fields = [(field.name, others, field.choices) for field, others in TABLE if field.kind == kind]
        groups.append((title, example, fields))
    return page("help.html", visit, query, groups=groups)
