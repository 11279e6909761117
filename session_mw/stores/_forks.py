"""What a forked child begins anew: sessions in memory are the parent's."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class _Forgetful(Protocol):
    def _reset(self) -> None: ...


_FORGETFUL: weakref.WeakSet[_Forgetful] = weakref.WeakSet()


def forget_after_fork(one: _Forgetful) -> None:
    """Have *one* reset in every child that this process forks, for as long as it is in use."""
    _FORGETFUL.add(one)


def _after_fork() -> None:
    for one in list(_FORGETFUL):
        one._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
