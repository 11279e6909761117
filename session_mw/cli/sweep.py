"""``session-mw sweep``: ends of sessions, reported by cron or by a process of its own."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable

import click

from .._settings.errors import mask_url
from ..exceptions import SessionError
from ..telemetry.notices import once as say_once
from .ends import LineSink
from .exporting import sinks
from .options import json_option, ledger_option, must_exist, named, otlp_url, scheme_of, store_option
from .progress import Tell, progress
from .stopping import Stopped, in_background
from .sweeping import Sweeping, settings_of, work

logger = logging.getLogger("session_mw")


@click.command()
@click.option("--once/--watch", "once", default=True, help="Report what is due now and exit [default], or stay.")
@store_option
@ledger_option
@click.option(
    "--endpoint",
    metavar="URL",
    callback=otlp_url,
    help="Send ends there, OTLP over HTTP [OTEL_EXPORTER_OTLP_ENDPOINT and its like].",
)
@click.option("--limit", default=500, show_default=True, type=click.IntRange(1, 10_000), help="Sessions a batch.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    help="Seconds between looks, with --watch.",
)
@json_option
@click.pass_context
def sweep(
    ctx: click.Context,
    once: bool,
    store_url: str | None,
    ledger_url: str | None,
    endpoint: str | None,
    limit: int,
    interval: float,
    as_json: bool,
) -> None:
    """
    Report the sessions that are over.

    For applications that do not sweep by themselves (sweep="off", or functions that nobody calls at night), and beside
    those that do: no end is reported twice. Give it the workers' settings, above all SESSION_MW_IDLE_TIMEOUT,
    SESSION_MW_ABSOLUTE_TIMEOUT and SESSION_MW_TURN_TIMEOUT, in the environment or .env: sessions end by these, early or
    late where they are others. It needs no secret key.

    Ends go to the ledger, and by OTLP to --endpoint or where OpenTelemetry's variables say; an end is done with when
    both took it (as log records; as spans too with SESSION_MW_LIFECYCLE_SPANS=always, and as nothing else with
    OTEL_LOGS_EXPORTER=none). Without such an endpoint each end is a line on standard output.

    \b
    Every minute, from cron:
      * * * * *  session-mw sweep --store redis://cache/0 --ledger postgresql://app@db/app
    A process of its own, until SIGTERM:
      session-mw sweep --watch --endpoint http://collector:4318

    Exit code 0: all that was due is reported. 1: something could not be; it stays in the store, and comes again.
    """
    settings = settings_of(store=store_url, ledger=ledger_url)
    url = named(settings.store if "store" in settings.model_fields_set else None)
    found = sinks(endpoint, spans=settings.lifecycle_spans == "always")
    if scheme_of(url).startswith("redis") and not found and settings.ledger is None:
        raise click.UsageError("Redis keeps no history: say where ends go with --ledger URL, or --endpoint URL")
    sweeping = Sweeping(settings, found or [LineSink(as_json)], limit)
    if once:
        must_exist(sweeping.store)
    else:
        _announce(mask_url(url), sweeping)
    with progress("sweeping ...") as tell:
        told = _telling(sweeping, tell)

        def job(stop: threading.Event) -> None:
            work(sweeping, stop, told) if once else watch(sweeping, stop, interval, told)

        stopped = in_background(job, sweeping.hand_back)
    if not stopped.hanging:
        sweeping.close()
    _summary(sweeping, as_json)
    ctx.exit(_code(sweeping, stopped, once))


def watch(sweeping: Sweeping, stop: threading.Event, interval: float, told: Callable[[], None]) -> None:
    """Report what is due, again and again, until *stop* is set; a store that fails is asked again."""
    while not stop.is_set():
        try:
            work(sweeping, stop, told)
        except SessionError as error:
            kind = type(error).__name__
            say_once(f"sweep:{kind}", logger.error, "%s: %s. Trying again.", kind, error, every=60)
        stop.wait(interval * random.uniform(0.5, 1.5))  # noqa: S311  several sweepers do not look in step


def _announce(url: str, sweeping: Sweeping) -> None:
    idle, absolute = sweeping.limits.idle_ms / 1000, sweeping.limits.absolute_ms / 1000
    text = (
        f"sweeping {url}: sessions end {idle:g} s after their last activity, {absolute:g} s after their start at most"
    )
    click.echo(f"{text} at most. SIGTERM or Ctrl-C stops it.", err=True)


def _telling(sweeping: Sweeping, tell: Tell) -> Callable[[], None]:
    return lambda: tell(f"sweeping: {sweeping.reported:,} session ends reported")


def _summary(sweeping: Sweeping, as_json: bool) -> None:
    if as_json:
        found = {"event": "sweep", "reported": sweeping.reported, "refused": sweeping.refused}
        click.echo(json.dumps(found))
        return
    refused = f"; {sweeping.refused:,} could not be reported and come again" if sweeping.refused else ""
    click.echo(f"reported {sweeping.reported:,} session ends{refused}")


def _code(sweeping: Sweeping, stopped: Stopped, once: bool) -> int:
    if once and stopped.signal:
        return 128 + stopped.signal  # as shells count: not all that was due may be reported
    return 1 if sweeping.refused and once else 0
