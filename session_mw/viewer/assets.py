"""The style sheet and the script: read once, named after what is in them, so that browsers may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.responses import Response

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
FILES = ("viewer.css", "viewer.js")
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: its name with the hash in it, its type, its bytes, and the same compressed."""

    name: str
    type: str
    body: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """Return the files by their own names."""
    found = {}
    for name in FILES:
        body = files(__package__).joinpath("static").joinpath(name).read_bytes()
        stem, _, kind = name.partition(".")
        own = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{kind}"
        found[name] = Asset(own, TYPES[kind], body, gzip.compress(body, mtime=0))
    return found


def asset(path: str, accepted: str = "") -> Response | None:
    """
    Return the file at *path* as an answer, None when there is none.

    Args:
        path: Within the viewer.
        accepted: The request's ``Accept-Encoding``. Who refuses gzip by ``q=0`` gets it plain.
    """
    for one in assets().values():
        if path == f"static/{one.name}":
            headers = {"content-type": one.type, "cache-control": FOREVER, "vary": "Accept-Encoding"}
            if not any(said.strip().lower() == "gzip" for said in accepted.split(",")):
                return Response(one.body, headers=headers)
            return Response(one.packed, headers={**headers, "content-encoding": "gzip"})
    return None
