"""One run's results: a line for each promise, a line for each case, and where they were measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .case import Case
from .imports import ImportCost
from .measure import Samples, Spread, added, ratios
from .rows import RATIOS

LATER = {
    "P7": "on uvicorn with a load generator",
}
PACKAGES = ("opentelemetry-sdk", "opentelemetry-instrumentation-asgi", "starlette", "itsdangerous")


@dataclass(frozen=True)
class Line:
    """
    What became of one promise.

    Attributes:
        number: Of the promise.
        what: Was measured.
        measured: As text, with its spread.
        target: As text.
        factor: Measured over target; None when nothing was measured.
        on_path: The same without what is done after the responses, as text; empty where there is no such thing.
    """

    number: str
    what: str
    measured: str
    target: str
    factor: float | None
    on_path: str = ""

    @property
    def verdict(self) -> str:
        """Whether the promise is kept: ``ok``, ``over (1.3x target)`` or ``not measured``."""
        if self.factor is None:
            return "not measured"
        return "ok" if self.factor <= 1 else f"over ({self.factor:.2f}x target)"


@dataclass(frozen=True)
class CaseLine:
    """
    What one case costs, microseconds a run.

    Attributes:
        name: Of the case.
        total: CPU time.
        added: Above its base.
        off_path: Of it, after the response.
        spans: Recorded per run.
    """

    name: str
    total: Spread
    added: Spread
    off_path: float
    spans: int


def ratio_lines(cases: Mapping[str, Case], samples: Samples, numbers: Iterable[str]) -> list[Line]:
    """Return the lines of the promises that are ratios."""
    wanted, lines = set(numbers), []
    for row in RATIOS:
        if row.number not in wanted:
            continue
        case, against = cases[row.case], cases[row.against]
        found = Spread.of(ratios(case, against, samples))
        before = Spread.of(ratios(case, against, samples, on_path=True))
        measured = f"{found.median:.2f}x ({found.low:.2f}..{found.high:.2f})"
        what, target = f"{row.case} / {row.against}", f"<= {row.target:.2f}x"
        lines.append(Line(row.number, what, measured, target, found.median / row.target, f"{before.median:.2f}x"))
    return lines


def import_lines(cost: ImportCost) -> list[Line]:
    """Return the lines of P14."""
    loads = ", ".join(cost.loads) or "none"
    time_text = f"{cost.cpu_ms:.1f} ms CPU, {cost.wall_ms:.1f} ms wall"
    return [
        Line("P14", "import session_mw, above its dependencies", time_text, "<= 60 ms", cost.wall_ms / 60),
        Line("P14", "frameworks, SDKs, drivers it loads", loads, "none", 2.0 if cost.loads else 0.0),
    ]


def memory_lines(found: Mapping[str, float]) -> list[Line]:
    """Return the lines of P9, and of P10 for the memory store."""
    size = f"memory store, {found['sessions']:,.0f} sessions"
    parts = (
        ("touch", found["touch_us"], "us", 2.0),
        (f"claim {found['claimed']:,.0f} due", found["claim_ms"], "ms", 15.0 * found["claimed"] / 10_000),
        ("nothing due", found["none_ms"], "ms", 0.1),
        ("a session", found["bytes"], "bytes", 400.0),
    )
    lines = [
        Line("P9", f"{size}: {what}", f"{value:.3g} {unit}", f"<= {target:g} {unit}", value / target)
        for what, value, unit, target in parts
    ]
    growth = found["touch_us"] / found["small_touch_us"]
    what = f"{size}: touch, against 1,000 sessions"
    return [*lines, Line("P10", what, f"{growth:.2f}x", "<= 1.50x", growth / 1.5)]


def store_lines(store: str, driver: str, most_bytes: float | None, found: Mapping[str, float]) -> list[Line]:
    """
    Return the lines of P10, P11 and P12 for a store that processes share.

    Args:
        store: Its name.
        driver: What does the same statements beside it.
        most_bytes: What a session may take; None: what it does take is shown only.
        found: What was measured.
    """
    size = f"{store}, {found['sessions']:,.0f} sessions"
    growth, held = found["touch_us"] / found["small_touch_us"], found["bytes"]
    allowed, share = ("-", 0.0) if most_bytes is None else (f"<= {most_bytes:g} bytes", held / most_bytes)
    touch = _beside(found["ratio"], found["store_us"], found["driver_us"])
    swept = _beside(found["claim_ratio"], found["claim_us"], found["bare_us"])
    once = found["twice"] == 0 and found["missed"] == 0 and found["claimed"] == found["due"]
    shared = f"{found['shared_us']:.1f} us, {'each once' if once else 'NOT each once'}"
    due = f"claim + ack of {found['due']:,.0f} due"
    one, cpu = (
        found["claim_us"],
        f"CPU {found['cpu_us']:.1f}, bare {found['bare_cpu_us']:.1f}, server {found['server_us']:.1f}",
    )
    return [
        Line("P10", f"{size}: touch, against 1,000 sessions", f"{growth:.2f}x", "<= 2.00x", growth / 2.0),
        Line("P10", f"{size}: a session", f"{held:.0f} bytes", allowed, share),
        Line("P11", f"{store}: touch / {driver}", touch, "<= 1.30x", found["ratio"] / 1.3),
        Line("P12", f"{size}: {due}, a session", f"{one:.1f} us ({cpu})", "<= 10 us", one / 10),
        Line("P12", f"{store}: claim + ack / {driver}", swept, "<= 1.30x", found["claim_ratio"] / 1.3),
        Line("P12", f"{size}: claim + ack, two workers", shared, "each once", 0.0 if once else 2.0),
    ]


def _beside(ratio: float, mine: float, other: float) -> str:
    return f"{ratio:.2f}x ({mine:.0f} / {other:.0f} us)"


def sqlite_lines(found: Mapping[str, float]) -> list[Line]:
    """Return the lines of the SQLite store."""
    return store_lines("SQLite", "sqlite3, same statements", None, found)


def postgres_lines(found: Mapping[str, float]) -> list[Line]:
    """Return the lines of the PostgreSQL store."""
    return store_lines("PostgreSQL", "psycopg, same statements", None, found)


def redis_lines(found: Mapping[str, float]) -> list[Line]:
    """Return the lines of the Redis store."""
    return store_lines("Redis", "redis-py, same scripts", 430.0, found)


def stall_lines(found: Mapping[str, float]) -> list[Line]:
    """Return the lines of P13: what the store adds to how late the machine is by itself."""
    lines = []
    for name, target in (("p99", 5.0), ("max", 60.0)):
        more = max(0.0, found[name] - found[f"alone_{name}"])
        text = f"{more:.1f} ms ({found[name]:.1f} / {found[f'alone_{name}']:.1f})"
        what = f"SQLite, 4 processes writing: loop late, {name}, above the same on a file of its own"
        lines.append(Line("P13", what, text, f"<= {target:g} ms", more / target))
    return lines


def surge_lines(store: str, found: Mapping[str, float]) -> list[Line]:
    """Return the lines of G15 for one store."""
    ended, left, seconds, extra = found["ended"], found["left"], found["seconds"], found["extra_p99"]
    over = f"{seconds:.1f} s ({found['rate']:,.0f}/s{'' if left == 0 else f', {left:,.0f} LEFT'})"
    times = f"{extra:.1f} ms ({found['busy_p99']:.2f} / {found['calm_p99']:.2f}; median "
    times += f"{found['busy_p50']:.2f} / {found['calm_p50']:.2f}, longest {found['busy_max']:.0f})"
    worst = max(seconds / 30, 2.0 if left else 0.0)
    return [
        Line("G15", f"{store}: {ended:,.0f} due at once, one sweeper", over, "<= 30 s", worst),
        Line("G15", f"{store}: a touch meanwhile, p99 above before", times, "<= 5 ms more", max(0.0, extra) / 5),
    ]


def later_lines(numbers: Iterable[str]) -> list[Line]:
    """Return lines for promises that are measured elsewhere, or not yet."""
    return [Line(number, LATER[number], "-", "-", None) for number in numbers if number in LATER]


def case_lines(cases: Sequence[Case], samples: Samples) -> list[CaseLine]:
    """Return a line for each case, in their order."""
    lines = []
    for case in cases:
        own = samples[case.name]
        total = Spread.of([sample.total / 1_000 for sample in own])
        above = Spread.of([value / 1_000 for value in added(case, samples)])
        off_path = Spread.of([sample.off_path / 1_000 for sample in own]).median
        lines.append(CaseLine(case.name, total, above, off_path, case.spans))
    return lines


def surroundings() -> dict[str, str]:
    """Return where this was measured."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"python": python, "cores": str(os.cpu_count()), "load": load, **versions}
