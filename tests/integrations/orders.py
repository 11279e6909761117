"""
Every order in which people install OpenTelemetry and sessions, as functions that build the application.

The name of a function is what it does, in that order; ``ours`` is the session middleware, ``theirs`` OpenTelemetry's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as ASGITheirs
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WSGITheirs
from starlette import applications
from starlette.middleware import Middleware

import session_mw.integrations.fastapi as ours_fastapi
import session_mw.integrations.flask as ours_flask
from session_mw.asgi import SessionTrackingMiddleware as ASGIOurs
from session_mw.wsgi import SessionTrackingMiddleware as WSGIOurs
from tests.integrations import apps, django_project
from tests.integrations.support import Site, World

Build = Callable[[World], Site]


def instrument_fastapi(world: World, app: Any, **options: Any) -> Any:
    """Instrument one FastAPI application, until the test ends: a class of Starlette's is patched as well."""
    FastAPIInstrumentor.instrument_app(app, tracer_provider=world.provider, **options)
    world.stack.callback(FastAPIInstrumentor.uninstrument_app, app)
    return app


def instrument_flask(world: World, app: Any) -> None:
    """Instrument one Flask application."""
    instrument: Any = FlaskInstrumentor.instrument_app
    instrument(app, tracer_provider=world.provider)


def instrument_all(world: World, instrumentor: Any) -> None:
    """Instrument a framework as a whole, until the test ends."""
    instrumentor.instrument(tracer_provider=world.provider, skip_dep_check=True)
    world.stack.callback(instrumentor.uninstrument)


def native(world: World) -> dict[str, Any]:
    """Return FastAPI's own telemetry, switched on."""
    return {"telemetry": {"tracer_provider": world.provider, "logger_provider": world.logger_provider}}


def _asgi(target: Any) -> Site:
    return Site(target, asgi=True)


def _wsgi(target: Any) -> Site:
    return Site(target, asgi=False)


# -- FastAPI


def fastapi_ours(world: World) -> Site:
    app = apps.fastapi_app(world)
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(app)


def fastapi_add_middleware(world: World) -> Site:
    app = apps.fastapi_app(world)
    app.add_middleware(ASGIOurs, **world.options())
    return _asgi(app)


def fastapi_instrument_app_then_ours(world: World) -> Site:
    app = instrument_fastapi(world, apps.fastapi_app(world))
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(app)


def fastapi_ours_then_instrument_app(world: World) -> Site:
    app = apps.fastapi_app(world)
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(instrument_fastapi(world, app))


def fastapi_instrument_app_without_send_and_receive(world: World) -> Site:
    app = instrument_fastapi(world, apps.fastapi_app(world), exclude_spans=["send", "receive"])
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(app)


def fastapi_instrument_class_then_ours(world: World) -> Site:
    instrument_all(world, FastAPIInstrumentor())
    import fastapi

    app = apps.fastapi_app(world, fastapi.FastAPI())
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(app)


def fastapi_ours_then_instrument_class(world: World) -> Site:
    site = fastapi_ours(world)
    instrument_all(world, FastAPIInstrumentor())  # too late for this application
    return site


def fastapi_own_telemetry(world: World) -> Site:
    app = apps.fastapi_app(world, **native(world))
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(app)


def fastapi_own_telemetry_and_instrument_app(world: World) -> Site:
    app = apps.fastapi_app(world, **native(world))
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(instrument_fastapi(world, app))


def fastapi_theirs_added_then_ours(world: World) -> Site:
    app = apps.fastapi_app(world)
    app.add_middleware(ASGITheirs, tracer_provider=world.provider)
    ours_fastapi.SessionTracking(app, **world.options())
    return _asgi(app)


def fastapi_ours_then_theirs_added(world: World) -> Site:
    app = apps.fastapi_app(world)
    ours_fastapi.SessionTracking(app, **world.options())
    app.add_middleware(ASGITheirs, tracer_provider=world.provider)
    return _asgi(app)


def fastapi_theirs_around_ours(world: World) -> Site:
    return _asgi(ASGITheirs(fastapi_ours(world).target, tracer_provider=world.provider))


def fastapi_ours_around_instrumented(world: World) -> Site:
    return _asgi(ASGIOurs(instrument_fastapi(world, apps.fastapi_app(world)), **world.options()))


def fastapi_ours_around_own_telemetry(world: World) -> Site:
    return _asgi(ASGIOurs(apps.fastapi_app(world, **native(world)), **world.options()))


# -- Starlette


def starlette_ours(world: World) -> Site:
    app = apps.starlette_app(world)
    app.add_middleware(ASGIOurs, **world.options())
    return _asgi(app)


def starlette_instrument_app_then_ours(world: World) -> Site:
    app = apps.starlette_app(world)
    StarletteInstrumentor.instrument_app(app, tracer_provider=world.provider)
    app.add_middleware(ASGIOurs, **world.options())
    return _asgi(app)


def starlette_ours_then_instrument_app(world: World) -> Site:
    site = starlette_ours(world)
    StarletteInstrumentor.instrument_app(site.target, tracer_provider=world.provider)
    return site


def starlette_instrument_class_then_ours(world: World) -> Site:
    instrument_all(world, StarletteInstrumentor())
    app = apps.starlette_app(world, applications.Starlette)
    app.add_middleware(ASGIOurs, **world.options())
    return _asgi(app)


def starlette_instrument_class_ours_in_constructor(world: World) -> Site:
    instrument_all(world, StarletteInstrumentor())
    ours = Middleware(ASGIOurs, **world.options())
    return _asgi(apps.starlette_app(world, applications.Starlette, middleware=[ours]))


def starlette_ours_then_instrument_class(world: World) -> Site:
    site = starlette_ours(world)
    instrument_all(world, StarletteInstrumentor())  # too late for this application
    return site


