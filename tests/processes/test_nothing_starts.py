"""
Import, construction and set-up start nothing (G6): no thread, no task, no socket, no file.

Each step is taken in a fresh interpreter that has imported the framework before, so that what is seen is ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, json, os, sys, threading
sys.path.insert(0, {root!r})
{before}

def held():
    files = []
    for name in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return sorted(files)

async def main():
    def now():
        tasks = len(asyncio.all_tasks())
        return [sorted(t.name for t in threading.enumerate()), held(), tasks, sorted(os.listdir("."))]
    before = now()
    {ours}
    after = now()
    print(json.dumps([before, after]))

asyncio.run(main())
"""

KEY = 'secret_key="0123456789abcdef-a-secret-for-tests-only-0123456789"'
# Nobody listens there: a connection would be refused, and one line of a log would say so.
STORES = ("memory://", "sqlite:///sessions.db", "redis://127.0.0.1:9/0", "postgresql://nobody@127.0.0.1:9/none")
CONSTRUCT = """
    from session_mw.asgi import SessionTrackingMiddleware as A
    from session_mw.wsgi import SessionTrackingMiddleware as W
    kept = [
        kind(lambda *_: None, {key}, store=store, ledger="sqlite:///history.db")
        for kind in (A, W) for store in {stores!r}
    ]
"""
FASTAPI = """
    from session_mw.integrations.fastapi import SessionTracking
    app = FastAPI()
    SessionTracking(app, SessionSettings({key}, store="sqlite:///sessions.db"))
    app.build_middleware_stack()
"""
FLASK = """
    from session_mw.integrations.flask import SessionTracking
    app = Flask("shop")
    SessionTracking(app, SessionSettings({key}, store="sqlite:///sessions.db"))
"""
DJANGO = """
    settings.configure(
        SECRET_KEY="for tests only",
        ROOT_URLCONF="none",
        MIDDLEWARE=["session_mw.integrations.django.SessionTrackingMiddleware"],
        SESSION_MW=dict({key}, store="sqlite:///sessions.db"),
    )
    kept = [get_wsgi_application(), get_asgi_application()]
"""
SCRIPTS = """
    import session_mw
    session_mw.configure({key}, store="sqlite:///sessions.db")
"""
STEPS = {
    "import": (
        "",
        "import session_mw, session_mw.asgi, session_mw.wsgi, session_mw.testing, session_mw.sweeper",
    ),
    "construction": ("import session_mw, redis, psycopg", CONSTRUCT),
    "fastapi": ("from fastapi import FastAPI; from session_mw import SessionSettings", FASTAPI),
    "flask": ("from flask import Flask; from session_mw import SessionSettings", FLASK),
    "django": (
        "from django.conf import settings; from django.core.wsgi import get_wsgi_application; "
        "from django.core.asgi import get_asgi_application",
        DJANGO,
    ),
    "scripts": ("", SCRIPTS),
}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system has no /proc")
@pytest.mark.parametrize("step", STEPS)
def test_G6_starts_nothing(step: str, tmp_path: Path) -> None:
    """Threads, open files and sockets, tasks and the folder's content are the same before and after."""
    before, ours = STEPS[step]
    ours = ours.strip("\n").replace("{key}", KEY).replace("{stores!r}", repr(STORES)).lstrip()
    script = SCRIPT.format(root=str(Path(__file__).parents[2]), before=before, ours=ours)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    was, is_now = json.loads(done.stdout)
    assert was == is_now
    assert [] == is_now[3]  # nothing at exit either
    assert [] == list(tmp_path.iterdir())
