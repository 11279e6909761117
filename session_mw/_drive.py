"""
The two loops that do what flows ask for: one logic, two worlds.

A flow yields store operations and is sent their results; an error of the store is thrown into the flow, so that the
flow decides once what it means. Same idea as ``httpx.Auth.auth_flow`` and psycopg's generators.
"""

from __future__ import annotations

from typing import TypeVar

from ._core.ops import AsyncSessionStore, Flow, SessionStore

R = TypeVar("R")


def run_sync(flow: Flow[R], store: SessionStore) -> R:
    """Drive *flow* to its end with a synchronous store."""
    try:
        op = next(flow)
        while True:
            try:
                result = op.apply(store)
            except Exception as error:
                op = flow.throw(error)
            else:
                op = flow.send(result)
    except StopIteration as stop:
        value: R = stop.value
        return value
    finally:
        flow.close()


async def run_async(flow: Flow[R], store: AsyncSessionStore) -> R:
    """Drive *flow* to its end with an asynchronous store."""
    try:
        op = next(flow)
        while True:
            try:
                result = await op.apply(store)
            except Exception as error:
                op = flow.throw(error)
            else:
                op = flow.send(result)
    except StopIteration as stop:
        value: R = stop.value
        return value
    finally:
        flow.close()
