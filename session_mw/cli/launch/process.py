"""
A child process that behaves as if its launcher were not there: signals, job control, exit code.

On a terminal the child gets a process group of its own and the terminal's foreground, as a shell would give it: Ctrl-C
and Ctrl-Z reach it and what it starts, and not the launcher. Where there is no terminal at all it gets a group of its
own too, so that a signal sent to the launcher reaches all of it. In a pipeline, or in the background of a terminal, it
shares the launcher's group, which is the shell's job: there the terminal's signals reach both, and only those that
somebody sent to the launcher are passed on.

All signals of the launcher are blocked and waited for: nothing is interrupted, nothing comes between two lines. SIGTSTP
stops both, the launcher after the child, and SIGCONT wakes both. On Linux the child is told (SIGHUP, as if the terminal
had gone) when the launcher is killed.

Source: The GNU C Library, "Implementing a Job Control Shell"; POSIX, 2.8.2 "Exit Status for Commands"; prctl(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from .ended import NOT_FOUND, Ended, by_signal, not_started

Mode = Literal["foreground", "own", "shared"]

PASSED_ON = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)  # which it sends to the whole group itself
WAITED_FOR = {*PASSED_ON, signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP}
WAKE_SECONDS = 0.2
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)  # which a child must not inherit


class Signals:
    """Keeps the signals of this process waiting until ``release``; threads started meanwhile get none either."""

    def __init__(self) -> None:
        if signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:  # ignored, no child could be waited for
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, {*WAITED_FOR, signal.SIGTTOU})

    def release(self) -> None:
        """Let them come again, without those that came already and were for the child."""
        while signal.sigpending() & WAITED_FOR:
            signal.sigwait(signal.sigpending() & WAITED_FOR)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


_waiting: list[Signals] = []


def kept_waiting() -> Signals:
    """Return the signals of this process, kept waiting from the first call on."""
    if not _waiting:
        _waiting.append(Signals())
    return _waiting[0]


def go_the_same_way(ended: Ended) -> None:
    """
    End as the child did where Ctrl-C or Ctrl-\\ ended it; else let signals come again.

    The launcher's group gets the signal too, as it would have from the terminal: so a script that runs the launcher in
    a loop ends with it, as it would without the launcher.
    """
    kept_waiting().release()
    if ended.signal in (signal.SIGINT, signal.SIGQUIT) and _on_terminal():
        signal.signal(ended.signal, signal.SIG_DFL)
        os.killpg(0, ended.signal)


def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    signals: Signals,
    *,
    shell: bool = False,
    started: Callable[[], None] = lambda: None,
) -> Ended:
    """
    Run a program to its end.

    Args:
        argv: Its words; the first is looked for in PATH.
        environ: Its whole environment.
        signals: Those of this process, kept waiting.
        shell: It is an interactive shell: it takes no notice of SIGTERM, so that is told it as SIGHUP.
        started: Called when it runs; threads are to be started there, not before.
    """
    early = signal.sigpending() & {*_FROM_TERMINAL, signal.SIGTERM}
    if early:  # before there was anything to pass it on to
        return by_signal(min(early))
    child = _Child(argv, environ, signals)
    if child.error:
        return not_started(argv[0], child.error)
    started()
    status = child.wait(shell)
    return by_signal(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else Ended(os.WEXITSTATUS(status))


class _Child:
    """
    Args:
        argv: What to run.
        environ: With what.
        signals: Whose mask the child gets back.

    Attributes:
        error: Number of the error that kept it from starting; 0 for none.
    """

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], signals: Signals) -> None:
        self._tty = 0 if _on_terminal() else None
        self._mode: Mode = "foreground" if self._tty is not None else "shared" if _has_terminal() else "own"
        self._modes = termios.tcgetattr(self._tty) if self._tty is not None else None
        self._stopping = False
        prctl = _prctl()
        reader, writer = os.pipe()
        launcher = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            self._become(argv, environ, signals, writer, prctl, launcher)
        os.close(writer)
        self._group(self.pid)
        told = os.read(reader, 16)
        os.close(reader)
        self.error = int(told or 0)
        if self.error:
            os.waitpid(self.pid, 0)
            self._take_terminal()

    def _become(
        self, argv: Sequence[str], environ: Mapping[str, str], signals: Signals, told: int, prctl: Any, launcher: int
    ) -> None:
        """Be the program. Nothing here may return."""
        try:
            self._group(0)
            if prctl is not None:
                prctl(_DEATH_SIGNAL, signal.SIGHUP)
                if os.getppid() != launcher:  # it was killed before that took effect
                    os._exit(128 + signal.SIGHUP)
            for number in _PYTHON_IGNORES:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, signals.before)
            _execute(argv, environ)
        except OSError as error:
            os.write(told, str(error.errno).encode())
        except BaseException:
            os.write(told, str(errno.EINVAL).encode())
        finally:
            os._exit(NOT_FOUND)

    def _group(self, pid: int) -> None:
        """Put the child into its group and that into the foreground; both sides do, so that neither is too late."""
        if self._mode == "shared":
            return
        try:
            os.setpgid(pid, pid)
            if self._tty is not None:
                os.tcsetpgrp(self._tty, pid or os.getpid())
        except OSError:  # the other side was first, and the program runs already; or it has ended
            pass

    def wait(self, shell: bool) -> int:
        """Wait for its end; returns what waitpid says."""
        told = False  # whether a shell was told to end
        while True:
            number, sent = _next_signal(WAKE_SECONDS if told else None)
            if not number:
                self._send(signal.SIGWINCH)  # bash may have noted the other one just before it began to wait for a key
            elif number == signal.SIGCHLD:
                pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
                if pid and os.WIFSTOPPED(status):
                    self._suspend(os.WSTOPSIG(status))
                elif pid:
                    self._take_terminal(died=os.WIFSIGNALED(status))
                    return status
            elif number == signal.SIGCONT:
                self._resume()
            elif number == signal.SIGTSTP:
                self._told_to_stop(sent)
            elif sent or self._mode != "shared" or number not in _FROM_TERMINAL:
                self._send(number)
                if shell and number == signal.SIGTERM:
                    self._send(signal.SIGHUP)
                told = told or (shell and number in (signal.SIGTERM, signal.SIGHUP))

    def _send(self, number: int) -> None:
        try:
            if self._mode == "shared":
                os.kill(self.pid, number)
            else:
                os.killpg(self.pid, number)
        except OSError:  # it has ended meanwhile
            pass

    def _told_to_stop(self, sent: bool) -> None:
        """Pass it on, and stop when the child has; where the terminal told the whole group, it has been told."""
        self._stopping = True
        if sent or self._mode != "shared":
            self._send(signal.SIGTSTP)
        else:
            self._suspend(signal.SIGTSTP)

    def _suspend(self, number: int) -> None:
        """Stop as the child did, so that the shell above takes over; go on when it says so."""
        if self._tty is None:
            if self._stopping and number == signal.SIGTSTP:
                self._stop()
            return
        modes = self._current_modes()
        self._take_terminal(died=True)
        self._stop()
        with suppress(termios.error):
            if modes is not None and self._has_foreground():
                termios.tcsetattr(self._tty, termios.TCSADRAIN, modes)
        self._resume()

    def _current_modes(self) -> list[Any] | None:
        try:
            return termios.tcgetattr(self._tty or 0)
        except termios.error:  # the terminal is gone
            return None

    def _has_foreground(self) -> bool:
        """Return whether the launcher's group has the terminal; a terminal that is gone, nobody has."""
        try:
            return self._tty is not None and os.tcgetpgrp(self._tty) == os.getpgrp()
        except OSError:  # a hang-up comes as SIGHUP and SIGCONT
            return False

    def _stop(self) -> None:
        """Stop here until somebody says SIGCONT; no effect where no shell could."""
        self._stopping = False
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})  # now
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})

    def _resume(self) -> None:
        with suppress(OSError):
            if self._tty is not None and self._has_foreground():
                os.tcsetpgrp(self._tty, self.pid)
        self._send(signal.SIGCONT)

    def _take_terminal(self, died: bool = False) -> None:
        """Take the foreground back from the child, and the terminal's modes where it could not put them right."""
        if self._tty is None:
            return
        try:
            if os.tcgetpgrp(self._tty) in (self.pid, os.getpgrp()):
                os.tcsetpgrp(self._tty, os.getpgrp())
                if died and self._modes is not None:
                    termios.tcsetattr(self._tty, termios.TCSADRAIN, self._modes)
        except (OSError, termios.error):  # the terminal is gone
            pass