# -- Flask


def flask_ours(world: World) -> Site:
    app = apps.flask_app(world)
    ours_flask.SessionTracking(app, **world.options())
    return _wsgi(app)


def flask_instrument_app_then_ours(world: World) -> Site:
    app = apps.flask_app(world)
    instrument_flask(world, app)
    ours_flask.SessionTracking(app, **world.options())
    return _wsgi(app)


def flask_ours_then_instrument_app(world: World) -> Site:
    site = flask_ours(world)
    instrument_flask(world, site.target)
    return site


def flask_instrument_class_then_init_app(world: World) -> Site:
    instrument_all(world, FlaskInstrumentor())
    app = apps.flask_app(world, flask.Flask)
    ours_flask.SessionTracking(**world.options()).init_app(app)
    return _wsgi(app)


def flask_ours_then_instrument_class(world: World) -> Site:
    site = flask_ours(world)
    instrument_all(world, FlaskInstrumentor())  # too late for this application
    return site


def flask_theirs_inside_ours(world: World) -> Site:
    app = apps.flask_app(world)
    app.wsgi_app = WSGITheirs(app.wsgi_app, tracer_provider=world.provider)  # type: ignore[method-assign]
    ours_flask.SessionTracking(app, **world.options())
    return _wsgi(app)


def flask_theirs_around_ours(world: World) -> Site:
    app = flask_ours(world).target
    app.wsgi_app = WSGITheirs(app.wsgi_app, tracer_provider=world.provider)
    return _wsgi(app)


def flask_theirs_around_ours_and_instrument_app(world: World) -> Site:
    app = flask_instrument_app_then_ours(world).target
    app.wsgi_app = WSGITheirs(app.wsgi_app, tracer_provider=world.provider)
    return _wsgi(app)


def flask_bare_ours_around_instrumented(world: World) -> Site:
    app = apps.flask_app(world)
    instrument_flask(world, app)
    return _wsgi(WSGIOurs(app, **world.options()))


# -- Django


def _django(world: World, *, asgi: bool, instrument: bool = False) -> Site:
    django_project.configure(world)
    if instrument:
        instrument_all(world, DjangoInstrumentor())
    return django_project.site(asgi=asgi)


def django_ours(world: World) -> Site:
    return _django(world, asgi=False)


def django_async_ours(world: World) -> Site:
    return _django(world, asgi=True)


def django_instrument(world: World) -> Site:
    return _django(world, asgi=False, instrument=True)


def django_async_instrument(world: World) -> Site:
    return _django(world, asgi=True, instrument=True)


def django_instrument_behind_ours(world: World) -> Site:
    world.environ("OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION", "1")
    return _django(world, asgi=False, instrument=True)


def django_async_instrument_behind_ours(world: World) -> Site:
    world.environ("OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION", "1")
    return _django(world, asgi=True, instrument=True)


def django_instrument_too_late(world: World) -> Site:
    site = _django(world, asgi=False)
    instrument_all(world, DjangoInstrumentor())
    return site


def django_theirs_around(world: World) -> Site:
    return _wsgi(WSGITheirs(_django(world, asgi=False).target, tracer_provider=world.provider))


def django_async_theirs_around(world: World) -> Site:
    return _asgi(ASGITheirs(_django(world, asgi=True).target, tracer_provider=world.provider))


# -- the others


def litestar_ours(world: World) -> Site:
    import litestar.middleware

    factory: Any = ASGIOurs  # Litestar types scopes in a way of its own
    ours = litestar.middleware.DefineMiddleware(factory, **world.options())
    return _asgi(apps.litestar_app(world, middleware=[ours]))


def litestar_ours_around(world: World) -> Site:
    return _asgi(ASGIOurs(apps.litestar_app(world), **world.options()))


def litestar_theirs_around_ours(world: World) -> Site:
    return _asgi(ASGITheirs(litestar_ours(world).target, tracer_provider=world.provider))


def quart_ours(world: World) -> Site:
    app = apps.quart_app(world)
    app.asgi_app = ASGIOurs(app.asgi_app, **world.options())  # type: ignore[assignment, method-assign]
    return _asgi(app)


def quart_theirs_around_ours(world: World) -> Site:
    app = quart_ours(world).target
    app.asgi_app = ASGITheirs(app.asgi_app, tracer_provider=world.provider)
    return _asgi(app)


def quart_theirs_inside_ours(world: World) -> Site:
    app = apps.quart_app(world)
    app.asgi_app = ASGIOurs(ASGITheirs(app.asgi_app, tracer_provider=world.provider), **world.options())  # type: ignore[assignment, method-assign]
    return _asgi(app)


def asgi_ours(world: World) -> Site:
    return _asgi(ASGIOurs(apps.bare_asgi(world), **world.options()))


def asgi_theirs_around_ours(world: World) -> Site:
    return _asgi(ASGITheirs(asgi_ours(world).target, tracer_provider=world.provider))


def asgi_theirs_inside_ours(world: World) -> Site:
    theirs = ASGITheirs(apps.bare_asgi(world), tracer_provider=world.provider)
    return _asgi(ASGIOurs(theirs, **world.options()))


def wsgi_ours(world: World) -> Site:
    return _wsgi(WSGIOurs(apps.bare_wsgi(world), **world.options()))


def wsgi_theirs_around_ours(world: World) -> Site:
    return _wsgi(WSGITheirs(wsgi_ours(world).target, tracer_provider=world.provider))


def wsgi_theirs_inside_ours(world: World) -> Site:
    theirs = WSGITheirs(apps.bare_wsgi(world), tracer_provider=world.provider)
    return _wsgi(WSGIOurs(theirs, **world.options()))
