"""
Every error this package raises, in one tree.

    SessionError
    ├── SettingsError        a setting is missing, unknown, malformed or contradicts another
    ├── IllegalTransition    a session was asked to do what its state does not allow
    ├── SessionNotFound      neither the store nor the history knows the session
    ├── FilterError          a filter over the history cannot be read
    ├── StoreError           a store could not do what it was asked
    │   ├── StoreUnavailable     it may work later: locked, refused, too slow, full
    │   └── StoreFull            it holds max_live sessions and takes no more
    ├── ViewerAuthRequired   a viewer was made that everybody could look into
    └── MissingDependency    an optional package is not installed

What a client sends is never an exception: it becomes an event (``TokenRejected``) and a fresh session.
"""

from __future__ import annotations


class SessionError(Exception):
    """Base of all errors of this package."""


class SettingsError(SessionError, ValueError):
    """
    A setting cannot be used.

    Attributes:
        name: The setting's name, as in ``SessionSettings``.
        found: What was found, never for secrets.
        hint: What to do.
    """

    def __init__(self, message: str, *, name: str, found: object = None, hint: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.found = found
        self.hint = hint


class IllegalTransition(SessionError):
    """
    A session was asked for a step that its state does not allow. Nothing is changed.

    Attributes:
        state: The state the session is in.
        event: What was asked.
    """

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"cannot {event} a session that is {state}. Load it again before you decide.")
        self.state = state
        self.event = event


class SessionNotFound(SessionError, LookupError):
    """Neither the store nor the history knows the session that was asked for."""


class FilterError(SessionError, ValueError):
    """
    A filter cannot be read. Its text has the line concerned, and marks the place.

    Attributes:
        message: What is wrong, in one line.
        hint: What may have been meant; empty when nothing comes near.
        line: From 1.
        column: From 1, within the line.
        end: The column behind the place.
    """

    def __init__(self, message: str, source: str, start: int, end: int, hint: str = "") -> None:
        before, text = source[:start], source.split("\n")
        self.message, self.hint = message, hint
        self.line = before.count("\n") + 1
        self.column = start - (before.rfind("\n") + 1) + 1
        shown = text[self.line - 1]
        self.end = max(self.column + 1, min(self.column + end - start, len(shown) + 1))
        where = f"line {self.line}, column {self.column}" if len(text) > 1 else f"column {self.column}"
        told = f"{where}: {message}." + (f" {hint}" if hint else "")
        mark = " " * (self.column - 1) + "^" * (self.end - self.column)
        super().__init__(f"{told}\n  {shown}\n  {mark}")


class StoreError(SessionError):
    """
    A store could not do what it was asked. Requests go on without it.

    Attributes:
        reason: What the metric ``session_mw.dropped`` calls it: ``store_error``, ``store_timeout`` (no answer in time)
            or ``breaker_open`` (it was not asked, because it has failed often of late).
    """

    def __init__(self, message: str = "", *, reason: str = "store_error") -> None:
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(StoreError):
    """The store may work later: it is locked, refuses connections, is too slow or full."""


class StoreFull(StoreError):
    """The store holds as many live sessions as ``max_live`` allows: a session was not begun, nothing was changed."""


class ViewerAuthRequired(SessionError, TypeError):
    """A viewer was made that everybody could look into."""

    def __init__(self) -> None:
        hint = "Give auth=, a function of the request that returns who asks, or None"
        local = "allow_loopback=True is for your own machine"
        super().__init__(f"cannot make a SessionViewer without auth. {hint}; {local}.")


class MissingDependency(SessionError, ImportError):
    """
    An optional package is not installed.

    The message names the command that installs it.
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs {package}: pip install 'session-mw[{extra}]'")
        self.feature = feature
        self.package = package
        self.extra = extra
