"""The queue of what turns brought: batches of which nobody knows are asked for again as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from session_mw import _adds
from session_mw._adds import Adds
from session_mw._core.marks import Lanes
from session_mw._core.ops import Add
from session_mw.exceptions import StoreUnavailable


class Store:
    """Counts completed turns, once for each mark; loses answers when told to."""

    def __init__(self) -> None:
        self.lanes = Lanes("w")
        self.asked: list[list[str]] = []
        self.done: dict[Any, list[bool]] = {}
        self.fails = ""
        self.completed = 0

    def add(self, items: Sequence[Add]) -> list[bool]:
        if self.fails == "refused":
            raise StoreUnavailable("not asked")
        if items[0].mark is None:
            items[0].mark = self.lanes.take()
        mark = items[0].mark
        self.asked.append([item.session_id for item in items])
        if mark not in self.done:
            self.completed += len(items)
            self.done[mark] = [item.session_id != "over" for item in items]
        if self.fails == "lost":
            raise StoreUnavailable("no answer")
        items[0].mark = None
        self.lanes.give(mark)
        return self.done[mark]


def flush(queue: Adds, store: Store, late: list[Add], fails: str = "") -> int:
    store.fails = fails
    return queue.write(store, 10, late.extend)  # type: ignore[arg-type]


def test_batch_whose_answer_got_lost_is_asked_for_again_as_it_was() -> None:
    """Nothing joins it and nothing leaves it; what came late is found out at the second time, too."""
    queue, store, late = Adds(lambda reason: None), Store(), list[Add]()
    for name in ("a", "over", "b"):
        queue.put(Add(name, completed=1))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            flush(queue, store, late, "lost")
        queue.put(Add("c", completed=1))
    taken = queue.take("b")
    written = flush(queue, store, late)

    assert [] == taken
    assert [["a", "over", "b"]] * 3 + [["c", "c"]] == store.asked
    assert (5, 5, 0) == (written, store.completed, len(queue))
    assert ["over"] == [item.session_id for item in late]


def test_batch_that_was_not_asked_for_goes_back_into_the_queue() -> None:
    """While the breaker is open nothing is sent: what is queued stays in order, and may be taken out."""
    queue, store, late = Adds(lambda reason: None), Store(), list[Add]()
    for name in ("a", "b"):
        queue.put(Add(name, completed=1))
    with pytest.raises(StoreUnavailable):
        flush(queue, store, late, "refused")
    queue.put(Add("c", completed=1))

    assert ["b"] == [item.session_id for item in queue.take("b")]
    assert 2 == flush(queue, store, late)
    assert [["a", "c"]] == store.asked


def test_what_a_request_tried_is_a_batch_of_its_own() -> None:
    """It was sent under a mark already, and nobody knows what came of it."""
    queue, store, late = Adds(lambda reason: None), Store(), list[Add]()
    item = Add("a", completed=1)
    store.fails = "lost"
    with pytest.raises(StoreUnavailable):
        store.add([item])
    queue.put(Add("b", completed=1))
    queue.put(item)

    assert 2 == flush(queue, store, late)
    assert ([["a"], ["a"], ["b"]], 2) == (store.asked, store.completed)


def test_queue_drops_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of what is queued; of what nobody knows, what comes then. Each is counted."""
    monkeypatch.setattr(_adds, "MOST", 2)
    monkeypatch.setattr(_adds, "UNSURE", 1)
    dropped: list[str] = []
    queue, lanes = Adds(dropped.append), Lanes("w")
    for name in ("a", "b", "c"):
        queue.put(Add(name))
    for name in ("d", "e"):
        item = Add(name)
        item.mark = lanes.take()
        queue.put(item)

    assert (3, ["queue_full"] * 2) == (len(queue), dropped)
    assert ([], ["c"]) == (queue.take("a"), [item.session_id for item in queue.take("c")])
