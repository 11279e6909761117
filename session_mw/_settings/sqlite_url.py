"""
URLs of SQLite files.

    sqlite:///relative.db
    sqlite:////var/lib/app/absolute.db
    sqlite:///sessions.db?timeout=0.05      seconds that a request may wait for other writers
    sqlite:///history.db?metric_indexes=false      for a history: it is written more often than it is sorted
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from session_mw._settings.errors import BadValue

INDEXES = "metric_indexes"
_WRITE = "Write sqlite:///sessions.db, or sqlite:////var/lib/app/sessions.db"


def read_sqlite_url(url: str) -> tuple[str, float | None]:
    """
    Return the path of the file that *url* names, and the seconds that a request may wait, None when it says nothing.

    Raises:
        BadValue: It names no file, or has options that there are not.
    """
    place, _, query = url.partition("://")[2].partition("?")
    path = unquote(place[1:]) if place.startswith("/") else ""
    if path.strip("/") == "" or path.endswith("/") or path == ":memory:":
        raise BadValue("a file after sqlite:///", _WRITE)
    seconds = None
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "timeout":
            seconds = _seconds(value)
        elif name == INDEXES:
            _flag(value)
        else:
            raise BadValue(f"no option but timeout and {INDEXES}", _WRITE, repr(name))
    if query and not parse_qsl(query):
        raise BadValue("options as in ?timeout=0.05", _WRITE, repr(query))
    return path, seconds


def metric_indexes(url: str) -> bool | None:
    """Return whether a history shall have the indices that lists are sorted by, None when *url* does not say."""
    said = dict(parse_qsl(url.partition("?")[2])).get(INDEXES)
    return None if said is None else _flag(said)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise BadValue("true or false", f"{_WRITE}?{INDEXES}=false", repr(text))
    return text == "true"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 60:
        raise BadValue("a timeout of 0.001 to 60 seconds", f"{_WRITE}?timeout=0.05", repr(text))
    return seconds
