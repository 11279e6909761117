"""
The same application in Django, sync and async.

Django's settings are one a process. They are made here, at import, unless another test was first; each test puts its
own over them.
"""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from session_mw.integrations.django import SessionTrackingMiddleware
from tests.integrations.support import Site, World

TRACKING = "tests.integrations.django_project.Tracking"

if not settings.configured:
    settings.configure(
        SECRET_KEY="for tests only",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:shop?mode=memory&cache=shared"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGGING_CONFIG=None,
        USE_TZ=True,
    )
    django.setup()

chunks: Any = None  # makes the body of /stream, for the running test
world: World  # of the running test: Django makes middleware from dotted names, without arguments


class Tracking(SessionTrackingMiddleware):
    """Ours, with the running test's providers."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response, **world.wiring)


def chat(request: Any) -> Any:
    """Look at the session."""
    return JsonResponse(world.look())


async def chat_async(request: Any) -> Any:
    """Look at the session, in an event loop."""
    return JsonResponse(world.look())


async def stream(request: Any) -> Any:
    """Stream."""
    return StreamingHttpResponse(chunks())


def quiet(request: Any) -> Any:
    """Do not look at it."""
    return HttpResponse("quiet")


def boom(request: Any) -> Any:
    """Fail."""
    raise RuntimeError("the handler failed")


urlpatterns = [
    path("chat", chat),
    path("chat-async", chat_async),
    path("health", chat),
    path("stream", stream),
    path("quiet", quiet),
    path("boom", boom),
]


def configure(
    current: World, middleware: tuple[str, ...] = (TRACKING,), urlconf: str = __name__, **session_mw: Any
) -> None:
    """Put the running test's settings over Django's, until the test ends."""
    global world
    world = current
    current.stack.enter_context(
        override_settings(
            MIDDLEWARE=list(middleware),
            ROOT_URLCONF=urlconf,
            SESSION_MW=current.settings(**session_mw),
            ALLOWED_HOSTS=["*"],
            DEBUG=False,
        )
    )


def site(*, asgi: bool) -> Site:
    """Return the project as the settings in force make it."""
    return Site(ASGIHandler() if asgi else WSGIHandler(), asgi)
