"""One message on its way to one host: what is published about it, and how its baggage header is put right."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any

from opentelemetry import propagate
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

from ..._core import baggage as wire
from ..context import scope_of
from ..destination import Destination, destination_host, unplaced
from ..propagator import HEADER, SessionBaggagePropagator
from .patches import guarded

UNKNOWN = "?"  # no name and no address: no policy allows it


class _Egress:
    """
    Attributes:
        propagator: Renders and decides, for every client the same.
        instrumented: Whether ``instrument()`` is in force.
        carried: Clients into whose messages we inject.
    """

    def __init__(self) -> None:
        self.propagator: SessionBaggagePropagator | None = None
        self.instrumented = False
        self.carried: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def wanted(self) -> bool:
        """Whether anybody needs the wrappers."""
        return self.instrumented or len(self.carried) > 0


egress = _Egress()


def idle() -> bool:
    """Return whether there is nothing to do: no session here, and no client of ours anywhere; or taken out."""
    return not egress.carried and (not egress.instrumented or scope_of(None) is None)


def told(host: Callable[[], Any]) -> Any:
    """Return the host that *host* finds; None for a URL that is none: the client says so itself."""
    try:
        return host()
    except Exception:
        return None


class Leaving:
    """
    Publishes the destination inside a ``with`` block, and puts *headers* right for it before.

    Args:
        host: As the client will connect to; None where it cannot be told.
        headers: A mapping that the message is sent with; None when there is none yet.
        client: That sends it.
    """

    __slots__ = ("_to", "_token")

    _token: Token[str | None]

    def __init__(self, host: str | None, headers: Any = None, client: object = None) -> None:
        around = destination_host.get()
        asked = carries = False
        if isinstance(around, Destination):  # redirected, or a client inside a client
            asked, carries = around.asked, around.carries
        if headers is not None and unplaced.get() is headers:
            asked = True
        if client is not None and client in egress.carried:
            carries = True
        self._to = Destination(host or UNKNOWN, asked=asked, carries=carries)
        self._token = destination_host.set(self._to)
        if headers is not None:
            guarded("prepare a message", lambda: prepare(headers, self._to))

    def __enter__(self) -> Destination:
        return self._to

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            destination_host.reset(self._token)
        except ValueError:  # a coroutine that nobody finished is closed in another context, which has its own
            pass


def prepare(headers: Any, to: Destination) -> None:
    """Inject, if that is ours to do, and put the baggage header right."""
    found = before = found_in(headers)
    if to.carries and is_http_instrumentation_enabled():
        inject(headers, to)
        found = found_in(headers)
        if before is None:
            return  # what is there now was written for this destination
        found = together(found or "", before)
    wanted = corrected(found, to)
    header = found if wanted is None else wanted
    if header:
        if header != before or to.carries:
            headers[HEADER] = header
    elif before is not None:
        del headers[HEADER]


def inject(headers: Any, to: Destination) -> None:
    """Inject what the process injects everywhere, and our baggage also where the global propagator has no place."""
    asked, to.asked = to.asked, False
    propagate.inject(headers)
    if not to.asked and egress.propagator is not None:
        egress.propagator.inject(headers)
    to.asked = to.asked or asked


def together(new: str, before: str) -> str:
    """Return both headers as one: an injector replaces what the application, or its error tracker, wrote there."""
    written = wire.parse([new]).entries
    keys = {entry.key for entry in written}
    kept = [entry for entry in wire.parse([before]).entries if entry.key not in keys]
    return ",".join(entry.raw for entry in (*written, *kept))


def carrying() -> dict[str, str]:
    """Return what a message needs to go on elsewhere that goes to no host: the application says that it may know."""
    headers: dict[str, str] = {}
    to = Destination(UNKNOWN, vouched=True)
    token = destination_host.set(to)
    try:
        guarded("prepare a message", lambda: inject(headers, to))
    finally:
        destination_host.reset(token)
    return headers


def corrected(found: str | None, to: Destination) -> str | None:
    """
    Return what the baggage header has to be at *to*, which is published; "" for none at all, None to leave it.

    Args:
        found: The header as it is, None when there is none.
        to: Where it goes.
    """
    propagator = egress.propagator
    policy = None if propagator is None else propagator.policy
    if propagator is None or policy is None or (found is None and not to.asked):
        return None
    ours: Mapping[str, str] = propagator.entries() if to.asked else {}
    if ours:
        return wire.render(ours, found or ())
    if found is None or policy.hosts.allows(to) or (not to.asked and scope_of(None) is None):
        return None
    mine, rest, problems = wire.split([found])
    return rest or "" if mine or "bad_key" in problems else None


def was_injected(pairs: list[tuple[Any, Any]]) -> bool:
    """
    Return whether somebody injected into these headers, which are a copy by now, without knowing where they go.

    Should it be another message's that looks the same: it goes to a host that may know.
    """
    carrier = unplaced.get()
    if not isinstance(carrier, Mapping):
        return False
    injected = [tuple(pair) for pair in carrier.items()]
    return all(pair in pairs for pair in injected) if injected else not pairs


def found_in(headers: Any) -> str | None:
    """Return the baggage header of a mapping that knows no case; lines are joined."""
    every = getattr(headers, "getall", None)  # multidict's ``get`` returns the first
    return text_of(every(HEADER, ()) if every is not None else headers.get(HEADER))


def text_of(value: Any) -> str | None:
    """Return one header of what a client keeps: text, bytes, or several of them."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return ",".join(filter(None, map(text_of, value))) or None
    return value if isinstance(value, str) and value else None
