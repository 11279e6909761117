"""``session-mw demo``: options, and what is printed where."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from ...exceptions import MissingDependency
from ..options import otlp_url
from .signals import ENDING, leave

NEEDED = (
    ("uvicorn", "uvicorn"),
    ("fastapi", "fastapi"),
    ("httpx", "httpx"),
    ("jinja2", "jinja2"),
    ("opentelemetry.sdk", "opentelemetry-sdk"),
    ("opentelemetry.proto", "opentelemetry-proto"),
    ("opentelemetry.exporter.otlp.proto.http", "opentelemetry-exporter-otlp-proto-http"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with every span and attribute.")
@click.option("--keep", is_flag=True, help="Leave the chat running afterwards, to try it in a browser; Ctrl-C ends it.")
@click.option(
    "--endpoint",
    metavar="URL",
    callback=otlp_url,
    help="Send to your own back end, OTLP over HTTP (headers from OTEL_EXPORTER_OTLP_HEADERS).",
)
@click.option(
    "--dir",
    "parent",
    metavar="PATH",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the demo's directory there, not among the temporary files.",
)
@click.pass_context
def demo(ctx: click.Context, as_json: bool, keep: bool, endpoint: str | None, parent: Path | None) -> None:
    """
    Show and check what comes out, in ten seconds or so.

    Starts a FastAPI chat with two workers and a service behind it on free ports of this machine, over one SQLite file
    and with a local model (no network), and lets six visitors talk to it: one leaves in the middle of an answer, one
    hands the browser to another, one comes back after the idle time. Then reads everything back, from the database and
    from the OTLP bytes that a local receiver got, and checks it against the model's own books.

    Exit code 0: all is as it has to be. 1: it is not, or the demo could not run.
    """
    for module, package in NEEDED:
        if not _there(module):
            raise MissingDependency("session-mw demo", package, "demo")
    from .show import Wishes, show  # what these import may be missing

    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot write must not end the demo.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    for number in ENDING:
        if number != signal.SIGINT and signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, leave)
    try:
        ctx.exit(show(Wishes(as_json, keep, endpoint, parent)))
    except KeyboardInterrupt:
        click.echo("stopped; nothing is left running", err=True)
        ctx.exit(130)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # one of its parents
        return False
