"""Options of the commands that launch something, and what completes them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .choosing import clean
from .kinds import DEFAULT_TYPE, DEFAULT_VERSION, TYPES

F = TypeVar("F", bound=Callable[..., Any])


def complete_type(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the workflow types that begin so; others may be typed as well."""
    return [CompletionItem(name, help=about) for name, about in TYPES.items() if name.startswith(incomplete)]


def label(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take text that can be shown."""
    if value is None:
        return None
    text = clean(value)
    if text is None:
        raise click.BadParameter("there is nothing in it that can be shown", ctx, param)
    return text


def labels(command: F) -> F:
    """Add ``--type``, ``--version`` and ``--name``, with their short forms."""
    command = click.option(
        "-n", "--name", metavar="NAME", callback=label, help='Label for this session, such as "async-refactor".'
    )(command)
    command = click.option(
        "-v", "--version", metavar="VERSION", callback=label, help=f"Version of the prompts [{DEFAULT_VERSION}]."
    )(command)
    return click.option(
        "-t",
        "--type",
        "type_",
        metavar="TYPE",
        callback=label,
        shell_complete=complete_type,
        help=f"Kind of work [{DEFAULT_TYPE}].",
    )(command)


def types_text() -> str:
    """Return the workflow types as a list for help texts."""
    width = max(map(len, TYPES))
    return "\n".join(f"  {name:<{width}}  {about}" for name, about in TYPES.items())


def with_types(text: str | None) -> str:
    """Return a command's help with the workflow types behind it; newer releases of click leave it indented."""
    return f"{cleandoc(text or '')}\n\n\b\nTypes, or one of your own:\n{types_text()}"
