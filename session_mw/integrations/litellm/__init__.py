"""
LiteLLM's proxy with sessions: its own spans say which session, prompt version and user a model call belongs to.

    CONFIG_FILE_PATH=config.yaml uvicorn session_mw.integrations.litellm:app
    LITELLM_WORKER_STARTUP_HOOKS=session_mw.integrations.litellm:startup litellm --config config.yaml

Both do the same. A session is named by the signed ``X-Session-Token``, by a trusted peer, by the coding agent's own id,
or by the proxy's ``PHOENIX_SESSION_ID``, in this order: see ``naming``. LiteLLM is not patched: see ``loggers``.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .proxy import Proxy

    app: Proxy

__all__ = ["app", "startup", "wrap"]


def wrap(app: Any = None, settings: Any = None, **options: Any) -> Proxy:
    """
    Return LiteLLM's proxy with sessions, an ASGI application.

    Args:
        app: LiteLLM's. None imports it.
        settings: None reads ``SESSION_MW_*``.
        options: ``count_for_others=True`` also counts what sessions use that another service owns; settings by name.

    Raises:
        MissingDependency: LiteLLM is not installed.
        SettingsError: A setting is missing, unknown or contradicts another.
    """
    from .loggers import adopt, state
    from .proxy import Proxy

    return Proxy(_litellm() if app is None else app, settings, adopt=adopt, state=state, **options)


def startup() -> None:
    """Put the wrapper around the proxy that is starting up: for ``LITELLM_WORKER_STARTUP_HOOKS``."""
    served = _litellm()
    # LiteLLM is in its lifespan by now: Starlette takes no middleware any more, and its stack is what is served.
    wrapped = served.middleware_stack = wrap(served.middleware_stack)
    atexit.register(wrapped.flush)  # this lifespan is not seen any more


def _litellm() -> Any:
    from litellm.proxy import proxy_server

    return proxy_server.app


def __getattr__(name: str) -> Any:
    """Make ``app`` when a server asks for it: importing LiteLLM's proxy takes seconds."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = wrap()
    return made
