"""The FastAPI chat's tool and the order service behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from opentelemetry import trace

from examples.fastapi_chat.tools import look_up_order


def look_up(number: str, answer: Callable[[httpx.Request], httpx.Response]) -> str:
    """Ask an order service that answers as *answer* says."""

    async def ask() -> str:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await look_up_order(client, "http://orders:8001/", number)

    return asyncio.run(ask())


def test_tool_tells_what_the_service_knows() -> None:
    """The service's facts become one sentence."""
    found = {"number": "1042", "status": "at the harbour", "days": 3}

    assert "Order 1042 is at the harbour. It will be with you in 3 days." == look_up(
        "1042", lambda request: httpx.Response(200, json=found)
    )


def test_tool_asks_the_service_for_that_order() -> None:
    """The number goes into the path, whether or not the base URL ends in a slash."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(404)

    look_up("1042", answer)

    assert ["http://orders:8001/orders/1042"] == asked


def test_tool_hands_the_trace_on() -> None:
    """W3C Trace Context: the service's spans belong to the trace of the chat's turn."""
    headers: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers)
        return httpx.Response(404)

    parent = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(parent)):
        look_up("1042", answer)

    assert f"{0xABC:032x}" == headers[0]["traceparent"].split("-")[1]


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def time_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow", request=request)


@pytest.mark.parametrize(
    "answer",
    [
        refuse,
        time_out,
        lambda request: httpx.Response(500),
        lambda request: httpx.Response(200, content=b"<html>"),
        lambda request: httpx.Response(200, json=[]),
        lambda request: httpx.Response(200, json={"number": "1042"}),
    ],
    ids=["refused", "timeout", "500", "no JSON", "a list", "incomplete"],
)
def test_tool_that_fails_does_not_fail_the_chat(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    """The customer is told that it cannot be looked up now."""

    assert "I cannot look up order 1042 right now. Try again in a minute." == look_up("1042", answer)
