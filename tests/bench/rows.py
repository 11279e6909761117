"""The promises on performance: which case is measured against which, and what the ratio may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import peers, stacks
from .case import Case
from .children import PLAIN, PLAIN_CALL, child_case
from .inbound import inbound_case
from .ours import asgi_case, wsgi_case
from .sampling import sampled_case, sampled_wsgi_case
from .telemetry import Recorder

Loop = asyncio.AbstractEventLoop

BARE_ASGI, BARE_WSGI = "bare ASGI app", "bare WSGI app"
FLOOR, STARLETTE = "ASGI floor, recording", "Starlette SessionMiddleware, read"
OTEL_ASGI, OTEL_WSGI = "OpenTelemetry ASGI alone", "OpenTelemetry WSGI alone"
BY_TRACE, BY_SESSION = "theirs around, sampled by trace", "theirs around, sampled by session"
WSGI_BY_TRACE, WSGI_BY_SESSION = "theirs around WSGI, sampled by trace", "theirs around WSGI, sampled by session"
PURE, BASE = "user-written stack, pure ASGI", "user-written stack, BaseHTTPMiddleware"


@dataclass(frozen=True)
class Ratio:
    """
    One line of the table: what a case adds, in terms of what another one adds.

    Attributes:
        number: Of the promise.
        case: Measured.
        against: Compared with.
        target: What the ratio may be.
        cases: Neither, but shown when this promise is looked at.
    """

    number: str
    case: str
    against: str
    target: float
    cases: tuple[str, ...] = ()


RATIOS = (
    Ratio("P1", "ASGI turn, recording", FLOOR, 1.4, ("ASGI turn, recording, handle read",)),
    Ratio("P1", "ASGI turn, recording", OTEL_ASGI, 0.65),
    Ratio("P2", "ASGI turn, unsampled", STARLETTE, 1.0, ("ASGI floor, unsampled",)),
    Ratio("P3", "ASGI turn, no SDK", STARLETTE, 0.7, ("ASGI floor, no SDK", "ASGI turn, no SDK, handle read")),
    Ratio("P4", "ASGI turn with server span", PURE, 0.85),
    Ratio("P4", "ASGI turn with server span", BASE, 0.33),
    Ratio("P5", "WSGI turn, recording", OTEL_WSGI, 0.65, ("WSGI floor, recording", "WSGI turn, no SDK")),
    Ratio("P6", "page load, no SDK", STARLETTE, 0.6, ("page load, recording",)),
    Ratio(
        "P8",
        "child span, processor",
        "child span, set_attributes",
        1.25,
        (PLAIN_CALL, "child span, model call, counted"),
    ),
    Ratio("P15", "baggage of others, read", "baggage of others, stock extract", 0.5),
    Ratio("P15", "baggage with a signed set, read", "baggage with a signed set, stock extract", 2.0),
    Ratio("P16", BY_SESSION, BY_TRACE, 1.05),
    Ratio("P16", WSGI_BY_SESSION, WSGI_BY_TRACE, 1.05),
)


def _ours(name: str, spans: int, sampled: bool = True, **options: Any) -> Callable[[Loop], Case]:
    def make(loop: Loop) -> Case:
        recorder = Recorder(sampled)
        return asgi_case(name, loop, recorder=recorder, spans=spans, **options)

    return make


def _no_sdk(name: str, **options: Any) -> Callable[[Loop], Case]:
    return lambda loop: asgi_case(name, loop, **options)


def _stack(name: str, make: peers.Stack, spans: int, sessions: bool) -> Callable[[Loop], Case]:
    return lambda loop: peers.stack(name, make, loop, spans=spans, sessions=sessions)


# "never": the floor has no server span either. P4 is the one with it.
_ALONE = "never"

CASES: Mapping[str, Callable[[Loop], Case]] = {
    BARE_ASGI: peers.bare_asgi,
    BARE_WSGI: lambda loop: peers.bare_wsgi(),
    STARLETTE: peers.starlette_sessions,
    OTEL_ASGI: _stack(OTEL_ASGI, stacks.server_span, 1, sessions=False),
    OTEL_WSGI: lambda loop: peers.otel_wsgi(),
    PURE: _stack(PURE, stacks.pure_asgi, 2, sessions=True),
    BASE: _stack(BASE, stacks.base_http, 2, sessions=True),
    FLOOR: lambda loop: peers.asgi_floor(FLOOR, loop, Recorder(), 2),
    "ASGI floor, unsampled": lambda loop: peers.asgi_floor("ASGI floor, unsampled", loop, Recorder(False), 0),
    "ASGI floor, no SDK": lambda loop: peers.asgi_floor("ASGI floor, no SDK", loop, None, 0),
    "WSGI floor, recording": lambda loop: peers.wsgi_floor(),
    "ASGI turn, recording": _ours("ASGI turn, recording", 2, server_span=_ALONE),
    "ASGI turn, recording, handle read": _ours("ASGI turn, recording, handle read", 2, server_span=_ALONE, reads=True),
    "ASGI turn, unsampled": _ours("ASGI turn, unsampled", 0, sampled=False, server_span=_ALONE),
    "ASGI turn, no SDK": _no_sdk("ASGI turn, no SDK"),
    "ASGI turn, no SDK, handle read": _no_sdk("ASGI turn, no SDK, handle read", reads=True),
    "ASGI turn with server span": _ours("ASGI turn with server span", 3),
    "WSGI turn, recording": lambda loop: wsgi_case(
        "WSGI turn, recording", recorder=Recorder(), spans=2, server_span=_ALONE
    ),
    "WSGI turn, no SDK": lambda loop: wsgi_case("WSGI turn, no SDK"),
    "page load, no SDK": _no_sdk("page load, no SDK", page=True),
    "page load, recording": _ours("page load, recording", 1, server_span=_ALONE, page=True),
    BY_TRACE: lambda loop: sampled_case(BY_TRACE, loop, by_session=False),
    BY_SESSION: lambda loop: sampled_case(BY_SESSION, loop, by_session=True),
    WSGI_BY_TRACE: lambda loop: sampled_wsgi_case(WSGI_BY_TRACE, by_session=False),
    WSGI_BY_SESSION: lambda loop: sampled_wsgi_case(WSGI_BY_SESSION, by_session=True),
    PLAIN: lambda loop: child_case(PLAIN),
    PLAIN_CALL: lambda loop: child_case(PLAIN_CALL, used=True),
    "child span, model call, counted": lambda loop: child_case(
        "child span, model call, counted", processor=True, used=True
    ),
    "child span, processor": lambda loop: child_case("child span, processor", processor=True),
    "baggage of others, read": lambda loop: inbound_case("baggage of others, read", signed=False, stock=False),
    "baggage of others, stock extract": lambda loop: inbound_case(
        "baggage of others, stock extract", signed=False, stock=True
    ),
    "baggage with a signed set, read": lambda loop: inbound_case(
        "baggage with a signed set, read", signed=True, stock=False
    ),
    "baggage with a signed set, stock extract": lambda loop: inbound_case(
        "baggage with a signed set, stock extract", signed=True, stock=True
    ),
    "child span, set_attributes": lambda loop: child_case("child span, set_attributes", by_hand=True),
}


def needed(numbers: Iterable[str]) -> list[str]:
    """Return the names of the cases that the promises *numbers* need, in the order of the table of cases."""
    wanted = set(numbers)
    names: set[str] = set()
    for row in RATIOS:
        if row.number in wanted:
            names |= {row.case, row.against, *row.cases}
    if any(name.startswith("child span") for name in names):
        names.add(PLAIN)
    names |= {BARE_WSGI} if any("WSGI" in name for name in names) else set()
    names |= {BARE_ASGI} if any(name in names for name in CASES if _is_asgi(name)) else set()
    return [name for name in CASES if name in names]


def _is_asgi(name: str) -> bool:
    return "WSGI" not in name and not name.startswith(("child span", "baggage"))
