"""
The only module that imports ``redis``: clients whose waiting is bounded, and what their errors mean.

Rule 1: nothing is opened before the first call, nothing crosses a fork, an event loop's connections end with it.
Rule 2: the client repeats nothing. Its own retries turn a timeout of 50 ms into seconds, and a touch that is repeated
    counts its turn twice. Two answers say that nothing was done, so these calls are made again, once: NOSCRIPT (with
    the whole script) and MOVED (at the node that it names). ASK is not followed: while a slot is being moved, keys of
    one shard lie on two nodes, and a script that sees one half decides wrongly. The store is not available then.
Rule 3: a cluster is many plain clients and a map of our 64 slots. The driver's own cluster client asks other nodes
    after an error while the request waits, sleeps when the cluster is down, and does not pipeline scripts.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

try:
    import redis
    import redis.asyncio
    import redis.asyncio.retry
    import redis.exceptions
    from redis.backoff import NoBackoff
    from redis.crc import key_slot
    from redis.retry import Retry
except ImportError as error:
    from ..exceptions import MissingDependency

    raise MissingDependency("the Redis store", "redis", "redis") from error

from .._settings.redis_url import Address, RedisTarget
from ..exceptions import StoreError, StoreUnavailable
from ._redis_patience import patient
from ._redis_scripts import Call
from ._redis_topology import Topology

Reply = Any
FAILURES = (redis.exceptions.RedisError, OSError)
# What begins so passes by itself, or with the operator's help; requests go on without the store meanwhile.
_AWAY = (OSError, redis.exceptions.ConnectionError, redis.exceptions.ClusterDownError, redis.exceptions.AskError)
_PASSING = ("OOM", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MISCONF", "NOREPLICAS")


def options_of(target: RedisTarget, address: Address, behind: bool, retry: Any) -> dict[str, Any]:
    """Return the arguments of a connection to *address*."""
    return {
        "host": address[0],
        "port": address[1],
        "db": target.db,
        "username": target.username,
        "password": target.password,
        "socket_timeout": target.background_timeout if behind else target.timeout,
        "socket_connect_timeout": target.background_timeout if behind else target.connect_timeout,
        "socket_keepalive": True,
        "retry": retry,
        "health_check_interval": 0,  # a question before each command that follows a pause
        "protocol": 2,  # the handshake of the other one is a round trip more
        **target.options,
    }


def command_of(call: Call, whole: bool = False) -> list[Any]:
    """Return *call* as a command; *whole* sends the script's text instead of its name."""
    script, _, keys, args = call
    name, text = ("EVAL", script.source) if whole else ("EVALSHA", script.sha)
    return [name, text, len(keys), *keys, *args]


def explained(what: str, target: RedisTarget, error: Exception, behind: bool = False) -> StoreError:
    """Return the error that callers know, without what may be secret."""
    text = f"{type(error).__name__}: {error}"
    place = f"cannot {what}: Redis at {target.shown}"
    if isinstance(error, redis.exceptions.AuthenticationError | redis.exceptions.AuthorizationError):
        return StoreError(f"{place} refused us: {type(error).__name__}. Check user and password in the store's URL.")
    if isinstance(error, redis.exceptions.TimeoutError | TimeoutError):
        text = f"{place} did not answer within {_patience(target, error, behind)}."
        return StoreUnavailable(text, reason="store_timeout")
    if isinstance(error, redis.exceptions.AskError):
        text = f"a slot is being moved ({text})"
    passing = isinstance(error, _AWAY)
    if passing or is_passing(error):
        return StoreUnavailable(f"{place} is not available: {text}.")
    return StoreError(f"{place} refused: {text}.")


def _patience(target: RedisTarget, error: Exception, behind: bool) -> str:
    """Return how long was waited, and the name of the setting that says so."""
    if behind:
        return f"{target.background_timeout * 1000:.0f} ms (background_timeout)"
    if "connecting" in str(error):
        return f"{target.connect_timeout * 1000:.0f} ms (socket_connect_timeout)"
    return f"{target.timeout * 1000:.0f} ms (socket_timeout)"


def is_passing(error: Exception) -> bool:
    """Return whether *error* says that the server cannot do it at present."""
    # Errors within a script come with the script's name before the code.
    return isinstance(error, redis.exceptions.ReadOnlyError | redis.exceptions.TryAgainError) or any(
        str(error).startswith(code) or f" {code} " in f" {error} " or f"-{code} " in str(error) for code in _PASSING
    )


