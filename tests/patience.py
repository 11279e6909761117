"""
How much longer than promised a test lets things take.

Whoever runs the suite on a machine of their own sees the promises themselves. On a CI machine others run too, and
single waits are theirs as well: there a test shows that a wait is bounded, and by about what.
"""

from __future__ import annotations

import os

PATIENCE = 5.0 if os.environ.get("CI") else 1.0
