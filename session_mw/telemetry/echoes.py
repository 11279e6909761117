"""
Two spans side by side about one answer of a model.

A framework tells of a model call from its callbacks, the client (or an instrumentation of it) from within; where the
framework's span is not the current one meanwhile, neither stands above the other, and often only one knows the
answer's id. They are taken for one when all of this holds:

Rule 1: different tracers made them: nobody tells of a call twice.
Rule 2: the one's time is within the other's.
Rule 3: both say the same: kind, tokens, whether it failed. Where both know the answer's id, the ids are the same.
Rule 4: each span is the echo of one other of a tracer, so that five calls at once stay five.

What comes of it is an id: spans about one answer get the same one, and are counted once by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from .._core.usage import Reading

KINDS: Final = ("model", "embedding")
MAX_ALIKE: Final = 256  # of the latest spans that say the same, so many are looked at


@dataclass(frozen=True, slots=True)
class Teller:
    """
    Who tells of a call.

    Attributes:
        tracer: Its name.
        started_ns: Begin of the span, nanoseconds since the epoch.
        ended_ns: Its end.
        failed: It ended with an error.
    """

    tracer: str
    started_ns: int
    ended_ns: int
    failed: bool


class _Answer:
    """One answer: its id, and who told of it. ``known`` is the provider's own id."""

    __slots__ = ("ended_ns", "id", "known", "started_ns", "tracers")

    def __init__(self, answer_id: str, known: str | None, teller: Teller) -> None:
        self.id = answer_id
        self.known = known
        self.started_ns = teller.started_ns
        self.ended_ns = teller.ended_ns
        self.tracers = {teller.tracer}


class Echoes:
    """The answers of one turn. Not thread-safe."""

    __slots__ = ("_alike", "_ids")

    def __init__(self) -> None:
        self._alike: dict[tuple[str, int | None, int | None, bool], list[_Answer]] = {}
        self._ids: dict[str, str] = {}  # the provider's id -> the one that an earlier span without it was given

    def answer_id(self, reading: Reading, teller: Teller) -> str:
        """
        Return the id of the answer that a span tells of. Spans have to come in the order in which they ended.

        Args:
            reading: What it says.
            teller: Who says it.
        """
        known = reading.response_id
        if known is not None and known in self._ids:
            return self._ids[known]
        tokens = reading.tokens
        alike = self._alike.setdefault((reading.kind, tokens.input_tokens, tokens.output_tokens, teller.failed), [])
        answer = _told_before(alike, known, teller)
        if answer is None:
            answer = _Answer(known or f"#{teller.tracer}/{len(alike)}/{id(alike)}", known, teller)
            alike.append(answer)
        else:
            answer.tracers.add(teller.tracer)
            answer.known = answer.known or known
        if known is not None:
            self._ids[known] = answer.id
        return answer.id


def _told_before(alike: list[_Answer], known: str | None, teller: Teller) -> _Answer | None:
    """
    Return the answer that a span within this one's time told of.

    Of several the one that began first: it fits into the fewest spans that are still to come.
    """
    first: _Answer | None = None
    for answer in islice(reversed(alike), MAX_ALIKE):
        if answer.ended_ns < teller.started_ns:
            break  # they stand in the order in which they ended
        if teller.tracer in answer.tracers or not _within(answer, teller):
            continue
        if known is not None and answer.known is not None and known != answer.known:
            continue
        if first is None or answer.started_ns < first.started_ns:
            first = answer
    return first


def _within(answer: _Answer, teller: Teller) -> bool:
    return teller.started_ns <= answer.started_ns and answer.ended_ns <= teller.ended_ns
