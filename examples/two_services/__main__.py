"""
All of it with one command: starts vendor, agent service and gateway, is a customer for three turns, tells what came.

    python -m examples.two_services [--agent flask] [--dir FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from session_mw.ledger import SessionRow, open_ledger

PATIENCE = 30.0  # seconds until a service has started, and until the session's end is written
OURS = ("session.", "user.", "conversation.", "gen_ai.", "turn.")
QUESTIONS = ("What does a lamp cost?", "Where is order 1042?", "Thanks!")


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command_of(service: str, port: int) -> list[str]:
    """Return the command that serves *service*."""
    module = f"{__package__}.{service}"
    if service == "vendor":
        return [module, str(port)]
    if service == "agent_flask":
        return ["gunicorn", f"{module}:app", "-b", f"127.0.0.1:{port}", "--threads", "4"]
    return ["uvicorn", f"{module}:app", "--port", str(port)]


@contextmanager
def serving(service: str, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a service until the end of the block, and give its URL once it answers."""
    port, log = free_port(), folder / f"{service}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command_of(service, port)],
            env={**environment, "SESSION_MW_SECRET_KEY": secrets.token_urlsafe(48)},  # each service has its own
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield answering(f"http://127.0.0.1:{port}", process, log)
    finally:
        stop(process)


def answering(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until *url* answers, and return it."""
    limit = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < limit:
        try:
            if httpx.get(url + "/health", timeout=1, trust_env=False).status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.05)
    raise SystemExit(f"cannot start {log.stem}; its log:\n{log.read_text(errors='replace')[-4000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a service, in order if it does."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def converse(url: str, questions: Sequence[str]) -> str:
    """Be a customer: log in, ask, leave. Return the session's id."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        client.post("/login", json={"user": "ada"}).raise_for_status()
        history: list[dict[str, str]] = []
        for question in questions:
            reply = client.post("/chat", json={"message": question, "history": history}).raise_for_status().json()
            print(f"turn {reply['turn_number']}: {question}\n        {reply['answer']}")
            history += [{"role": "user", "content": question}, {"role": "assistant", "content": reply["answer"]}]
        client.post("/logout").raise_for_status()
    return str(reply["session_id"])


def ended(store: str, session_id: str) -> SessionRow:
    """Wait for the session's end in the history, and return what it says."""
    ledger, limit = open_ledger(store), time.monotonic() + PATIENCE
    try:
        while time.monotonic() < limit:
            for row in ledger.sessions(limit=10):
                if row.session_id == session_id and row.end_reason is not None:
                    return row
            time.sleep(0.05)
    finally:
        ledger.close()
    raise SystemExit(f"session {session_id} did not end within {PATIENCE:.0f} s")


def leaked(headers_file: Path) -> list[str]:
    """Return the headers that told the vendor of a session or user of ours; there are none."""
    found = []
    for line in headers_file.read_text().splitlines():
        found += [
            f"{name}: {value}"
            for name, value in json.loads(line)
            if name.lower().startswith("x-session") or (name.lower() == "baggage" and any(o in value for o in OURS))
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    about = (__doc__ or "").strip().split("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=about)
    parser.add_argument("--agent", choices=["fastapi", "flask"], default="fastapi", help="what the agent service is on")
    parser.add_argument("--dir", type=Path, help="where database and logs go; a temporary folder without it")
    given = parser.parse_args(arguments)
    folder = given.dir or Path(tempfile.mkdtemp(prefix="two-services-"))
    store, headers_file = f"sqlite:///{folder}/sessions.db", folder / "vendor-headers.jsonl"
    environment = {
        **os.environ,
        "SESSION_MW_STORE": store,  # both services': tokens used in one are added to the other's session
        "SESSION_MW_BAGGAGE_KEY": secrets.token_urlsafe(48),  # both services'
        "SESSION_MW_COOKIE_SECURE": "false",  # plain http
        "SESSION_MW_COOKIE_NAME": "session_mw_gateway",
        "CHAT_BOOKS": str(folder / "books.jsonl"),
        "VENDOR_HEADERS": str(headers_file),
    }
    with ExitStack() as services:
        environment["VENDOR_PROXY"] = services.enter_context(serving("vendor", folder, environment))
        agent = "agent" if given.agent == "fastapi" else "agent_flask"
        environment["AGENT_URL"] = services.enter_context(serving(agent, folder, environment))
        row = ended(store, converse(services.enter_context(serving("gateway", folder, environment)), QUESTIONS))
    told = leaked(headers_file)
    print(f"session {row.session_id} of {row.user_id}: {row.turns} turns, {row.end_reason}")
    print(f"tokens used behind it: {row.total_tokens}, {(row.cost_microusd or 0) / 1_000_000:.6f} US dollars")
    print(f"what the vendor was told of it: {', '.join(told) or 'nothing'}")
    print(f"database and logs: {folder}")
    print(f"look at it in a browser: session-mw view --ledger {store}")
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
