"""
Questions about many sessions at once: how many, what they do, where they end, who comes back.

A question takes the history part by part (``sources``), and can be answered at any moment over what it took.
"""

from __future__ import annotations

from .answers import (
    Cohort,
    Counted,
    Day,
    DropOff,
    Engagement,
    FirstActions,
    Flows,
    FlowStep,
    Funnel,
    FunnelStep,
    Overview,
    Paths,
    Resolution,
    Retention,
    Side,
    Spread,
    Totals,
)
from .asked import Analyzing
from .questions import Question, Questions

__all__ = [
    "Analyzing",
    "Cohort",
    "Counted",
    "Day",
    "DropOff",
    "Engagement",
    "FirstActions",
    "FlowStep",
    "Flows",
    "Funnel",
    "FunnelStep",
    "Overview",
    "Paths",
    "Question",
    "Questions",
    "Resolution",
    "Retention",
    "Side",
    "Spread",
    "Totals",
]
