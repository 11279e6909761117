"""``session-mw secret``: a key for session tokens."""

from __future__ import annotations

import secrets

import click

from .._settings.errors import env_name

RANDOM_BYTES = 48  # 384 bits; the setting asks for 128 at least, and 64 characters still fit into one line


@click.command()
def secret() -> None:
    """
    Print a fresh secret key.

    The key goes to standard output, so that a script can take it; how to set it goes to standard error. Every worker
    of an application needs the same key. Keep it where you keep passwords.
    """
    key = secrets.token_urlsafe(RANDOM_BYTES)
    click.echo(key)
    click.echo(f"\nPut it into the environment of every worker:\n\n    {env_name('secret_key')}={key}", err=True)
