"""A session's shell shows the session in its prompt, whatever the user's start-up files do; on real terminals."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from session_mw.cli.launch.choosing import Label
from session_mw.cli.launch.prompts import Wanted, plan
from tests.cli.launch.desk import Desk, Terminal

landing = pytest.mark.landing
MARK = "(code-review v2) "

# Start-up files that set a prompt, write over the session's variable, and define what people define.
CLOBBER = {
    "bash": (".bashrc", "PS1='mine> '\nexport PHOENIX_SESSION_ID=clobbered\nPROMPT_COMMAND='history -a;'\n"),
    "zsh": (".zshrc", "PROMPT='mine> '\nexport PHOENIX_SESSION_ID=clobbered\nunsetopt ZLE\n"),
    "fish": (
        ".config/fish/config.fish",
        "function fish_prompt; echo -n 'mine> '; end\nset -gx PHOENIX_SESSION_ID clobbered\nset -g fish_greeting\n",
    ),
    "dash": (".dashrc", "PS1='mine> '\nexport PHOENIX_SESSION_ID=clobbered\n"),
}
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("zsh", "fish", "dash")]


def shell_of(desk: Desk, name: str) -> dict[str, str]:
    """Give the desk's user that shell, with its start-up file; skips where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed here")
    place, text = CLOBBER[name]
    (desk.home / place).parent.mkdir(parents=True, exist_ok=True)
    (desk.home / place).write_text(text)
    return {"SHELL": path, "ENV": str(desk.home / ".dashrc")}


def ready(screen: Terminal) -> None:
    screen.until(MARK)
    screen.until("mine> ")


@pytest.mark.parametrize("name", [pytest.param("bash", marks=landing), *OTHERS])
def test_prompt_shows_the_session(desk: Desk, name: str) -> None:
    """Mark before the user's own prompt; variables as the launcher set them; exit code of the shell."""
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **shell_of(desk, name)) as screen:
        ready(screen)
        screen.type("sh -c 'echo id=$PHOENIX_SESSION_ID.'\n")
        screen.until("id=code-review-20")
        ready(screen)
        screen.type("exit 3\n")

        assert 3 == screen.wait()
        assert "exit code 3" in screen.seen
    (row,) = desk.sessions
    assert ("user_exit", 0, 3) == (row.end_reason, row.turns, row.attributes["process.exit.code"])


@pytest.mark.parametrize("name", [pytest.param(s, marks=pytest.mark.slow) for s in ("bash", "zsh", "fish")])
def test_claude_code_in_the_shell(desk: Desk, name: str) -> None:
    """The old way of asking is understood where it is typed, and the agent's own options are left alone."""
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **shell_of(desk, name)) as screen:
        ready(screen)
        screen.type('claude code "Review this"\n')
        screen.until("agent: -p Review this")
        ready(screen)
        screen.type("claude --resume\n")
        screen.until("agent: --resume")
        ready(screen)
        screen.type("exit\n")
        screen.wait()

    assert [["-p", "Review this"], ["--resume"]] == [call["argv"] for call in desk.calls]
    assert 1 == len({call["environ"]["PHOENIX_SESSION_ID"] for call in desk.calls})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("kind", ["alias", "function"])
def test_own_ways_to_call_the_agent_are_kept(desk: Desk, name: str, kind: str) -> None:
    """An alias or a function of the agent's name breaks nothing, and goes on."""
    environ = shell_of(desk, name)
    words = "$argv" if name == "fish" else '"$@"'
    own = {
        "alias": "alias claude='claude --from-alias'\n",
        "function": f"function claude; command claude --from-function {words}; end\n"
        if name == "fish"
        else f"claude() {{\n  command claude --from-function {words}\n}}\n",
    }
    with (desk.home / CLOBBER[name][0]).open("a") as out:
        out.write(own[kind])
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **environ) as screen:
        ready(screen)
        screen.type("claude --resume\n")
        screen.until(f"agent: --from-{kind} --resume")
        ready(screen)
        screen.type("sh -c 'echo id=$PHOENIX_SESSION_ID.'\n")
        screen.until("id=code-review-20")


@landing
def test_ctrl_c_in_the_shell_is_for_what_runs_there(desk: Desk) -> None:
    """Ctrl-C ends the shell's command and gives another prompt: neither shell nor launcher leaves."""
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **shell_of(desk, "bash")) as screen:
        ready(screen)
        screen.type("sh -c 'echo up; exec sleep 600'\n")
        screen.until("up\r\n")
        screen.type("\x03")
        ready(screen)
        screen.type("exit\n")

        assert 130 == screen.wait()


@landing
def test_sigterm_ends_an_interactive_shell(desk: Desk) -> None:
    """Interactive shells take no notice of SIGTERM; the launcher tells them in the way they understand."""
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **shell_of(desk, "bash")) as screen:
        ready(screen)
        os.kill(screen.pid, signal.SIGTERM)

        assert 129 == screen.wait()
    (row,) = desk.sessions
    assert "ended" == row.status


