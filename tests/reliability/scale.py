"""
How much is done: ``SESSION_MW_TEST_KILLS`` workers are killed for each store, 300 if it does not say.

The rest goes by it. Below 300 each store has one kind of application, and leases are short.
"""

from __future__ import annotations

import os

KILLS = int(os.environ.get("SESSION_MW_TEST_KILLS", "300"))
DEATHS = max(2, KILLS // 6)  # at each failpoint
TRIALS = KILLS * 5  # races
LONG = KILLS >= 300
