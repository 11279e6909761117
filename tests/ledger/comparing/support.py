"""Samples as a history gives them, and what is said of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from session_mw.ledger.comparing import Comparison, Pair, Question, Report, report_of
from session_mw.ledger.comparing.figures import draft, finished, members, side
from session_mw.ledger.comparing.words import notes
from session_mw.ledger.samples import METRICS, Sample


def sample(arm: str, user: str | None, value: float | None, at: int = 0, mixed: bool = False, **more: Any) -> Sample:
    """Return a session that says one number."""
    said = {"kind": None, "active": False, "values": (None if value is None else (value, 1.0),), **more}
    return Sample(arm, user, at, mixed=mixed, **said)


def even(arm: str, users: int, value: float = 1.0) -> list[Sample]:
    """Two sessions of each user, one above and one below *value*."""
    return [sample(arm, f"{arm}{n}", value + sign * (n % 3)) for n in range(users) for sign in (1, -1)]


def report(samples: Sequence[Sample], *arms: str, share: bool = False, **asked: Any) -> Report:
    """Compare; the number is turns, or whether a session was resolved."""
    question = {"metric": "resolution" if share else "turns", **asked}
    return report_of(samples, Question("prompt_version", arms or ("a", "b"), **question))


def pair(samples: Sequence[Sample], share: bool = False, **asked: Any) -> Pair:
    """Compare a with b."""
    (found,) = report(samples, share=share, **asked).pairs
    return found


def compare(samples: Sequence[Sample], share: bool = False, **asked: Any) -> Comparison:
    """Compare a with b in the one quantity."""
    (found,) = pair(samples, share, **asked).comparisons.values()
    return found


def quickly(samples: Sequence[Sample]) -> Comparison:
    """Compare a with b, without what a bootstrap says."""
    sides = (members(arm, [one for one in samples if one.arm == arm]) for arm in "ab")
    first, second = (side(mine, 0, share=False, deep=False) for mine in sides)
    return finished("turns", METRICS["turns"], draft(first, second), None)


def told(samples: Sequence[Sample], word: str, share: bool = False, **asked: Any) -> list[str]:
    """Return the notes with a word in them."""
    found = report(samples, share=share, **asked)
    return [note.text for one in found.pairs for note in notes(found, one) if word in note.text]


def same(chance: random.Random, users: int, correlation: float, share: bool = False, more: float = 0) -> list[Sample]:
    """
    Draw two groups: skewed values, one to nine sessions a user, alike within a user, of two types.

    Args:
        chance: Draws.
        users: Of each group; every fifth user is in both.
        correlation: Of the sessions of a user.
        share: The values are 0 or 1.
        more: By how much the second group's logarithms are larger.
    """
    found, owns = [], dict[str, float]()
    for arm in "ab":
        for user in range(users):
            name = f"{arm if user % 5 else 'both '}{user}"
            own = owns.setdefault(name, chance.gauss(0, math.sqrt(correlation)))
            for _ in range(chance.randint(1, 9)):
                kind = chance.choice(("chat", "chat", "review"))
                drawn = own + chance.gauss(0, math.sqrt(1 - correlation)) + (more if arm == "b" else 0)
                value = float(drawn > 0) if share else math.exp(drawn) * (2 if kind == "chat" else 1)
                found.append(sample(arm, name, value, kind=kind))
    return found
