"""
Groups of sessions, compared honestly.

Rule 1: the unit is the user. Sessions of one user are alike; taken for independent they make differences out of nothing
    in a third of all comparisons of the same with the same. Sessions without a user stand for one each.
Rule 2: no interval where it would be a guess (``figures``). Nothing is called a winner.
Rule 3: a session that carried two versions says nothing of either: it is left out, and counted.
Rule 4: what is unknown is left out, and counted; it is no zero.
Rule 5: only sessions from when both groups ran are compared, unless it is asked for otherwise, and that is said.
Rule 6: the risk of a false difference is that of the one metric that was asked about; all others share theirs.
"""

from __future__ import annotations

from .distributions import CONFIDENCE, Interval
from .figures import CAUTION_USERS, FEW_SHARES, FEW_USERS, Comparison, Difference, Figures, Spread
from .periods import Day, Drift, Ratio, Window
from .report import EVERYTHING, Arm, Pair, Question, Report, report, report_of

__all__ = [
    "CAUTION_USERS",
    "CONFIDENCE",
    "EVERYTHING",
    "FEW_SHARES",
    "FEW_USERS",
    "Arm",
    "Comparison",
    "Day",
    "Difference",
    "Drift",
    "Figures",
    "Interval",
    "Pair",
    "Question",
    "Ratio",
    "Report",
    "Spread",
    "Window",
    "report",
    "report_of",
]
