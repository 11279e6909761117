"""
Where the viewer stands under other applications, and how its pages name each other.

Rule 1: every link is relative to the page it stands on. Hosts, ports, schemes and prefixes of proxies are not known
    here, and absolute URLs made from what a server believes of itself are wrong behind every second proxy.
Rule 2: ``root_path`` is taken off only where ``path`` begins with it: some hosts have taken it off already.
Rule 3: a slash at the end means nothing, but browsers count it when they resolve a link.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a request goes.

    Attributes:
        path: Within the viewer, without a slash at the end; empty for the list.
        up: What a link on this page begins with to lead from the viewer's own folder.
        bare: The folder was named without its slash; the name, to be followed by one.
    """

    path: str
    up: str = ""
    bare: str | None = None


def place_of(scope: Mapping[str, Any]) -> Place:
    """Return where a request goes."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    if not path:
        return Place("", bare=root.rpartition("/")[2])
    asked, local = _asked(scope), path.strip("/")
    if not local and not asked.endswith("/"):  # the host has added the slash, the browser has not
        return Place("", bare=asked.rpartition("/")[2])
    folders = local.count("/") + (bool(local) and asked.endswith("/"))
    return Place(local, "../" * folders)


def _asked(scope: Mapping[str, Any]) -> str:
    """Return the browser's own path: some hosts add a slash on the way."""
    raw = scope.get("raw_path")
    asked: str = raw.decode("latin-1").partition("?")[0] if raw else scope["path"]
    return asked
