"""The group of commands, and how their failures are told."""

from __future__ import annotations

from typing import Any

import click

from .. import __version__
from ..exceptions import SessionError
from .demo.command import demo
from .doctor import doctor
from .launch import COMMANDS as LAUNCHING
from .looking import COMMANDS
from .secret import secret
from .settings import settings
from .store import store
from .sweep import sweep


class Commands(click.Group):
    """A group whose commands fail in one line when what failed is an error of ours."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that *ctx* names."""
        try:
            return super().invoke(ctx)
        except SessionError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="session-mw")
def command() -> None:
    """
    Sessions of LLM and agent applications, on every OpenTelemetry span.

    Begin with "session-mw demo": it shows in ten seconds or so what comes out.
    """


for _looking in (*COMMANDS, *LAUNCHING):
    command.add_command(_looking)
command.add_command(demo)
command.add_command(doctor)
command.add_command(secret)
command.add_command(settings)
command.add_command(store)
command.add_command(sweep)
