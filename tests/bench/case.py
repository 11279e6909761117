"""
A case: one application, in one stack, with what has to be true of its answers.

Nothing is timed before it was checked: a case that answers 500 in record time is no result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .apps import ANSWER
from .drivers import Client, Reply
from .requests import cookie_in
from .telemetry import Recorder


class CaseError(Exception):
    """A case does not do what it is measured for."""


def nothing() -> None:
    """Do nothing."""


def no_books(ran: int) -> str | None:
    """Find nothing wrong: the case keeps no books."""
    return None


@dataclass
class Case:
    """
    One thing to measure.

    Attributes:
        name: Shown in the table, and what rows refer to.
        run: Does it so many times; returns CPU nanoseconds of the process.
        check: Raises ``CaseError`` when it does not do what it should; asked before and after the measurement.
        base: Name of the case to subtract; None for one that is subtracted.
        spans: Recorded per run.
        once: Recorded once in all, whatever the number of runs (``session.start``).
        recorder: Where they go; None records nothing.
        settle: Does what was put off (export, counters, history), timed apart.
        audit: Says what is wrong with what was written down of all runs; None when nothing is.
        close: Lets go of threads.
        ran: Runs so far.
    """

    name: str
    run: Callable[[int], int]
    check: Callable[[], None] = nothing
    base: str | None = None
    spans: int = 0
    once: int = 0
    recorder: Recorder | None = None
    settle: Callable[[], None] = nothing
    audit: Callable[[int], str | None] = no_books
    close: Callable[[], None] = nothing
    ran: int = field(default=0)

    def account(self) -> None:
        """
        Compare what came out of all runs with what should have.

        Raises:
            CaseError: Spans were lost, or there were more; or the books that the case keeps are wrong.
        """
        self.settle()
        wrong = self.audit(self.ran)
        if wrong is not None:
            raise CaseError(f"{self.name}: {wrong}")
        if self.recorder is None:
            return
        found, wanted = self.recorder.exporter.spans, self.ran * self.spans + self.once
        if found != wanted:
            raise CaseError(f"{self.name}: {found} spans came out, {wanted} should have ({self.ran} requests)")


@dataclass
class Web:
    """
    A case that is a web application behind middleware.

    Attributes:
        name: Of the case.
        client: Drives it.
        identity: From what the handler saw to the session's id; None for stacks without sessions.
        issues: Whether every response carries a cookie.
        cookie: To present; None asks the application for one.
    """

    name: str
    client: Client
    identity: Callable[[object], str | None] | None = None
    issues: bool = False
    cookie: str | None = None
    asked: int = 0
    session_id: str | None = None

    def establish(self) -> None:
        """Get the cookie that all further requests present, as a client does."""
        if self.identity is not None and self.cookie is None:
            reply = self._ask(None)
            self.cookie = cookie_in(reply.headers)
            self._require(self.cookie is not None, "the first response carries no cookie")
        self.client.use(self.cookie)
        if self.identity is not None:
            self.session_id = self.identity(self._ask(self.cookie).saw)

    def check(self) -> None:
        """Send one request and look at everything that comes back."""
        reply = self._ask(self.cookie)
        self._require(reply.status == 200, f"status {reply.status}")
        self._require(reply.body == ANSWER, f"body {reply.body!r}")
        issued = cookie_in(reply.headers) is not None
        self._require(issued == self.issues, f"Set-Cookie: {issued}, should be {self.issues}")
        if self.identity is not None:
            seen = self.identity(reply.saw)
            self._require(seen is not None and seen == self.session_id, f"the handler saw {seen!r}")

    def _ask(self, cookie: str | None) -> Reply:
        self.asked += 1
        return self.client.ask(cookie)

    def _require(self, fine: bool, found: str) -> None:
        if not fine:
            raise CaseError(f"{self.name}: {found}")


def web_case(
    web: Web,
    *,
    base: str | None,
    spans: int = 0,
    recorder: Recorder | None = None,
    settle: Callable[[], None] | None = None,
    close: Callable[[], None] | None = None,
) -> Case:
    """Return *web* as a case, its cookie in place; requests of its checks count as runs."""
    web.establish()
    case = Case(web.name, web.client.run, base=base, spans=spans, recorder=recorder)
    case.settle = settle or (recorder.settle if recorder is not None else nothing)
    case.close = close or (recorder.close if recorder is not None else nothing)

    def check() -> None:
        web.check()
        case.ran += web.asked
        web.asked = 0

    case.check = check
    return case
