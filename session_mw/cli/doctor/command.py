"""The command: looks, and says what to mend."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from urllib.parse import urlsplit

import click

from ...ledger.shown import plain
from ..launch import setup as setups
from ..options import json_option
from .findings import Finding, back_end, way_to_proxy
from .here import look_here
from .http import ask
from .otlp import told
from .probes import look
from .sending import exports

MARKS = {"ok": "ok  ", "warn": "note", "fail": "FAIL"}


def _url(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Take an http or https URL."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter(f"{value!r} is no http or https URL, such as http://localhost:4000", ctx, param)
    return value.rstrip("/")


@click.command()
@click.option(
    "--proxy",
    metavar="URL",
    envvar="ANTHROPIC_BASE_URL",
    default="http://localhost:4000",
    show_default=True,
    callback=_url,
    help="LiteLLM's proxy [ANTHROPIC_BASE_URL].",
)
@click.option(
    "--back-end",
    "page",
    metavar="URL",
    default="http://localhost:6006",
    show_default=True,
    callback=_url,
    help="The page of the back end: Phoenix, MLflow.",
)
@click.option("--only", type=click.Choice(["here", "way"]), help="Only this machine, or only the way from it.")
@json_option
def doctor(proxy: str, page: str, only: str | None, as_json: bool) -> None:
    """
    Look at the whole way of a session, and say what to mend.

    Here: settings, store, key, variables, agent, shell. Then from this shell's headers through LiteLLM's proxy to the
    back end: does the proxy answer and take the agent's key, does it run with sessions, do this shell's headers arrive
    and are they believed, does it export, are spans taken where OTEL_EXPORTER_OTLP_ENDPOINT says (else at ports 4317
    and 4318, and by the back end itself), does the back end show its page. No session is begun, and the export that is
    sent has no spans. Over gRPC that needs grpcio; without it the protocol is looked at alone.

    Exit status: 0 when nothing is broken (notes are no breakage), 1 when something is, 2 for words that are not
    understood. --json: a list of {"check", "status": ok, warn or fail, "found", "mend"}.
    """
    findings = [] if only == "way" else list(look_here())
    findings += [] if only == "here" else _way(proxy, page)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(shown(finding))
    sys.exit(1 if any(finding.status == "fail" for finding in findings) else 0)


def _way(proxy: str, page: str) -> list[Finding]:
    settings = setups.load().settings
    seen = look(proxy, os.environ, "X-Session-Token" if settings is None else settings.token_header)
    page_shown = ask(page, follow=True)
    sent = exports(os.environ, page if page_shown.status else "")
    return [*way_to_proxy(seen), *told(sent), back_end(page, page_shown)]


def shown(finding: Finding) -> str:
    """Return a finding for people: one line, and one more where there is something to do."""
    line = f"{MARKS[finding.status]}  {finding.check:<9}  {plain(finding.found)}"
    return f"{line}\n{'':<17}-> {finding.mend}" if finding.mend else line
