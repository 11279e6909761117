"""
A process of its own for one SDK and one order: ``python -m tests.vendors.worker <sdk> <order>``.

Prints as JSON what ``Process.run`` returns for both shells, with the helper and without.
"""

from __future__ import annotations

import json
import sys

from .ground import Process, every_case

if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # Traceloop greets
    json.dump(every_case(Process(sys.argv[1], sys.argv[2], own=True)), out)
