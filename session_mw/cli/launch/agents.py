"""
How an agent's command line is made of what somebody typed.

``claude code "..."`` was the way of an earlier time: to today's Claude Code, ``code`` is the first word of a prompt. It
is understood, and run as ``claude -p "..."``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

AGENT: Final = "claude"
OUTDATED: Final = '"claude code ..." is no command of today\'s Claude Code: running "claude -p ..." in its place.'


def agent_words(words: Sequence[str]) -> list[str]:
    """
    Return the command for a bare prompt: ``claude -p`` with it.

    Args:
        words: Up to the first option they are the prompt; what follows goes to the agent as it is.
    """
    at = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    prompt = list(words[:at])
    if prompt[:1] == ["code"] and len(prompt) > 1:
        prompt = prompt[1:]
    return [AGENT, *(["-p", " ".join(prompt)] if prompt else []), *words[at:]]


def modern(command: Sequence[str]) -> tuple[list[str], bool]:
    """Return *command* as today's agent takes it, and whether that is another one."""
    words = list(command)
    if len(words) < 3 or os.path.basename(words[0]) != AGENT or words[1] != "code":
        return words, False
    return [words[0], *agent_words(words[2:])[1:]], True


def outdated(words: Sequence[str]) -> bool:
    """Return whether a bare prompt was written as ``code "..."``."""
    return len(words) > 1 and words[0] == "code" and not words[1].startswith("-")
