"""``session-mw status``: which session a command would belong to here. ``session-mw doctor``: what is amiss."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from ..._settings.errors import mask_url
from ...exceptions import SessionError
from ...stores import open_store
from ..options import json_option
from . import places, prompts
from . import setup as setups
from .agents import AGENT
from .choosing import ID, NAME, TYPE, VERSION, Label, said_by
from .headers import SESSION_HEADER
from .kinds import DEFAULT_TYPE, DEFAULT_VERSION
from .launching import described, shell_path
from .variables import AGENTS, RESOURCE, TOKEN, destinations, host_in


@click.command()
@json_option
def status(as_json: bool) -> None:
    """
    Tell which session is active here: the environment's, else the one kept for this directory; and what runs.
    """
    found = _status()
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(found)))


def _status() -> dict[str, Any]:
    setup = setups.load()
    label, source = _active()
    store = None if setup.settings is None else mask_url(setup.settings.store)
    try:
        running = [asdict(run) for run in places.runs()]
    except SessionError:
        running = []
    return {
        "session": None if label is None else asdict(label),
        "source": source,
        "variables": {name: os.environ[name] for name in (ID, TYPE, VERSION, NAME) if os.environ.get(name)},
        "running": [{key: run[key] for key in ("session_id", "command", "pid", "started_ms")} for run in running],
        "store": store,
        "problem": setup.problem or None,
    }


def _active() -> tuple[Label | None, str | None]:
    said = said_by(os.environ)
    if said.id is not None:
        return Label(said.id, said.type or DEFAULT_TYPE, said.version or DEFAULT_VERSION, said.name), "environment"
    kept = setups.kept_here()
    return kept, None if kept is None else "directory"


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if found["session"] is None:
        yield "no session is active here"
    else:
        label = Label(**found["session"])
        yield f"session  {label.id}"
        yield f"what     {described(label)}"
        yield f"from     {found['source']}"
    for run in found["running"]:
        yield f"running  {run['command']} (process {run['pid']}) in {run['session_id']}"
    yield f"store    {found['store'] or '-'}"
    if found["problem"]:
        yield f"problem  {found['problem']}"


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was looked at.

    Attributes:
        name: What.
        ok: Whether it is as it should be; None where that cannot be said.
        found: What was found, and what to do.
    """

    name: str
    ok: bool | None
    found: str


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """
    Look whether the launcher can do its work here: settings, store, variables, agent, shell.

    Exit code 0: nothing is wrong. 1: something is, and is said.
    """
    checks = list(launcher_checks())
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        marks = {True: "ok", False: "WRONG", None: "-"}
        click.echo("\n".join(f"{marks[check.ok]:<6} {check.name:<10} {check.found}" for check in checks))
    raise SystemExit(1 if any(check.ok is False for check in checks) else 0)


def launcher_checks() -> Iterator[Check]:
    """Yield what there is to say of the launcher."""
    setup = setups.load()
    yield Check("settings", setup.settings is not None, setup.problem or "as the environment says")
    if setup.settings is not None:
        yield _store(setup)
        yield Check("secret", None if not setup.signs else True, _secret(setup))
        yield from _hosts(setup)
    yield _variables()
    path = shutil.which(AGENT)
    yield Check(
        "agent", path is not None, path or f"{AGENT!r} is not in PATH: npm install -g @anthropic-ai/claude-code"
    )
    shell = shell_path()
    known = os.path.basename(shell) in ("bash", "zsh", "fish", *prompts.POSIX)
    yield Check("shell", True if known else None, shell if known else f"{shell}: its prompt will not show the session")


def _store(setup: setups.Setup) -> Check:
    assert setup.settings is not None
    if setup.problem:
        return Check("store", False, setup.problem)
    url = setup.settings.store
    try:
        store = open_store(url)[0]
        try:
            store.count_conversation("session-mw.doctor", 1)  # written, and gone after a millisecond
        finally:
            store.close()
    except Exception as error:
        return Check("store", False, f"{mask_url(url)}: {str(error) or type(error).__name__}")
    return Check("store", True, f"{mask_url(url)} can be written")


def _secret(setup: setups.Setup) -> str:
    if setup.signs:
        return "set: headers are signed"
    return "none: a proxy that shares none has to trust this machine's address; session-mw secret makes one"


def _hosts(setup: setups.Setup) -> Iterator[Check]:
    from ..._core.hosts import HostPolicy

    assert setup.settings is not None
    hosts = HostPolicy(setup.settings.propagate_to)
    for variable, url in destinations(os.environ).items():
        if hosts.allows(host_in(url)):
            yield Check("proxy", True, f"{variable}={url}: may know the session")
        else:
            yield Check("proxy", None, f"{variable}={url}: not in SESSION_MW_PROPAGATE_TO, it gets no signed headers")


def _variables() -> Check:
    said = said_by(os.environ)
    if said.id is None:
        wrong = bool(os.environ.get(ID))
        text = f"{ID} is no session id" if wrong else "no session in the environment: session-mw run, shell or env"
        return Check("variables", False if wrong else None, text)
    needles = [(name, f"{SESSION_HEADER}: {said.id}") for name, _, _ in AGENTS] + [(RESOURCE, f"session.id={said.id}")]
    missing = [name for name, needle in needles if needle not in os.environ.get(name, "")]
    if missing:
        return Check("variables", False, f"{ID} is set, but {', '.join(missing)} do not name it: use session-mw run")
    signed = ", signed" if os.environ.get(TOKEN) else ""
    return Check("variables", True, f"{said.id}{signed}")
