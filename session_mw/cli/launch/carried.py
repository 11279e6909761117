"""What vouches for a launched session: the token for agents' requests, and trace and signed baggage for the child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry import context as otel_context
from opentelemetry import propagate

from ..._clocks import wall_ms
from ..._core import names
from ..._core.scope import SessionScope
from ..._core.tokens import Claim, TokenCodec
from ..._engine import Engine
from ..._engine.compiled import compile_policy
from ...clients.processes import session_environ
from ...settings import SessionSettings
from ...telemetry.context import with_scope
from .choosing import Label
from .variables import CARRIED, Proof, destinations, host_in


def proof_of(
    settings: SessionSettings, signs: bool, label: Label, generation: int, environ: Mapping[str, str], same: bool
) -> Proof:
    """
    Return what vouches for a session.

    Args:
        settings: Keys, header names, and the hosts that may know.
        signs: Whether a secret was configured; else nobody could verify anything.
        label: The session.
        generation: Of its id.
        environ: The launcher's environment.
        same: Whether the trace that it names may go on here: a trace has one session.
    """
    # No store and no history: this engine only signs, and opens nothing.
    engine = Engine(settings.replace(store="memory://", ledger=None, sign_baggage=signs and settings.sign_baggage))
    carried = _carried(engine, label, generation, environ, same)
    urls = destinations(environ)
    return Proof(
        _token(settings, label) if signs else None,
        settings.token_header,
        carried.get("BAGGAGE", "") if signs else "",
        carried,
        frozenset(url for url in urls.values() if engine.policy.hosts.allows(host_in(url))),
    )


def token_for(settings: SessionSettings, label: Label, urls: Sequence[str]) -> str | None:
    """Return the signed token for an agent that sends to *urls*; None where it may not be known, or they are none."""
    hosts = compile_policy(settings, lambda: None).hosts
    return _token(settings, label) if urls and all(hosts.allows(host_in(url)) for url in urls) else None


def _carried(engine: Engine, label: Label, generation: int, environ: Mapping[str, str], same: bool) -> dict[str, str]:
    """Return TRACEPARENT, TRACESTATE and BAGGAGE of a child, those of others in *environ* among them."""
    scope = SessionScope(label.id, wall_ms(), None)
    said = {names.SESSION_TYPE: label.type, names.SESSION_PROMPT_VERSION: label.version, names.SESSION_NAME: label.name}
    scope.attributes = {key: text for key, text in said.items() if text is not None}
    scope.extra, scope.rules, scope.generation = engine, engine.policy.rules, generation
    scope.restamp()
    given = {name.lower(): environ[name] for name in CARRIED if environ.get(name) and (same or name == "BAGGAGE")}
    token = otel_context.attach(with_scope(scope, propagate.extract(given)))
    try:
        made = session_environ({})
    finally:
        otel_context.detach(token)
    return {name: made[name] for name in CARRIED if name in made}


def _token(settings: SessionSettings, label: Label) -> str:
    codec = TokenCodec(settings.secret_bytes(), settings.fallback_bytes(), purpose="header", name=settings.token_header)
    now_ms = wall_ms()
    return codec.dumps(Claim(label.id, now_ms, now_ms))
