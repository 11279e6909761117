"""
The types of the settings: what a caller may write, and what the engine reads.

Each alias is the type that is kept, with the reader that makes it and the words that the settings table shows.
``SettingsOptions`` is the other side: what a type checker lets a caller pass, by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal, TypedDict, get_args

from pydantic import BeforeValidator, SecretBytes, SecretStr

from session_mw._settings import names, network, scalars
from session_mw._settings.errors import BadValue, did_you_mean
from session_mw._settings.lists import as_items, optional, tuple_of
from session_mw._settings.secret_values import optional_secret, secret, secrets_tuple


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a setting may be, in the words of the settings table."""

    text: str


_LOWER = BeforeValidator(scalars.lower_text)
_COUNT = re.compile(r"[+-]?[0-9]+")
_A_DURATION = 'seconds, timedelta or text as "30m"'
_PATHS = 'exact paths, prefixes ending with "/" or "*", shell patterns'

Issue = Annotated[Literal["cookie", "header", "both", "none"], _LOWER]
SameSite = Annotated[Literal["lax", "strict", "none"], _LOWER]
UserIdMode = Annotated[Literal["hash", "plain", "none"], _LOWER]
Sweep = Annotated[Literal["thread", "request", "off"], _LOWER]
WebsocketTurns = Annotated[Literal["message", "connection", "manual"], _LOWER]
ContinueTrace = Annotated[Literal["always", "trusted", "never"], _LOWER]
AutoAlwaysNever = Annotated[Literal["auto", "always", "never"], _LOWER]
SessionSpan = Annotated[Literal["request", "first", "off"], _LOWER]
StampSpans = Annotated[Literal["all", "turns"], _LOWER]
Dialect = Literal[
    "openinference", "langfuse", "langsmith", "traceloop", "mlflow", "opik", "weave", "posthog", "laminar"
]


def _dialect(value: object) -> str:
    name = value.strip().lower() if isinstance(value, str) else ""
    allowed = get_args(Dialect)
    if name not in allowed:
        hint = f"{did_you_mean(name, allowed)}Choose from the allowed dialects"
        raise BadValue(f"allowed: {', '.join(allowed)}", hint, f"{value!r}")
    return name


def _dialects(value: object) -> frozenset[str]:
    return frozenset(tuple_of(_dialect)(value))


def _proxies(value: object) -> int | tuple[network.Proxy, ...]:
    counted = isinstance(value, (int, float)) or (isinstance(value, str) and _COUNT.fullmatch(value.strip()))
    return scalars.proxies(value) if counted else tuple_of(network.proxy_network)(value)


def _turn_list(read: Callable[[object], str]) -> Callable[[object], tuple[str, ...] | None]:
    def read_some(value: object) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not as_items(value):
            raise BadValue("one or more, or None", "Leave it out for the built-in rule", "an empty list")
        return tuple_of(read)(value)

    return read_some


Secret = Annotated[SecretBytes, BeforeValidator(secret), Allowed("32 random bytes or more")]
OptionalSecret = Annotated[
    SecretBytes | None, BeforeValidator(optional_secret), Allowed("32 random bytes or more, or none")
]
Secrets = Annotated[tuple[SecretBytes, ...], BeforeValidator(secrets_tuple), Allowed("keys")]

Switch = Annotated[bool, BeforeValidator(scalars.switch), Allowed("true, false")]
Duration = Annotated[float, BeforeValidator(scalars.positive_duration), Allowed(f"{_A_DURATION}, above 0")]
DurationOrZero = Annotated[float, BeforeValidator(scalars.duration), Allowed(f"{_A_DURATION}, 0 or more")]
OptionalDuration = Annotated[
    float | None, BeforeValidator(optional(scalars.positive_duration)), Allowed(f"{_A_DURATION}, above 0, or none")
]
ContentSize = Annotated[int, BeforeValidator(scalars.content_size), Allowed('bytes or text as "64KiB", 1B to 1MiB')]
LiveLimit = Annotated[int | None, BeforeValidator(optional(scalars.live_limit)), Allowed("1 or more, or none")]
Label = Annotated[
    str | None, BeforeValidator(optional(scalars.label)), Allowed("text of up to 128 characters, or none")
]
Function = Annotated[
    Callable[..., Any] | None, BeforeValidator(optional(scalars.function)), Allowed("a function, or none; in code only")
]
TextSource = Annotated[
    str | Callable[..., Any] | None,
    BeforeValidator(optional(scalars.json_path_or_function)),
    Allowed("a JSON path or a function, or none"),
]
Sinks = Annotated[
    tuple[Any, ...] | None,
    BeforeValidator(optional(scalars.sinks)),
    Allowed("a sink, a function, or several in a list, or none; in code only"),
]

