"""
The same application in Django, sync and async.

Django's settings are one a process. They are made here, at import, unless another test was first; each test puts its
own over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.contrib import auth
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import include, path
from django.views import View

from session_mw import current_session, turn_endpoint
from session_mw.integrations.django import SessionTrackingMiddleware
from tests.integrations.support import Site, World

TRACKING = "tests.integrations.django_project.Tracking"
USERS = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)

if not settings.configured:
    settings.configure(
        SECRET_KEY="for tests only",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:shop?mode=memory&cache=shared"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
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


class AnswersErrors:
    """Somebody's middleware that answers what views raise."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        return HttpResponse("answered", status=200)


def chat(request: Any, **parameters: Any) -> Any:
    """Look at the session."""
    return JsonResponse(world.look())


async def chat_async(request: Any) -> Any:
    """Look at the session, in an event loop."""
    return JsonResponse(world.look())


async def stream(request: Any) -> Any:
    """Stream."""
    session = current_session()
    assert session is not None
    session.set(name="streaming")
    return StreamingHttpResponse(chunks())


def file(request: Any) -> Any:
    """Send this file."""
    return FileResponse(open(__file__, "rb"))


def quiet(request: Any) -> Any:
    """Do not look at it."""
    return HttpResponse("quiet")


def boom(request: Any) -> Any:
    """Fail."""
    raise RuntimeError("the handler failed")


async def boom_async(request: Any) -> Any:
    """Fail in an event loop."""
    raise RuntimeError("the handler failed")


def fail(request: Any, kind: str) -> Any:
    """Fail in a way that Django answers itself."""
    raise {"missing": Http404, "forbidden": PermissionDenied, "suspicious": SuspiciousOperation}[kind]


def down(request: Any) -> Any:
    """Answer that nothing works."""
    return HttpResponse("down", status=503)


def login(request: Any, name: str) -> Any:
    """Log *name* in."""
    auth.login(request, user_named(name))
    return JsonResponse(world.look())


async def login_async(request: Any, name: str) -> Any:
    """Log *name* in, in an event loop."""
    user = await auth.get_user_model().objects.aget(username=name)
    await auth.alogin(request, user)
    return JsonResponse(world.look())


def logout(request: Any) -> Any:
    """Log out."""
    auth.logout(request)
    return HttpResponse("bye")


async def logout_async(request: Any) -> Any:
    """Log out, in an event loop."""
    await auth.alogout(request)
    return HttpResponse("bye")


def me(request: Any) -> Any:
    """Ask who the user is."""
    return JsonResponse({**world.look(), "known": request.user.is_authenticated})


async def me_async(request: Any) -> Any:
    """Ask who the user is, in an event loop."""
    return JsonResponse({**world.look(), "known": (await request.auser()).is_authenticated})


@turn_endpoint
def marked(request: Any, number: int) -> Any:
    """Answer with GET."""
    return chat(request)


@turn_endpoint(False)
async def unmarked(request: Any, number: int) -> Any:
    """Save a draft with POST."""
    return await chat_async(request)


class Marked(View):
    """A view by class, marked where Django calls it."""

    @turn_endpoint
    def dispatch(self, request: Any, *args: Any, **parameters: Any) -> Any:
        return super().dispatch(request, *args, **parameters)

    def get(self, request: Any) -> Any:
        return chat(request)


urlpatterns = [
    path("", chat),
    path("chat", chat),
    path("chat-async", chat_async),
    path("items/<int:number>/", chat),
    path("health", chat),
    path("stream", stream),
    path("file", file),
    path("quiet", quiet),
    path("boom", boom),
    path("boom-async", boom_async),
    path("fail/<kind>", fail),
    path("down", down),
    path("login/<name>", login),
    path("login-async/<name>", login_async),
    path("logout", logout),
    path("logout-async", logout_async),
    path("me", me),
    path("me-async", me_async),
    path("marked/<int:number>", marked),
    path("nested/", include([path("unmarked/<int:number>", unmarked), path("class", Marked.as_view())])),
]


def configure(
    current: World, *, behind: tuple[str, ...] = (), ahead: tuple[str, ...] = (), more: Any = None, **session_mw: Any
) -> None:
    """
    Put the running test's settings over Django's, until the test ends.

    Args:
        current: The running test's.
        behind: Middleware behind ours.
        ahead: Middleware ahead of ours.
        more: Other settings of Django.
        session_mw: Settings of ours.
    """
    global world
    world = current
    ours: dict[str, Any] = {
        "MIDDLEWARE": [*ahead, TRACKING, *behind],
        "ROOT_URLCONF": __name__,
        "SESSION_MW": current.settings(**session_mw),
        "ALLOWED_HOSTS": ["*"],
        "DEBUG": False,
    }
    current.stack.enter_context(override_settings(**ours, **(more or {})))


def site(*, asgi: bool) -> Site:
    """Return the project as the settings in force make it."""
    return Site(ASGIHandler() if asgi else WSGIHandler(), asgi)


@contextmanager
def database() -> Iterator[None]:
    """Make the tables, in memory, with the users ada and bob."""
    from django.core.management import call_command
    from django.db import connection

    connection.ensure_connection()  # in memory: the tables live as long as a connection does
    call_command("migrate", verbosity=0)
    users = auth.get_user_model().objects
    for name in ("ada", "bob"):
        users.get_or_create(username=name)
    yield
    connection.close()


def user_named(name: str) -> Any:
    """Return the user of that name."""
    return auth.get_user_model().objects.get(username=name)
