"""Which page is shown where."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.responses import Response

from .analytics import PAGES
from .api import check, session_json, sessions_json
from .detail import session_page
from .exports import export_csv, export_jsonl, export_otlp
from .help import help_page
from .list import list_page
from .live import changes
from .turn import turn_page
from .user import user_json, user_page
from .visits import Visit

# What returns None is answered as a page that there is not.
ROUTES: Mapping[str, Callable[[Visit], Response | None]] = {
    "": list_page,
    "s": session_page,
    "turn": turn_page,
    "help": help_page,
    "changes": changes,
    "export.csv": export_csv,
    "export.jsonl": export_jsonl,
    "export.otlp.jsonl": export_otlp,
    "api/sessions": sessions_json,
    "api/session": session_json,
    "api/check": check,
    "user": user_page,
    "api/user": user_json,
    **PAGES,
}