def demoted(error: Exception) -> bool:
    """Return whether *error* says that the node is no master any more: its connections lead to the wrong place."""
    return isinstance(error, redis.exceptions.ReadOnlyError) or "READONLY" in str(error)


def slots_of(names: Sequence[str]) -> list[int]:
    """Return the cluster's slots of keys."""
    return [key_slot(name.encode()) for name in names]


def understood(topology: Topology, slots: Sequence[Any], asked: Address) -> None:
    """Hand the answer to CLUSTER SLOTS to *topology*."""
    if not topology.learn(slots, asked):
        raise redis.exceptions.ClusterDownError("CLUSTERDOWN not all slots are served")


def first_error(replies: Sequence[Reply]) -> None:
    """Raise the first error among *replies*: all commands of a pipeline have run."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


class Driver:
    """
    Runs scripts from threads, on the connections of this process.

    Args:
        target: What the URL says.
        topology: Where shards lie; shared with the asynchronous driver.
    """

    def __init__(self, target: RedisTarget, topology: Topology) -> None:
        self._target = target
        self.topology = topology
        self.forget()
        _DRIVERS.add(self)

    def forget(self) -> None:
        """Begin with no connections, in a forked child: the parent's are neither used nor closed here."""
        _INHERITED.extend(getattr(self, "_clients", {}).values())
        self._clients: dict[tuple[Address, bool], Any] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def run(self, what: str, calls: Sequence[Call], behind: bool = False) -> list[Reply]:
        """
        Run *calls*, those of one node in one round trip; returns their replies.

        Args:
            what: For messages.
            calls: To run.
            behind: Nobody waits for it.

        Raises:
            StoreUnavailable: It may work later.
            StoreError: It will not.
        """
        try:
            if self.topology.cluster:
                self._look_around(behind)
            return [self._one(calls[0], behind)] if len(calls) == 1 else self._many(calls, behind)
        except FAILURES as error:
            self._failed(error)
            raise explained(what, self._target, error, behind) from error

    def everywhere(self, what: str, work: Callable[[Any], Reply]) -> list[Reply]:
        """Do *work* with the client of each master, behind requests."""
        try:
            self._look_around(True)
            return [work(self._client(address, True)) for address in self.topology.nodes()]
        except FAILURES as error:
            self._failed(error)
            raise explained(what, self._target, error, behind=True) from error

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.connection_pool.disconnect()

    def _client(self, address: Address, behind: bool) -> Any:
        if self._pid != os.getpid():  # where fork hooks do not run
            self.forget()
        client = self._clients.get((address, behind))
        if client is None:
            with self._lock:
                client = self._clients.get((address, behind)) or self._connect(address, behind)
                self._clients[address, behind] = client
        return client

    def _connect(self, address: Address, behind: bool) -> Any:
        """Return a client; it connects when it is used."""
        kind = redis.SSLConnection if self._target.tls else redis.Connection
        options = options_of(self._target, address, behind, Retry(NoBackoff(), 0))
        return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, **options))

    def _look_around(self, behind: bool) -> None:
        asked = self.topology.due(behind)
        if asked is not None:
            found = _plain(self._client(asked, behind)).execute_command("CLUSTER SLOTS")
            understood(self.topology, found, asked)

    def _one(self, call: Call, behind: bool) -> Reply:
        client = self._client(self.topology.node_of(call.shard), behind)
        try:
            return self._eval(client, call)
        except redis.exceptions.MovedError as error:
            return self._eval(self._client(self.topology.moved(error), behind), call)

    def _eval(self, client: Any, call: Call) -> Reply:
        try:
            return client.execute_command(*command_of(call))
        except redis.exceptions.NoScriptError:
            return client.execute_command(*command_of(call, whole=True))

    def _many(self, calls: Sequence[Call], behind: bool) -> list[Reply]:
        replies: list[Reply] = [None] * len(calls)
        for address, places in self.topology.by_node(calls).items():
            client = self._client(address, behind)
            pipeline = client.pipeline(transaction=False)
            for place in places:
                pipeline.execute_command(*command_of(calls[place]))
            for place, reply in zip(places, pipeline.execute(raise_on_error=False), strict=True):
                if isinstance(reply, redis.exceptions.NoScriptError):
                    reply = self._eval(client, calls[place])
                elif isinstance(reply, redis.exceptions.MovedError):
                    reply = self._eval(self._client(self.topology.moved(reply), behind), calls[place])
                replies[place] = reply
        first_error(replies)
        return replies

    def _failed(self, error: Exception) -> None:
        self.topology.lost()
        if demoted(error):
            self.close()


