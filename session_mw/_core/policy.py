"""
Settings, compiled for the hot path: plain values and ready-made objects, read only.

Built once by the engine from ``SessionSettings``; nothing here checks anything, the settings did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .baggage import BaggageSigner
from .cookies import CookieFormat
from .facts import PathSet, RequestFacts, TurnRule
from .hosts import HostPolicy
from .peers import PeerRules
from .records import AttributeValue, Limits
from .rules import DEFAULT_RULES, SpanRules
from .tokens import TokenCodec, VerifiedTokens

if TYPE_CHECKING:
    from .early import Desk

NOBODY = PeerRules()


@dataclass
class Policy:
    """
    What the core needs to know of the configuration.

    Attributes:
        limits: How long things last.
        refresh_ms: A token older than this is written anew.
        cookie: Writes Set-Cookie; None when cookies are not used.
        cookie_name: Its name, as on the wire.
        cookie_codec: Tokens in cookies.
        header_codec: Tokens in headers; None when headers are not used.
        token_header: Name of the token header, lower case.
        verified: Cookie tokens already verified, by their exact bytes.
        verified_headers: Header tokens already verified.
        excluded: Paths that pass untouched.
        turns: Which requests are turns.
        signer: Signs and verifies our baggage; None when it is not signed.
        peers: Whose word about identity is taken unsigned.
        hosts: Where our baggage may go.
        continue_trace: Whose trace is continued.
        desk: Looks at requests before the middleware does; None where there is no middleware.
        hash_user: Pseudonym of a user id.
        user: Application's way to name the user of a request.
        new_id: Makes a session id; given one, its sampling key and shard are kept.
        attributes: What every session starts with.
        session_type: Type of every session; None lets the request decide.
        channel: Channel of every session; None lets the request decide.
        conversation_of: Finds the conversation's id in a request's path, empty for none; None when nobody asked.
        boot_id: Of a store that dies with its process, else None.
        split_cookies: Values of our cookie by whole Cookie header, bounded.
        last_boot: What it was when a token was last written.
        rules: What telemetry does with spans inside a session.
    """

    limits: Limits
    refresh_ms: int
    cookie: CookieFormat | None
    cookie_name: bytes
    cookie_codec: TokenCodec | None
    header_codec: TokenCodec | None
    token_header: bytes
    excluded: PathSet
    turns: TurnRule
    signer: BaggageSigner | None
    hosts: HostPolicy
    hash_user: Callable[[object], str | None]
    new_id: Callable[[str | None], str]
    peers: PeerRules = NOBODY
    continue_trace: Literal["always", "trusted", "never"] = "always"
    desk: Desk | None = None
    user: Callable[[RequestFacts], object] | None = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    session_type: str | None = None
    channel: str | None = None
    conversation_of: Callable[[RequestFacts], str] | None = None
    boot_id: Callable[[], str | None] = lambda: None
    verified: VerifiedTokens = field(default_factory=VerifiedTokens)
    verified_headers: VerifiedTokens = field(default_factory=VerifiedTokens)
    last_boot: str | None = None
    split_cookies: dict[bytes, list[bytes]] = field(default_factory=dict)
    rules: SpanRules = DEFAULT_RULES
