"""
The WSGI shell: ``SessionTrackingMiddleware(app)``.

Every request runs inside a private ``contextvars.Context``, body included: identity is visible while the body streams,
whichever thread pulls it, and nothing can leak into the next request of the thread, because the context is thrown away.
"""

from __future__ import annotations

from .middleware import SessionTrackingMiddleware

__all__ = ["SessionTrackingMiddleware"]
