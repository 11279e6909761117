"""What a session needs on this machine: settings, store, key, variables, agent, shell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from ..._core.hosts import HostPolicy
from ..._settings.errors import mask_url
from ...settings import SessionSettings
from ...stores import open_store
from ..launch import prompts
from ..launch import setup as setups
from ..launch.agents import AGENT
from ..launch.choosing import ID, said_by
from ..launch.headers import SESSION_HEADER
from ..launch.launching import shell_path
from ..launch.variables import AGENTS, RESOURCE, TOKEN, destinations, host_in
from .findings import START, Finding


def look_here() -> Iterator[Finding]:
    """Yield what there is to say of this machine and this shell."""
    setup = setups.load()
    if setup.settings is None:
        yield Finding("settings", "fail", setup.problem)
    else:
        yield Finding("settings", "ok", "as the environment says")
        yield Finding("store", "fail", setup.problem) if setup.problem else _store(setup.settings.store)
        yield _secret(setup)
        yield from _hosts(setup.settings)
    yield _variables()
    yield _agent()
    yield _shell()


def _store(url: str) -> Finding:
    try:
        store = open_store(url)[0]
        try:
            store.count_conversation("session-mw.doctor", 1)  # written, and gone after a millisecond
        finally:
            store.close()
    except Exception as error:
        mend = "let this user write there, or name another: SESSION_MW_STORE"
        return Finding("store", "fail", f"{mask_url(url)}: {str(error) or type(error).__name__}", mend)
    return Finding("store", "ok", f"{mask_url(url)} can be written")


def _secret(setup: setups.Setup) -> Finding:
    if setup.signs:
        return Finding("secret", "ok", "headers are signed")
    mend = "session-mw secret makes one; without it a proxy has to trust this machine's address"
    return Finding("secret", "warn", "SESSION_MW_SECRET_KEY is not set: headers are not signed", mend)


def _hosts(settings: SessionSettings) -> Iterator[Finding]:
    hosts = HostPolicy(settings.propagate_to)
    for variable, url in destinations(os.environ).items():
        if hosts.allows(host_in(url)):
            yield Finding("models", "ok", f"{variable}={url} may know the session")
        else:
            mend = "if it is yours, name it in SESSION_MW_PROPAGATE_TO"
            yield Finding("models", "warn", f"{variable}={url} gets no signed headers", mend)


def _variables() -> Finding:
    said = said_by(os.environ)
    if said.id is None and os.environ.get(ID):
        return Finding("variables", "fail", f"{ID} is no session id", f"unset it; {START}")
    if said.id is None:
        return Finding("variables", "warn", "no session in this shell's environment", START)
    needles = [(name, f"{SESSION_HEADER}: {said.id}") for name, _, _ in AGENTS] + [(RESOURCE, f"session.id={said.id}")]
    missing = [name for name, needle in needles if needle not in os.environ.get(name, "")]
    if missing:
        return Finding("variables", "fail", f"{ID} is set, and {', '.join(missing)} do not name it", START)
    return Finding("variables", "ok", f"{said.id}{', signed' if os.environ.get(TOKEN) else ''}")


def _agent() -> Finding:
    path = shutil.which(AGENT)
    if path is None:
        return Finding("agent", "fail", f"{AGENT!r} is not in PATH", "npm install -g @anthropic-ai/claude-code")
    return Finding("agent", "ok", path)


def _shell() -> Finding:
    shell = shell_path()
    if os.path.basename(shell) in ("bash", "zsh", "fish", *prompts.POSIX):
        return Finding("shell", "ok", shell)
    return Finding("shell", "warn", f"the prompt of {shell} does not show the session", "use bash, zsh or fish")
