"""Baggage in and out: ours kept out of the process's baggage, sent only where it may go; others' kept as it came."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.instrumentation.wsgi import wsgi_getter
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw._core import baggage as wire
from session_mw._core.scope import current_scope
from session_mw.telemetry.context import scope_of, with_scope
from session_mw.telemetry.destination import destination_host
from session_mw.telemetry.processors import SessionSpanProcessor
from session_mw.telemetry.propagator import SIGNED_MS, SessionBaggagePropagator
from tests.telemetry.support import SIGNER, Spans, make_policy, make_scope, sent_by

HOSTILE = (
    "session.id=evil,user.id=admin,tenant=t1",
    "tenant=t1,SESSION.ID=evil",
    "%73ession.id=evil,tenant=t1",
    "+session.id=evil,tenant=t1",
    "tenant=t1,session.sig=1.1.AAAA,gen_ai.conversation.id=c,conversation.id=c,turn.number=9",
    " session.id = evil ; p=1 , tenant=t1",
    "langfuse_session_id=evil,Langfuse_User_Id=admin,tenant=t1",
)


@pytest.fixture
def clock() -> list[int]:
    return [1_700_000_000_000]


@pytest.fixture
def propagator(clock: list[int]) -> SessionBaggagePropagator:
    return SessionBaggagePropagator(make_policy(), clock=lambda: clock[0])


def _extract(propagator: Any, *lines: str, context: Context | None = None) -> dict[str, object]:
    carrier = {"baggage": list(lines)}
    return dict(baggage.get_all(propagator.extract(carrier, Context() if context is None else context)))


def test_extract_keeps_the_baggage_of_others(propagator: SessionBaggagePropagator) -> None:
    """What is not ours is the application's to read."""
    assert {"tenant": "t1", "a": "1"} == _extract(propagator, "tenant=t1,a=1")


def test_inject_sends_what_langfuse_was_told_to_send(propagator: SessionBaggagePropagator) -> None:
    """``propagate_attributes(as_baggage=True)`` is the application's own word: it goes out."""
    context = baggage.set_baggage("langfuse_session_id", "theirs", Context())

    assert {"langfuse_session_id": "theirs"} == sent_by(propagator, context)


@pytest.mark.parametrize("header", HOSTILE)
@pytest.mark.parametrize("policy", [None, make_policy()], ids=["no-policy", "policy"])
def test_extract_drops_everything_of_ours(policy: Any, header: str) -> None:
    """No client can put a session, user or conversation into the process's baggage, in whatever spelling."""
    assert {"tenant": "t1"} == _extract(SessionBaggagePropagator(policy), header)


def test_extract_reads_every_line(propagator: SessionBaggagePropagator) -> None:
    """Several headers are one list (RFC 9110, 5.3); the stock propagator reads only the first."""
    assert {"a": "1", "b": "2", "c": "3"} == _extract(propagator, "a=1,session.id=x", "b=2", "user.id=y,c=3")


def test_extract_decodes_as_the_standard_says(propagator: SessionBaggagePropagator) -> None:
    """Percent-encoding is decoded, "+" is a plus, bad UTF-8 is U+FFFD, properties stay behind the value."""
    found = _extract(propagator, "a=x%20y,b=1+2,c=%FF,d=v;p=1;q,e=%3B")

    assert {"a": "x y", "b": "1+2", "c": "�", "d": "v;p=1;q", "e": ";"} == found


def test_extract_keeps_the_baggage_of_the_context(propagator: SessionBaggagePropagator) -> None:
    """The application's own entries stay; the header's win over one of the same name, as with the stock propagator."""
    context = baggage.set_baggage("mine", "1", baggage.set_baggage("both", "old", Context()))

    assert {"mine": "1", "both": "new"} == _extract(propagator, "both=new", context=context)


def test_extract_removes_ours_from_the_baggage_of_the_context(propagator: SessionBaggagePropagator) -> None:
    """Whoever put it there (another propagator before ours) had it from the client."""
    context = baggage.set_baggage("session.id", "evil", baggage.set_baggage("a", "1", Context()))

    assert {"a": "1"} == _extract(propagator, context=context)


