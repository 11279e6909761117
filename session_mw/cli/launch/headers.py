"""
Headers that agents send with each request to a model, in the variables that agents read them from.

Rule 1: what somebody else put there stays, word for word; a header of theirs is never replaced by ours.
Rule 2: what a launcher around this one put there is replaced: it names another session. It is known by the session id
    in it being the one around.
Rule 3: values are printable ASCII, the rest percent-encoded: newer agents refuse the whole request for one character
    that no header can carry.

Claude Code takes one header a line, Gemini CLI takes them with commas between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Sequence
from typing import Final, Literal
from urllib.parse import quote

from .choosing import Label

SESSION_HEADER: Final = "x-session-id"
TYPE_HEADER: Final = "x-session-type"
VERSION_HEADER: Final = "x-session-prompt-version"
NAME_HEADER: Final = "x-session-name"
# A stock LiteLLM proxy reads these: the first for its trace id, the second into the metadata of its spans and spend
# logs, the third for session.id in what it sends to Phoenix. The third also feeds budgets, so one has to ask for it.
LITELLM_SESSION: Final = "x-litellm-session-id"
LITELLM_METADATA: Final = "x-litellm-spend-logs-metadata"
LITELLM_END_USER: Final = "x-litellm-end-user-id"
BAGGAGE_HEADER: Final = "baggage"

OURS: Final = frozenset(
    {
        *(SESSION_HEADER, TYPE_HEADER, VERSION_HEADER, NAME_HEADER),
        *(LITELLM_SESSION, LITELLM_METADATA, LITELLM_END_USER, BAGGAGE_HEADER),
    }
)

Header = tuple[str, str]
Form = Literal["lines", "commas"]

_SAFE = "!#$&'()*+-./:;<=>?@[]^_`{|}~ "  # printable, and means nothing to either form; "%" is encoded
_NEXT = re.compile(r",(?=\s*[^,:\s]+\s*:)")  # a comma that a header's name follows


def value_of(text: str) -> str:
    """Return *text* as a header's value; ``urllib.parse.unquote`` gives it back."""
    return quote(text, safe=_SAFE, errors="surrogateescape").strip(" ")


def headers_of(label: Label, *, end_user: bool = False) -> list[Header]:
    """
    Return the headers that name a session.

    Args:
        label: The session.
        end_user: Also the one by which an unmodified LiteLLM proxy gives its Phoenix spans this session.
    """
    metadata = {"session_id": label.id, "session_type": label.type, "prompt_version": label.version}
    if label.name is not None:
        metadata["session_name"] = label.name
    found = [
        (SESSION_HEADER, label.id),
        (TYPE_HEADER, value_of(label.type)),
        (VERSION_HEADER, value_of(label.version)),
        *([(NAME_HEADER, value_of(label.name))] if label.name is not None else []),
        (LITELLM_SESSION, label.id),
        (LITELLM_METADATA, json.dumps(metadata)),
    ]
    return [*found, (LITELLM_END_USER, label.id)] if end_user else found


def merged(before: str, ours: Iterable[Header], form: Form, *, outer: str | None, replaced: Container[str]) -> str:
    """
    Return a variable's headers with ours among them.

    Args:
        before: What the variable holds.
        ours: To add.
        form: ``lines`` (Claude Code) or ``commas`` (Gemini CLI), where values with commas are left out.
        outer: The session around.
        replaced: Names, in lower case, of its headers that make room for ours.
    """
    kept = _kept(_split(before, form), outer, replaced)
    taken = {_name(entry) for entry in kept}
    fit = (pair for pair in ours if form == "lines" or "," not in pair[1])
    added = [f"{name}: {value}" for name, value in fit if name.lower() not in taken]
    return ("\n" if form == "lines" else ", ").join([*kept, *added])


def _split(before: str, form: Form) -> list[str]:
    if form == "lines":
        return [line for line in before.split("\n") if line.strip()]
    return [part.strip() for part in _NEXT.split(before) if part.strip()]


def _kept(entries: Sequence[str], outer: str | None, names: Container[str]) -> list[str]:
    around = any(_name(entry) == SESSION_HEADER and _value(entry) == outer for entry in entries)
    return [entry for entry in entries if not (around and _name(entry) in names)]


def _name(entry: str) -> str:
    return entry.partition(":")[0].strip().lower()


def _value(entry: str) -> str:
    return entry.partition(":")[2].strip()
