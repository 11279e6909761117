"""A child process's program: continue what the environment tells of, and do something."""

from __future__ import annotations

import sys

from session_mw.clients.processes import continued_session
from tests.queues.seen import set_up_telemetry, work, write

if __name__ == "__main__":
    set_up_telemetry()
    with continued_session(trusted="trusted" in sys.argv) as session:
        write({"session": None if session is None else session.id, "worked": work("child")})
