"""The demo from beginning to end, without a word about how it is shown."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ..._core import names
from ...exceptions import StoreError
from ...ledger import Ledger, open_ledger
from .environment import IDLE_SECONDS, TIMES, base_environment, service_environment
from .errors import DemoError
from .evidence import CHAT, ORDERS, Evidence, gather
from .place import Place, find_examples
from .progress import Progress
from .receiver import Receiver
from .script import Visitor
from .services import Service, Services
from .signals import run
from .talk import Seen, hold_conversations

WORKERS = 2
TRIES = 3  # a port that was free may be taken before the service has it
END_SECONDS = IDLE_SECONDS + 10  # how long the last sessions may take to end: idle time, and the sweeper's nap


@dataclass
class Stage:
    """
    What a demo plays on.

    Attributes:
        place: Where its files are.
        endpoint: The reader's back end; None when the receiver takes the telemetry.
        receiver: Runs in any case.
        key: Secret key of both services.
    """

    place: Place
    endpoint: str | None
    receiver: Receiver
    key: str

    def environments(self, orders_url: str, times: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Return the environment of each service."""
        base = base_environment(os.environ, find_examples()[1], keep_reaching=self.endpoint is not None)
        shared = service_environment(base, self.place, self.endpoint or self.receiver.url, times, self.key)
        if self.endpoint is not None:
            shared["SESSION_MW_LIFECYCLE_SPANS"] = "always"  # a back end for traces takes no log records
        return {CHAT: {**shared, "CHAT_TOOLS_URL": orders_url}, ORDERS: shared}


@contextmanager
def running(stage: Stage, times: Mapping[str, str]) -> Iterator[tuple[Service, Service]]:
    """
    Run both services, on free ports, while the context lasts.

    Args:
        stage: What they play on.
        times: Time limits of sessions.

    Raises:
        DemoError: If they do not start.
    """
    package = find_examples()[0]
    with ExitStack() as stack:
        for left in reversed(range(TRIES)):
            log = stage.place.log
            chat = Service(CHAT, f"{package}.fastapi_chat.app:app", log(CHAT), WORKERS)
            orders = Service(ORDERS, f"{package}.fastapi_chat.orders:app", log(ORDERS))
            services = stack.enter_context(Services(chat, orders))
            try:
                services.start(stage.environments(orders.url, times))
                break
            except DemoError:
                if not left or not services.taken():
                    raise
                services.stop()
        yield chat, orders


def perform(stage: Stage, visitors: Sequence[Visitor], progress: Progress) -> Evidence:
    """
    Start the services, hold the conversations, wait for the sessions to end, and read everything back.

    Raises:
        DemoError: If that is not possible at all. What came out wrong is not an error here, it is for the checks.
    """
    progress.stage("starting the chat and the order service")
    with running(stage, TIMES) as (chat, orders):
        progress.stage(f"{len(visitors)} visitors talk to {chat.url}, which asks {orders.url}")
        seen = run(hold_conversations(chat.url, visitors, IDLE_SECONDS, progress.tell))
        progress.stage(f"waiting until sessions without a visitor end (idle time {IDLE_SECONDS:.0f} seconds)")
        ledger = open_ledger(stage.place.store)
        try:
            _wait_for_ends(stage, ledger, seen)
            progress.stage("stopping the services, which send what is left")
        except BaseException:
            ledger.close()
            raise
    try:
        progress.stage("reading back")
        receiver = None if stage.endpoint else stage.receiver
        return gather(stage.place, ledger, receiver, visitors, seen)
    finally:
        ledger.close()


def _wait_for_ends(stage: Stage, ledger: Ledger, seen: Sequence[Seen]) -> None:
    """Wait until every sitting has ended, or it is clear that one never will; which one, the checks say."""
    until = time.monotonic() + END_SECONDS
    while time.monotonic() < until and not (_ended(ledger, seen) and _received(stage, seen)):
        time.sleep(0.1)


def _ended(ledger: Ledger, seen: Sequence[Seen]) -> bool:
    try:
        rows = {row.session_id: row for row in ledger.sessions(10_000)}
    except StoreError:  # locked by a writer just now
        return False
    return all(one.session_id in rows and rows[one.session_id].status != "active" for one in seen if one.session_id)


def _received(stage: Stage, seen: Sequence[Seen]) -> bool:
    """Return whether each end was received: batches go out some time after the database has them."""
    if stage.endpoint is not None:
        return True
    return sum(record.event_name == names.EVENT_END for record in stage.receiver.records()) >= len(seen)
