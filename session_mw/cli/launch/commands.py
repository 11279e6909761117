"""``session-mw run``, ``shell``, ``env``, ``end``, ``templates``, ``config`` and ``completion``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import get_completion_class

from ..._core.identity import valid_session_id
from . import setup as setups
from .choosing import Label, Said, said_by
from .ending import end_session
from .kinds import DEFAULT_TYPE, DEFAULT_VERSION, TYPES, template, template_name
from .launching import Order, leave, print_variables, run_command, run_shell, say, shell_path
from .quoting import SHELLS, Shell
from .snippets import AGENTS, AIDER_ADDRESSES, snippet
from .words import labels, with_types

F = TypeVar("F", bound=Callable[..., Any])


def _session_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not valid_session_id(value):
        raise click.BadParameter("1 to 200 characters of A-Z a-z 0-9 . _ -, no dot at the beginning", ctx, param)
    return value


def launching(command: F) -> F:
    """Add the options of everything that launches."""
    for option in (
        click.option(
            "--litellm-end-user",
            "end_user",
            is_flag=True,
            help="Name the session to an unmodified LiteLLM proxy, as its end user (which also feeds budgets).",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Say only what is wrong."),
        click.option("--keep", is_flag=True, help="Keep the session for this directory, until session-mw end."),
        click.option("--new", is_flag=True, help="Begin a session, whatever there is to join."),
        click.option("--id", "id_", metavar="ID", callback=_session_id, help="Use this session id."),
    ):
        command = option(command)
    return labels(command)


def _order(given: dict[str, Any], command: tuple[str, ...] = ()) -> Order:
    wish = Said(given["id_"], given["type_"], given["version"], given["name"])
    return Order(wish, command, given["new"], given["keep"], given["quiet"], given["end_user"])


@click.command(context_settings={"allow_interspersed_args": False})
@launching
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, /, command: tuple[str, ...], **given: Any) -> None:
    """
    Run a command as a session: a coding agent, a script, a build's step.

    What it sends to models, and what it starts, carries the session (headers, resource attributes, baggage; nothing
    that is there is overwritten). It joins the session around, or the one kept for this directory, unless the options
    ask for another. Exit code, signals and terminal are the command's; what is said here goes to standard error.

    \b
    Examples:
      session-mw run -t code-review -v v2 -- claude -p "Review the auth module"
      session-mw run -t debugging python agent.py
    """
    ctx.exit(leave(run_command(_order(given, command))))


@click.command()
@launching
@click.pass_context
def shell(ctx: click.Context, /, **given: Any) -> None:
    """
    Open a shell in a session: everything that is run there belongs to it.

    \b
    Example:
      session-mw shell -t debugging -v v1
    """
    ctx.exit(leave(run_shell(_order(given))))


@click.command()
@launching
@click.option(
    "--shell",
    "form",
    type=click.Choice(SHELLS),
    help="For which shell, or in which form [that of $SHELL].",
)
def env(form: Shell | None, **given: Any) -> None:
    """
    Print variables that put a shell, or a build's steps, into a session.

    \b
    Examples:
      eval "$(session-mw env -t testing)"
      session-mw env --shell fish | source
      session-mw env --shell powershell | Invoke-Expression
      session-mw env --shell github >> "$GITHUB_ENV"
    """
    print_variables(_order(given), form or _form_of(shell_path()))


def _form_of(path: str) -> Shell:
    name = os.path.basename(path).removesuffix(".exe")
    if name in ("pwsh", "powershell", "cmd"):
        return "powershell"
    return "fish" if name == "fish" else "zsh" if name == "zsh" else "bash"


@click.command()
@click.argument("session_id", required=False, callback=_session_id)
def end(session_id: str | None) -> None:
    """
    End a session: the one named, else that of the environment, else the one kept for this directory.

    Its session.end is reported with its totals. What still runs in it goes on, and is not counted any more.
    """
    end_session(session_id)


@click.command()
@click.option("--dir", "folder", metavar="FOLDER", type=click.Path(file_okay=False), help="Write them there.")
@click.option("-v", "--version", default=DEFAULT_VERSION, show_default=True, metavar="VERSION", help="Prompt version.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def templates(folder: str | None, version: str, force: bool) -> None:
    """
    Write a command for each workflow type: claude-code-review, claude-debugging ...

    Each opens a shell in a session of its type; what stands behind its name goes on to claude-session. Without --dir
    they are listed.

    \b
    Example:
      session-mw templates --dir ~/bin --version v2
    """
    if folder is None:
        width = max(len(template_name(name)) for name in TYPES)
        click.echo("\n".join(f"{template_name(name):<{width}}  {about}" for name, about in TYPES.items()))
        return
    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    for name in TYPES:
        _write(place / template_name(name), template(name, version), force)
    if str(place.resolve()) not in map(os.path.realpath, os.get_exec_path()):
        say(f"{place} is not in PATH yet")


def _write(path: Path, text: str, force: bool) -> None:
    if path.exists() and not force:
        say(f"{path} is there already; --force overwrites it")
        return
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    click.echo(str(path))


@click.command()
@click.argument("agent", type=click.Choice(AGENTS))
@click.option(
    "--url", default="http://localhost:4000/v1", show_default=True, metavar="URL", help="The proxy's address."
)
def config(agent: str, url: str) -> None:
    """
    Print what an agent's own configuration needs, to be pasted there.

    Claude Code and Gemini CLI read headers from variables and need nothing. Codex and OpenCode name variables in their
    files; aider's file holds the headers of one session: the current one's.

    \b
    Examples:
      session-mw config codex > ~/.codex/config.toml
      session-mw shell -t code-review   # and in it:
      session-mw config aider > .aider.model.settings.yml
    """
    setup, label = setups.load(), _current()
    header = "X-Session-Token" if setup.settings is None else setup.settings.token_header
    token = _token(setup, label) if agent == "aider" else None
    click.echo(snippet(agent, url, header, label, token), nl=False)


def _token(setup: setups.Setup, label: Label | None) -> str | None:
    """Return what vouches for the session of aider's file; None where it may not be known, or there is no secret."""
    if setup.settings is None or not setup.signs or label is None:
        return None
    from .carried import token_for

    urls = [url for name in AIDER_ADDRESSES if (url := os.environ.get(name, "").strip())]
    return token_for(setup.settings, label, urls)


def _current() -> Label | None:
    said = said_by(os.environ)
    if said.id is None:
        return setups.kept_here()
    return Label(said.id, said.type or DEFAULT_TYPE, said.version or DEFAULT_VERSION, said.name)


@click.command()
@click.argument("form", metavar="SHELL", type=click.Choice(("bash", "zsh", "fish")))
def completion(form: str) -> None:
    """
    Print the completion of session-mw and claude-session for a shell.

    \b
    Example, in ~/.bashrc:
      eval "$(session-mw completion bash)"
    """
    from ..app import command as group
    from .claude import claude_session

    made = get_completion_class(form)
    assert made is not None
    if form == "zsh":  # whose completion has to be switched on
        click.echo("(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }")
    for name, one in (("session-mw", group), ("claude-session", claude_session)):
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        click.echo(_source(made(one, {}, name, variable)))


def _source(made: Any) -> str:
    return str(made.source_template % made.source_vars())  # without the check that runs bash for its version


for _command in (run, shell):
    _command.help = with_types(_command.help)
