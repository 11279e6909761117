"""
Back ends' own names for what we know, as data: one row a back end, no code path of its own.

Most back ends read the conventions' names, which are always written: ``session.id``, ``user.id``,
``gen_ai.conversation.id``, and ``input.value`` / ``output.value`` where content may be kept. A row holds what one of
them wants besides. Where the names come from: tests/telemetry/test_dialects_vendors.py compares each with the
vendor's own package, or quotes the file that was read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from . import names
from .records import AttributeValue

INPUT_VALUE = "input.value"
OUTPUT_VALUE = "output.value"
INPUT_MIME_TYPE = "input.mime_type"
OUTPUT_MIME_TYPE = "output.mime_type"
PLAIN = "text/plain"

Told = Callable[[str, str], None]
_METADATA_PREFIX = names.METADATA + "."
_MARK = 12  # hexadecimal digits: ids of one project do not meet by accident


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    What one back end wants besides the conventions.

    Attributes:
        every: Our name and theirs, for every span.
        aliases: Theirs, written only where our value is too long for them or has characters they refuse: they prefer
            it to the common name, which keeps the whole value.
        own: On session and turn span.
        turn: On the turn span only.
        metadata: Stands before the name of each thing the application said of the session; empty for none.
        metadata_json: Holds all of these as one JSON object; empty for none.
        root_only: Metadata counts on the trace's root and nowhere else.
        asked: Holds what the user wrote; empty for none.
        answered: Holds what was answered.
        as_json: Both as JSON text.
        longest: Characters of an id, of a metadatum; None for no limit.
        ascii: Ids of US-ASCII only.
    """

    every: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str | bool] = field(default_factory=dict)
    turn: Mapping[str, str | bool] = field(default_factory=dict)
    metadata: str = ""
    metadata_json: str = ""
    root_only: bool = False
    asked: str = ""
    answered: str = ""
    as_json: bool = False
    longest: int | None = None
    ascii: bool = False


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "openinference": Dialect(
            own={"openinference.span.kind": "CHAIN"},
            metadata_json=names.METADATA,
        ),
        "langfuse": Dialect(
            aliases={names.SESSION_ID: "langfuse.session.id", names.USER_ID: "langfuse.user.id"},
            metadata="langfuse.trace.metadata.",
            asked="langfuse.trace.input",
            answered="langfuse.trace.output",
            longest=200,
            ascii=True,
        ),
        # Not langsmith.trace.session_id: there a session is a tracing project.
        "langsmith": Dialect(
            every={
                names.GEN_AI_CONVERSATION_ID: "langsmith.metadata.thread_id",
                names.USER_ID: "langsmith.metadata.user_id",
            },
            own={"langsmith.span.kind": "chain"},
            metadata="langsmith.metadata.",
            asked="gen_ai.prompt",
            answered="gen_ai.completion",
        ),
        "traceloop": Dialect(
            every={
                names.SESSION_ID: "traceloop.association.properties.session_id",
                names.USER_ID: "traceloop.association.properties.user_id",
            },
            turn={"traceloop.span.kind": "workflow"},
            metadata="traceloop.association.properties.",
            asked="traceloop.entity.input",
            answered="traceloop.entity.output",
            as_json=True,
        ),
        "mlflow": Dialect(
            own={"mlflow.spanType": '"CHAIN"'},
            metadata="mlflow.traceTag.",
            root_only=True,
            asked="mlflow.spanInputs",
            answered="mlflow.spanOutputs",
            as_json=True,
            longest=250,
        ),
        "opik": Dialect(
            every={names.GEN_AI_CONVERSATION_ID: "thread_id"},
            metadata="opik.metadata.",
        ),
        "weave": Dialect(
            every={names.GEN_AI_CONVERSATION_ID: "wandb.thread_id"},
            turn={"wandb.is_turn": True},
        ),
        # $session_id is the replay's, made by PostHog's own client.
        "posthog": Dialect(every={names.SESSION_ID: "$ai_session_id"}),
        "laminar": Dialect(
            every={
                names.SESSION_ID: "lmnr.association.properties.session_id",
                names.USER_ID: "lmnr.association.properties.user_id",
            },
            metadata="lmnr.association.properties.metadata.",
            asked="lmnr.span.input",
            answered="lmnr.span.output",
            as_json=True,
        ),
    }
)


