"""From ``SessionSettings`` to the core's ``Policy``: the one place where the model is read."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from .._core import names
from .._core.baggage import BaggageSigner
from .._core.cookies import CookieFormat
from .._core.facts import PathSet, RequestFacts, TurnRule
from .._core.hosts import HostPolicy
from .._core.identity import clean_attribute, derive_key, hash_user_id, make_session_id, normalise_user
from .._core.peers import PeerRules
from .._core.policy import Policy
from .._core.privacy import Hider
from .._core.records import AttributeValue, Limits
from .._core.rules import SpanRules
from .._core.tokens import TokenCodec
from ..settings import SessionSettings
from . import hints


def compile_policy(
    settings: SessionSettings,
    boot_id: Callable[[], str | None],
    endpoint: Callable[[RequestFacts], bool | None] | None = None,
    params: Callable[[RequestFacts], Mapping[str, Any]] | None = None,
) -> Policy:
    """
    Return what the core needs to know of *settings*.

    Args:
        settings: Checked at construction.
        boot_id: Of a store that dies with its process.
        endpoint: Looks up the mark that ``@turn_endpoint`` left on a request's handler.
        params: Looks up the parameters of a request's path.
    """
    hash_user = user_hasher(settings)
    hide = Hider(None if settings.user_id_mode == "plain" else hash_user)
    cookies, headers = settings.issue in ("cookie", "both"), settings.issue in ("header", "both")
    return Policy(
        limits=limits_of(settings, shared=not settings.store.startswith("memory:")),
        refresh_ms=_ms(settings.refresh_seconds),
        cookie=_cookie(settings) if cookies else None,
        cookie_name=settings.cookie_name.encode("ascii"),
        cookie_codec=_codec(settings, "cookie", settings.cookie_name) if cookies else None,
        header_codec=_codec(settings, "header", settings.token_header) if headers else None,
        token_header=settings.token_header.lower().encode("ascii"),
        excluded=PathSet(settings.exclude_paths),
        turns=_turns(settings, endpoint),
        signer=_signer(settings),
        hosts=HostPolicy(settings.propagate_to),
        hash_user=hash_user,
        new_id=_new_id(settings.session_id_prefix),
        peers=PeerRules(settings.trusted_peers, settings.trusted_proxies),
        continue_trace=settings.continue_trace,
        user=settings.user,
        attributes=_attributes(settings, hide),
        session_type=_label(settings.session_type, hide),
        channel=_label(settings.channel, hide),
        conversation_of=_conversation(settings.conversation_path_param, params),
        boot_id=boot_id,
        rules=_rules(settings, hide),
    )


def _rules(settings: SessionSettings, hide: Hider) -> SpanRules:
    return SpanRules(
        dialects=frozenset(settings.dialects),
        capture=settings.capture_content,
        limit=settings.content_limit,
        redact=None if settings.redact is None else with_kind(settings.redact),
        hide=hide,
        price=settings.price_for,
        input_text=settings.input_text,
        output_text=settings.output_text,
        told=hints.made_fit,
    )


def _conversation(
    name: str | None, params: Callable[[RequestFacts], Mapping[str, Any]] | None
) -> Callable[[RequestFacts], str] | None:
    """Return the function from a request to the conversation that its path names, empty for none."""
    if name is None:
        return None

    def named(facts: RequestFacts) -> str:
        try:
            found = (params(facts) if params is not None else {}).get(name)
        except Exception as error:  # routes are the application's own code
            hints.routes_failed(error)
            return ""
        return "" if found is None else str(found)

    return named


def with_kind(redact: Callable[..., Any]) -> Callable[[str, str], Any]:
    """Return *redact* as a function of the text and what it is; most take the text only."""
    try:
        inspect.signature(redact).bind("", "")
    except (TypeError, ValueError):  # ValueError: written in C, without a signature
        return lambda text, kind: redact(text)
    return redact


SETTLE_MS = 1_000  # twenty times what counters wait for company before they are written


def limits_of(settings: SessionSettings, shared: bool) -> Limits:
    """
    Return the limits of time, in milliseconds, and of number.

    Args:
        settings: Seconds.
        shared: Whether other workers write to the same store, so that an explicit end has to wait for their counters.
    """
    return Limits(
        _ms(settings.idle_timeout),
        _ms(settings.absolute_timeout),
        _ms(settings.turn_timeout),
        _ms(settings.clock_skew),
        SETTLE_MS if shared else 0,
        settings.max_live,
    )


def user_hasher(settings: SessionSettings) -> Callable[[object], str | None]:
    """Return the function from a user id to what telemetry may show of it, by ``user_id_mode``."""
    if settings.user_id_mode == "none":
        return lambda user: None
    if settings.user_id_mode == "plain":
        return lambda user: clean_attribute(text) if (text := normalise_user(user)) else None
    key = derive_key(settings.user_hash_key_bytes() or settings.secret_bytes(), "user-hash")
    return lambda user: hash_user_id(text, key) if (text := normalise_user(user)) else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _cookie(settings: SessionSettings) -> CookieFormat:
    return CookieFormat(
        name=settings.cookie_name,
        secure=settings.cookie_secure,
        samesite=settings.cookie_samesite,
        domain=settings.cookie_domain,
        path=settings.cookie_path,
        partitioned=settings.cookie_partitioned,
    )


def _codec(settings: SessionSettings, purpose: str, name: str) -> TokenCodec:
    assert purpose in ("cookie", "header")
    return TokenCodec(
        settings.secret_bytes(),
        settings.fallback_bytes(),
        purpose="cookie" if purpose == "cookie" else "header",
        name=name,
    )


def _signer(settings: SessionSettings) -> BaggageSigner | None:
    if not settings.sign_baggage:
        return None
    own = settings.baggage_key_bytes()
    if own is not None:
        return BaggageSigner(own, settings.baggage_fallback_bytes())
    fallbacks = [derive_key(key, "baggage") for key in settings.fallback_bytes()]
    return BaggageSigner(derive_key(settings.secret_bytes(), "baggage"), fallbacks)


def _new_id(prefix: str | None) -> Callable[[str | None], str]:
    return lambda keep: make_session_id(os.urandom(24), prefix=prefix, keep=keep)


def _turns(settings: SessionSettings, endpoint: Callable[[RequestFacts], bool | None] | None) -> TurnRule:
    methods, paths = settings.turn_methods, settings.turn_paths
    return TurnRule(
        methods=frozenset(m.upper() for m in methods) if methods is not None else None,
        paths=PathSet(paths) if paths is not None else None,
        when=settings.turn_when,
        endpoint=endpoint,
    )


def _label(text: str | None, hide: Hider) -> str | None:
    return None if text is None else hide(text)


def _attributes(settings: SessionSettings, hide: Hider) -> dict[str, AttributeValue]:
    given = {
        names.SESSION_NAME: _label(settings.session_name, hide),
        names.SESSION_PROMPT_VERSION: _label(settings.prompt_version, hide),
    }
    return {key: value for key, value in given.items() if value is not None}


def resolve(settings: SessionSettings | None, overrides: Mapping[str, Any]) -> SessionSettings:
    """Return *settings* with *overrides*, checked together."""
    if settings is None:
        return SessionSettings(**overrides)
    return settings.replace(**overrides) if overrides else settings
