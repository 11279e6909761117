"""The chat's one tool: it asks the order service, and the trace goes along."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from opentelemetry import propagate, trace
from pydantic import BaseModel, ValidationError

_tracer = trace.get_tracer("examples.fastapi_chat.tools")


class Order(BaseModel):
    """What the order service says about an order."""

    number: str
    status: str
    days: int


async def look_up_order(client: httpx.AsyncClient, base_url: str, number: str) -> str:
    """
    Ask the order service about an order.

    Args:
        client: The application's HTTP client.
        base_url: Where the service is, ``http://host:port``.
        number: Digits of the order number.

    Returns:
        One sentence for the customer, also when the service cannot be asked.
    """
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look_up_order",
        "gen_ai.tool.type": "function",
    }
    with _tracer.start_as_current_span("execute_tool look_up_order", attributes=attributes) as span:
        try:
            order = await _get(client, f"{base_url.rstrip('/')}/orders/{number}")
        except (httpx.HTTPError, ValidationError) as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            return f"I cannot look up order {number} right now. Try again in a minute."
    return f"Order {order.number} is {order.status}. It will be with you in {order.days} days."


async def _get(client: httpx.AsyncClient, url: str) -> Order:
    """
    Fetch an order, within a client span whose context, and whose baggage, goes along in the headers.

    ``server.address`` is on the span before the headers are written: session-mw sends the names of the
    session only to hosts you trust with them, and reads there which host this is.
    """
    parts = urlsplit(url)
    attributes: dict[str, str | int] = {
        "http.request.method": "GET",
        "url.full": url,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
    with _tracer.start_as_current_span("GET", kind=trace.SpanKind.CLIENT, attributes=attributes) as span:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        response = await client.get(url, headers=headers)
        span.set_attribute("http.response.status_code", response.status_code)
        response.raise_for_status()
        return Order.model_validate_json(response.content)
