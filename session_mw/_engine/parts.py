"""
What an engine is made of, and what its parts are asked apart from a request's way: settings compiled, store opened,
telemetry and background wired.

Nothing that fails here reaches the application: the store, a sink, a callable of the application's own.
"""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from .._clocks import store_clock
from .._core.admission import Presented
from .._core.early import Desk, Reader
from .._core.events import TokenRejected
from .._core.facts import RequestFacts, is_turn
from .._core.flows import ttl_of
from .._core.ops import Flow
from .._core.scope import SessionScope
from .._core.store_clock import StoreClock
from .._drive import run_async, run_sync
from .._worker import DRAIN_SECONDS, Budget
from ..context import Session
from ..context.users import use_hasher
from ..exceptions import StoreFull
from ..settings import SessionSettings
from ..stores import open_store
from ..sweeper import Background, Plan
from ..telemetry._providers import (
    behind,
    global_logger_provider,
    logger_provider_of,
    meter_provider_of,
    tracer_provider_of,
)
from ..telemetry.early import serves
from ..telemetry.flushing import flush
from ..telemetry.install import ensure, instrument
from ..telemetry.metrics import Metrics
from ..telemetry.processors import SessionSpanProcessor, inherit_also
from ..telemetry.spans import SpanMaker
from . import hints
from .compiled import compile_policy, resolve
from .guard import AsyncGuardedStore, Gate, GuardedStore
from .settle import Settle
from .sinks import History, open_history, sinks_of

CLOSELY = 64  # requests


