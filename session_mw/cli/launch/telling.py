"""``session-mw status``: which session a command would belong to here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from ..._settings.errors import mask_url
from ...exceptions import SessionError
from ..options import json_option
from . import places
from . import setup as setups
from .choosing import ID, NAME, TYPE, VERSION, Label, said_by
from .kinds import DEFAULT_TYPE, DEFAULT_VERSION
from .launching import described


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
