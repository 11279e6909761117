"""``python -m session_mw`` is the ``session-mw`` command."""

from __future__ import annotations

from session_mw.cli import main

if __name__ == "__main__":
    main()
