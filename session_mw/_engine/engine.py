"""
The engine: what both shells do with a request, apart from speaking its protocol.

A request's way: ``wants`` → ``opening`` (a flow, driven by the shell) → ``enter`` → the application → ``reply`` at
response start → ``leave`` at the last byte. Each is called once; per-request state lives in the ``Visit``.
"""

from __future__ import annotations

import atexit
import logging
import secrets
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.context import Context

from .. import context as handles
from .._core.admission import Presented, admit
from .._core.events import TokenRejected, start_event
from .._core.facts import ALWAYS_TURN, RequestFacts, is_asset, is_turn
from .._core.flows import Admitted, admitted_by, close_turn, collect, end_of, first_touch, open_request, ttl_of
from .._core.ops import Add, Flow
from .._core.records import SessionRecord, TurnRecord
from .._core.reply import Header, amend, token_headers
from .._core.scope import NO_USAGE, SessionScope, TurnState
from .._drive import run_async, run_sync
from ..context import Session, use_hasher
from ..settings import SessionSettings
from ..stores import open_store
from ..sweeper import Background, Plan
from ..telemetry._providers import global_logger_provider
from ..telemetry.install import ensure, instrument
from ..telemetry.metrics import Metrics
from ..telemetry.processors import SessionSpanProcessor
from ..telemetry.propagator import without_ours
from ..telemetry.spans import SpanMaker, trace_of
from . import hints
from .compiled import compile_policy
from .sinks import History, open_history, sinks_of

logger = logging.getLogger("session_mw")

NEW = ("started", "rotated", "refused", "renewed")


CLOSELY = 64  # requests


