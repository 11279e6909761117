"""
Flask: ``SessionTracking(app)`` or ``SessionTracking().init_app(app)``.

A request is admitted around ``app.wsgi_app``. FlaskInstrumentor starts the server's span in a ``before_request``
function, later than any WSGI wrapper runs; in an instrumented application our spans are therefore opened right after
it, whatever the order of installation.

The user is taken from Flask-Login where it has resolved one already, and from its login and logout signals. Nothing
here loads a user or touches ``flask.session``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from .._core.facts import RequestFacts
from .._core.scope import SessionScope, current_scope
from .._engine.compiled import resolve
from ..context import Session, marks
from ..exceptions import MissingDependency
from ..settings import SessionSettings
from ..telemetry.content import preview
from ..wsgi import SessionTrackingMiddleware
from ..wsgi.types import KEY, Environ

try:
    import flask
except ImportError as error:
    raise MissingDependency("session_mw.integrations.flask", "flask", "flask") from error

WIRING = ("tracer_provider", "meter_provider", "logger_provider", "clock")


class SessionTracking:
    """
    Track the sessions of a Flask application.

    Args:
        app: The application; None to call ``init_app`` later.
        settings: None reads ``SESSION_MW_*`` keys of ``app.config`` first, then environment and ``.env``.
        options: ``tracer_provider``, ``meter_provider``, ``logger_provider``, ``clock``, and settings by name.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another.
    """

    def __init__(self, app: flask.Flask | None = None, settings: SessionSettings | None = None, **options: Any) -> None:
        self._settings = settings
        self._wiring = {key: options.pop(key) for key in WIRING if key in options}
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Install into *app*; doing it twice does nothing."""
        if "session_mw" in app.extensions:
            return
        given = self._settings or SessionSettings.from_flask({**app.config, **_named(self._options)})
        settings = resolve(given, self._options if self._settings is not None else {})
        middleware = FlaskMiddleware(app, settings, **self._wiring)
        app.extensions["session_mw"] = middleware
        app.wsgi_app = middleware  # type: ignore[method-assign]
        app.before_request(middleware.open_spans)
        _listen(app)


def _named(options: dict[str, Any]) -> dict[str, Any]:
    return {"SESSION_MW_" + name.upper(): value for name, value in options.items()}


class FlaskMiddleware(SessionTrackingMiddleware):
    """The WSGI middleware, aware of what Flask knows."""

    def __init__(self, app: flask.Flask, settings: SessionSettings, **wiring: Any) -> None:
        super().__init__(app.wsgi_app, settings, endpoint=self._mark, params=self._params, **wiring)
        self._flask = app

    def opens_late(self, environ: Environ) -> bool:
        """Return whether FlaskInstrumentor is going to start the server's span: nobody has, in front of it."""
        if not getattr(self._flask, "_is_instrumented_by_opentelemetry", False):
            return False
        self._keep_behind()
        return not trace.get_current_span().get_span_context().is_valid

    def _keep_behind(self) -> None:
        """Keep our hook directly behind the instrumentor's, before any of the application's."""
        hooks: Any = self._flask.before_request_funcs.get(None, [])
        theirs = [i for i, hook in enumerate(hooks) if str(hook.__module__).startswith("opentelemetry.")]
        ours = hooks.index(self.open_spans) if self.open_spans in hooks else -1
        if theirs and ours >= 0 and ours != theirs[-1] + 1:
            hooks.remove(self.open_spans)
            hooks.insert(theirs[-1] + (1 if ours > theirs[-1] else 0), self.open_spans)

    def open_spans(self) -> None:
        """Open our spans inside the server's, in an instrumented application; elsewhere they are open by now."""
        call = flask.request.environ.get(KEY)
        if call is not None:
            call.open_spans()

    def meet(self, scope: SessionScope) -> None:
        """Take the user that Flask-Login has resolved for this request, if it has, as the response starts."""
        if getattr(self._flask, "_is_instrumented_by_opentelemetry", False):
            preview(scope)  # FlaskInstrumentor ends its span when the view has returned
        user = flask.g.get("_login_user") if flask.has_app_context() else None
        self.engine.meet(scope, _id_of(user))

    def _mark(self, facts: RequestFacts) -> bool | None:
        """Return the ``@turn_endpoint`` mark of the view that will handle the request."""
        if not marks.in_use:
            return None
        endpoint, _ = self._match(facts)
        return marks.mark_of(self._flask.view_functions.get(endpoint))

    def _params(self, facts: RequestFacts) -> Mapping[str, Any]:
        """Return the parameters of the path, as the rule that will match names them."""
        return self._match(facts)[1]

    def _match(self, facts: RequestFacts) -> tuple[str, Mapping[str, Any]]:
        try:
            endpoint, params = self._flask.url_map.bind_to_environ(facts.raw).match()
        except Exception:
            return "", {}  # not found, wrong method, redirect: Flask will answer that
        return endpoint, params


def _id_of(user: Any) -> object:
    """Return the id of an authenticated Flask-Login user, None for others; never a query."""
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    identify = getattr(user, "get_id", None)
    return identify() if callable(identify) else None


def _listen(app: flask.Flask) -> None:
    """Follow Flask-Login's signals of *app*, where it is installed."""
    try:
        from flask_login import user_logged_in, user_logged_out
    except ImportError:
        return
    user_logged_in.connect(_logged_in, app)
    user_logged_out.connect(_logged_out, app)


def _logged_in(sender: Any, user: Any, **extra: Any) -> None:
    scope = current_scope.get()
    if scope is not None:
        scope.extra.meet(scope, _id_of(user))


def _logged_out(sender: Any, user: Any, **extra: Any) -> None:
    scope = current_scope.get()
    if scope is not None and not scope.remote:
        Session(scope).end("user_exit")
