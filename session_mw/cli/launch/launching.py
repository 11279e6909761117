"""One launch from beginning to end: which session, with what around it, run, and told of."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from ..._clocks import wall_ms
from ..._core import names
from ..._core.records import AttributeValue, SessionRecord
from ...exceptions import SessionError
from ...ledger.shown import many, shown_ms
from . import places, prompts
from . import setup as setups
from .agents import OUTDATED, modern
from .choosing import ID, Around, Choice, Label, Said, choose
from .ended import Ended, run_plainly
from .kinds import CHANNEL
from .quoting import Shell, rendered
from .record import Facts, Recorder
from .variables import Changes, Proof, applied, changes

POSIX = hasattr(os, "fork")


@dataclass(frozen=True, slots=True)
class Order:
    """
    What somebody asked for.

    Attributes:
        wish: What they say of the session.
        command: The program and its words; empty for a shell.
        new: Join no session.
        keep: Keep the session for the directory afterwards.
        quiet: Say nothing but what is wrong.
        end_user: Also send the header by which an unmodified LiteLLM proxy names sessions.
    """

    wish: Said = field(default_factory=Said)
    command: tuple[str, ...] = ()
    new: bool = False
    keep: bool = False
    quiet: bool = False
    end_user: bool = False


def say(text: str) -> None:
    """Say something to people: standard output belongs to the command. Nobody may be there any more to read it."""
    try:
        click.echo(f"session-mw: {text}", err=True)
    except OSError:
        # Python would try again to write it when it ends, and make that its exit code.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for as long as this process lives


class Launch:
    """
    One launch.

    Args:
        order: What was asked for.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.setup = setups.load()
        self.around = setups.around(self.setup)
        wish = setups.without_personal(order.wish, self.setup)
        self.choice = choose(wish, self.around, setups.new_id, new=order.new, keep=order.keep)
        self.label = self.choice.label
        self.recorder: Recorder | None = None
        if self.setup.problem:
            say(f"sessions are not recorded: {self.setup.problem}")
        if os.environ.get(ID) and self.around.environment.id is None:
            say(f"{ID} is left aside: it is no session id (letters, digits, . _ -; at most 200)")

    def announce(self) -> None:
        """Say which session it is."""
        if not self.order.quiet:
            say(announcement(self.choice))

    def begin(self, command: str, *, turn: bool) -> None:
        """Tell store and history that it begins."""
        if self.setup.settings is None or self.setup.problem:
            return
        facts = Facts(
            self.label,
            command,
            turn,
            self._ends(),
            os.getpid(),
            self.choice.previous_id,
            self.choice.previous_id if self.order.keep and not self.choice.nested else None,
            attributes_of(self.label, self.around, command),
        )
        self.recorder = Recorder(self.setup.settings, self.setup.own, facts, say)
        unfailing(self.recorder.begin)

    def _ends(self) -> bool:
        """Whether the session ends with what runs here: not one that is kept, or that others may go on with."""
        if self.order.keep or self.choice.how == "directory":
            return False
        return self.choice.how != "environment" or self.around.build is not None

    def variables(self) -> Changes:
        """Return what the child's environment says otherwise than this one's."""
        proof = Proof()
        outer = self.around.environment.id
        try:
            if self.setup.settings is not None:
                proof = self._proof()
        except Exception as error:  # a header less is better than a command that does not run
            say(f"no signed headers: {str(error) or type(error).__name__}")
        return changes(os.environ, self.label, proof, outer=outer, end_user=self.order.end_user)

    def _proof(self) -> Proof:
        from .carried import proof_of

        assert self.setup.settings is not None
        generation = 1 if self.recorder is None else self.recorder.generation
        outer = self.around.environment.id
        same = outer is None or outer == self.label.id
        return proof_of(self.setup.settings, self.setup.signs, self.label, generation, os.environ, same)

    def keep(self) -> None:
        """Keep the session for the directory, if it was asked for; renew it where it was joined."""
        if not self.order.keep and self.choice.how != "directory":
            return
        seconds = 86_400.0 if self.setup.settings is None else self.setup.settings.absolute_timeout
        try:
            places.keep(places.Kept(self.label, os.getcwd(), wall_ms() + round(seconds * 1000)))
        except (OSError, SessionError) as error:
            say(f"the session is not kept: {error}")

    def finish(self, ended: Ended) -> None:
        """Tell that it ended, and say what there is to say."""
        record = None
        if self.recorder is not None:
            over = self._superseded()
            record = self.recorder.finish(ended.code, interrupted=bool(ended.signal), over=over)
        if not self.order.quiet:
            fate = "" if self.recorder is None else self.recorder.fate
            say(farewell(self.label, ended, record, fate, kept=self.order.keep and fate == "goes on"))

    def _superseded(self) -> bool:
        """Return whether it was to be kept for the directory, and another one is by now, or none."""
        if not self.order.keep:
            return False
        kept = setups.kept_here()
        return kept is None or kept.id != self.label.id


def run_command(order: Order) -> Ended:
    """Run the command of *order* in its session."""
    _hold_signals()
    argv, outdated = modern(order.command)
    if outdated and places.once("claude-code"):
        say(OUTDATED)
    if not _found(argv[0]):  # no session for a typing error
        return _run(argv, dict(os.environ), None)
    launch = Launch(order)
    launch.announce()
    launch.keep()
    launch.begin(os.path.basename(argv[0]), turn=True)
    return _told(launch, argv, applied(os.environ, launch.variables()))


