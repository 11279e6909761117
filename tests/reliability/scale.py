"""
How much is done: ``SESSION_MW_KILLS`` workers killed for each store, 300 if it does not say; the rest in proportion.
"""

from __future__ import annotations

import os

KILLS = int(os.environ.get("SESSION_MW_KILLS", "300"))
DEATHS = max(2, KILLS // 6)  # at each failpoint
TRIALS = KILLS * 5  # races
LONG = KILLS >= 300
