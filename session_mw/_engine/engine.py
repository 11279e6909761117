"""
The engine: what both shells do with a request, apart from speaking its protocol.

A request's way: ``wants`` → ``opening`` (a flow, driven by the shell) → ``enter`` → the application → ``reply`` at
response start → ``leave`` at the last byte. Each is called once; per-request state lives in the ``Visit``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context

from .._core.admission import Presented, admit
from .._core.closing import close_turn, collect, end_of
from .._core.events import start_event
from .._core.facts import ALWAYS_TURN, ASSET_DESTS, RequestFacts, is_asset, is_preflight
from .._core.flows import Admitted, admitted_by, first_touch, open_request
from .._core.ops import UNHELD, Add, End, Flow
from .._core.records import SessionRecord, TurnRecord
from .._core.reply import Header, amend, may_be_kept_back, token_headers
from .._core.scope import SessionScope
from .._core.turn_state import NO_USAGE, TurnState, Usage
from .._core.waiting import open_waiting
from .._drive import run_sync
from ..context import marks
from ..telemetry.calls import dropped_of, records_of
from ..telemetry.content import settle
from ..telemetry.early import sampler_expected
from ..telemetry.propagator import without_ours
from ..telemetry.spans import UNSAMPLED, trace_of
from ..telemetry.tally import close
from . import hints
from .early import check_decided, presented
from .guest import Guest
from .parts import Parts
from .visit import Visit, error_of, new_turn_id

NEW = ("started", "rotated", "refused", "renewed")


class Engine(Parts):
    """One per middleware instance: takes requests through, with the parts it has."""

    def wants(self, facts: RequestFacts) -> bool:
        """Return whether a request concerns us: not an excluded path, not an asset, not a browser's own question."""
        if facts.path in self.policy.excluded:
            return False
        if facts.method == "OPTIONS" and is_preflight(facts):
            return False
        if facts.fetch_dest:
            return facts.fetch_dest not in ASSET_DESTS
        # A POST that names no destination fetches no asset.
        return facts.method != "GET" or not is_asset(facts)

    def visit(self, facts: RequestFacts) -> Visit:
        """Verify what a request presents. No I/O."""
        now_ms = self.clock()
        found = presented(self, facts, now_ms) if sampler_expected() else admit(facts, self.policy, now_ms)
        if found.rejected:
            for event in found.rejected:
                self.rejected(event)
        if self.named is not None:
            self.named(facts, found)
        turn = False
        if facts.kind == "http" and found.remote is None:
            turn = (facts.method in ALWAYS_TURN and not self.own_rule and not marks.in_use) or self.is_turn(facts)
        if found.waits:
            found.waits, turn = turn, False  # a turn begins when the application has let it in
        if not (turn or found.waits or self.clock.sure or found.remote):  # a turn's touch will tell
            now_ms = self._untold(found, now_ms)
        return Visit(facts, found, now_ms, turn)

    def _untold(self, found: Presented, now_ms: int) -> int:
        """
        Return what time it may be, before the store has told: nothing is over because this machine's clock is off.

        A sweep asks the store, since this request will not. A token that is issued before the answer has the wall
        clock's date: where that is an hour behind, the visitor's first turn elsewhere may begin under another id.
        """
        if not self._asked:
            self._asked = True
            self.background.kick()
        return now_ms if found.claim is None else self.clock.near(found.claim.issued_ms)

    def opening(self, visit: Visit, given_user: str | None = None) -> Flow[Admitted]:
        """Return the flow that admits the request; one store operation at most, in the usual case."""
        policy = self.policy
        user = given_user if policy.user is None else self.user_of(visit.facts)
        facts, found, now_ms = visit.facts, visit.found, visit.admitted_ms
        if found.waits:
            return open_waiting(facts, found, policy, now_ms, user)
        return open_request(facts, found, policy, now_ms, user, turn=visit.turn, failed=self.failed)

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
            if touched is not None and touched.outcome not in UNHELD:
                return admitted_by(first, touched, visit.found, self.policy)
        return run_sync(self.opening(visit, given_user), self.store)

    def enter(self, visit: Visit, admitted: Admitted) -> SessionScope:
        """Make the scope that the application will see, and see to it that whatever is made from now on carries it."""
        self.ensure_instrumented()
        scope = visit.scope = admitted.scope
        if visit.found.decided is not None:
            check_decided(self, visit.found.decided, scope.session_id)
        visit.token_due = admitted.token_due
        scope.extra, scope.rules = self, self.policy.rules
        if scope.conversation_id is not None:
            scope.conversation_said = visit.facts.conversation
        self.begin(scope, admitted, turn=visit.turn)
        if scope.remote:
            self.guest(scope)
        elif self.turns_only:
            scope.quiet = not visit.turn
        if admitted.outcome in NEW:
            self.metrics.session_started()
        if admitted.outcome == "recovered" and visit.found.claim is not None:
            self.recovered(visit.found.claim.boot_id)
        return scope

    def begin(self, scope: SessionScope, admitted: Admitted, *, turn: bool) -> None:
        """Note what an admission counted, and by which clocks it began."""
        # Not the time of admission: the store read its clock while it was asked.
        if self.clock.own:
            scope.clock_ms = scope.opened_ms
        elif scope.stored and admitted.turn_number is not None:
            scope.clock_ms = self.clock.heard(scope.opened_ms)
        else:
            scope.clock_ms = self.clock()
        if turn:
            began = scope.turn = TurnState(new_turn_id, admitted.turn_number, time.perf_counter_ns())
            if scope.stored or scope.unheard:
                began.owner = (scope.session_id, scope.generation, self)
            if scope.stored:
                self.background.opened(began)
            if admitted.conversation_turn is not None:
                began.conversation_turn = admitted.conversation_turn
        scope.restamp()

    def guest(self, scope: SessionScope) -> None:
        """Count what is used here into a session that another service owns, through the store that both share."""
        scope.quiet = self.turns_only and scope.remote_turn is None
        scope.turn = TurnState(new_turn_id, scope.remote_turn, time.perf_counter_ns())
        scope.turn.owner, scope.turn.rules = (scope.session_id, scope.generation, Guest(self)), scope.rules
        scope.turn.ended = scope.turn.loose = True

    def between_turns(self, scope: SessionScope) -> None:
        """See to it that what is reported while no turn is open goes to the session."""
        loose = scope.turn = TurnState(new_turn_id, None, time.perf_counter_ns())
        loose.owner, loose.rules = (scope.session_id, scope.generation, self), scope.rules
        loose.ended = loose.loose = True

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
        return not scope.remote and (scope.accessed or visit.token_due or scope.rebind or scope.end_reason is not None)

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
            # What the application said (a login, a logout) is about whoever sent this, whatever was kept back.
            asked = scope.rebind or scope.end_reason is not None
            cookie = asked or visit.found.claim is not None or not may_be_kept_back(visit.facts, self.policy)
            new = token_headers(scope, self.policy, self.clock(), cookie)
            if cookie and self.policy.cookie is not None:
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
            return self._late_changes(visit)
        visit.left = True
        if cut and error is None:
            error = GeneratorExit()
        news = self.close_turn(scope, error, status)
        if scope.spans:  # open ones of this request: session, and server
            self.spans.end_session(scope, scope.turn.error if scope.turn is not None else None)
        return None if news is None and scope.end_reason is None else self.ending(scope, news)

    def has_news(self, visit: Visit) -> bool:
        """Return whether the application said something that the next request must find written."""
        scope = visit.scope
        return bool(scope.changes) or scope.rebind or (scope.end_reason is not None and not scope.ended)

    def ending(self, scope: SessionScope, news: Add | None = None) -> Flow[bool] | None:
        """Return the flow that writes *news*, and ends the session if the application asked for it, once."""
        end = end_of(scope, self.policy)
        if end is None or scope.ended:
            return None if news is None else self._closing([news])
        scope.ended = True
        pending = self.background.take(scope.session_id)
        if news is not None:
            pending.append(news)
        if self.policy.cookie_codec is not None:
            self.policy.verified.forget(scope.session_id)
        self.policy.verified_headers.forget(scope.session_id)
        self.background.kick()
        return self._closing(pending, end)

    def _closing(self, items: Sequence[Add], end: End | None = None) -> Flow[bool]:
        return close_turn(items, end, self.background.add, self.background.end_later)

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
            latency_ms = self._end_turn(scope, turn, error, status)
        if scope.unheard:  # of tokens there is a record, whether its turn was counted or not
            self._late_usage(scope)
        if scope.remote or not scope.stored:
            return None
        trace = ""
        if turn is not None:
            trace = UNSAMPLED if turn.dropped else trace_of(turn) if turn.span is not None else ""
        urgent = bool(scope.changes) or scope.rebind
        item = collect(scope, turn, scope.at(self.clock()), latency_ms, trace)
        record = None
        if turn is not None and item is not None and turn.number is not None:
            cancelled = error is not None and turn.error is None
            record = self._record(scope, turn, item, trace, cancelled)
        keeper = self.background if turn is None or turn.keeper is None else turn.keeper
        keeper.turn(None if urgent else item, record)
        return item if urgent else None

    def _end_turn(self, scope: SessionScope, turn: TurnState, error: BaseException | None, status: int | None) -> int:
        """Say how the turn went, on its span and in the metrics; return its latency in milliseconds."""
        close(turn)
        self.background.closed(turn)
        latency_ms = (time.perf_counter_ns() - turn.started_ns) // 1_000_000
        if error is not None or (status is not None and status >= 500):
            turn.error = error_of(error, status)
        if turn.tally is not None:
            turn.settle()
        if turn.heard is not None:
            settle(scope, turn)
        if turn.span is not None:
            self.spans.end_turn(scope, turn, latency_ms, error)
        if self.measures:
            self.metrics.turn_ended(latency_ms / 1000, turn.error is not None)
        return latency_ms

    def _late_changes(self, visit: Visit) -> Flow[bool] | None:
        """Write what background work said after the last byte."""
        scope, turn = visit.scope, visit.scope.turn
        if turn is not None and turn.reported:
            self._late_usage(scope)
        if not self.has_news(visit):
            return None
        news = None
        if (scope.changes or scope.rebind) and scope.stored and not scope.remote:
            news = collect(scope, None, 0, 0, "")
        return self.ending(scope, news)

    def said(self, scope: SessionScope) -> None:
        """
        Write at once what was said of a session that was set by a call, between two turns: no block's end will.

        The store may block for a moment, as it does where the session is set.
        """
        if scope.turn is None or not scope.turn.loose:
            return
        flow = self.ending(scope, collect(scope, None, 0, 0, ""))
        try:
            if flow is not None:
                run_sync(flow, self.store)
        except Exception as error:
            self.failed(error)

    def _late_usage(self, scope: SessionScope) -> None:
        """Count what was reported while the turn was being closed, or without an owner to hand it to."""
        turn = scope.turn
        if turn is None or scope.remote or not (scope.stored or scope.unheard):
            return
        used = turn.take_usage()
        if used is not NO_USAGE:
            self.late_usage(scope.session_id, scope.generation, used)

    def late_usage(self, session_id: str, generation: int, used: Usage, remote: bool = False) -> None:
        """Count what was reported after its turn: tokens are the session's, whenever they come. For any thread."""
        item = Add(session_id, generation, remote=remote) if remote else Add(session_id, generation)
        item.input_tokens, item.output_tokens, item.cost_microusd = used
        self.background.add(item)

    def totals(self, scope: SessionScope) -> Mapping[str, Any]:
        """Return the totals of *scope*'s session, what its open turn has reported so far counted in."""
        from .totals import read_totals  # it knows the engine

        return run_sync(read_totals(self, scope.session_id, scope), self.store)

    def _record(self, scope: SessionScope, turn: TurnState, item: Add, trace: str, cancelled: bool) -> TurnRecord:
        """Return a finished turn's line in the history. What it used is what *item* brings to the session."""
        said = {**scope.labels, **turn.attributes} if turn.attributes else scope.labels
        if turn.heard is not None:
            said = {**said, **turn.heard.kept}
        if turn.tally is not None and (dropped := dropped_of(turn)):
            said = {**said, **dropped}
        return TurnRecord(
            scope.session_id,
            scope.generation,
            turn.number,
            scope.opened_ms,
            item.latency_ms,
            "error" if turn.error is not None else "cancelled" if cancelled else "ok",
            scope.conversation_id,
            scope.user_id,
            trace,
            turn.error,
            (turn.first_chunk_ns - turn.started_ns) // 1_000_000 if turn.first_chunk_ns else None,
            item.input_tokens,
            item.output_tokens,
            item.cost_microusd,
            said,
            () if turn.tally is None else records_of(turn, scope.opened_ms),
        )
