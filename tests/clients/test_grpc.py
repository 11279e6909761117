"""gRPC over a real server: four kinds of calls, sync and async, with OpenTelemetry's instrumentation and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient

from session_mw._core.scope import current_scope
from session_mw.telemetry.install import instrument
from session_mw.telemetry.outgoing.grpc import target_host
from tests.clients.test_matrix import SDKS, WAYS, set_up
from tests.telemetry.support import make_policy, make_scope

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Service(grpc.GenericRpcHandler):
    """Answers every method, and writes its metadata down."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def service(self, details: Any) -> Any:
        self.seen.append([value for key, value in details.invocation_metadata if key == "baggage"])
        into, out = details.method.rsplit("/", 1)[1].split("_")
        make = getattr(grpc, f"{into}_{out}_rpc_method_handler")
        return make((lambda _, __: iter([b"1", b"2"])) if out == "stream" else (lambda request, __: self._one(request)))

    @staticmethod
    def _one(request: Any) -> bytes:
        return b"1" if isinstance(request, bytes) else b"".join(request)

    def take(self) -> list[list[str]]:
        taken, self.seen = self.seen, []
        return taken


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Service, int]]:
    service = Service()
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, port
    server.stop(None).wait(10)


def call_all(target: str) -> None:
    """Make calls of every kind, in every way that the kind can be called."""
    with grpc.insecure_channel(target) as channel:
        for kind in KINDS:
            call = getattr(channel, kind)(f"/shop.Shop/{kind}")
            given: Any = (lambda: iter([b"a"])) if kind.startswith("stream") else (lambda: b"a")
            answer = call(given(), timeout=10, metadata=(("x", "1"),))
            if kind.endswith("stream"):
                list(answer)
            else:
                call.with_call(given(), timeout=10)
                call.future(given(), timeout=10).result()


CALLS = 8  # of call_all


async def call_all_async(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        for kind in KINDS:
            call = getattr(channel, kind)(f"/shop.Shop/{kind}")
            given: Any = _one_message() if kind.startswith("stream") else b"a"
            answer = call(given, timeout=10, metadata=(("x", "1"),))
            if kind.endswith("stream"):
                async for _ in answer:
                    pass
            else:
                await answer


async def _one_message() -> AsyncIterator[bytes]:
    yield b"a"


@contextmanager
def in_session(way: str, instrumentor: Any, sdk: str, hosts: tuple[str, ...]) -> Iterator[None]:
    with set_up(WAYS[way], instrumentor, SDKS[sdk]()):
        instrument(make_policy(hosts), processors=False)
        current_scope.set(make_scope())
        yield


def sessions(seen: list[list[str]]) -> list[bool]:
    """Return for each call whether it told of our session, once."""
    assert all(len(lines) <= 1 for lines in seen)
    return ["session.id=s-1" in "".join(lines) for lines in seen]


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("way", ["neither", "otel-first", "otel-last"])
@pytest.mark.parametrize("hosts", [("loopback",), ("*.internal",)], ids=["allowed", "foreign"])
def test_grpc(running: tuple[Service, int], hosts: tuple[str, ...], way: str, sdk: str) -> None:
    """The channel's target decides, sampled or not."""
    service, port = running
    with in_session(way, GrpcInstrumentorClient, sdk, hosts):
        call_all(f"localhost:{port}")

    assert [way != "neither" and hosts == ("loopback",)] * CALLS == sessions(service.take())


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("way", ["neither", "otel-first", "otel-last"])
@pytest.mark.parametrize("hosts", [("loopback",), ("*.internal",)], ids=["allowed", "foreign"])
def test_grpc_async(running: tuple[Service, int], hosts: tuple[str, ...], way: str, sdk: str) -> None:
    """The same on an event loop."""
    service, port = running
    with in_session(way, GrpcAioInstrumentorClient, sdk, hosts):
        asyncio.run(call_all_async(f"ipv4:127.0.0.1:{port}"))

    assert [way != "neither" and hosts == ("loopback",)] * 4 == sessions(service.take())


def test_grpc_stale_metadata_goes_to_nobody_else(running: tuple[Service, int]) -> None:
    """Metadata kept from another call is put right as well."""
    service, port = running
    with (
        in_session("neither", GrpcInstrumentorClient, "no-sdk", ("*.internal",)),
        grpc.insecure_channel(f"localhost:{port}") as channel,
    ):
        call = channel.unary_unary("/shop.Shop/unary_unary")
        call(b"a", metadata=(("baggage", "session.id=s-1"), ("baggage", "a=1")), timeout=10)

    assert [["a=1"]] == service.take()


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("billing.internal:443", "billing.internal:443"),
        ("dns:billing.internal:443", "billing.internal:443"),
        ("dns:///billing.internal:443", "billing.internal:443"),
        ("dns://8.8.8.8/billing.internal", "billing.internal"),
        (b"ipv4:10.0.0.1:443", "10.0.0.1:443"),
        ("ipv6:[::1]:443", "[::1]:443"),
        ("[::1]:443", "[::1]:443"),
        ("unix:/run/x.sock", "localhost"),
        ("unix:///run/x.sock", "localhost"),
        ("ipv4:10.0.0.1:443,93.184.216.34:443", None),
        ("xds:///billing", None),
        ("https://billing.internal", None),
        ("", None),
        (None, None),
    ],
)
def test_target_host(target: Any, host: str | None) -> None:
    """What a channel's target names; what is not understood names nobody."""
    assert host == target_host(target)
