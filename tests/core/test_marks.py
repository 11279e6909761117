"""Marks: no two batches that are under way have the same, and those of a lane follow each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.marks import Lanes, Mark


def test_lane_is_used_by_one_batch_at_a_time() -> None:
    """A lane whose batch is not settled is not handed out; one that is settled goes on with the next number."""
    lanes = Lanes("w")
    first, second = lanes.take(), lanes.take()
    lanes.give(first)

    assert [Mark("w.1", 1), Mark("w.2", 1), Mark("w.1", 2), Mark("w.3", 1)] == [
        first,
        second,
        lanes.take(),
        lanes.take(),
    ]


@given(st.lists(st.booleans(), max_size=60))
def test_no_mark_is_handed_out_twice(takes: list[bool]) -> None:
    """Whatever is taken and given back; and there are no more lanes than batches at once."""
    lanes, out, seen, most = Lanes("w"), list[Mark](), list[Mark](), 0
    for take in takes:
        if take:
            out.append(lanes.take())
            seen.append(out[-1])
            most = max(most, len(out))
        elif out:
            lanes.give(out.pop(0))

    assert len(seen) == len(set(seen))
    assert most == len({mark.lane for mark in seen})