def _execute(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    try:
        os.execvpe(argv[0], list(argv), dict(environ))  # noqa: S606  what the user typed
    except OSError as error:
        if error.errno == errno.E2BIG:  # what the launcher adds may be a few KB too much
            _execute_without(argv)
        if error.errno != errno.ENOEXEC:
            raise
    path = shutil.which(argv[0], path=environ.get("PATH")) or argv[0]
    os.execve("/bin/sh", ["sh", path, *argv[1:]], dict(environ))  # noqa: S606  a script without "#!", as shells do


def _execute_without(argv: Sequence[str]) -> None:
    """Run the command without its session, rather than not at all."""
    os.write(2, b"session-mw: its variables are too many for this command, which runs without its session\n")
    os.execvp(argv[0], list(argv))  # noqa: S606


def _prctl() -> Any:
    """Return prctl(2), which is Linux's; None elsewhere."""
    return getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None


def _on_terminal() -> bool:
    """Return whether standard input and output are the terminal, and it is ours at present."""
    try:
        return os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _next_signal(seconds: float | None) -> tuple[int, bool]:
    """
    Wait for a signal; return its number, and whether a process sent it (a terminal's come from the kernel).

    Args:
        seconds: For so long at most, then the number is 0; None waits as long as it takes.
    """
    if not hasattr(signal, "sigtimedwait"):
        return signal.sigwait(WAITED_FOR), False  # macOS does not say
    info = signal.sigwaitinfo(WAITED_FOR) if seconds is None else signal.sigtimedwait(WAITED_FOR, seconds)
    return (0, False) if info is None else (info.si_signo, info.si_code <= 0)
