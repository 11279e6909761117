"""
The turns of one trace.

Whose a span is: what it says, else what is said by the nearest span above it; where a trace names one session only, all
of it belongs to that (a server's span knows nothing of sessions).

What a turn is: each ``turn`` span of this package; where a trace has none, the trace itself, as far as it is the
session's. A trace that this package has taken part in and made no turn of (somebody loaded a page) is none.

What it used is counted by ``telemetry.rollup``, as when it is told live.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..._core import names, synonyms
from ..._core.dialects import DIALECTS, INPUT_MIME_TYPE, INPUT_VALUE, OUTPUT_MIME_TYPE, OUTPUT_VALUE, Dressing
from ..._core.rules import SpanRules
from ..._core.scope import SessionScope
from ..._core.turn_state import TurnState
from ...ledger import values
from ...telemetry import content, rollup
from ...telemetry.calls import dropped_of, records_of
from ...telemetry.tally import Entry
from .gathered import EXPORTED, OWN, Found, Key, Told
from .lineage import Lineage, lineage
from .otlp import Span

OURS = "session_mw"  # the tracer's name
EVENTS = (names.EVENT_START, names.EVENT_END, names.EVENT_USAGE_LATE)
CONTENT = (INPUT_VALUE, OUTPUT_VALUE, names.TURN_MESSAGES)
_ALL = Dressing(DIALECTS)
# What a turn's span says that is not said of the turn, or has a column of its own.
_NOT_KEPT = frozenset(
    {
        *synonyms.SESSION, *synonyms.CONVERSATION, *synonyms.USER, names.USER_HASH,
        names.SESSION_GENERATION, names.TURN_ID, names.TURN_NUMBER, names.TURN_LATENCY_MS,
        names.TURN_TIME_TO_FIRST_CHUNK_MS, names.TURN_STATUS, names.TURN_INPUT_TOKENS, names.TURN_OUTPUT_TOKENS,
        names.TURN_COST_USD, names.ERROR_TYPE, names.EXPORT_MADE_UP, names.METADATA, INPUT_MIME_TYPE, OUTPUT_MIME_TYPE,
        *_ALL.own, *_ALL.turn, *_ALL.stamped,
    }
)  # fmt: skip


# What a live turn's span says besides, as the session's other spans do: the history has it elsewhere.
_OF_SPANS = frozenset(
    {
        *synonyms.OF_SESSIONS, names.TURN_ROLE, names.CONVERSATION_SESSION_ID, names.CONVERSATION_TURN_NUMBER,
        names.CONVERSATION_TOTAL_TURNS,
    }
)  # fmt: skip


@dataclass
class Reading:
    """
    How traces are read.

    Attributes:
        rules: Whether words are kept, and what calls cost.
        by_conversation: A trace that names no session belongs to that of its conversation's id.
        homeless: Spans that belong to no session, so far.
        by_conversation_only: Of these, how many name a conversation.
    """

    rules: SpanRules
    by_conversation: bool = False
    homeless: int = 0
    by_conversation_only: int = 0

    def read(self, spans: Iterable[Span]) -> Iterator[Found | Told]:
        """Yield the turns of a trace, and the events that stand in it as spans."""
        events, others = _apart(spans)
        for key, span in events:
            yield Told(key, span.name, span.start_time // 1_000_000, span.attributes)
        tree = lineage(others)
        owners = self._owners(tree)
        groups: dict[Key, list[str]] = {}
        for span_id, span in tree.spans.items():
            owner = owners.get(span_id)
            if owner is None:
                self._note_homeless(span)
            else:
                groups.setdefault(owner, []).append(span_id)
        for key, ids in groups.items():
            yield from self._turns(tree, key, ids)

    def _owners(self, tree: Lineage) -> dict[str, Key]:
        owners = _said(tree, synonyms.SESSION)
        if not owners and self.by_conversation:
            owners = _said(tree, synonyms.CONVERSATION)
        if len(set(owners.values())) == 1:
            return dict.fromkeys(tree.spans, next(iter(owners.values())))
        return owners

    def _note_homeless(self, span: Span) -> None:
        self.homeless += 1
        self.by_conversation_only += synonyms.first(span.attributes, synonyms.CONVERSATION) is not None

    def _turns(self, tree: Lineage, key: Key, ids: list[str]) -> Iterator[Found]:
        ours = [span_id for span_id in ids if tree.spans[span_id].tracer == OURS]
        turns = [span_id for span_id in ours if tree.spans[span_id].name == "turn"]
        if turns:
            for turn, below in _under(tree, ids, turns).items():
                yield self._own(tree, key, tree.spans[turn], below)
        elif not ours:
            yield self._of_trace(tree, key, ids)

    def _own(self, tree: Lineage, key: Key, span: Span, below: list[str]) -> Found:
        """Return what a ``turn`` span tells of."""
        said = span.attributes
        made_up = str(said.get(names.EXPORT_MADE_UP, "")).split()
        exported = names.TURN_STATUS in said  # it says its sums, and has a span of its own for what its session says
        turn = self._counted(tree, below, replace(self.rules, price=_unknown) if exported else self.rules)
        used = turn.take_usage()
        if exported:
            into, out = (
                values.whole(said.get(names.TURN_INPUT_TOKENS)),
                values.whole(said.get(names.TURN_OUTPUT_TOKENS)),
            )
            used = (into, out, values.microusd(said.get(names.TURN_COST_USD)))
        left_out = made_up if exported else _OF_SPANS
        kept = {name: value for name, value in said.items() if self._keeps(name) and name not in left_out}
        latency_ms = values.whole(said.get(names.TURN_LATENCY_MS))
        return Found(
            key,
            EXPORTED if exported else OWN,
            values.whole(said.get(names.TURN_NUMBER)),
            span.start_time,
            (span.end_time - span.start_time) // 1_000_000 if latency_ms is None else max(0, latency_ms),
            _status(said.get(names.TURN_STATUS), span.failed),
            _conversation(key, [span]),
            synonyms.first(said, synonyms.USER),
            _trace(span, made_up),
            _error_of(span),
            values.whole(said.get(names.TURN_TIME_TO_FIRST_CHUNK_MS)),
            *used,
            attributes=kept if exported else {**turn.attributes, **kept},
            said={} if exported else _of_session(tree, [*_ours_above(tree, span), *below]),
            calls=_calls(turn),
        )

    def _of_trace(self, tree: Lineage, key: Key, ids: list[str]) -> Found:
        """Return the turn that a trace is."""
        mine = set(ids)
        tops = [tree.spans[span_id] for span_id in ids if tree.parents.get(span_id) not in mine]
        root = min(tops, key=lambda span: (span.start_time, span.span_id))
        end = root.end_time if len(tops) == 1 else max(span.end_time for span in tops)
        turn = self._counted(tree, ids, self.rules)
        failed = [span for span in tops if span.failed]
        spans = [tree.spans[span_id] for span_id in ids]
        labels = _first_of(synonyms.labels(span.attributes) for span in spans)
        return Found(
            key,
            0,
            None,
            root.start_time,
            (end - root.start_time) // 1_000_000,
            "error" if failed else "ok",
            _conversation(key, spans),
            next((user for span in spans if (user := synonyms.first(span.attributes, synonyms.USER))), None),
            _trace(root, []),
            _error_of(failed[0]) if failed else None,
            None,
            *turn.take_usage(),
            attributes={**turn.attributes, **labels},
            said=_of_session(tree, ids),
            calls=_calls(turn),
        )

    def _counted(self, tree: Lineage, ids: list[str], rules: SpanRules) -> TurnState:
        """Return a turn in which all was counted and heard that spans say; parents stand before their children."""
        turn = TurnState(str, None, 0)
        turn.rules = rules
        entries: dict[str, Entry] = {}
        for span_id in ids:
            entries[span_id] = (turn, entries.get(tree.parents.get(span_id, "")), int(span_id, 16))
        for span in tree.ended(ids):
            rollup.take(entries[span.span_id], span, span.attributes, span.failed)
        scope = SessionScope("", 0)
        scope.rules = rules
        content.settle(scope, turn)
        turn.settle()
        if turn.heard is not None:
            turn.attributes = {**turn.attributes, **turn.heard.kept}
        turn.attributes = {**turn.attributes, **dropped_of(turn)}
        return turn

    def _keeps(self, name: str) -> bool:
        return name not in _NOT_KEPT and (self.rules.capture or name not in CONTENT)


def _calls(turn: TurnState) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(call) for call in records_of(turn, 0))


def _unknown(*asked: object) -> None:
    """Price nothing: what an export does not say nobody knew."""


def event_of(attributes: Mapping[str, Any]) -> Key | None:
    """Return the session that a log record is about, None when it names none."""
    return _key(attributes, synonyms.SESSION)


def _apart(spans: Iterable[Span]) -> tuple[list[tuple[Key, Span]], list[Span]]:
    """Return the events that stand among spans of ours, each with its session, and all other spans."""
    events, others = [], []
    for span in spans:
        key = event_of(span.attributes) if span.tracer == OURS and span.name in EVENTS else None
        if key is None:
            others.append(span)
        else:
            events.append((key, span))
    return events, others


def _key(attributes: Mapping[str, Any], keys: Iterable[str]) -> Key | None:
    found = synonyms.first(attributes, keys)
    generation = values.whole(attributes.get(names.SESSION_GENERATION))
    return None if found is None else (values.text(found), max(1, generation or 1))


def _said(tree: Lineage, keys: Iterable[str]) -> dict[str, Key]:
    """Return the sessions of spans: what they say, else what the nearest span above them does."""
    owners: dict[str, Key] = {}
    keys = tuple(keys)
    for span_id, span in tree.spans.items():
        above = owners.get(tree.parents.get(span_id, ""))
        key = _key(span.attributes, keys)
        if key is not None and above is not None and key[0] == above[0]:
            key = (key[0], max(key[1], above[1]))  # the generation stands on our own spans only
        if key is not None or above is not None:
            owners[span_id] = key or above  # type: ignore[assignment]  # one of them is no None
    return owners


def _under(tree: Lineage, ids: list[str], turns: list[str]) -> dict[str, list[str]]:
    """Return the spans of each turn: those below it; what stands beside all turns is in the one that began last."""
    found: dict[str, list[str]] = {turn: [] for turn in turns}
    within: dict[str, str] = {turn: turn for turn in turns}
    began = sorted(turns, key=lambda turn: tree.spans[turn].start_time)
    times = [tree.spans[turn].start_time for turn in began]
    for span_id in ids:
        turn = within.get(span_id) or within.get(tree.parents.get(span_id, ""))
        if turn is None and tree.spans[span_id].tracer != OURS:
            place = bisect_right(times, tree.spans[span_id].start_time)
            turn = began[place - 1] if place else None
        if turn is not None:
            within[span_id] = turn
            found[turn].append(span_id)
    return found


def _ours_above(tree: Lineage, turn: Span) -> list[str]:
    """Return the ``session`` span of a turn."""
    return [span_id for span_id in tree.above(turn.span_id) if tree.spans[span_id].tracer == OURS]


def _of_session(tree: Lineage, ids: Iterable[str]) -> dict[str, Any]:
    spans = [tree.spans[span_id] for span_id in ids]
    said: dict[str, Any] = _first_of(synonyms.of_session(span.attributes) for span in spans)
    service = next((span.service for span in spans if span.service), None)
    return said if service is None else {**said, "service.name": service}


def _first_of(many: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is said, by whoever says it first."""
    found: dict[str, Any] = {}
    for said in many:
        for name, value in said.items():
            if len(found) < synonyms.MAX_SAID:
                found.setdefault(name, value)
    return found


