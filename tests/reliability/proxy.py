"""A small TCP proxy that stands before a server and does to its clients what networks do."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

SECONDS_LATE = 2.0
WORDS = "through late trickle silent reset garbage"
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
NOISE = random.Random(7).randbytes(512) + b"\r\n"
ENDLESS = b"$999999999999\r\n"  # a Redis string that would never end
LONG = b"D\x7f\xff\xff\xff\x00\x01"  # a row of PostgreSQL's of 2 GB


class Proxy:
    """
    Listens on a port of the loopback, and hands on to *upstream* and back.

    Args:
        upstream: A port of the loopback, or the path of a socket.

    Attributes:
        does: What it does with answers: ``through``, ``late`` (two seconds), ``trickle`` (a byte a second), ``silent``
            (the other end is gone and nobody says so), ``reset``, ``garbage``.
        garbage: What it answers then.
        port: Where it listens.
        loses: Asked for each answer: whether it is lost on the way, and the connection with it. The server has done its
            work, and nobody hears of it.
    """

    def __init__(self, upstream: int | str) -> None:
        self._upstream = upstream
        self.does = "through"
        self.garbage = NOISE
        self.loses: Callable[[], bool] = bool
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self._call(self._listen)

    def _call(self, work: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there_reader, there = await self._connect()
            self._writers.add(there)
            up = asyncio.ensure_future(self._pump(reader, there, back=False))
            await self._pump(there_reader, writer, back=True)
            up.cancel()
            there.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, str):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection("127.0.0.1", self._upstream)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.does == "silent":
                    continue
                if self.does == "reset" or (back and self.loses()):
                    reset(writer)
                    return
                if back and self.does != "through":
                    await self._spoil(data, writer)
                else:
                    writer.write(data)

    async def _spoil(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.does == "late":
            await asyncio.sleep(SECONDS_LATE)
            writer.write(data)
        elif self.does == "garbage":
            writer.write(self.garbage)
        else:
            for at in range(len(data)):
                writer.write(data[at : at + 1])
                await asyncio.sleep(1.0)

    @contextmanager
    def doing(self, what: str, garbage: bytes = NOISE) -> Iterator[None]:
        """Do *what* with old connections and new ones; whoever suffered it has to connect again afterwards."""
        assert what in WORDS.split()
        self.garbage, self.does = garbage, what
        yield
        self.does = "through"
        self._call(self._drop)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """The cable is pulled: what is sent gets lost, also the question whether one may connect."""
        self.does = "silent"
        self._call(self._unlisten)
        with deaf(self.port):
            yield
        self.does = "through"
        self._call(self._drop)
        self._call(self._listen)

    async def _unlisten(self) -> None:
        assert self._listener is not None
        self._listener.close()

    async def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def close(self) -> None:
        """Stop."""
        self._call(self._unlisten)
        self._call(self._drop)
        self._call(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side hears RST."""
    found = writer.get_extra_info("socket")
    if found.family != socket.AF_UNIX:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def deaf(port: int) -> Iterator[None]:
    """Let nobody connect to *port*, nor be refused: its queue is full, so the kernel drops what asks."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(0)
    waiting = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.connect(("127.0.0.1", port))
        waiting.append(client)
    try:
        yield
    finally:
        for each in (*waiting, listener):
            each.close()


@contextmanager
def before(upstream: int | str) -> Iterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
