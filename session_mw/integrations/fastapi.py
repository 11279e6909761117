"""
FastAPI (and Starlette): ``SessionTracking(app)``, and ``SessionDep`` for handlers.

    app = FastAPI()
    SessionTracking(app)

    @app.post("/chat")
    async def chat(session: SessionDep) -> str: ...

Installed by ``add_middleware``, inside whatever instruments the application: FastAPIInstrumentor wraps the whole stack,
FastAPI's own telemetry too, so the server's span is there when ours open, in either order of installation.
"""

from __future__ import annotations

from typing import Annotated, Any

from starlette.applications import Starlette

from .._engine.compiled import resolve
from ..asgi import SessionTrackingMiddleware
from ..context import Session, current_session
from ..exceptions import MissingDependency
from ..settings import SessionSettings
from ..telemetry.install import instrument

try:
    from fastapi import Depends
except ImportError as error:
    raise MissingDependency("session_mw.integrations.fastapi", "fastapi", "fastapi") from error


class SessionTracking:
    """
    Track the sessions of a FastAPI or Starlette application.

    Args:
        app: The application, before it has started.
        settings: None reads ``SESSION_MW_*`` from the environment and ``.env``.
        options: ``tracer_provider``, ``meter_provider``, ``logger_provider``, ``clock``, and settings by name.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another. At once, not with the first request.
    """

    def __init__(self, app: Starlette, settings: SessionSettings | None = None, **options: Any) -> None:
        wiring = {key: options.pop(key) for key in WIRING if key in options}
        checked = resolve(settings, options)
        # The application makes its middleware with the first request, after whatever stands around it read the baggage.
        instrument(processors=False)
        app.add_middleware(SessionTrackingMiddleware, settings=checked, **wiring)


WIRING = ("tracer_provider", "meter_provider", "logger_provider", "clock", "endpoint")


async def session_of_request() -> Session:
    """
    Return the current session, for ``Depends``.

    Raises:
        RuntimeError: There is none: the middleware is not installed, or the path is excluded.
    """
    session = current_session()
    if session is None:
        raise RuntimeError(
            "cannot give this handler a session: no SessionTrackingMiddleware saw the request. "
            "Add SessionTracking(app), or take the path out of exclude_paths."
        )
    return session


SessionDep = Annotated[Session, Depends(session_of_request)]
