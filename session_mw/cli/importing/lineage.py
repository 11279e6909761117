"""The spans of one trace as a tree, whatever their parents say: none, themselves, each other, one more each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .otlp import Span

MAX_DEPTH = 500  # counting looks at all spans above one


@dataclass(frozen=True, slots=True)
class Lineage:
    """
    Spans from the top down.

    Attributes:
        spans: By id, parents before their children.
        parents: Id of a span's parent, where that is in the trace.
    """

    spans: Mapping[str, Span]
    parents: Mapping[str, str]

    def above(self, span_id: str) -> list[str]:
        """Return the ids of the spans above one, nearest first."""
        found: list[str] = []
        while span_id in self.parents:
            span_id = self.parents[span_id]
            found.append(span_id)
        return found

    def ended(self, ids: Sequence[str]) -> list[Span]:
        """
        Return some of the spans in the order in which they ended: of one moment, the innermost first.

        Args:
            ids: Of these, parents before their children.
        """
        return sorted((self.spans[span_id] for span_id in reversed(ids)), key=lambda span: span.end_time)


def lineage(spans: Iterable[Span]) -> Lineage:
    """Return the tree of a trace. A span whose parent is missing, or is below it, is at the top."""
    by_id = {span.span_id: span for span in spans}
    depth: dict[str, int] = {}
    parents: dict[str, str] = {}
    for span_id in by_id:
        path: list[str] = []
        at = span_id
        while at in by_id and at not in depth and len(path) < MAX_DEPTH:
            depth[at] = -1  # on the way: who meets it again goes in a circle
            path.append(at)
            at = by_id[at].parent_id
        for below in reversed(path):
            above = by_id[below].parent_id
            level = depth.get(above, -1) if above in by_id else -1
            if 0 <= level < MAX_DEPTH:
                parents[below] = above
                depth[below] = level + 1
            else:
                depth[below] = 0
    ordered = sorted(by_id, key=lambda span_id: (depth[span_id], by_id[span_id].start_time))
    return Lineage({span_id: by_id[span_id] for span_id in ordered}, parents)