def _conversation(key: Key, spans: Iterable[Span]) -> str | None:
    """Return the conversation's id; the session itself is the conversation where nothing else was said."""
    found = (synonyms.first(span.attributes, synonyms.CONVERSATION) for span in spans)
    return next((one for one in found if one is not None and one != key[0]), None)


def _trace(span: Span, made_up: list[str]) -> str:
    trace_id = "" if "trace" in made_up else span.trace_id
    span_id = "" if "span" in made_up else span.span_id
    return f"{trace_id}-{span_id}-{'00' if 'sampled' in made_up else '01'}" if trace_id or span_id else ""


def _status(said: object, failed: bool) -> str:
    return str(said) if said in ("ok", "error", "cancelled") else "error" if failed else "ok"


def _error_of(span: Span) -> str | None:
    """Return what failed: a type, never a message, which may repeat what was said."""
    if names.ERROR_TYPE in span.attributes or names.TURN_STATUS in span.attributes or not span.failed:
        return values.optional_text(span.attributes.get(names.ERROR_TYPE))
    kinds = [said.get("exception.type") for name, said, _ in span.told if name == "exception"]
    code = span.attributes.get("http.response.status_code", span.attributes.get("http.status_code"))
    return values.optional_text(next((kind for kind in kinds if kind), code or "error"))