CookieName = Annotated[str, BeforeValidator(names.cookie_name), Allowed("an RFC 6265 token")]
CookieDomain = Annotated[str | None, BeforeValidator(optional(names.cookie_domain)), Allowed("a domain, or none")]
CookiePath = Annotated[str, BeforeValidator(names.cookie_path), Allowed('a path that begins with "/"')]
HeaderName = Annotated[str, BeforeValidator(names.header_name), Allowed("an RFC 9110 token without underscore")]
PathParameter = Annotated[
    str | None, BeforeValidator(optional(names.path_parameter)), Allowed("a parameter of the route, or none")
]
IdPrefix = Annotated[
    str | None, BeforeValidator(optional(names.id_prefix)), Allowed("up to 64 of A-Z a-z 0-9 . _ -, or none")
]
ExcludedPaths = Annotated[tuple[str, ...], BeforeValidator(tuple_of(names.excluded_path)), Allowed(_PATHS)]
TurnPaths = Annotated[
    tuple[str, ...] | None, BeforeValidator(_turn_list(names.path_pattern)), Allowed(f"{_PATHS}, or none")
]
TurnMethods = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_turn_list(names.turn_method)),
    Allowed("of GET, POST, PUT, PATCH, DELETE, QUERY, or none"),
]

Store = Annotated[str, BeforeValidator(network.store_url), Allowed(f"URL: {', '.join(network.STORE_SCHEMES)}")]
Ledger = Annotated[
    str | None,
    BeforeValidator(optional(network.ledger_url)),
    Allowed(f"URL: {', '.join(network.LEDGER_SCHEMES)}, or none"),
]
Peers = Annotated[
    tuple[IPv4Network | IPv6Network, ...], BeforeValidator(tuple_of(network.peer_network)), Allowed("IP networks")
]
Proxies = Annotated[
    int | tuple[network.Proxy, ...],
    BeforeValidator(_proxies),
    Allowed('how many, 0 to 16; or IP networks, "unix" for unix sockets, "server" for what the server found'),
]
Hosts = Annotated[
    tuple[str, ...],
    BeforeValidator(tuple_of(network.host_pattern)),
    Allowed('"loopback", "single-label", hosts, "*.suffix", addresses, networks, "*" for all'),
]
Dialects = Annotated[frozenset[Dialect], BeforeValidator(_dialects), Allowed(f"of {', '.join(get_args(Dialect))}")]

SecretInput = str | bytes | SecretStr | SecretBytes
DurationInput = float | timedelta | str
TextsInput = str | Sequence[str] | AbstractSet[str]
PeerInput = str | IPv4Network | IPv6Network | IPv4Address | IPv6Address


class SettingsOptions(TypedDict, total=False):
    """
    What callers may pass, by name, with the types they may write.

    For signatures that hand settings on: ``def __init__(self, app, **overrides: Unpack[SettingsOptions])``.
    """

    secret_key: SecretInput
    secret_key_fallbacks: str | Sequence[SecretInput]
    user_hash_key: SecretInput | None
    baggage_key: SecretInput | None
    baggage_key_fallbacks: str | Sequence[SecretInput]
    issue: Literal["cookie", "header", "both", "none"]
    cookie_name: str
    cookie_secure: bool
    cookie_samesite: Literal["lax", "strict", "none"]
    cookie_domain: str | None
    cookie_path: str
    cookie_partitioned: bool
    refresh_interval: DurationInput | None
    token_header: str
    conversation_header: str
    conversation_path_param: str | None
    session_id_prefix: str | None
    session_type: str | None
    session_name: str | None
    prompt_version: str | None
    channel: str | None
    user: Callable[..., Any] | None
    user_id_mode: Literal["hash", "plain", "none"]
    store: str
    ledger: str | None
    idle_timeout: DurationInput
    absolute_timeout: DurationInput
    turn_timeout: DurationInput
    clock_skew: DurationInput
    sweep: Literal["thread", "request", "off"]
    max_live: int | None
    ledger_retention: DurationInput | None
    content_retention: DurationInput | None
    event_sink: object
    exclude_paths: TextsInput
    turn_methods: TextsInput | None
    turn_paths: TextsInput | None
    turn_when: Callable[..., Any] | None
    websocket_turns: Literal["message", "connection", "manual"]
    input_text: str | Callable[..., Any] | None
    output_text: str | Callable[..., Any] | None
    trusted_peers: str | Sequence[PeerInput]
    trusted_proxies: int | str | Sequence[PeerInput]
    sign_baggage: bool
    propagate_to: TextsInput
    continue_trace: Literal["always", "trusted", "never"]
    server_span: Literal["auto", "always", "never"]
    session_span: Literal["request", "first", "off"]
    stamp_spans: Literal["all", "turns"]
    dialects: str | Sequence[Dialect] | AbstractSet[Dialect]
    capture_content: bool
    content_limit: int | str
    redact: Callable[..., Any] | None
    price_for: Callable[..., Any] | None
    lifecycle_spans: Literal["auto", "always", "never"]