def test_extract_puts_the_running_request_into_the_context(propagator: SessionBaggagePropagator) -> None:
    """Spans started from the extracted context alone still find their session."""
    scope = make_scope()
    current_scope.set(scope)
    context = propagator.extract({}, Context())
    current_scope.set(None)

    assert scope is scope_of(context)
    assert scope_of(propagator.extract({}, Context())) is None


def test_extract_behind_trace_context_reaches_the_server_span() -> None:
    """An instrumentation inside our middleware extracts from an empty context; its server span is stamped."""
    spans = Spans(SessionSpanProcessor())
    both = CompositePropagator([TraceContextTextMapPropagator(), SessionBaggagePropagator()])
    current_scope.set(make_scope("trusted"))
    carrier = {"traceparent": f"00-{1:032x}-{2:016x}-01", "baggage": "session.id=evil,tenant=t1"}

    context = both.extract(carrier)
    current_scope.set(None)
    spans.tracer.start_span("GET /", context, SpanKind.SERVER).end()

    assert "trusted" == spans.attributes("GET /")["session.id"]
    assert {"tenant": "t1"} == dict(baggage.get_all(context))


def test_extract_from_asgi_and_wsgi_carriers(propagator: SessionBaggagePropagator) -> None:
    """The getters of the instrumentations for both worlds work."""
    scope = {"headers": [(b"baggage", b"a=1,session.id=x"), (b"Baggage", b"b=2")]}
    environ = {"HTTP_BAGGAGE": "a=1,user.id=x"}

    assert {"a": "1", "b": "2"} == dict(baggage.get_all(propagator.extract(scope, Context(), asgi_getter)))
    assert {"a": "1"} == dict(baggage.get_all(propagator.extract(environ, Context(), wsgi_getter)))


@pytest.mark.parametrize("context", [None, Context()], ids=["current", "empty"])
def test_extract_nothing_is_no_error(propagator: SessionBaggagePropagator, context: Context | None) -> None:
    """A request without baggage leaves the context as it is."""
    assert {} == dict(baggage.get_all(propagator.extract({}, context)))


@given(st.lists(st.one_of(st.text(), st.text(alphabet="session.id=,;% +evil")), max_size=5))
def test_extract_never_raises_and_never_lets_ours_in(lines: list[str]) -> None:
    """Whatever a client sends, the process's baggage has nothing of ours in it."""
    found = _extract(SessionBaggagePropagator(), *lines)

    assert [] == [key for key in found if wire.is_ours(key)]


@given(st.binary(max_size=300))
def test_extract_bytes_never_raises(line: bytes) -> None:
    """Getters may hand over bytes."""

    class Getter:
        def get(self, carrier: Any, key: str) -> list[bytes]:
            return [line]

        def keys(self, carrier: Any) -> list[str]:
            return []

    found = SessionBaggagePropagator().extract({}, Context(), Getter())  # type: ignore[arg-type]

    assert [] == [key for key in baggage.get_all(found) if wire.is_ours(key)]


def test_extract_with_a_broken_getter_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Another package's mistake must not fail the request."""

    class Getter:
        def get(self, carrier: Any, key: str) -> list[str]:
            raise RuntimeError("broken by session.id=s3cr3t")

        def keys(self, carrier: Any) -> list[str]:
            return []

    context = baggage.set_baggage("a", "1", Context())

    assert context == SessionBaggagePropagator().extract({}, context, Getter())
    assert 1 == len(caplog.records)
    assert "s3cr3t" not in caplog.text


def test_inject_ours_first_then_others(propagator: SessionBaggagePropagator) -> None:
    """Limits on the way cut from the end, so the identity comes first; the application's entries follow."""
    scope = make_scope(**{"session.type": "chat", "session.name": "n", "session.prompt_version": "v2"})
    current_scope.set(scope)
    destination_host.set("billing.internal")

    sent = sent_by(propagator, baggage.set_baggage("tenant", "t 1", Context()))

    expected = [
        "session.id",
        "user.id",
        "gen_ai.conversation.id",
        "turn.number",
        "session.type",
        "session.name",
        "session.prompt_version",
        "session.sig",
        "tenant",
    ]
    assert expected == list(sent)
    assert ("s-1", "u_1", "s-1", "3", "chat", "n", "v2", "t 1") == tuple(
        value for key, value in sent.items() if key != "session.sig"
    )