class AsyncDriver:
    """
    Runs scripts from event loops, each on connections of its own.

    Args:
        target: What the URL says.
        topology: Where shards lie; shared with the synchronous driver.
    """

    def __init__(self, target: RedisTarget, topology: Topology) -> None:
        self._target = target
        self.topology = topology
        self.forget()
        _DRIVERS.add(self)

    def forget(self) -> None:
        """Begin with no connections, in a forked child."""
        _INHERITED.append(getattr(self, "_loops", None))
        self._loops: weakref.WeakKeyDictionary[Any, _Loop] = weakref.WeakKeyDictionary()

    async def run(self, what: str, calls: Sequence[Call]) -> list[Reply]:
        """Run *calls* one after the other: a request has one, seldom two; arguments and errors as ``Driver.run``'s."""
        loop = await self._here()
        try:
            if self.topology.cluster:
                await self._look_around(loop)
            return [await self._one(loop, call) for call in calls]
        except FAILURES as error:
            self.topology.lost()
            if demoted(error):
                await loop.drop()
            raise explained(what, self._target, error) from error

    async def _here(self) -> _Loop:
        running = asyncio.get_running_loop()
        loop = self._loops.get(running)
        if loop is None:
            for over in [known for known in list(self._loops) if known.is_closed()]:  # their connections hold them
                self._loops.pop(over, None)
            loop = self._loops[running] = _Loop()
            loop.held = loop.hold()
            await loop.held.__anext__()
        return loop

    def _client(self, loop: _Loop, address: Address) -> Any:
        client = loop.clients.get(address)
        if client is None:
            kind = redis.asyncio.SSLConnection if self._target.tls else redis.asyncio.Connection
            retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
            options = options_of(self._target, address, False, retry)
            limits = options["socket_connect_timeout"], options["socket_timeout"]
            options["socket_connect_timeout"] = options["socket_timeout"] = None
            pool = redis.asyncio.ConnectionPool(connection_class=patient(kind, *limits), **options)
            client = loop.clients[address] = redis.asyncio.Redis(connection_pool=pool)
        return client

    async def _look_around(self, loop: _Loop) -> None:
        asked = self.topology.due(False)
        if asked is not None:
            found = await _plain(self._client(loop, asked)).execute_command("CLUSTER SLOTS")
            understood(self.topology, found, asked)

    async def _one(self, loop: _Loop, call: Call) -> Reply:
        try:
            return await self._eval(self._client(loop, self.topology.node_of(call.shard)), call)
        except redis.exceptions.MovedError as error:
            return await self._eval(self._client(loop, self.topology.moved(error)), call)

    async def _eval(self, client: Any, call: Call) -> Reply:
        try:
            return await client.execute_command(*command_of(call))
        except redis.exceptions.NoScriptError:
            return await client.execute_command(*command_of(call, whole=True))


class _Loop:
    """
    The clients of one event loop.

    ``hold`` is an asynchronous generator that waits for nothing: a loop that shuts down closes those that began on it
    (``loop.shutdown_asyncgens``, which ``asyncio.run`` and servers call), and that closes the connections in time.
    """

    def __init__(self) -> None:
        self.clients: dict[Address, Any] = {}
        self.held: AsyncGenerator[None, None] | None = None

    async def hold(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.drop()

    async def drop(self) -> None:
        """Close all connections."""
        clients, self.clients = self.clients, {}
        for client in clients.values():
            await client.connection_pool.disconnect()


def _plain(client: Any) -> Any:
    """Return *client* without the driver's own reading of CLUSTER SLOTS, which differs between versions."""
    client.response_callbacks.pop("CLUSTER SLOTS", None)
    return client


_DRIVERS: weakref.WeakSet[Any] = weakref.WeakSet()
_INHERITED: list[Any] = []


def _after_fork() -> None:
    for driver in list(_DRIVERS):
        driver.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