def wall_clock() -> int:
    """Return the time, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Visit:
    """
    One request on its way through: what was presented, its session, and what remains to be done.

    Attributes:
        facts: The request.
        found: What it presented.
        scope: Its session.
        context: OpenTelemetry context for the application; None without an SDK.
        token_due: Whether the response has to carry a token.
        turn: Whether the request is a turn.
        admitted_ms: This worker's clock at admission.
        left: Whether the request's spans were ended.
    """

    scope: SessionScope
    context: Context | None = None
    token_due: bool = False
    left: bool = False

    def __init__(self, facts: RequestFacts, found: Presented, admitted_ms: int, turn: bool) -> None:
        self.facts = facts
        self.found = found
        self.admitted_ms = admitted_ms
        self.turn = turn


class Engine:
    """
    One per middleware instance. Starts nothing until the first request.

    Args:
        settings: Checked settings; None builds them from *overrides* and the environment.
        tracer_provider: None takes the global one.
        meter_provider: None takes the global one.
        logger_provider: None takes the global one.
        clock: Wall clock in milliseconds since the epoch, for tests.
        endpoint: Finds the handler's ``@turn_endpoint`` mark for a request.
        overrides: Settings by name; they win over *settings*.
    """

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        clock: Callable[[], int] | None = None,
        endpoint: Callable[[RequestFacts], bool | None] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = resolve(settings, overrides or {})
        hints.not_yet(self.settings)
        self.clock = clock or wall_clock
        self.store, self.async_store = open_store(self.settings.store, clock=clock)
        self.policy = compile_policy(self.settings, lambda: self.store.boot_id, endpoint)
        self._own_rule = self.policy.turns.replaced
        self.never_blocks = self.store.name == "memory"
        use_hasher(self.policy.hash_user)
        self.spans = SpanMaker(tracer_provider, self.settings.session_span, frozenset(self.settings.dialects))
        self.metrics = Metrics(meter_provider)
        self.history: History = open_history(self.settings)
        sinks = sinks_of(self.settings, self.history, logger_provider, tracer_provider)
        plan = Plan(
            self.store,
            self.policy.limits,
            sinks,
            self.metrics,
            self.settings.sweep,
            ttl_of(self.policy),
            self.history.write_turns,
            self._prune,
        )
        self.background = Background(plan)
        self._logger_provider = logger_provider
        self._instrumented: object = self  # no provider yet is like this
        self._looks = 0
        self._measures = False
        # The propagator is a value in a global slot: installing it does no I/O and starts nothing.
        instrument(self.policy, processors=False)

    # -- a request's way

    def wants(self, facts: RequestFacts) -> bool:
        """Return whether a request concerns us: not an excluded path, not an asset."""
        if facts.path in self.policy.excluded:
            return False
        # A POST that names no destination fetches no asset.
        return not ((facts.fetch_dest or facts.method == "GET") and is_asset(facts))

    def visit(self, facts: RequestFacts) -> Visit:
        """Verify what a request presents. No I/O."""
        now_ms = self.clock()
        found = admit(facts, self.policy, now_ms)
        if found.rejected:
            for event in found.rejected:
                self._rejected(event)
        turn = found.remote is None and facts.kind == "http" and self._is_turn(facts)
        return Visit(facts, found, now_ms, turn)

    def opening(self, visit: Visit, given_user: str | None = None) -> Flow[Admitted]:
        """Return the flow that admits the request; one store operation at most, in the usual case."""
        policy = self.policy
        user = given_user if policy.user is None else self.user_of(visit.facts)
        return open_request(
            visit.facts, visit.found, policy, visit.admitted_ms, user, turn=visit.turn, failed=self.failed
        )

    def admit_at_once(self, visit: Visit, given_user: str | None = None) -> Admitted:
        """
        Admit a request where the store never waits.

        The usual turn, one touch and no forwarding pointer, is asked for directly: the flow would do the same in
        three frames more.
        """
        if visit.turn and self.policy.user is None:
            first = first_touch(visit.facts, visit.found, self.policy, visit.admitted_ms, given_user)
            try:
                touched = self.store.touch(first)
            except Exception:
                touched = None  # the flow asks again, and knows what a failure means
            if touched is not None and touched.outcome != "moved":
                return admitted_by(first, touched, visit.found, self.policy, visit.admitted_ms)
        return run_sync(self.opening(visit, given_user), self.store)

    def enter(self, visit: Visit, admitted: Admitted) -> SessionScope:
        """Make the scope that the application will see, and see to it that whatever is made from now on carries it."""
        self._ensure_instrumented()
        scope = visit.scope = admitted.scope
        visit.token_due = admitted.token_due
        scope.extra = self
        scope.clock_ms = self.clock()  # not that of admission: the store read its own while it was asked
        if visit.turn:
            turn = scope.turn = TurnState(new_turn_id, admitted.turn_number, time.perf_counter_ns())
            if admitted.conversation_turn is not None:
                turn.conversation_turn = admitted.conversation_turn
        scope.restamp()
        if admitted.outcome in NEW:
            self.metrics.session_started()
        if admitted.outcome == "recovered" and visit.found.claim is not None:
            self._recovered(visit.found.claim.boot_id)
        return scope

    def open_spans(self, visit: Visit, admitted: Admitted, parent: Context | None = None) -> Context | None:
        """Open session and turn span (a remote session has none here), and report the start of a new session."""
        scope = visit.scope
        if visit.found.stripped:
            parent = without_ours(parent)  # somebody outside may have read the header with a stock propagator
        context = self.spans.mark(scope, parent) if scope.remote else self.spans.open(scope, parent)
        visit.context = context
        if admitted.outcome in NEW and scope.stored:
            self.report_start(scope)
        return context

    def report_start(self, scope: SessionScope) -> None:
        """Queue the ``session.start`` of a session that began with this request."""
        record = SessionRecord(
            scope.session_id,
            scope.started_ms,
            scope.started_ms,
            scope.generation,
            user_id=scope.user_id,
            previous_id=scope.previous_id,
            attributes=dict(scope.attributes),
        )
        event = start_event(record)
        self.background.started(event.within(trace_of(scope.turn)))

    def replies(self, visit: Visit) -> bool:
        """Return whether ``reply`` will change anything: most responses go as they are."""
        scope = visit.scope
        scope.replied = True
        return not scope.remote and (
            scope.accessed or visit.token_due or scope.rebind or scope.end_reason is not None
        )

    def reply(self, visit: Visit, headers: Sequence[Header]) -> Sequence[Header]:
        """
        Return the application's response headers with ours. Pure and quick: called before the first byte.

        Args:
            visit: The request.
            headers: The application's, names in lower case.
        """
        if not self.replies(visit):
            return headers
        scope = visit.scope
        new: list[Header] = []
        if visit.token_due or scope.rebind or scope.end_reason is not None:
            new = token_headers(scope, self.policy, self.clock())
            if self.policy.cookie is not None:
                hints.plain_http(visit.facts, self.policy.cookie.secure)
        return amend(headers, new, self.policy, vary=scope.accessed)

    def leave(
        self, visit: Visit, error: BaseException | None = None, status: int | None = None, cut: bool = False
    ) -> Flow[bool] | None:
        """
        Close the request: end its spans, count its turn.

        Args:
            visit: The request.
            error: What the application raised, if it did.
            status: Of the response, None when none was started.
            cut: The application returned without sending the last byte: the client left.

        Returns:
            A flow to be driven before the last byte is sent, when the application ended the session, named its user
            or changed its attributes: the next request must find that. None otherwise, which is the usual case:
            counters are written off the path.
        """
        scope = visit.scope
        if visit.left:
            turn = scope.turn
            quiet = turn is None or (turn.input_tokens is None and turn.output_tokens is None)
            if quiet and not scope.changes and not scope.rebind and scope.end_reason is None:
                return None if turn is None or turn.cost_microusd is None else self._late_changes(visit)
            return self._late_changes(visit)
        visit.left = True
        if cut and error is None:
            error = GeneratorExit()
        news = self.close_turn(scope, error, status)
        if scope.spans:  # open ones of this request: session, and server
            self.spans.end_session(scope, scope.turn.error if scope.turn is not None else None)
        return None if news is None and scope.end_reason is None else self._ending(scope, news)

    def has_news(self, visit: Visit) -> bool:
        """Return whether the application said something that the next request must find written."""
        scope = visit.scope
        return bool(scope.changes) or scope.rebind or (scope.end_reason is not None and not scope.ended)

    def _ending(self, scope: SessionScope, news: Add | None = None) -> Flow[bool] | None:
        """Return the flow that writes *news*, and ends the session if the application asked for it, once."""
        end = end_of(scope, self.policy)
        if end is None or scope.ended:
            return None if news is None else close_turn([news], None)
        scope.ended = True
        pending = self.background.take(scope.session_id)
        if news is not None:
            pending.append(news)
        if self.policy.cookie_codec is not None:
            self.policy.verified.forget(scope.session_id)
        self.policy.verified_headers.forget(scope.session_id)
        self.background.kick()
        return close_turn(pending, end)

    def close_turn(self, scope: SessionScope, error: BaseException | None, status: int | None) -> Add | None:
        """
        End the turn that is open, if one is: its span, its counters, its line in the history.

        Returns:
            What the next request must find written; None when the background may take its time.
        """
        turn = scope.turn
        latency_ms = 0
        if turn is not None and turn.ended:  # counted already, as a connection's last one is when the connection ends
            self._late_usage(scope)
            turn = None
        if turn is not None:
            turn.ended = True
            latency_ms = (time.perf_counter_ns() - turn.started_ns) // 1_000_000
            if error is not None or (status is not None and status >= 500):
                turn.error = error_of(error, status)
            if turn.span is not None:
                self.spans.end_turn(scope, turn, latency_ms, error)
            if self._measures:
                self.metrics.turn_ended(latency_ms / 1000, turn.error is not None)
        if scope.remote or not scope.stored:
            return None
        trace = trace_of(turn) if turn is not None and (turn.span is not None or turn.dropped) else ""
        record = None
        if turn is not None:
            record = self._record(scope, turn, latency_ms, trace, cancelled=error is not None and turn.error is None)
        urgent = bool(scope.changes) or scope.rebind
        # The store's clock now, as far as this worker can tell: its clock at admission, and what has passed since.
        at_ms = scope.opened_ms + max(0, self.clock() - scope.clock_ms)
        item = collect(scope, turn, at_ms, latency_ms, trace)
        self.background.turn(None if urgent else item, record)
        return item if urgent else None

    def _late_changes(self, visit: Visit) -> Flow[bool] | None:
        """Write what background work said after the last byte."""
        scope = visit.scope
        self._late_usage(scope)
        if not self.has_news(visit):
            return None
        news = None
        if (scope.changes or scope.rebind) and scope.stored and not scope.remote:
            news = collect(scope, None, 0, 0, "")
        return self._ending(scope, news)

    def _late_usage(self, scope: SessionScope) -> None:
        """Count what background work reported after its turn: tokens are the session's, whenever they come."""
        turn = scope.turn
        if turn is None or not scope.stored or scope.remote:
            return
        used = turn.take_usage()
        if used is not NO_USAGE:
            item = Add(scope.session_id, scope.generation)
            item.input_tokens, item.output_tokens, item.cost_microusd = used
            self.background.add(item)

    def _record(
        self, scope: SessionScope, turn: TurnState, latency_ms: int, trace: str, cancelled: bool
    ) -> TurnRecord:
        """Return a finished turn's line in the history."""
        return TurnRecord(
            scope.session_id,
            scope.generation,
            turn.number,
            scope.opened_ms,
            latency_ms,
            "error" if turn.error is not None else "cancelled" if cancelled else "ok",
            scope.conversation_id,
            scope.user_id,
            trace,
            turn.error,
            (turn.first_chunk_ns - turn.started_ns) // 1_000_000 if turn.first_chunk_ns else None,
            turn.input_tokens,
            turn.output_tokens,
            turn.cost_microusd,
            {**scope.labels, **turn.attributes} if turn.attributes else scope.labels,
        )

    # -- what handles and integrations ask

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
        """Say that the store failed; requests go on without it."""
        self.metrics.dropped("store_error")
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

    def _is_turn(self, facts: RequestFacts) -> bool:
        if facts.method in ALWAYS_TURN and not self._own_rule and not handles.marks_in_use:
            return True
        try:
            return is_turn(facts, self.policy.turns)
        except Exception as error:
            hints.user_failed(error)
            return facts.method not in ("HEAD", "OPTIONS")

    def _rejected(self, event: TokenRejected) -> None:
        self.metrics.token_rejected(event.reason, event.source)
        hints.rejected(event, self.settings.cookie_name)

    def _recovered(self, boot_id: str | None) -> None:
        if boot_id is None or boot_id == self.store.boot_id:
            return
        if any(other.store.boot_id == boot_id for other in list(_engines)):
            hints.several_engines()
        else:
            hints.several_memories(boot_id)

    def _ensure_instrumented(self) -> None:
        """
        Install the processors at the first request, and again when somebody sets another provider.

        The tracer provider is compared at every request. What is seldom replaced later, loggers and the propagator, is
        looked at closely in the beginning, and now and then afterwards.
        """
        provider, given = self.spans.refresh(), self._logger_provider
        self._looks += 1
        if provider is self._instrumented and self._looks > CLOSELY and self._looks % CLOSELY:
            return
        self._measures = self.metrics.configured()
        ensure(provider, global_logger_provider() if given is None else given)
        if provider is self._instrumented:
            return
        self._instrumented = provider
        if self.spans.live is None:
            hints.no_sdk()
        else:
            hints.no_exporter(provider, SessionSpanProcessor)
            hints.watch_exporters()

    def _prune(self) -> int:
        """Forget a batch of history past ``ledger_retention``; return how many sessions."""
        keep = self.settings.ledger_retention
        return 0 if keep is None else self.history.forget_older_than(self.clock() - round(keep * 1000), 500)

    def drain(self, timeout: float = 2.0) -> None:
        """Write what is queued, within *timeout* seconds. Called at lifespan shutdown and exit."""
        self.background.drain(timeout)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def drain_at_exit(engine: Engine) -> None:
    """
    Write what is queued at interpreter exit, for servers without lifespan (gunicorn's workers); registered once.

    Registered after the SDK's providers when they were made first, so it runs before they shut down (atexit is LIFO).
    """
    if not _engines:
        atexit.register(_drain_all)
    _engines.add(engine)


def _drain_all() -> None:
    for engine in list(_engines):
        engine.drain()


def new_turn_id() -> str:
    """Return a turn's id: 64 random bits, unique within any session."""
    return secrets.token_hex(8)


def error_of(error: BaseException | None, status: int | None) -> str | None:
    """
    Return what made a turn fail: the exception's name, the status code from 500 up, or None.

    A client that left (cancellation, a closed generator) is no failure of the turn.
    """
    if error is not None:
        gone = isinstance(error, GeneratorExit) or type(error).__name__ in ("CancelledError", "ClientDisconnect")
        return None if gone else type(error).__name__
    return str(status) if status is not None and status >= 500 else None


def resolve(settings: SessionSettings | None, overrides: Mapping[str, Any]) -> SessionSettings:
    """Return *settings* with *overrides*, checked together."""
    if settings is None:
        return SessionSettings(**overrides)
    return settings.replace(**overrides) if overrides else settings
