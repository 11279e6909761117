"""
What the servers serve: each answer says which turn of which session it was, and which process gave it.

``wsgi`` and ``asgi`` are wrapped unless ``PROCESSES_BARE`` is set. What happens is noted in files of the folder
``PROCESSES_FOLDER``, a line at a time, as several processes may do at once: ``calls`` has the requests that reached the
application, ``events`` what the sink was given.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from session_mw import CallableSink, current_session, current_turn
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware

WORK = 0.02  # seconds that an answer takes


def note(name: str, text: str) -> None:
    """Append *text* to a file, whole, whoever else does."""
    path = os.path.join(os.environ["PROCESSES_FOLDER"], name)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def report(events: Sequence[Any]) -> None:
    """Take events, as a sink."""
    found = [(e.event_name, e.attributes["session.id"], e.attributes["log.record.uid"]) for e in events]
    note("events", "".join(f"{' '.join(each)} {os.getpid()}\n" for each in found))


def answer() -> bytes:
    """Say where we are."""
    session, turn = current_session(), current_turn()
    threads = [thread.name for thread in threading.enumerate()]
    said = {"id": session and session.id, "turn": turn and turn.number, "pid": os.getpid(), "threads": threads}
    return json.dumps(said).encode()


def plain_wsgi(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """The application in WSGI."""
    if environ["PATH_INFO"] != "/health":
        note("calls", environ["HTTP_X_REQUEST"] + "\n")
        time.sleep(WORK)
    body = answer()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return iter([body])


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    """The application in ASGI."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    if scope["path"] != "/health":
        note("calls", dict(scope["headers"])[b"x-request"].decode() + "\n")
        await asyncio.sleep(WORK)
    body = answer()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi: Any = plain_wsgi
asgi: Any = plain_asgi
if "PROCESSES_BARE" not in os.environ:
    # One engine a process, as an application has.
    if os.environ["PROCESSES_KIND"] == "wsgi":
        wsgi = WSGIMiddleware(plain_wsgi, event_sink=CallableSink(report))
    else:
        asgi = ASGIMiddleware(plain_asgi, event_sink=CallableSink(report))
