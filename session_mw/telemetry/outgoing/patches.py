"""
Functions of other libraries, replaced and put back.

Others replace the same functions, before us or after us, and take theirs out again without asking. Therefore:

Rule 1: a function is covered once, however deep below others' wrappers ours stands.
Rule 2: ours passes for what it covers: its attributes, and ``__wrapped__``, which is what *that* covers, covered by us.
    Who unwraps a function that we have covered (OpenTelemetry's for requests does) leaves ours in place.
Rule 3: what somebody has covered since cannot be taken out, and passes everything through.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from ..notices import once

logger = logging.getLogger("session_mw")

Function = Callable[..., Any]
Maker = Callable[[Function], Function]


class Patches:
    """What is replaced now."""

    def __init__(self) -> None:
        self._places: dict[tuple[Any, str], None] = {}
        # Ours, and what each covers, by identity: wrappers of others say that they equal what they wrap.
        self._covers: dict[int, tuple[Function, Function]] = {}

    def cover(self, owner: Any, name: str, make: Maker) -> None:
        """
        Replace a function of a class.

        Args:
            owner: The class.
            name: Of the function. A class that has none is left alone: another release of the library.
            make: Returns the new function, given the old one.
        """
        there = owner.__dict__.get(name)
        if there is None or self._covered(there):
            return
        setattr(owner, name, self._made(there, make))
        self._places[(owner, name)] = None

    def undo(self) -> None:
        """Put back what nobody has covered since."""
        for owner, name in list(self._places):
            there = owner.__dict__.get(name)
            if id(there) in self._covers:
                setattr(owner, name, self._covers.pop(id(there))[1])
                del self._places[(owner, name)]

    def _covered(self, function: Any) -> bool:
        while function is not None:
            if id(function) in self._covers:
                return True
            function = getattr(function, "__wrapped__", None)
        return False

    def _made(self, function: Function, make: Maker) -> Function:
        wrapper = functools.wraps(function)(make(function))
        below = getattr(function, "__wrapped__", None)
        if below is not None:
            wrapper.__wrapped__ = self._made(below, make)
        self._covers[id(wrapper)] = (wrapper, function)
        return wrapper


def guarded(what: str, action: Callable[[], Any]) -> Any:
    """Return what *action* returns; None, and one log line, when it fails: the application's call goes on."""
    try:
        return action()
    except Exception as error:
        kind = type(error).__name__
        once(
            f"outgoing:{what}:{kind}",
            logger.error,
            "cannot %s: %s: %s. Sessions may not be carried to other services.",
            what,
            kind,
            error,
        )
        return None
