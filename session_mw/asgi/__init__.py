"""
The ASGI shell: ``SessionTrackingMiddleware(app)``.

Pure ASGI, no ``BaseHTTPMiddleware``: context variables set here are seen by handlers, streams and background work, and
nothing is buffered. ``http`` and ``websocket`` connections are tracked; ``lifespan`` passes through, watched only for
its shutdown.
"""

from __future__ import annotations

from .middleware import SessionTrackingMiddleware

__all__ = ["SessionTrackingMiddleware"]
