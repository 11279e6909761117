"""Commands that look at the history: list, show, stats, compare, tail, view, export, and the one that forgets."""

from __future__ import annotations

from .compare import compare
from .export import export
from .forget import ledger
from .list import list_sessions
from .show import show
from .stats import stats
from .tail import tail
from .view import view

__all__ = ["COMMANDS"]

COMMANDS = (list_sessions, show, stats, compare, tail, view, export, ledger)
