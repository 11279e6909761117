"""
The launcher: a coding agent, or any program, as a session, by what stands in its environment.

What is decided is decided in modules without I/O: ``choosing`` (which session), ``ids``, ``ci``, ``headers`` and
``variables`` (what a child finds), ``quoting``, ``prompts``, ``agents``, ``snippets``. ``process`` runs the child,
``record`` tells store and history, ``places`` keeps what has to last, ``launching`` puts them together.
"""

from __future__ import annotations

from .commands import completion, config, end, env, run, shell, templates
from .telling import status

__all__ = ["COMMANDS"]

COMMANDS = (run, shell, env, status, end, templates, config, completion)
