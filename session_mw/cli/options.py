"""Options that several commands have, and what is said when one of them cannot be used."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import click

from .._core.ops import SessionStore
from .._durations import parse_duration
from .._settings.errors import env_name
from ..stores import SqliteStore

store_option = click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar=env_name("store"),
    help=f"Where live sessions are kept [{env_name('store')}].",
)
ledger_option = click.option(
    "--ledger",
    "ledger_url",
    metavar="URL",
    envvar=env_name("ledger"),
    help=f"Where history is kept [{env_name('ledger')}, or the same].",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


class Duration(click.ParamType[int]):
    """A duration as settings take it, as ``30m``, ``90d`` or seconds; milliseconds for the command."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds."""
        try:
            return round(parse_duration(value) * 1000)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def otlp_url(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take an http or https URL with a host, without the path that exporters add themselves."""
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter(f"{value!r} is no http or https URL, such as http://localhost:4318", ctx, param)
    return value.rstrip("/").removesuffix("/v1/traces").removesuffix("/v1/logs")


def scheme_of(url: str) -> str:
    """Return what stands before ``://``."""
    return url.partition("://")[0]


def named(store_url: str | None) -> str:
    """
    Return the store that was named.

    Raises:
        click.UsageError: None was, or it lives and dies with a process of its own.
    """
    if store_url is None:
        raise click.UsageError(f"no store was named: give --store URL, or set {env_name('store')}")
    if scheme_of(store_url) == "memory":
        raise click.UsageError("memory:// lives in the process of your application: nothing else can see into it")
    return store_url


def must_exist(store: SessionStore) -> None:
    """
    Look whether the file of a store is there: opening it would make one.

    Raises:
        click.ClickException: It is not.
    """
    if isinstance(store, SqliteStore) and not os.path.exists(store.path):
        raise click.ClickException(f"there is no file {store.path!r}: is the application's directory another one?")
