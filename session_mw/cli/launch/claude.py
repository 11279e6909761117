"""``claude-session``: the launcher for Claude Code, with the options that its users know."""

from __future__ import annotations

import click

from .agents import OUTDATED, agent_words, outdated
from .choosing import Said
from .ending import end_session
from .launching import Order, leave, run_command, run_shell, say
from .places import once
from .words import labels, with_types


@click.command(
    context_settings={
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    }
)
@labels
@click.option("-s", "--shell", is_flag=True, help="Open a shell with the session active, for as long as it is open.")
@click.option("-r", "--reset", is_flag=True, help="End the session that is active here.")
@click.argument("claude_command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def claude_session(
    ctx: click.Context,
    type_: str | None,
    version: str | None,
    name: str | None,
    shell: bool,
    reset: bool,
    claude_command: tuple[str, ...],
) -> None:
    """
    Run Claude Code as a session.

    With a prompt, the agent runs with it, and the session lasts as long. Without, a shell is opened: the session stays
    active in this directory, and is joined by the next claude-session and session-mw run, until --reset (or until a
    day after its last use); with --shell it ends with the shell.

    \b
    Examples:
      claude-session --type code-review --version v2 "Review the auth module for security issues"
      claude-session --type debugging --version v1 --shell
      claude-session --reset
    """
    if reset:
        end_session(None)
        return
    if shell and claude_command:
        raise click.UsageError("--shell takes no prompt: type it in the shell")
    wish = Said(None, type_, version, name)
    if not claude_command:
        ctx.exit(leave(run_shell(Order(wish, keep=not shell))))
    if outdated(claude_command) and once("claude-code"):
        say(OUTDATED)
    ctx.exit(leave(run_command(Order(wish, tuple(agent_words(claude_command))))))


claude_session.help = with_types(claude_session.help)
