"""
Baggage, with our entries kept apart from everybody else's.

Rule 1: our entries are never in OpenTelemetry's baggage in this process. Any stock propagator would send them to any
host, and any client could set them. The session in the context is the truth; baggage is what it looks like on the wire.
Rule 2: on the way in, what claims to be ours is dropped here: the middleware looked at it before, and believed it or
not. What others sent is kept as it came, properties and percent-encoding included ("+" is a plus).
Rule 3: on the way out, ours go first, and only to hosts that the settings allow.

Source: W3C Baggage (https://www.w3.org/TR/baggage/), 3.3; OpenTelemetry, "Baggage security considerations".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from opentelemetry import baggage
from opentelemetry.context import Context, get_current
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from .._core import baggage as wire
from .._core import names
from .._core.scope import SessionScope, present
from .context import scope_of, with_scope
from .destination import Destination, asked_for, host_of
from .early import looked_at
from .notices import once

if TYPE_CHECKING:
    from .._core.policy import Policy

logger = logging.getLogger("session_mw")

HEADER = "baggage"
CARRIED = (
    names.SESSION_ID,
    names.USER_ID,
    names.GEN_AI_CONVERSATION_ID,
    names.TURN_NUMBER,
    *names.EVERYWHERE,
)
# Signatures are accepted for an hour; a scope (a connection, a script) may live longer than that.
SIGNED_MS = 60_000


class Received(str):
    """
    A value of somebody else's baggage as the application reads it: decoded, properties behind it.

    Attributes:
        raw: The member as it came, for passing it on unchanged.
    """

    __slots__ = ("raw",)

    raw: str


class SessionBaggagePropagator(TextMapPropagator):
    """
    Takes the place of ``W3CBaggagePropagator``. ``instrument()`` puts it there.

    Args:
        policy: Where our entries may go, and how they are signed. None sends none of ours, to nobody.
        clock: Wall clock, milliseconds since the epoch.
    """

    def __init__(self, policy: Policy | None = None, *, clock: Callable[[], int] | None = None) -> None:
        self.policy = policy
        self._clock = clock or _wall_clock

    @property
    def fields(self) -> set[str]:
        """The headers it writes."""
        return {HEADER}

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """
        Read all baggage headers; keep what is not ours.

        Args:
            carrier: Headers.
            context: To put baggage into; None means the current one.
            getter: Reads *carrier*.

        Returns:
            The context with others' baggage, and with the running request's session.
        """
        start = get_current() if context is None else context
        try:
            read = self._extract(getter.get(carrier, HEADER), start)
            return looked_at(self.policy, carrier, present(), read)
        except Exception as error:
            _failed("read", error)
            return start

    def _extract(self, found: Any, context: Context) -> Context:
        context = without_ours(context)
        if found:
            lines = [found] if isinstance(found, (str, bytes)) else list(found)
            foreign = wire.split(lines)[1]
            for key, value in _members(foreign):
                context = baggage.set_baggage(key, value, context)
        scope = present()
        return context if scope is None else with_scope(scope, context)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """
        Write the baggage header: ours first if they may go where this goes, then what others gave us.

        Args:
            carrier: Headers.
            context: Holds the baggage; None means the current one.
            setter: Writes *carrier*.
        """
        try:
            asked_for(carrier)
            header = self.header(carrier, context)
        except Exception as error:
            _failed("write", error)
            return
        if header:
            setter.set(carrier, HEADER, header)

    def header(self, carrier: Any, context: Context | None = None) -> str:
        """Return the baggage header for a call; empty for none."""
        return wire.render(self._ours(carrier, context), _foreign(baggage.get_all(context).items()))

    def _ours(self, carrier: Any, context: Context | None) -> dict[str, str]:
        policy = self.policy
        scope = scope_of(context) if policy is not None else None
        if policy is None or scope is None or not _may_know(policy, host_of(carrier, context)):
            return {}
        return self._rendered(scope, policy)

    def entries(self) -> dict[str, str]:
        """Return our entries as the destination that is published may get them; none where nobody may."""
        return self._ours(None, None)

    def _rendered(self, scope: SessionScope, policy: Policy) -> dict[str, str]:
        """Our entries, signed once for a stamp: signing costs more than all the rest."""
        now_ms = self._clock() if scope.extra is None else scope.extra.clock()  # whoever reads it goes by the store's
        kept = scope.carried
        if kept is not None and _still_good(kept[0], scope.stamp, policy, now_ms):
            return kept[1]
        ours = {key: str(scope.stamp[key]) for key in CARRIED if key in scope.stamp}
        if scope.generation > 1:  # of an id that is used again: what is used there belongs to this one
            ours[names.SESSION_GENERATION] = str(scope.generation)
        if policy.signer is not None:
            ours[names.SESSION_SIG] = policy.signer.sign(ours, now_ms)
        scope.carried = ((scope.stamp, policy, now_ms), ours)
        return ours


class OursRemoved(TextMapPropagator):
    """Stands last, behind propagators that read baggage from other headers (Jaeger's, OpenTracing's)."""

    @property
    def fields(self) -> set[str]:
        """None: it writes nothing."""
        return set()

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return *context* without what the others let in as ours."""
        return without_ours(context)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Do nothing."""


def without_ours(context: Context | None = None) -> Context:
    """
    Return *context* without baggage that claims to be ours.

    Args:
        context: None means the current one.
    """
    context = get_current() if context is None else context
    for key in [key for key in baggage.get_all(context) if wire.claims(key)]:
        context = baggage.remove_baggage(key, context)
    return context


def _may_know(policy: Policy, to: str | None) -> bool:
    return (isinstance(to, Destination) and to.vouched) or policy.hosts.allows(to)


def _still_good(made_of: object, stamp: object, policy: Policy, now_ms: int) -> bool:
    if not isinstance(made_of, tuple) or made_of[0] is not stamp or made_of[1] is not policy:
        return False
    return policy.signer is None or 0 <= now_ms - int(made_of[2]) < SIGNED_MS


def _members(header: str | None) -> Iterator[tuple[str, Received]]:
    """Members of a checked header, values as the stock propagator shows them: decoded, with properties."""
    for raw in header.split(",") if header else ():
        key, _, rest = raw.partition("=")
        value, semicolon, properties = rest.partition(";")
        shown = Received(unquote(value.strip()) + semicolon + properties.strip())
        shown.raw = raw
        yield key.strip(), shown


def _foreign(entries: Iterable[tuple[str, object]]) -> list[str]:
    """Members for what is in the process's baggage; the renderer leaves out what could be taken for ours."""
    members: list[str] = []
    for key, value in entries:
        if value is None:
            continue
        member = _as_received(key, value) or wire.encode(key, str(value))
        if member is not None:
            members.append(member)
    return members


def _as_received(key: str, value: object) -> str | None:
    """The member as it came, unless the application has put its value under another name since."""
    if isinstance(value, Received) and value.raw.partition("=")[0].strip() == key:
        return value.raw
    return None


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


def _failed(what: str, error: Exception) -> None:
    kind = type(error).__name__  # its text may quote the header
    once(f"baggage:{what}:{kind}", logger.error, "cannot %s baggage: %s. It is left out.", what, kind)