def fit(text: str, longest: int | None, ascii_only: bool) -> str:
    """
    Make an id fit for a back end; different ids stay different.

    Args:
        text: The id.
        longest: In characters; None for no limit.
        ascii_only: Whether other characters than US-ASCII are escaped.

    Returns:
        The id itself where it fits; else its escaped beginning, "-", and 12 hexadecimal digits of its hash.
    """
    if (longest is None or len(text) <= longest) and not (ascii_only and not text.isascii()):
        return text
    mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_MARK // 2).hexdigest()
    shown = text.encode("ascii", "backslashreplace").decode("ascii") if ascii_only else text
    return f"{shown if longest is None else shown[: longest - _MARK - 1]}-{mark}"


class Dressing:
    """
    The rows of the back ends that are in use, put together once.

    Args:
        dialects: Their names.
        told: Called with the back end and our attribute's name when a value had to be made fit.

    Attributes:
        own: For session and turn span.
        turn: For the turn span only.
        stamped: Names that may stand on every span.
    """

    def __init__(self, dialects: Iterable[str], told: Told | None = None) -> None:
        self._told = told
        self._rows = tuple((name, row) for name, row in DIALECTS.items() if name in frozenset(dialects))
        self.own = {k: v for _, row in self._rows for k, v in row.own.items()}
        self.turn = {k: v for _, row in self._rows for k, v in row.turn.items()}
        self._every = tuple(
            (name, ours, theirs, row.longest, row.ascii, theirs in row.aliases.values())
            for name, row in self._rows
            for ours, theirs in (*row.every.items(), *row.aliases.items())
        )
        self.stamped = tuple(theirs for _, _, theirs, *_ in self._every)

    def stamp(self, stamp: dict[str, AttributeValue]) -> None:
        """Add the back ends' names to the attributes of every span."""
        for dialect, ours, theirs, longest, ascii_only, alias in self._every:
            value = stamp.get(ours)
            if not isinstance(value, str):
                continue
            fitting = fit(value, longest, ascii_only)
            if fitting is not value and self._told is not None:
                self._told(dialect, ours)
            if not alias or fitting is not value:
                stamp[theirs] = fitting

    def metadata(self, attributes: Mapping[str, AttributeValue], root: bool) -> dict[str, AttributeValue]:
        """
        Return what the application said of the session, in each back end's form.

        Args:
            attributes: The session's, by wire name.
            root: Whether the span is the root of its trace in this process.
        """
        cut = len(_METADATA_PREFIX)
        said = {key[cut:]: value for key, value in attributes.items() if key.startswith(_METADATA_PREFIX)}
        if not said:
            return {}
        shown: dict[str, AttributeValue] = {}
        for name, row in self._rows:
            if row.metadata_json:
                shown[row.metadata_json] = json.dumps(said, ensure_ascii=False)
            if row.metadata and (root or not row.root_only):
                for key, value in said.items():
                    shown[row.metadata + key] = self._metadatum(name, row.longest, key, value)
        return shown

    def _metadatum(self, dialect: str, longest: int | None, key: str, value: AttributeValue) -> AttributeValue:
        if longest is None or not isinstance(value, str) or len(value) <= longest:
            return value
        if self._told is not None:
            self._told(dialect, _METADATA_PREFIX + key)
        return value[:longest]

    def content(self, asked: str | None, answered: str | None) -> dict[str, AttributeValue]:
        """Return what the user wrote and what was answered, by the common names and each back end's."""
        shown: dict[str, AttributeValue] = {}
        if asked is not None:
            shown |= {INPUT_VALUE: asked, INPUT_MIME_TYPE: PLAIN}
        if answered is not None:
            shown |= {OUTPUT_VALUE: answered, OUTPUT_MIME_TYPE: PLAIN}
        for _, row in self._rows:
            for name, text in ((row.asked, asked), (row.answered, answered)):
                if name and text is not None:
                    shown[name] = json.dumps(text, ensure_ascii=False) if row.as_json else text
        return shown
