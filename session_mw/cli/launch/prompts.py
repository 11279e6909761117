"""
How a shell is started so that its prompt shows the session, and so that the user's own start-up files do not undo it.

The user's files are read first, then the variables are set once more, then the prompt gets its mark: also where a theme
writes the prompt anew each time. Shells that are not known run as they are, without a mark.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .agents import AGENT
from .choosing import Label
from .ids import slug
from .quoting import fish_quoted, quoted, rendered

POSIX = ("sh", "dash", "ksh", "ash", "mksh")


@dataclass(frozen=True, slots=True)
class ShellPlan:
    """
    How to start a shell.

    Attributes:
        argv: Its command line.
        files: What has to stand in its folder, by name.
        environ: Variables that it is started with besides the session's; None unsets.
        marked: Whether its prompt shows the session.
    """

    argv: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str | None] = field(default_factory=dict)
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What a shell is wanted for.

    Attributes:
        shell: Path of the shell.
        folder: Where its files will be.
        label: The session.
        found: The session's variables.
        launcher: Words that run ``session-mw``.
        terminal: Whether a person types; else commands are read from standard input.
    """

    shell: str
    folder: str
    label: Label
    found: Mapping[str, str | None]
    launcher: Sequence[str]
    terminal: bool = True

    @property
    def mark(self) -> str:
        """What stands before the prompt; nothing in it means anything to a shell."""
        return f"({slug(self.label.type) or 'session'} {slug(self.label.version) or '-'}) "


def plan(wanted: Wanted, environ: Mapping[str, str]) -> ShellPlan:
    """Return how to start the shell that is wanted; *environ* is the launcher's own."""
    kind = os.path.basename(wanted.shell).lstrip("-").removesuffix(".exe")
    if kind == "bash":
        return _bash(wanted) if wanted.terminal else _bash_reading(wanted, environ)
    if kind == "zsh" and wanted.terminal:
        return _zsh(wanted, environ)
    if kind == "fish" and wanted.terminal:
        return _fish(wanted)
    if kind in POSIX and wanted.terminal:
        return _posix(wanted, environ)
    return ShellPlan((wanted.shell,), marked=False)


def _bash(wanted: Wanted) -> ShellPlan:
    mark = quoted(wanted.mark)
    text = (
        "[ -f ~/.bashrc ] && . ~/.bashrc\n"
        f"{_again(wanted)}"
        f"__session_mw_prompt() {{ case $PS1 in {mark}*) ;; *) PS1={mark}$PS1 ;; esac; }}\n"
        "__session_mw_prompt\n"
        'if [[ "$(declare -p PROMPT_COMMAND 2>/dev/null)" == "declare -a"* ]]; then\n'
        "  PROMPT_COMMAND+=(__session_mw_prompt)\n"
        "else\n"
        "  PROMPT_COMMAND=${PROMPT_COMMAND:+$PROMPT_COMMAND$'\\n'}__session_mw_prompt\n"
        "fi\n"
    )
    files = {"bashrc": f"{text}{_understanding(wanted, _BASH_OWN)}"}
    return ShellPlan((wanted.shell, "--rcfile", f"{wanted.folder}/bashrc", "-i"), files)


def _bash_reading(wanted: Wanted, environ: Mapping[str, str]) -> ShellPlan:
    """A bash that nobody types into: it reads one file of ours first, and passes nothing of it on."""
    before = environ.get("BASH_ENV")
    restored = "unset BASH_ENV\n" if before is None else f"export BASH_ENV={quoted(before)}\n. {quoted(before)}\n"
    path, text = f"{wanted.folder}/bashenv", restored + _again(wanted) + _understanding(wanted, _BASH_OWN)
    return ShellPlan((wanted.shell,), {"bashenv": text}, {"BASH_ENV": path}, marked=False)


def _posix(wanted: Wanted, environ: Mapping[str, str]) -> ShellPlan:
    before = environ.get("ENV")
    restored = "unset ENV\n" if before is None else f'export ENV={quoted(before)}\n[ -f "$ENV" ] && . "$ENV"\n'
    text = f"{restored}{_again(wanted)}PS1={quoted(wanted.mark)}${{PS1:-'$ '}}\n"  # claude code: not here
    path = f"{wanted.folder}/shrc"
    return ShellPlan((wanted.shell, "-i"), {"shrc": text}, {"ENV": path})


