"""
What a launched process finds in its environment. Everything is merged into what is there; see ``headers`` for headers.

    PHOENIX_SESSION_ID, PHOENIX_SESSION_TYPE, PHOENIX_PROMPT_VERSION, PHOENIX_SESSION_NAME
    LLM_SESSION_TOKEN            the signed token, where a secret is configured: for agents whose configuration names
                                 variables (Codex, OpenCode)
    ANTHROPIC_CUSTOM_HEADERS     Claude Code
    GEMINI_CLI_CUSTOM_HEADERS    Gemini CLI
    OTEL_RESOURCE_ATTRIBUTES     any OpenTelemetry SDK; Claude Code puts it on every span, log record and data point
    TRACEPARENT, TRACESTATE, BAGGAGE     see ``session_mw.clients.processes``

Source: OpenTelemetry, "Resource SDK", OTEL_RESOURCE_ATTRIBUTES (commas and equals signs percent-encoded).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from ..._core import names
from .choosing import ID, NAME, TYPE, VERSION, Label
from .headers import BAGGAGE_HEADER, OURS, Form, Header, headers_of, merged

TOKEN: Final = "LLM_SESSION_TOKEN"  # noqa: S105  the variable's name
RESOURCE: Final = "OTEL_RESOURCE_ATTRIBUTES"
# Variable of the headers, its form, and the variables that say which host they go to.
AGENTS: Final[tuple[tuple[str, Form, tuple[str, ...]], ...]] = (
    ("ANTHROPIC_CUSTOM_HEADERS", "lines", ("ANTHROPIC_BASE_URL",)),
    ("GEMINI_CLI_CUSTOM_HEADERS", "commas", ("GOOGLE_GEMINI_BASE_URL", "CODE_ASSIST_ENDPOINT")),
)
CARRIED: Final = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")

Changes = dict[str, "str | None"]  # None: not set any more


@dataclass(frozen=True, slots=True)
class Proof:
    """
    What vouches for a session, for hosts that may know it.

    Attributes:
        token: The signed token; None without a secret.
        token_header: Name of its header.
        baggage: A signed baggage header; empty for none.
        carried: TRACEPARENT, TRACESTATE and BAGGAGE of a child.
        hosts: Those variables' values whose host may know it.
    """

    token: str | None = None
    token_header: str = "X-Session-Token"  # noqa: S105  a header's name
    baggage: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()

    def headers(self, urls: tuple[str, ...]) -> list[Header]:
        """Return the headers that vouch, for an agent that sends to *urls*; none where they may not know."""
        if not urls or not self.hosts.issuperset(urls):
            return []
        token = [] if self.token is None else [(self.token_header, self.token)]
        return [*token, (BAGGAGE_HEADER, self.baggage)] if self.baggage else token


def destinations(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs to which agents are told to send their requests, by variable."""
    return {name: url for _, _, urls in AGENTS for name in urls if (url := environ.get(name, "").strip())}


def host_in(url: str) -> str | None:
    """Return the host of *url* with its port; None when it has none."""
    try:
        return urlsplit(url).netloc or None
    except ValueError:
        return None


def changes(
    environ: Mapping[str, str], label: Label, proof: Proof, *, outer: str | None, end_user: bool = False
) -> Changes:
    """
    Return what a child's environment says otherwise than *environ*.

    Args:
        environ: The launcher's own.
        label: The session.
        proof: What vouches for it.
        outer: The session that *environ* belongs to, None for none.
        end_user: See ``headers_of``.
    """
    vouched = {proof.token_header.lower(), BAGGAGE_HEADER}
    found: Changes = {ID: label.id, TYPE: label.type, VERSION: label.version, NAME: label.name}
    if label.id != outer or proof.token is not None:
        found[TOKEN] = proof.token
        if proof.carried or outer is not None:  # where nothing could be made, what is there is left, if it is nobody's
            found.update({name: proof.carried.get(name) for name in CARRIED})
        replaced = OURS | vouched
    else:  # what vouches for the session already is more than can be said here, without a secret
        replaced = OURS - vouched
    for name, form, urls in AGENTS:
        given = tuple(url for each in urls if (url := environ.get(each, "").strip()))
        ours = [*headers_of(label, end_user=end_user), *proof.headers(given)]
        found[name] = merged(environ.get(name, ""), ours, form, outer=outer, replaced=replaced)
    found[RESOURCE] = resource(environ.get(RESOURCE, ""), label, outer)
    return {name: value for name, value in found.items() if value != environ.get(name)}


def resource(before: str, label: Label, outer: str | None) -> str:
    """Return resource attributes with the session's among them; a key that somebody else has set stays theirs."""
    ours = {
        names.SESSION_ID: label.id,
        names.SESSION_TYPE: label.type,
        names.SESSION_PROMPT_VERSION: label.version,
        names.SESSION_NAME: label.name,
    }
    pairs = [pair.strip() for pair in before.split(",") if pair.strip()]
    around = outer is not None and any(_key(p) == names.SESSION_ID and _value(p) == outer for p in pairs)
    kept = [pair for pair in pairs if not (around and _key(pair) in ours)]
    taken = {_key(pair) for pair in kept}
    added = [f"{key}={_encoded(text)}" for key, text in ours.items() if text is not None and key not in taken]
    return ",".join([*kept, *added])


def applied(environ: Mapping[str, str], found: Changes) -> dict[str, str]:
    """Return *environ* with *found* in it."""
    made = {**environ, **{name: value for name, value in found.items() if value is not None}}
    return {name: value for name, value in made.items() if name not in found or found[name] is not None}


def _encoded(text: str) -> str:
    return quote(text, safe="-._~", errors="surrogateescape")


def _key(pair: str) -> str:
    return pair.partition("=")[0].strip()


def _value(pair: str) -> str:
    return unquote(pair.partition("=")[2].strip())
