"""``session-mw store``: the group, and ``migrate``, for the tables of sessions and of their history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from .._settings.errors import env_name
from ..ledger import open_ledger
from ..stores import open_store
from .housekeeping import revive, scrub, stats
from .options import ledger_option, scheme_of, store_option

SCHEMES = ("sqlite", "postgresql")


@click.group()
def store() -> None:
    """Look after the store: what it holds, what has expired, its tables."""


for _command in (stats, scrub, revive):
    store.add_command(_command)


@store.command()
@store_option
@ledger_option
def migrate(store_url: str | None, ledger_url: str | None) -> None:
    """
    Bring tables to this release's version, or make them.

    For postgresql:// and sqlite://. Without options the URLs are those of the environment: SESSION_MW_STORE and
    SESSION_MW_LEDGER. Run it before the workers of a new release start, as a database user who may change tables.
    Running it again changes nothing, and workers of several machines may be running meanwhile.
    """
    if store_url is None:
        raise click.UsageError(f"no store was named: give --store URL, or set {env_name('store')}")
    _migrate("store", store_url, _store)
    shared = store_url if scheme_of(store_url) in SCHEMES else None
    url = ledger_url or shared
    if url is not None and scheme_of(url) != "memory":
        _migrate("ledger", url, _ledger)


def _migrate(setting: str, url: str, open_url: Callable[[str], tuple[Any, Callable[[], object]]]) -> None:
    if scheme_of(url) not in SCHEMES:
        raise click.UsageError(f"the {setting} {scheme_of(url)}:// has no tables; this is for {' and '.join(SCHEMES)}")
    opened, look = open_url(url)
    try:
        if hasattr(opened, "migrate"):
            said = f"tables {opened.migrate()}"
        else:
            look()  # a file is brought up to date by whoever opens it
            said = "up to date"
    finally:
        opened.close()
    click.echo(f"{setting}: {said}")


def _store(url: str) -> tuple[Any, Callable[[], object]]:
    opened, _ = open_store(url)
    return opened, opened.stats


def _ledger(url: str) -> tuple[Any, Callable[[], object]]:
    opened = open_ledger(url)
    return opened, lambda: opened.sessions(1)
