"""
The scripts that Redis runs: one file each in ``lua/``, all with ``common.lua`` before them.

A script is atomic, and Redis runs nothing else meanwhile: each does a bounded amount of work (``CHUNK`` sessions).
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from .._core import lifecycle


class Script(NamedTuple):
    """
    A script.

    Attributes:
        name: Of its file.
        source: All of it.
        sha: By which a server that has seen it knows it.
    """

    name: str
    source: str
    sha: str


class Call(NamedTuple):
    """
    One run of a script.

    Attributes:
        script: To run.
        shard: Whose node runs it; any shard, where one node has all.
        keys: Names of keys; the first is a shard's.
        args: The time first; empty for the server's own.
    """

    script: Script
    shard: int
    keys: tuple[str, ...]
    args: tuple[object, ...]


@cache
def script(name: str) -> Script:
    """Return the script of ``lua/<name>.lua``."""
    folder = files(__package__).joinpath("lua")
    # What the core decides with is written once, there.
    known = f"local CLOSED_MS, MAX_ATTEMPTS = {lifecycle.CLOSED_MS}, {lifecycle.MAX_ATTEMPTS}\n"
    parts = [folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("common", name)]
    source = known + "\n".join(parts)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
