"""
What it costs to read a request's baggage: whose it is, and what of it goes on; beside OpenTelemetry's own reading.

Ours looks for our entries in every request that brings the header, verifies them, and leaves the others' as they came.
The stock propagator decodes the same header into a context, and believes all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from session_mw._core.admission import Presented, admit
from session_mw._core.baggage import render
from session_mw._core.facts import RequestFacts
from session_mw._engine.compiled import compile_policy

from .case import Case, CaseError
from .ours import settings

NOW = 1_761_999_022_000
SESSION = "Zk3vQ1mT8yYAq5JtW0bXc7LdRfGhNpSe"
OURS = {
    "session.id": SESSION,
    "user.id": "u_0f4a5b6c7d8e9f00112233445566778a",
    "gen_ai.conversation.id": SESSION,
    "turn.number": "7",
}
FOREIGN = "tenant=t1,region=eu-west,release=2026.11,experiment=b"


def inbound_case(name: str, *, signed: bool, stock: bool) -> Case:
    """Return one of the four: with a signed set of ours in the header or without, read by us or by the stock one."""
    policy = compile_policy(settings(), lambda: None)
    assert policy.signer is not None
    ours = {**OURS, "session.sig": policy.signer.sign(OURS, NOW)} if signed else {}
    header = render(ours, FOREIGN)
    line, propagator = header.encode(), W3CBaggagePropagator()

    def read_by_us() -> Presented:
        facts = RequestFacts("http", "POST", "/chat", "https", "203.0.113.9", {})
        facts.baggage = [line]
        return admit(facts, policy, NOW)

    def read_by_stock() -> Context:
        return propagator.extract({"baggage": header}, Context())

    case = Case(name, _timed(read_by_stock if stock else read_by_us))

    def check() -> None:
        case.ran += 1
        if stock:
            right = len(get_all(read_by_stock())) == len(header.split(","))
        else:
            found = read_by_us()
            right = found.baggage == FOREIGN and (found.remote is not None) is signed and not found.rejected
        if not right:
            raise CaseError(f"{name}: the header was not read as it should be")

    case.check = check
    return case


def _timed(read: Callable[[], object]) -> Callable[[int], int]:
    def run(count: int) -> int:
        began = time.process_time_ns()
        for _ in range(count):
            read()
        return time.process_time_ns() - began

    return run