def test_inject_signature_verifies(propagator: SessionBaggagePropagator, clock: list[int]) -> None:
    """The next service believes what we sent."""
    current_scope.set(make_scope())
    destination_host.set("localhost")

    ours = {key: value for key, value in sent_by(propagator).items() if wire.is_ours(key)}

    assert "ok" == SIGNER.verify(ours, now_ms=clock[0], max_age_ms=1_000, skew_ms=0)


def test_inject_unsigned_when_signing_is_off() -> None:
    """``sign_baggage=False`` sends no signature."""
    current_scope.set(make_scope(user_id=None, turn=None))
    destination_host.set("localhost")

    sent = sent_by(SessionBaggagePropagator(make_policy(signer=None)))

    assert {"session.id": "s-1", "gen_ai.conversation.id": "s-1"} == sent


def test_inject_signs_once_for_a_stamp(propagator: SessionBaggagePropagator, clock: list[int]) -> None:
    """The signature is kept while nothing changes, renewed when something does or it grows old."""
    scope = make_scope()
    current_scope.set(scope)
    destination_host.set("localhost")

    first = sent_by(propagator)["session.sig"]
    clock[0] += SIGNED_MS - 1
    assert first == sent_by(propagator)["session.sig"]
    clock[0] += 1
    aged = sent_by(propagator)["session.sig"]
    scope.change({"session.prompt_version": "v3"})
    changed = sent_by(propagator)

    assert 3 == len({first, aged, changed["session.sig"]})
    assert "v3" == changed["session.prompt_version"]


def test_inject_with_another_policy_signs_with_its_key(propagator: SessionBaggagePropagator, clock: list[int]) -> None:
    """What one policy signed is not sent in the name of another."""
    current_scope.set(make_scope())
    destination_host.set("localhost")
    sent_by(propagator)

    assert "session.sig" not in sent_by(SessionBaggagePropagator(make_policy(signer=None), clock=lambda: clock[0]))


def test_inject_scope_of_the_given_context(propagator: SessionBaggagePropagator) -> None:
    """A call made for another context carries that context's session."""
    current_scope.set(make_scope("of-request"))
    destination_host.set("localhost")

    assert "of-context" == sent_by(propagator, with_scope(make_scope("of-context"), Context()))["session.id"]


@pytest.mark.parametrize(
    "host",
    ["api.example.com", "8.8.8.8", "localhost.evil.com", "user@localhost", "2130706433", "", "loc\u212aalhost"],
)
def test_inject_to_a_host_not_allowed_sends_only_others(propagator: SessionBaggagePropagator, host: str) -> None:
    """Third parties learn nothing of sessions and users."""
    current_scope.set(make_scope())
    destination_host.set(host or None)

    assert {"tenant": "t1"} == sent_by(propagator, baggage.set_baggage("tenant", "t1", Context()))


def test_inject_unknown_destination_sends_nothing_of_ours(propagator: SessionBaggagePropagator) -> None:
    """Not knowing where a call goes is a no."""
    current_scope.set(make_scope())

    assert {} == sent_by(propagator)


def test_inject_without_policy_sends_nothing_of_ours() -> None:
    """A propagator that was told nothing strips and sends nothing."""
    current_scope.set(make_scope())
    destination_host.set("localhost")
    context = baggage.set_baggage("session.id", "x", baggage.set_baggage("tenant", "t1", Context()))

    assert {"tenant": "t1"} == sent_by(SessionBaggagePropagator(), context)


def test_inject_outside_of_sessions_sends_only_others(propagator: SessionBaggagePropagator) -> None:
    """No session, nothing of ours, no empty header."""
    destination_host.set("localhost")
    carrier: dict[str, str] = {}

    propagator.inject(carrier, Context())

    assert {} == carrier