@pytest.mark.slow
def test_array_of_prompt_commands(desk: Desk) -> None:
    """In bash 5 PROMPT_COMMAND may be an array; a theme that writes the prompt anew each time is no hindrance."""
    environ = shell_of(desk, "bash")
    (desk.home / ".bashrc").write_text("theme() { PS1='mine> '; }\nPROMPT_COMMAND=(true theme)\n")
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **environ) as screen:
        for _ in range(3):
            ready(screen)
            screen.type("true\n")


@pytest.mark.slow
def test_zsh_with_a_folder_of_its_own(desk: Desk) -> None:
    """A .zshenv that sets ZDOTDIR is followed, and the shell has it afterwards."""
    environ = shell_of(desk, "zsh")
    own = desk.home / "zsh"
    own.mkdir()
    (desk.home / ".zshrc").rename(own / ".zshrc")
    (desk.home / ".zshenv").write_text(f"export ZDOTDIR={own}\n")
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **environ) as screen:
        ready(screen)
        screen.type("echo zdotdir=$ZDOTDIR.\n")
        screen.until(f"zdotdir={own}.")


@landing
def test_files_of_the_shell_are_private_and_gone_afterwards(desk: Desk) -> None:
    """They hold the session's token: a folder that nobody else can look into, removed at the end."""
    environ = {"TMPDIR": str(desk.folder), **shell_of(desk, "bash")}
    with desk.terminal("session-mw", "shell", "-t", "code-review", "-v", "v2", **environ) as screen:
        ready(screen)
        (folder,) = desk.folder.glob("session-mw-*")
        assert 0o700 == folder.stat().st_mode & 0o777
        screen.type("exit\n")
        screen.wait()

    assert [] == list(desk.folder.glob("session-mw-*"))


@landing
def test_completion(desk: Desk) -> None:
    """The script that ``session-mw completion bash`` prints completes commands, options and workflow types."""
    with desk.terminal("bash", "--norc", "-i", PS1="prompt> ") as screen:
        screen.until("prompt> ")
        screen.type('eval "$(session-mw completion bash)"; echo loaded\n')
        screen.until("loaded")
        screen.until("loaded")
        _completes(screen)


def _completes(screen: Terminal) -> None:
    """Type beginnings, and see the rest."""
    screen.type("claude-session --type refac\t")
    screen.until("claude-session --type refactoring")
    screen.type("\x15session-mw templ\t")  # Ctrl-U: another line
    screen.until("session-mw templates")
    screen.type("\x15session-mw run -t archi\t")
    screen.until("session-mw run -t architecture")
    screen.type("\x15session-mw env --shell powe\t")
    screen.until("session-mw env --shell powershell")


@pytest.mark.slow
@pytest.mark.parametrize("switched_on", [True, False], ids=["compinit", "no compinit"])
def test_completion_in_zsh(desk: Desk, switched_on: bool) -> None:
    """The same in zsh, whether or not its completion has been switched on before."""
    environ = shell_of(desk, "zsh")
    before = "autoload -Uz compinit && compinit -u\n" if switched_on else ""
    text = f"PROMPT='mine> '\n{before}ZSH_DISABLE_COMPFIX=true\neval \"$(session-mw completion zsh)\"\n"
    (desk.home / ".zshrc").write_text(text)
    (desk.home / ".zshrc").chmod(0o600)
    with desk.terminal("zsh", "-i", **environ) as screen:
        screen.until("mine> ")
        _completes(screen)


@pytest.mark.slow
def test_completion_in_fish(desk: Desk) -> None:
    """fish is asked what it would complete: types with what they are for, options, commands, forms."""
    environ = shell_of(desk, "fish")
    asked = ["claude-session --type refac", "session-mw templ", "session-mw run -t archi", "claude-session --ver"]
    lines = "".join(f"complete -C '{line}'\n" for line in asked)
    done = desk.run("fish", "--no-config", "-c", f"session-mw completion fish | source\n{lines}", **environ)

    assert ["refactoring\tCode refactoring", "templates", "architecture\tArchitecture design and planning"] == [
        line if line.startswith(("refac", "archi")) else line.partition("\t")[0] for line in done.stdout.splitlines()
    ][:3], done.stderr
    assert done.stdout.splitlines()[3].startswith("--version")


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/zsh", "/usr/bin/fish", "/bin/dash", "/usr/bin/nu", "pwsh.exe"])
def test_plan_puts_nothing_unquoted_into_a_shell(shell: str, terminal: bool) -> None:
    """Whatever a session is called, its mark is letters, digits and hyphens, and its values are quoted."""
    label = Label("i", "$(touch x)`y`'", "%n\\w\n", "'; rm -rf /; '")
    found = {"PHOENIX_SESSION_NAME": label.name}
    made = plan(Wanted(shell, "/tmp/f", label, found, ("/bin/session mw",), terminal), {})

    assert shell == made.argv[0]
    assert made.marked == (terminal and Path(shell).name in ("bash", "zsh", "fish", "dash"))
    for text in made.files.values():
        assert "touch x)" not in text and "%n" not in text
        assert "rm -rf" not in text.replace("''\\''; rm -rf /; '\\'''", "").replace("'\\'; rm -rf /; \\''", "")
