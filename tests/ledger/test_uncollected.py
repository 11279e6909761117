"""Many objects made without the garbage collector."""

from __future__ import annotations

import gc
import threading

import pytest

from session_mw.ledger import RingLedger, Sampling, samples
from session_mw.ledger.uncollected import uncollected
from tests.ledger.support import end


def test_the_collector_stands_still_meanwhile_and_goes_on() -> None:
    """Also behind an error, and one block within another."""
    seen: list[bool] = []

    def fail() -> None:
        with uncollected():
            with uncollected():
                seen.append(gc.isenabled())
            seen.append(gc.isenabled())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [False, False, True] == [*seen, gc.isenabled()]


def test_a_collector_that_was_off_stays_off() -> None:
    """An application may have its reasons."""
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_last_of_several_threads_turns_it_on() -> None:
    """However they overlap."""
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with uncollected():
            inside.set()
            leave.wait(20)

    other = threading.Thread(target=work)
    with uncollected():
        other.start()
        inside.wait(20)
    off = not gc.isenabled()
    leave.set()
    other.join(20)

    assert (True, True) == (off, gc.isenabled())


def test_samples_are_made_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are many, and refer to nothing that refers to them."""
    seen: list[bool] = []
    made = samples._samples
    monkeypatch.setattr(samples, "_samples", lambda *asked: seen.append(gc.isenabled()) or made(*asked))
    ledger = RingLedger()
    ledger.emit([end("s1")])

    assert 1 == len(ledger.samples(Sampling("prompt_version", ("v2",))))
    assert [False] == seen