def test_inject_drops_ours_that_somebody_put_into_the_baggage(propagator: SessionBaggagePropagator) -> None:
    """Only the session in the context says who this is."""
    current_scope.set(make_scope())
    destination_host.set("localhost")
    context = baggage.set_baggage("user.id", "admin", baggage.set_baggage("Session.ID", "evil", Context()))

    sent = sent_by(propagator, context)

    assert ("s-1", "u_1") == (sent["session.id"], sent["user.id"])
    assert "Session.ID" not in sent


def test_inject_stock_propagator_beside_ours_leaks_nothing(propagator: SessionBaggagePropagator) -> None:
    """Our entries are never in the process's baggage, so no other propagator can send them anywhere."""
    current_scope.set(make_scope())
    context = propagator.extract({"baggage": "tenant=t1"}, Context())
    carrier: dict[str, str] = {}

    W3CBaggagePropagator().inject(carrier, context)

    assert {"baggage": "tenant=t1"} == carrier


@pytest.mark.parametrize("member", ["a=x%20y", "b=1+2", "d=v;p=1;q=%3B", "e=%3B", "f=%E4%BD%A0", "g="])
def test_inject_passes_on_others_as_they_came(propagator: SessionBaggagePropagator, member: str) -> None:
    """What goes through this service is byte for byte what came, properties included."""
    carrier: dict[str, str] = {}

    propagator.inject(carrier, propagator.extract({"baggage": member}, Context()))

    assert {"baggage": member} == carrier


def test_inject_value_under_another_name_is_written_anew(propagator: SessionBaggagePropagator) -> None:
    """A value that the application copied goes under the name it gave."""
    context = propagator.extract({"baggage": "tenant=t%201"}, Context())
    carrier: dict[str, str] = {}

    propagator.inject(carrier, baggage.set_baggage("ten", baggage.get_baggage("tenant", context), Context()))

    assert {"baggage": "ten=t%201"} == carrier


@pytest.mark.parametrize(
    ("value", "header"),
    [("a b", "k=a%20b"), ("1+2", "k=1%2B2"), (7, "k=7"), ("x;y=1,z", "k=x%3By%3D1%2Cz"), ("é", "k=%C3%A9")],
)
def test_inject_encodes_what_the_application_set(
    propagator: SessionBaggagePropagator, value: object, header: str
) -> None:
    """Values set in this process are encoded as W3C Baggage wants it: a blank is %20, not a plus."""
    carrier: dict[str, str] = {}

    propagator.inject(carrier, baggage.set_baggage("k", value, Context()))

    assert {"baggage": header} == carrier


def test_inject_none_is_left_out(propagator: SessionBaggagePropagator) -> None:
    """An entry without a value has no spelling."""
    assert {} == sent_by(propagator, baggage.set_baggage("k", None, Context()))


def test_inject_keeps_to_the_limits_and_to_ours(propagator: SessionBaggagePropagator) -> None:
    """A full context cannot push the identity out: 8192 bytes and 180 members, ours first."""
    current_scope.set(make_scope())
    destination_host.set("localhost")
    context = Context()
    for number in range(300):
        context = baggage.set_baggage(f"k{number}", "x" * 60, context)
    carrier: dict[str, str] = {}

    propagator.inject(carrier, context)

    members = carrier["baggage"].split(",")
    assert 8192 >= len(carrier["baggage"])
    assert 180 >= len(members)
    assert "session.id=s-1" == members[0]


def test_inject_never_raises_into_the_application(caplog: pytest.LogCaptureFixture) -> None:
    """A call to another service must not fail because of us."""
    policy: Any = make_policy()
    policy.hosts = None
    current_scope.set(make_scope())
    carrier: dict[str, str] = {}

    with caplog.at_level(logging.ERROR, "session_mw"):
        SessionBaggagePropagator(policy).inject(carrier)

    assert {} == carrier
    assert 1 == len(caplog.records)


def test_fields_names_the_header() -> None:
    """Instrumentations ask which headers to clear before they send again."""
    assert {"baggage"} == SessionBaggagePropagator().fields
