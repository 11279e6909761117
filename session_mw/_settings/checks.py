"""
Settings that contradict each other.

Every value here is good by itself; together they cannot work, or would work in a way nobody means. A contradiction
is an error at construction, for a browser or a backend would only ignore the cookie or lose the data, silently.

Sources: RFC 6265bis 4.1.2 and 4.1.3 (SameSite, Partitioned, name prefixes), OWASP Session Management Cheat Sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretBytes

from session_mw._durations import format_duration
from session_mw._settings.errors import settings_error
from session_mw.exceptions import SettingsError

if TYPE_CHECKING:
    from session_mw.settings import SessionSettings

# "__Http-" is newer than the other two and asks for Secure as well.
_SECURE_PREFIXES = ("__host-", "__secure-", "__http-")


class Contradiction(NamedTuple):
    """Two settings that do not go together, told from the side of *name*."""

    name: str
    found: str
    rule: str
    hint: str


def first_contradiction(settings: SessionSettings) -> SettingsError | None:
    """Return the error for the first contradiction among *settings*, None when there is none."""
    for check in (_cookie_prefix, _cookie_flags, _headers_and_paths, _times, _keys, _peers):
        for contradiction in check(settings):
            return settings_error(*contradiction)
    return None


def _cookie_prefix(settings: SessionSettings) -> Iterator[Contradiction]:
    # Browsers compare the prefix without regard to case (RFC 6265bis 5.7).
    name = settings.cookie_name.lower()
    without = settings.cookie_name[2:].partition("-")[2] or "session_mw"
    if name.startswith("__host-") and settings.cookie_domain is not None:
        found = f"{settings.cookie_domain!r} with cookie_name={settings.cookie_name!r}"
        hint = f"Use cookie_name='__Secure-{without}' to share the cookie in a domain, or leave cookie_domain out"
        yield Contradiction("cookie_domain", found, "browsers refuse a __Host- cookie with a domain", hint)
    if name.startswith("__host-") and settings.cookie_path != "/":
        found = f"{settings.cookie_path!r} with cookie_name={settings.cookie_name!r}"
        hint = f"Use cookie_path='/', or cookie_name='__Secure-{without}'"
        yield Contradiction("cookie_path", found, "browsers refuse a __Host- cookie whose path is not '/'", hint)
    if name.startswith(_SECURE_PREFIXES) and not settings.cookie_secure:
        found = f"False with cookie_name={settings.cookie_name!r}"
        hint = (
            f"Leave cookie_secure=True, or use SessionSettings.insecure_dev() or cookie_name={without!r} for plain http"
        )
        yield Contradiction("cookie_secure", found, "browsers refuse a cookie with this prefix without Secure", hint)


def _cookie_flags(settings: SessionSettings) -> Iterator[Contradiction]:
    if settings.cookie_secure:
        return
    if settings.cookie_samesite == "none":
        found = "'none' with cookie_secure=False"
        hint = "Use cookie_secure=True with https, or cookie_samesite='lax'"
        yield Contradiction("cookie_samesite", found, "browsers refuse SameSite=None without Secure", hint)
    if settings.cookie_partitioned:
        found = "True with cookie_secure=False"
        hint = "Use cookie_secure=True with https, or cookie_partitioned=False"
        yield Contradiction("cookie_partitioned", found, "browsers refuse Partitioned without Secure", hint)


def _headers_and_paths(settings: SessionSettings) -> Iterator[Contradiction]:
    if settings.token_header.lower() == settings.conversation_header.lower():
        found = f"{settings.conversation_header!r}, the same as token_header"
        yield Contradiction("conversation_header", found, "one header carries one thing", "Give them different names")
    for path in settings.turn_paths or ():
        if path in settings.exclude_paths:
            hint = "Remove it from exclude_paths or from turn_paths"
            yield Contradiction(
                "turn_paths", f"{path!r}, which exclude_paths has too", "excluded is never a turn", hint
            )


def _times(settings: SessionSettings) -> Iterator[Contradiction]:
    idle, absolute = settings.idle_timeout, settings.absolute_timeout
    if idle > absolute:
        found = f"{format_duration(idle)} with absolute_timeout={format_duration(absolute)!r}"
        hint = "Raise absolute_timeout or lower idle_timeout"
        yield Contradiction("idle_timeout", found, "at most absolute_timeout, or it would never be reached", hint)
    refresh = settings.refresh_interval
    if refresh is not None and refresh >= idle / 2:
        found = f"{format_duration(refresh)} with idle_timeout={format_duration(idle)!r}"
        hint = f"Use less than {format_duration(idle / 2)}, or None for a sixth of idle_timeout"
        yield Contradiction("refresh_interval", found, "under half of idle_timeout, or active sessions would end", hint)
    if settings.turn_timeout > absolute:
        found = f"{format_duration(settings.turn_timeout)} with absolute_timeout={format_duration(absolute)!r}"
        hint = "Lower turn_timeout or raise absolute_timeout"
        yield Contradiction("turn_timeout", found, "at most absolute_timeout: no turn outlives its session", hint)
    if settings.clock_skew >= idle:
        found = f"{format_duration(settings.clock_skew)} with idle_timeout={format_duration(idle)!r}"
        hint = f"Set clock_skew below {format_duration(idle)}, say to {format_duration(idle / 10)!r}"
        yield Contradiction("clock_skew", found, "less than idle_timeout, or idle sessions would look alive", hint)


def _keys(settings: SessionSettings) -> Iterator[Contradiction]:
    fallbacks = settings.secret_key_fallbacks
    if settings.secret_key in fallbacks:
        yield _key_repeated("secret_key_fallbacks", "secret_key")
    if fallbacks and settings.user_hash_key is None:
        hint = (
            "Set user_hash_key to the first secret_key you used, which keeps all pseudonyms, or to a new key, which "
            "makes every user a new one"
        )
        yield Contradiction(
            "secret_key_fallbacks",
            f"{_count(fallbacks)} without user_hash_key",
            "user pseudonyms come from secret_key otherwise, and would change with it",
            hint,
        )
    if settings.baggage_key_fallbacks and settings.baggage_key is None:
        found = f"{_count(settings.baggage_key_fallbacks)} without baggage_key"
        hint = "Set baggage_key as well, or leave the fallbacks out"
        yield Contradiction("baggage_key_fallbacks", found, "fallbacks stand behind a key", hint)
    if settings.baggage_key is not None and settings.baggage_key in settings.baggage_key_fallbacks:
        yield _key_repeated("baggage_key_fallbacks", "baggage_key")


def _peers(settings: SessionSettings) -> Iterator[Contradiction]:
    named = () if isinstance(settings.trusted_proxies, int) else settings.trusted_proxies
    for peer in settings.trusted_peers:
        for proxy in named:
            if _inside(peer, proxy):
                found = f"{str(peer)!r}, which lies in {str(proxy)!r} of trusted_proxies"
                hint = "Name only the proxies' own addresses in trusted_proxies, or leave this network out"
                yield Contradiction("trusted_peers", found, "a proxy speaks for others, never for itself", hint)


def _inside(peer: IPv4Network | IPv6Network, proxy: IPv4Network | IPv6Network | str) -> bool:
    if isinstance(peer, IPv4Network):
        return isinstance(proxy, IPv4Network) and peer.subnet_of(proxy)
    return isinstance(proxy, IPv6Network) and peer.subnet_of(proxy)


def _count(keys: tuple[SecretBytes, ...]) -> str:
    return f"{len(keys)} key{'s' if len(keys) > 1 else ''}"


def _key_repeated(fallbacks: str, key: str) -> Contradiction:
    hint = f"Remove it from {fallbacks}, or make a new {key} if this was meant as a rotation"
    return Contradiction(fallbacks, f"{key} among the fallbacks", "older keys only", hint)
