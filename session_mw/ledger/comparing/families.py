"""
Several comparisons at once: the more are made, the more of them differ by chance alone.

Source:
    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .distributions import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Adjustment:
    """
    What becomes of one comparison among several.

    Attributes:
        p: Holm's adjusted p, at most 1.
        confidence: Of the interval that leaves out zero exactly when *p* is below 5 %.
    """

    p: float
    confidence: float


def holm(found: Sequence[float]) -> list[Adjustment]:
    """Return the adjustments of a family's p values, in their order."""
    adjusted: list[Adjustment] = [Adjustment(1.0, CONFIDENCE)] * len(found)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(found)), key=found.__getitem__)):
        p, left = found[index], len(found) - place
        highest = max(highest, left * p)
        factor = highest / p if p else float(left)
        adjusted[index] = Adjustment(min(1.0, highest), 1 - (1 - CONFIDENCE) / factor)
    return adjusted
