"""The viewer beside each example, at ``/sessions``: for whoever sits at the machine that it runs on."""

from __future__ import annotations

from typing import Any

from starlette.routing import Mount, Router
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from session_mw import SessionSettings
from session_mw.viewer import SessionViewer

PLACE = "/sessions"


def viewer_of(settings: SessionSettings) -> SessionViewer | None:
    """
    Return a viewer of the history that an application with *settings* writes.

    Returns:
        None where that is in memory: each worker has its own.
    """
    url = settings.ledger or settings.store
    if not url.startswith(("sqlite:", "postgresql:")):
        return None
    return SessionViewer(url, allow_loopback=True)  # for others than this machine it takes auth=


def beside_asgi(app: Any, viewer: SessionViewer | None) -> Any:
    """Return an ASGI application that is *viewer* below ``/sessions``, and *app* everywhere else."""
    return app if viewer is None else Router([Mount(PLACE, viewer), Mount("", app)])


def beside_wsgi(app: Any, viewer: SessionViewer | None) -> Any:
    """Return a WSGI application that is *viewer* below ``/sessions``, and *app* everywhere else."""
    return app if viewer is None else DispatcherMiddleware(app, {PLACE: viewer.wsgi})
