"""Commands that look at the history: list, show, stats, compare, tail, view, export, and those that look after it."""

from __future__ import annotations

from ..importing.command import import_files
from .compare import compare
from .export import export
from .forget import ledger
from .list import list_sessions
from .prune import prune as prune_history
from .show import show
from .stats import stats
from .tail import tail
from .view import view

__all__ = ["COMMANDS"]

ledger.add_command(import_files)
ledger.add_command(prune_history)

COMMANDS = (list_sessions, show, stats, compare, tail, view, export, ledger)
