"""``session-mw store stats``, ``scrub`` and ``revive``: what a store holds, and what nobody does by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from .._core.ops import SessionStore, StoreStats
from ..stores import open_store
from .options import json_option, must_exist, named, store_option
from .progress import Tell, progress

BATCH = 500  # so that nobody waits long behind one


@contextmanager
def _opened(store_url: str | None) -> Iterator[SessionStore]:
    store, _ = open_store(named(store_url))
    must_exist(store)
    try:
        yield store
    finally:
        store.close()


@click.command()
@store_option
@json_option
def stats(store_url: str | None, as_json: bool) -> None:
    """
    Tell what the store holds at present.

    Live sessions, ended ones that wait for their report, those that are being reported (claimed), those that were
    refused too often and set aside (dead: see revive), tombstones, and the lag: for how long the oldest has been due.
    A lag of more than some seconds says that nobody sweeps, or not enough do.

    \b
    Example:
      session-mw store stats --store redis://cache/0 --json
    """
    with _opened(store_url) as store:
        found = store.stats()
    told = {**asdict(found), "lag_ms": lag_ms(found)}
    click.echo(json.dumps(told) if as_json else "\n".join(_lines(found)))


def lag_ms(found: StoreStats) -> int:
    """Return for how long the oldest session has been due, milliseconds; 0 when none is."""
    return 0 if found.oldest_due_ms is None else max(0, found.now_ms - found.oldest_due_ms)


def _lines(found: StoreStats) -> list[str]:
    dead = "  (session-mw store revive lets them be reported)" if found.dead else ""
    return [
        f"live        {found.live:,}",
        f"ended       {found.ended:,}",
        f"claimed     {found.claimed:,}",
        f"dead        {found.dead:,}{dead}",
        f"tombstones  {found.tombstones:,}",
        f"lag         {lag_ms(found) / 1000:,.1f} s",
    ]


@click.command()
@store_option
@click.option("--repair/--no-repair", default=True, help="With Redis, look for sessions that no queue knows [yes].")
@json_option
def scrub(store_url: str | None, repair: bool, as_json: bool) -> None:
    """
    Remove what has expired, and repair queues.

    Sweeping removes expired tombstones and counters in passing; this removes all there are, in small batches that
    nobody has to wait for. With Redis it then walks over all keys (minutes for many millions) and puts sessions that no
    queue knows back into theirs, so that they end: there are none unless Redis evicted, or somebody deleted keys.

    \b
    Example, every night:
      0 3 * * *  session-mw store scrub --store redis://cache/0
    """
    with _opened(store_url) as store, progress("scrubbing ...") as tell:
        told = {"removed": _all(store.scrub, "removed", tell)}
        mend: Callable[[], int] | None = getattr(store, "repair", None)
        if repair and mend is not None:
            tell("looking for sessions that no queue knows ...")
            told["repaired"] = mend()
    _say(told, as_json)


@click.command()
@store_option
@json_option
def revive(store_url: str | None, as_json: bool) -> None:
    """
    Let ends that were set aside be reported.

    An end that its sinks refused more than 20 times is kept and tried no more (store stats: dead). When the sink works
    again, this lets the next sweep report it, 20 times more if need be.

    \b
    Example:
      session-mw store revive --store redis://cache/0 && session-mw sweep --store redis://cache/0
    """
    with _opened(store_url) as store, progress("reviving ...") as tell:
        told = {"revived": _all(store.revive, "revived", tell)}
    _say(told, as_json)


def _all(work: Callable[[int], int], done: str, tell: Tell) -> int:
    """Do *work* batch by batch, until there is nothing left."""
    total = 0
    while batch := work(BATCH):
        total += batch
        tell(f"{done} {total:,}")
    return total


def _say(told: dict[str, int], as_json: bool) -> None:
    click.echo(json.dumps(told) if as_json else ", ".join(f"{name} {number:,}" for name, number in told.items()))