def _zsh(wanted: Wanted, environ: Mapping[str, str]) -> ShellPlan:
    """zsh reads its files from ZDOTDIR: ours lead to the user's, which may choose another folder themselves."""
    before = environ.get("ZDOTDIR")
    folder, mark = quoted(wanted.folder), quoted(wanted.mark)
    home = "unset ZDOTDIR" if before is None else f"export ZDOTDIR={quoted(before)}"
    env = (
        f"{home}\n"
        '[[ -f "${ZDOTDIR:-$HOME}/.zshenv" ]] && . "${ZDOTDIR:-$HOME}/.zshenv"\n'
        "(( ${+ZDOTDIR} )) && typeset -g __session_mw_zdotdir=$ZDOTDIR\n"
        f"export ZDOTDIR={folder}\n"
    )
    rc = (
        "if (( ${+__session_mw_zdotdir} )); then export ZDOTDIR=$__session_mw_zdotdir; else unset ZDOTDIR; fi\n"
        "unset __session_mw_zdotdir\n"
        '[[ -f "${ZDOTDIR:-$HOME}/.zshrc" ]] && . "${ZDOTDIR:-$HOME}/.zshrc"\n'
        f"{_again(wanted)}"
        f"__session_mw_prompt() {{ [[ $PROMPT == {mark}* ]] || PROMPT={mark}$PROMPT }}\n"
        "__session_mw_prompt\n"
        "autoload -Uz add-zsh-hook && add-zsh-hook precmd __session_mw_prompt\n"
        f"{_understanding(wanted, _ZSH_OWN)}"
    )
    files = {".zshenv": env, ".zshrc": rc}
    return ShellPlan((wanted.shell, "-i"), files, {"ZDOTDIR": wanted.folder})


def _fish(wanted: Wanted) -> ShellPlan:
    words = " ".join(map(fish_quoted, wanted.launcher))
    text = (
        f"{rendered(wanted.found, 'fish', '')}"
        "functions -q fish_prompt; or function fish_prompt; echo -n '> '; end\n"
        "functions -c fish_prompt __session_mw_prompt\n"
        f"function fish_prompt; echo -n {fish_quoted(wanted.mark)}; __session_mw_prompt; end\n"
        f"if functions -q {AGENT}; functions -c {AGENT} __session_mw_agent\n"
        f"else; function __session_mw_agent; command {AGENT} $argv; end; end\n"
        f'function {AGENT}; if test (count $argv) -gt 1 -a "$argv[1]" = code; '
        f"{words} run -q -- {AGENT} $argv; else; __session_mw_agent $argv; end; end\n"
    )
    path = f"{wanted.folder}/session.fish"
    return ShellPlan((wanted.shell, "-i", "-C", f"source {fish_quoted(path)}"), {"session.fish": text})


def _again(wanted: Wanted) -> str:
    """Set the variables, whatever a start-up file made of them."""
    return rendered(wanted.found, "bash", "")


# What the user's start-up files made of the agent's name goes on under another one. "function" keeps an alias of the
# name from being put in its place.
_BASH_OWN = (
    f'if declare -F {AGENT} >/dev/null; then eval "function __session_mw_agent $(declare -f {AGENT} | tail -n +2)"\n'
    f'else function __session_mw_agent {{ command {AGENT} "$@"; }}; fi\n'
)
_ZSH_OWN = (
    f"if (( $+functions[{AGENT}] )); then functions[__session_mw_agent]=$functions[{AGENT}]\n"
    f'else function __session_mw_agent {{ command {AGENT} "$@"; }}; fi\n'
)


def _understanding(wanted: Wanted, own: str) -> str:
    """Understand ``claude code "..."`` where it is typed."""
    words = " ".join(map(quoted, wanted.launcher))
    return (
        f"{own}function {AGENT} {{\n"
        f'  if [ "${{1-}}" = code ] && [ $# -gt 1 ]; then {words} run -q -- {AGENT} "$@"\n'
        '  else __session_mw_agent "$@"; fi\n'
        "}\n"
    )
