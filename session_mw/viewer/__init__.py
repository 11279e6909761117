"""
Sessions in a browser: a list with the filter language, and each session turn by turn.

    app.mount("/sessions", SessionViewer(ledger, auth=staff_only))

Rendered here, complete without JavaScript and without any other host; it only reads. Needs jinja2, and a2wsgi below
WSGI: ``pip install 'session-mw[viewer]'``.
"""

from __future__ import annotations

from ..exceptions import MissingDependency

try:
    import jinja2 as jinja2
except ModuleNotFoundError as error:
    raise MissingDependency("SessionViewer", "jinja2", "viewer") from error

from .app import SessionViewer

__all__ = ["SessionViewer"]
