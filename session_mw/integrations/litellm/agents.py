"""
Ids that coding agents send of their own accord, read off a request's headers. Pure.

Sources: what Claude Code 2.1, Codex 0.169 and OpenCode 1.18 were seen to send; ``get_chain_id_from_headers`` of LiteLLM
1.106 to 1.109, whose order this is.

Rule 1: An id in a form that only its tool writes, a UUID or ``ses_...``, names a session as it is: nobody guesses it,
        no id that we issue has this form, and the tool's own telemetry says the same id.
Rule 2: Any other text may be somebody else's session: from a trusted peer it is taken as it is, else with the mark of
        whoever sent it in front.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..._core.facts import RequestFacts
from ..._core.identity import valid_session_id

CLAUDE_CODE, CODEX, OPENCODE, LITELLM = (
    "x-claude-code-session-id",
    "session-id",
    "x-session-id",
    "x-litellm-session-id",
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_OPENCODE = re.compile(r"ses_[A-Za-z0-9]{16,64}")


@dataclass(frozen=True, slots=True)
class OwnIds:
    """
    What a client calls its session.

    Attributes:
        agent: The tool's own id, kept as ``agent.session.id``; None when it sent none.
        asked: Id that names the session, if nothing better does; None when there is none.
    """

    agent: str | None = None
    asked: str | None = None


NOTHING = OwnIds()


def own_ids(facts: RequestFacts) -> OwnIds:
    """Return the ids that the client of a request brought of its own accord."""
    tool = _tool(facts)
    asked = _valid(facts.header(LITELLM))
    if tool is None and asked is None:
        return NOTHING
    return OwnIds(tool or asked, asked or tool)


def unmistakable(text: str) -> bool:
    """Return whether *text* has a form that only its tool writes (Rule 1)."""
    return _UUID.fullmatch(text) is not None or _OPENCODE.fullmatch(text) is not None


def is_opencode(text: str) -> bool:
    """Return whether a bare ``X-Session-ID`` is OpenCode's own: it overwrites what its user configured there."""
    return text.startswith("ses_")


def _tool(facts: RequestFacts) -> str | None:
    found = _valid(facts.header(CLAUDE_CODE))
    if found is None and _is_codex(facts):  # a header of so plain a name may be anybody's
        found = _valid(facts.header(CODEX))
    if found is None:
        bare = facts.bare_id.decode("latin-1")
        found = _valid(bare) if is_opencode(bare) else None
    return found


def _is_codex(facts: RequestFacts) -> bool:
    return (facts.header("user-agent") or "").lower().startswith("codex")


def _valid(text: str | None) -> str | None:
    return text if text is not None and valid_session_id(text) else None
