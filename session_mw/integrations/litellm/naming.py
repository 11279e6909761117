"""
Which session a request through the proxy belongs to; who said so.

The first that is there: a signed token or signed baggage; a trusted peer's ``X-Session-ID``; ``X-LiteLLM-Session-Id``;
the agent's own id (Claude Code, Codex, OpenCode); the proxy's own ``PHOENIX_SESSION_ID``. Who names none goes on
without a session: a session for each request would be no session.

Type, prompt version and name come in headers of ours beside a verified token or from a trusted peer; anybody else's are
not read. Where nothing of ours named the session, the proxy's ``PHOENIX_*`` say them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote

from ..._core import names
from ..._core.admission import Presented
from ..._core.facts import RequestFacts, TurnRule
from ..._core.identity import clean_attribute, derive_key, valid_session_id
from ..._core.policy import Policy
from ..._core.records import AttributeValue
from .agents import is_opencode, own_ids, unmistakable

NamedBy = Literal["token", "baggage", "peer", "client", "environment"]

LABELS: Final = {
    "x-session-type": names.SESSION_TYPE,
    "x-session-prompt-version": names.SESSION_PROMPT_VERSION,
    "x-session-name": names.SESSION_NAME,
}
VARIABLES: Final = {
    "PHOENIX_SESSION_TYPE": names.SESSION_TYPE,
    "PHOENIX_PROMPT_VERSION": names.SESSION_PROMPT_VERSION,
    "PHOENIX_SESSION_NAME": names.SESSION_NAME,
}
ID_VARIABLE: Final = "PHOENIX_SESSION_ID"
# Where a key to the proxy stands, by the clients' dialects.
_CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "x-litellm-api-key")


class Namer:
    """
    Names the session of a request.

    Args:
        policy: Knows whose word is taken, and what has to be hidden.
        secret: Callers are told apart by a mark derived with it.
        environ: Of the proxy: ``PHOENIX_SESSION_ID``, ``_TYPE``, ``_NAME`` and ``PHOENIX_PROMPT_VERSION``.
    """

    def __init__(self, policy: Policy, secret: bytes, environ: Mapping[str, str]) -> None:
        self._policy = policy
        self._key = derive_key(secret, "proxy-caller")
        self.own_id, self.own_labels = _own(environ, policy)

    def __call__(self, facts: RequestFacts, found: Presented) -> None:
        """
        Complete *found*; the engine asks for every request. Only model calls belong to sessions here.

        A call waits: LiteLLM has still to check its key and budgets.
        """
        found.passes = not is_model_call(facts, self._policy.turns) or self.name(facts, found) is None
        found.waits = True

    def name(self, facts: RequestFacts, found: Presented) -> NamedBy | None:
        """Name the session, and note what the request says of it; return who named it, None when nobody did."""
        ids = own_ids(facts)
        if found.bare_id is not None and is_opencode(found.bare_id):
            found.bare_id = None
        trusted = self._policy.peers.judge(facts) == "trusted"
        by = self._named_by(found)
        labels = self._labels(facts) if trusted or by in ("token", "baggage") else {}
        if by is None and ids.asked is not None:
            by = found.source = "client"
            found.bare_id = self._taken(ids.asked, facts, trusted)
        elif by is None and self.own_id is not None:
            by = found.source = "environment"
            found.bare_id = self.own_id
        if by in ("client", "environment"):
            labels = {**self.own_labels, **labels}
        if ids.agent is not None and (by == "client" or ids.agent != id_of(found)):
            labels = {**labels, names.AGENT_SESSION_ID: ids.agent}
        found.said = labels or None
        # Clients say the same id for as long as they run, also after a break. A token that is bound to a user stays so.
        found.keeps = found.bare_id is not None or (found.claim is not None and found.claim.user_id is None)
        return by

    @staticmethod
    def _named_by(found: Presented) -> NamedBy | None:
        if found.remote is not None:
            return "baggage"
        if found.claim is not None:
            return "token"
        return "peer" if found.bare_id is not None else None

    def _taken(self, text: str, facts: RequestFacts, trusted: bool) -> str:
        """Return the id of the session that a client's own id names (Rules 1 and 2 of ``agents``)."""
        if trusted or unmistakable(text):
            return text
        given = [value for header in _CREDENTIALS for value in facts.lines(header)]
        who = "\n".join(given) or facts.peer
        mark = hmac.digest(self._key, who.encode("utf-8", "surrogatepass"), "sha256").hex()[:12]
        whole = f"{mark}-{text}"
        return whole if valid_session_id(whole) else f"{mark}-{hashlib.sha256(text.encode()).hexdigest()}"

    def _labels(self, facts: RequestFacts) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue] = {}
        for header, name in LABELS.items():
            text = facts.header(header)
            value = None if text is None else clean_attribute(_decoded(text), hide=self._policy.rules.hide)
            if value is not None:
                found[name] = value
        return found


def is_model_call(facts: RequestFacts, rule: TurnRule) -> bool:
    """Return whether a request asks a model: by path, and by method where it is no WebSocket."""
    if rule.paths is not None and (facts.path not in rule.paths or "/threads/" in facts.path):
        return False  # a message that is put into a thread of the Assistants API is stored
    return facts.kind != "http" or rule.methods is None or facts.method in rule.methods


def id_of(found: Presented) -> str | None:
    """Return the id of the session that a request presented or was given."""
    if found.remote is not None:
        return found.remote[names.SESSION_ID]
    return found.claim.session_id if found.claim is not None else found.bare_id


def _own(environ: Mapping[str, str], policy: Policy) -> tuple[str | None, dict[str, AttributeValue]]:
    """Return the session that the proxy's environment names, and its labels."""
    own_id = environ.get(ID_VARIABLE, "").strip()
    found = {name: clean_attribute(environ.get(key, ""), hide=policy.rules.hide) for key, name in VARIABLES.items()}
    return (own_id if valid_session_id(own_id) else None), {k: v for k, v in found.items() if v is not None}


def _decoded(text: str) -> str:
    """Return the text of a header: percent-encoded where it was no ASCII, or UTF-8 bytes as some clients send them."""
    try:
        text = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    return unquote(text)