def run_shell(order: Order) -> Ended:
    """Open a shell in the session of *order*."""
    _hold_signals()
    launch = Launch(order)
    launch.announce()
    launch.keep()
    shell = shell_path()
    launch.begin(os.path.basename(shell), turn=False)
    found = launch.variables()
    folder = tempfile.mkdtemp(prefix="session-mw-")  # 0700
    try:
        terminal = os.isatty(0)
        wanted = prompts.Wanted(shell, folder, launch.label, found, setups.launcher_words(), terminal)
        plan = prompts.plan(wanted, os.environ)
        for name, text in plan.files.items():
            Path(folder, name).write_bytes(os.fsencode(text))
        if terminal and not order.quiet:
            say('"exit" leaves the session\'s shell')
        environ = applied(applied(os.environ, found), dict(plan.environ))
        return _told(launch, plan.argv, environ, shell=terminal)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hold_signals() -> None:
    """Keep signals waiting before any thread is started, which would otherwise get them."""
    if POSIX:
        from . import process

        process.kept_waiting()


def _told(launch: Launch, argv: Sequence[str], environ: Mapping[str, str], *, shell: bool = False) -> Ended:
    ended = _run(argv, environ, launch.recorder, shell=shell)
    unfailing(partial(launch.finish, ended))
    return ended


def _run(argv: Sequence[str], environ: Mapping[str, str], recorder: Recorder | None, *, shell: bool = False) -> Ended:
    stay = _nothing if recorder is None else partial(unfailing, recorder.stay)
    if not POSIX:
        stay()
        return run_plainly(argv, environ)
    from . import process

    return process.run(argv, environ, process.kept_waiting(), shell=shell, started=stay)


def unfailing(work: Callable[[], object]) -> None:
    """Do *work*; should it fail, say so, and let the command have its way."""
    try:
        work()
    except Exception as error:
        say(f"the session is not recorded: {type(error).__name__}: {error}")


def _nothing() -> None:
    """Nobody is to be told."""


def leave(ended: Ended) -> int:
    """Return the exit code for *ended*, after what has to be said; where Ctrl-C ended the child, go the same way."""
    if ended.failed:
        say(ended.failed)
    if POSIX:
        from . import process

        process.go_the_same_way(ended)
    return ended.code


def print_variables(order: Order, shell: Shell) -> None:
    """Print what puts a shell into the session of *order*."""
    launch = Launch(order)
    launch.announce()
    launch.keep()
    launch.begin("env", turn=False)
    text = rendered(launch.variables(), shell, f"session_mw_{secrets.token_hex(8)}")
    if launch.recorder is not None:
        launch.recorder.leave()
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def shell_path() -> str:
    """Return the user's shell."""
    return os.environ.get("SHELL") or ("/bin/sh" if POSIX else os.environ.get("COMSPEC", "cmd.exe"))


def _found(program: str) -> bool:
    return shutil.which(program) is not None


def announcement(choice: Choice) -> str:
    """Return the line that says which session it is."""
    label = choice.label
    joined = {"environment": ", joined: that of the environment", "directory": ", joined: that of this directory"}
    inside = f", inside session {choice.previous_id}, which is its session.previous_id" if choice.nested else ""
    after = f", after {choice.previous_id}" if choice.previous_id and not choice.nested else ""
    return f"session {label.id} ({described(label)}){joined.get(choice.how, '')}{inside}{after}"


def described(label: Label) -> str:
    """Return what a session is, in a few words."""
    return f"{label.type} {label.version}" + (f' "{label.name}"' if label.name is not None else "")


def farewell(label: Label, ended: Ended, record: SessionRecord | None, fate: str, *, kept: bool) -> str:
    """Return the line that says how it went; *fate* is what became of the session."""
    parts = [f"session {label.id} {fate}".rstrip(), f"exit code {ended.code}"]
    if record is not None:
        parts.append(shown_ms(record.last_ms - record.started_ms))
        parts += _totals(record)
    hint = "; claude-session --reset ends it" if kept else ""
    return ", ".join(parts) + hint


def _totals(record: SessionRecord) -> list[str]:
    tokens = [n for n in (record.input_tokens, record.output_tokens) if n is not None]
    found = [many(record.turns, "turn")] if record.turns else []
    found += [many(sum(tokens), "token")] if tokens else []
    return found + ([f"${record.cost_microusd / 1e6:.4f}"] if record.cost_microusd is not None else [])


def attributes_of(label: Label, around: Around, command: str) -> dict[str, AttributeValue]:
    """Return what is said of a session in the store, by wire name."""
    build = around.build
    found: dict[str, str | None] = {
        names.SESSION_TYPE: label.type,
        names.SESSION_PROMPT_VERSION: label.version,
        names.SESSION_NAME: label.name,
        names.SESSION_CHANNEL: CHANNEL,
        names.PROCESS_EXECUTABLE_NAME: command,
        names.CICD_PIPELINE_NAME: None if build is None else build.pipeline,
        names.CICD_PIPELINE_RUN_ID: None if build is None else build.run,
        names.CICD_PIPELINE_RUN_URL: None if build is None else build.url,
    }
    return {name: text for name, text in found.items() if text is not None}
