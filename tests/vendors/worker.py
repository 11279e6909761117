"""
A process of its own for one SDK and one order: ``python -m tests.vendors.worker <sdk> <order> [forked]``.

Prints as JSON what ``Process.run`` returns for both shells, with the helper and without.
"""

from __future__ import annotations

import json
import os
import sys

from .ground import Process, every_case

if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # Traceloop greets
    process = Process(sys.argv[1], sys.argv[2], own=True)
    if sys.argv[3:] == ["forked"] and (child := os.fork()):
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    json.dump(every_case(process), out)