class Parts:
    """
    The parts of one engine. Starts nothing until the first request.

    Args:
        settings: Checked settings; None builds them from *overrides* and the environment.
        tracer_provider: None takes the global one.
        meter_provider: None takes the global one.
        logger_provider: None takes the global one.
        clock: Wall clock in milliseconds since the epoch, for tests: everything goes by it. A ``StoreClock`` is this
            worker's own only, where a server is the store.
        endpoint: Finds the handler's ``@turn_endpoint`` mark for a request.
        params: Finds the parameters of a request's path.
        named: Looks at what a request presented, and may name its session where nothing better did.
        overrides: Settings by name; they win over *settings*.

    Attributes:
        expects_sdk: Whether it is worth a word that nothing records spans. Not where others make them all.
    """

    expects_sdk = True

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        clock: Callable[[], int] | None = None,
        endpoint: Callable[[RequestFacts], bool | None] | None = None,
        params: Callable[[RequestFacts], Mapping[str, Any]] | None = None,
        named: Callable[[RequestFacts, Presented], None] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = resolve(settings, overrides or {})
        self.named = named
        self.metrics = Metrics(meter_provider)
        self.store, self.async_store = open_store(self.settings.store, clock=clock)
        self.clock: StoreClock = getattr(self.store, "clock", None) or store_clock(clock)
        behind = self.store
        self.gate = None if self.store.name == "memory" else self._gate(clock)
        if self.gate is not None:
            behind = GuardedStore(self.store, self.gate, behind=True)
            self.store = GuardedStore(self.store, self.gate)
            self.async_store = AsyncGuardedStore(self.async_store, self.gate)
        self.policy = compile_policy(self.settings, lambda: self.store.boot_id, endpoint, params)
        self.desk = self.policy.desk = Desk(self.policy, self.clock)
        self.own_rule = self.policy.turns.replaced
        self.turns_only = self.settings.stamp_spans == "turns"
        self.never_blocks = self.store.name == "memory"
        use_hasher(self.policy.hash_user)
        inherit_also(self.policy.rules.dressing.stamped)
        self.spans = SpanMaker(tracer_provider, self.settings.session_span, frozenset(self.settings.dialects))
        self.history: History = open_history(self.settings)
        if self.store.name == "redis" and self.settings.ledger is None:
            hints.history_in_memory()
        sinks = sinks_of(self.settings, self.history, logger_provider, tracer_provider)
        plan = Plan(
            behind,
            self.policy.limits,
            sinks,
            self.metrics,
            self.settings.sweep,
            ttl_of(self.policy),
            self.history.write_turns,
            self._prune,
            Settle(behind, self.history),
            self.clock,
        )
        self.background = Background(plan)
        self._logger_provider = logger_provider
        self._given = (tracer_provider, meter_provider, logger_provider)
        self._instrumented: object = self  # no provider yet is like this
        self._behind: object = None  # the provider behind it, where it is another SDK's proxy
        self._looks = 0
        self._asked = False  # the store, what time it is
        self.measures = False
        # The propagator is a value in a global slot: installing it does no I/O and starts nothing.
        instrument(self.policy, processors=False)
        _latest[:] = [weakref.ref(self)]

    def serves(self, **readers: Reader) -> None:
        """Say how requests are read, ``asgi`` and ``wsgi``, for whoever looks at them before the middleware does."""
        self.desk.readers.update(readers)
        serves(self.policy)

    def _gate(self, clock: Callable[[], int] | None) -> Gate:
        """Return what stands before the store; tests turn its clock with the wall's."""
        seconds = time.monotonic if clock is None or isinstance(clock, StoreClock) else lambda: clock() / 1000
        gate = Gate(seconds, self.metrics.store_latency, hints.store_back)
        self.metrics.watch_breaker(self.store.name, gate)
        return gate

    @staticmethod
    def ticks() -> int:
        """Return the monotonic clock that turns are measured by, nanoseconds."""
        return time.perf_counter_ns()

    def hash_user(self, user_id: object) -> str | None:
        """Return what telemetry may show of a user id, by ``user_id_mode``."""
        return self.policy.hash_user(user_id)

    def new_id(self, keep: str | None) -> str:
        """Return a new session id; the sampling key and shard of *keep* are carried over."""
        return self.policy.new_id(keep)

    def too_late(self, scope: SessionScope, what: str) -> None:
        """Say once that the response cannot carry the token any more."""
        if scope.replied:
            hints.too_late(what)

    def user_of(self, facts: RequestFacts) -> str | None:
        """Return the pseudonym of the user whom the application's callable names; its errors are logged."""
        if self.policy.user is None:
            return None
        try:
            return self.policy.hash_user(self.policy.user(facts))
        except Exception as error:
            hints.user_failed(error)
            return None

    def meet(self, scope: SessionScope, user: object) -> None:
        """
        Take the user that a framework resolved meanwhile, without asking it to.

        Where the application names users itself (the setting ``user``), a framework's ids would be other users.
        """
        if user is not None and not scope.remote and self.policy.user is None:
            Session(scope).identify(user)

    def failed(self, error: Exception) -> None:
        """Say that the store failed, or is full; requests go on without it."""
        if isinstance(error, StoreFull):
            self.metrics.dropped("capacity")
            hints.store_full(self.settings.max_live)
            return
        self.metrics.dropped(getattr(error, "reason", "store_error"))
        hints.store_failed(error)

    def asked(self, when: Callable[[RequestFacts], bool], facts: RequestFacts) -> bool:
        """Ask the application's own turn rule; when it fails, it is a turn."""
        try:
            return bool(when(facts))
        except Exception as error:
            hints.user_failed(error)
            return True

    def guarded(self, flow: Flow[bool]) -> None:
        """Drive *flow* with the synchronous store; a failing store is logged, never raised."""
        try:
            run_sync(flow, self.store)
        except Exception as error:
            self.failed(error)

    async def guarded_async(self, flow: Flow[bool]) -> None:
        """Drive *flow* with the asynchronous store; a failing store is logged, never raised."""
        try:
            await run_async(flow, self.async_store)
        except Exception as error:
            self.failed(error)

    def is_turn(self, facts: RequestFacts) -> bool:
        """Return whether a request is a turn; a rule of the application's that fails makes it one."""
        try:
            return is_turn(facts, self.policy.turns)
        except Exception as error:
            hints.user_failed(error)
            return facts.method not in ("HEAD", "OPTIONS")

    def rejected(self, event: TokenRejected) -> None:
        self.metrics.token_rejected(event.reason, event.source)
        hints.rejected(event, self.settings.cookie_name)

    def recovered(self, boot_id: str | None) -> None:
        if boot_id is None or boot_id == self.store.boot_id:
            return
        if any(other.store.boot_id == boot_id for other in list(_engines)):
            hints.several_engines()
        else:
            hints.several_memories(boot_id)

    def ensure_instrumented(self) -> None:
        """
        Install the processors at the first request, and again when somebody sets another provider.

        The tracer provider is compared at every request. What is seldom replaced later, loggers and the propagator, is
        looked at closely in the beginning, and now and then afterwards.
        """
        provider, given = self.spans.refresh(), self._logger_provider
        self._looks += 1
        same = provider is self._instrumented and (self._behind is None or behind(provider) is self._behind)
        if same and self._looks > CLOSELY and self._looks % CLOSELY:
            return
        self.measures = self.metrics.configured()
        ensure(provider, global_logger_provider() if given is None else given)
        inner = behind(provider)
        self._behind = None if inner is provider else inner
        if provider is self._instrumented:
            return
        self._instrumented = provider
        if self.spans.live is None:
            if self.expects_sdk:
                hints.no_sdk()
        else:
            drain_first()
            hints.no_exporter(provider, SessionSpanProcessor)
            hints.watch_exporters()

    def _prune(self) -> int:
        """
        Forget a batch of history past its retention, or sum up a day.

        Returns:
            How many sessions, and turns with what was said, or days; 0 when all of it is done.
        """
        forgotten, now_ms, settings = 0, self.clock(), self.settings
        for keep, forget in (
            (settings.content_retention, self.history.forget_content_older_than),
            (settings.ledger_retention, self.history.forget_older_than),
        ):
            if keep is not None:
                forgotten += forget(now_ms - round(keep * 1000), 500)
        return forgotten or self.history.roll_up(now_ms, 0.1)

    def drain(self, timeout: float = DRAIN_SECONDS) -> None:
        """Write what is queued and give up what is held, within *timeout* seconds. Called at the end of a process."""
        self.background.drain(timeout)

    def shut_down(self, timeout: float = DRAIN_SECONDS) -> None:
        """
        Drain, and have the application's OpenTelemetry providers send what they hold, within *timeout* seconds.

        For servers that end their workers by a signal: the providers' own exit hooks never run there. They are flushed,
        not shut down: they are the application's.
        """
        budget = Budget(timeout)
        self.drain(budget.left(0.75))
        flush(self._providers(), budget.left())

    def _providers(self) -> list[Any]:
        """Return the application's providers: those given, else the global ones."""
        tracers, meters, loggers = self._given
        return [tracer_provider_of(tracers), meter_provider_of(meters), logger_provider_of(loggers)]


_engines: weakref.WeakSet[Parts] = weakref.WeakSet()
_latest: list[weakref.ref[Parts]] = []


def latest_engine() -> Parts | None:
    """Return the engine that was made last in this process, if it still is."""
    return _latest[0]() if _latest else None


def drain_at_exit(engine: Parts) -> None:
    """
    Write what is queued at interpreter exit, for servers without lifespan (gunicorn's workers); registered once.

    Registered after the SDK's providers when they were made first, so it runs before they shut down (atexit is LIFO).
    """
    if not _engines:
        atexit.register(_drain_all)
    _engines.add(engine)


def drain_first() -> None:
    """Register again, for a provider that was made after the engine: what is written after its shutdown is lost."""
    atexit.unregister(_drain_all)
    atexit.register(_drain_all)


def _drain_all() -> None:
    """Drain all engines, in the time that one may take."""
    engines, budget = list(_engines), Budget(DRAIN_SECONDS)
    for number, engine in enumerate(engines):
        engine.drain(budget.left() / (len(engines) - number))
