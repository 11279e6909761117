"""The agent service's client of the vendor. No instrumentation knows the vendor, so the block says what a call took."""

from __future__ import annotations

import os
from typing import Any

import httpx

from session_mw import llm_call
from session_mw.clients.httpx import instrument_client

from ..shared.local_model import MODEL
from .vendor import URL

Messages = list[dict[str, str]]
# The vendor of this example is on this machine; see vendor.py. Whom a call is for decides what goes along, no proxy.
OPTIONS: Any = {"proxy": os.environ.get("VENDOR_PROXY"), "trust_env": False, "timeout": 10}


def make_client() -> httpx.AsyncClient:
    """Return a client that carries the session to services of ours, and to nobody else."""
    return instrument_client(httpx.AsyncClient(**OPTIONS))


async def ask(client: httpx.AsyncClient, messages: Messages) -> str:
    """
    Have the vendor's model answer.

    Raises:
        httpx.HTTPError: It did not.
    """
    with llm_call(MODEL, provider="vendor") as call:
        return understood(call, await client.post(URL, json={"messages": messages}))


def ask_sync(client: httpx.Client, messages: Messages) -> str:
    """The same, without an event loop."""
    with llm_call(MODEL, provider="vendor") as call:
        return understood(call, client.post(URL, json={"messages": messages}))


def understood(call: Any, response: httpx.Response) -> str:
    """Return the answer, and tell the call's span what it took."""
    response.raise_for_status()
    said = response.json()
    call.response(id=said["id"], model=said["model"])
    call.usage(**said["usage"])
    return str(said["text"])
