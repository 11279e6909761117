"""
Names and places on the wire: cookie, headers, paths, the prefix of ids.

Sources: RFC 6265 4.1.1 (cookie-name is a token; Path and Domain values), RFC 9110 5.1 and 5.6.2 (field names),
    RFC 1123 2.1 (host names).
"""

from __future__ import annotations

import re

from session_mw._settings.errors import BadValue, did_you_mean

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")  # printable ASCII without the semicolon
_ID_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# A cookie's name and value share 4096 bytes (RFC 6265 6.1), and the token needs most of them.
_LONGEST_NAME = 64
# A session id has at most 200 characters; its random part and a generation must still fit.
_LONGEST_PREFIX = 64
_LONGEST_DOMAIN = 253
# These have a meaning of their own to servers, proxies, OpenTelemetry or ourselves.
_TAKEN_HEADERS = frozenset(
    "authorization baggage connection content-length content-type cookie host set-cookie traceparent tracestate "
    "transfer-encoding vary x-session-id".split()
)
# HEAD and OPTIONS are never turns; CONNECT and TRACE do not reach applications.
_TURN_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "QUERY")


def cookie_name(value: object) -> str:
    """Check the name of the session cookie."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or len(value) > _LONGEST_NAME:
        raise BadValue(
            f"an RFC 6265 token of 1 to {_LONGEST_NAME} characters: no space, quote, comma, semicolon or '='",
            "Use letters, digits, '-' and '_', as __Host-session_mw",
        )
    return value


def cookie_domain(value: object) -> str:
    """Check the Domain attribute: a bare host name that browsers accept."""
    hint = "Write the bare domain, as example.com, or None for this host only"
    if not isinstance(value, str):
        raise BadValue("a text or None", hint)
    if "://" in value or ":" in value or "/" in value:
        raise BadValue("a domain without scheme, port and path: cookies ignore all three", hint)
    if value.startswith("."):
        raise BadValue(
            "no leading dot: browsers ignore it (RFC 6265 5.2.3)", f"Write {value.lstrip('.')!r}; {hint.lower()}"
        )
    if not _DOMAIN.fullmatch(value) or len(value) > _LONGEST_DOMAIN:
        raise BadValue("letters, digits, '-' and '.' only: no ';', no control character", hint)
    if "." not in value and value != "localhost":
        raise BadValue("at least one dot: browsers refuse a cookie for a whole top-level domain", hint)
    return value.lower()


def cookie_path(value: object) -> str:
    """Check the Path attribute."""
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise BadValue(
            "begins with '/'; printable ASCII without space and ';'",
            "Write '/' for the whole host, or a path as '/app'",
        )
    return value


def header_name(value: object) -> str:
    """Check the name of one of our headers."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or len(value) > _LONGEST_NAME:
        raise BadValue(f"an RFC 9110 token of 1 to {_LONGEST_NAME} characters", "Use letters, digits and '-'")
    if "_" in value:
        # nginx drops them, and WSGI cannot tell X_Session from X-Session (CVE-2026-3902).
        raise BadValue("no underscore: servers drop or confuse such headers", f"Write {value.replace('_', '-')!r}")
    if value.lower() in _TAKEN_HEADERS:
        raise BadValue("a name of its own: this header has another meaning", "Choose another name, as X-Session-Token")
    return value


def path_parameter(value: object) -> str:
    """Check the name of a path parameter."""
    if not isinstance(value, str) or not value.isidentifier():
        raise BadValue("a name as in the route", "Write conversation_id for a route as /chat/{conversation_id}")
    return value


def id_prefix(value: object) -> str:
    """Check the readable beginning of session ids."""
    if not isinstance(value, str) or not _ID_PREFIX.fullmatch(value) or len(value) > _LONGEST_PREFIX:
        raise BadValue(
            f"1 to {_LONGEST_PREFIX} letters, digits, '.', '_' and '-', beginning with a letter or digit",
            "Write a prefix as 'chat-', or None",
        )
    return value


def path_pattern(value: object) -> str:
    """
    Check one path, or a pattern of paths.

    Args:
        value: An exact path as "/health"; a prefix that ends with "/" or "*" as "/static/" or "/static/*"; a shell
            pattern as "*/events". "/" alone is the root page and nothing else.
    """
    if not isinstance(value, str) or not value.startswith(("/", "*")) or not value.isprintable():
        raise BadValue(
            "a path begins with '/', a pattern with '/' or '*'",
            "Write '/health' for one path, '/static/*' for all below one, '*/events' for all that end so",
        )
    return value


def excluded_path(value: object) -> str:
    """Check a path that is left alone; not all of them."""
    pattern = path_pattern(value)
    if not pattern.replace("/*", "").strip("*"):
        raise BadValue("not every path", "Remove the middleware if nothing is to be tracked")
    return pattern


def turn_method(value: object) -> str:
    """Check a request method that may begin a turn, in any case."""
    method = value.strip().upper() if isinstance(value, str) else ""
    if method not in _TURN_METHODS:
        hint = f"{did_you_mean(method, _TURN_METHODS)}Choose from the allowed methods"
        raise BadValue(f"allowed: {', '.join(_TURN_METHODS)}; HEAD and OPTIONS are never turns", hint)
    return method
