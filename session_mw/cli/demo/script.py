"""
Who comes, what they say, and what sessions that has to make.

``VISITORS`` is the script; ``sittings_of`` works out by the rules of sessions what must come of it, so that nothing
here repeats what the program under test said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Say:
    """
    Say something and read the answer.

    Attributes:
        text: What is said.
        stream: Whether the answer is read word by word.
        leave_after: Words of the answer after which the visitor is gone. None reads it all.
        order: Whether the order service has to be asked.
    """

    text: str
    stream: bool = False
    leave_after: int | None = None
    order: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """Log in as *user*."""

    user: str


@dataclass(frozen=True, slots=True)
class Logout:
    """Log out."""


@dataclass(frozen=True, slots=True)
class Away:
    """Be away for longer than the idle time."""


Step = Say | Login | Logout | Away


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    Somebody with a browser.

    Attributes:
        name: For people who read the report.
        story: What is to be seen.
        steps: What happens, in this order.
    """

    name: str
    story: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Sitting:
    """
    One session that the script has to make.

    Attributes:
        visitor: Whose browser.
        number: Of this person's sittings, from 1.
        turns: Exchanges with the model.
        orders: How many of them ask the order service.
        reason: Why it ends.
        continues: Whether it is linked to the visitor's sitting before.
        login: Who logged in; None when nobody did.
        known_from: First turn whose user is known; None when none is.
    """

    visitor: str
    number: int
    turns: int = 0
    orders: int = 0
    reason: str = "idle_timeout"
    continues: bool = False
    login: str | None = None
    known_from: int | None = None

    @property
    def key(self) -> str:
        """What it is called, as ``Eve 2``: after who logged in, or whose browser it is."""
        person = self.visitor if self.login is None else self.login.partition("@")[0].title()
        return f"{person} {self.number}"


VISITORS = (
    Visitor(
        "Ada",
        "asks, thanks and logs out",
        (
            Login("ada@lamps.example"),
            Say("Hello, is anybody there?"),
            Say("How much is a floor lamp?"),
            Say("Thanks, goodbye!"),
            Logout(),
        ),
    ),
    Visitor(
        "Ben",
        "leaves in the middle of an answer and stays away",
        (Say("Good evening!"), Say("My lamp came broken and I am angry", stream=True, leave_after=4)),
    ),
    Visitor(
        "Cleo",
        "hands the browser to Dan, who logs in as himself",
        (
            Login("cleo@lamps.example"),
            Say("Hi, which lamps are cheap?"),
            Say("I would like a discount"),
            Login("dan@lamps.example"),
            Say("Do you also repair lamps?"),
            Logout(),
        ),
    ),
    Visitor(
        "Eve",
        "comes back after the idle time",
        (
            Login("eve@lamps.example"),
            Say("What does delivery cost?"),
            Say("And for two table lamps?"),
            Away(),
            Say("Hello, it is me again"),
            Logout(),
        ),
    ),
    Visitor(
        "Finn",
        "reads an answer word by word",
        (Login("finn@lamps.example"), Say("How much would you pay for a lamp?", stream=True), Logout()),
    ),
    Visitor(
        "Grace",
        "asks about orders, and logs in between",
        (
            Say("Where is my order 1042?", order=True),
            Login("grace@lamps.example"),
            Say("And when is the delivery of 1043?", order=True),
            Say("Thank you!", stream=True),
            Logout(),
        ),
    ),
)


def sittings_of(visitor: Visitor) -> Iterator[Sitting]:
    """
    Tell what sessions a visitor's steps have to make.

    The rules: nothing is a session before something was said; the first login belongs to the session it meets, another
    user's ends it (``replaced``); who logs out ends it (``user_exit``); who stays away lets it idle out.
    """
    current = Sitting(visitor.name, 1)
    for step in visitor.steps:
        if isinstance(step, Say):
            current = replace(current, turns=current.turns + 1, orders=current.orders + step.order)
        elif isinstance(step, Login) and current.login is None:
            current = replace(current, login=step.user, known_from=current.turns + 1)
        elif isinstance(step, Login):
            yield replace(current, reason="replaced")
            current = Sitting(visitor.name, 1, continues=True, login=step.user, known_from=1)
        elif isinstance(step, Away):
            yield current
            current = replace(current, number=current.number + 1, turns=0, orders=0, continues=True, known_from=1)
        else:
            yield replace(current, reason="user_exit")
            current = Sitting(visitor.name, current.number + 1, continues=True)  # linked, but nobody's
    if current.turns:
        yield current
