"""Values of single sessions, kept in sums of days."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw.ledger.analytics import bundles
from session_mw.ledger.analytics.bundles import different, user_key

LOWEST, HIGHEST = -(2**63), 2**63 - 1
hashes = st.integers(LOWEST, HIGHEST) | st.sampled_from([LOWEST, HIGHEST, 0, -1, 1, 7, 8, 9])


@given(runs=st.lists(st.lists(hashes, max_size=40).map(sorted), max_size=8))
def test_different_values_are_counted_part_by_part(runs: list[list[int]]) -> None:
    """The same as at once, whatever there is: the ends of the range, one value alone, the same in every run."""
    counted = bundles.FEW
    bundles.FEW = 0
    try:
        found = different([array("q", run) for run in runs])
    finally:
        bundles.FEW = counted

    assert len({value for run in runs for value in run}) == found


@pytest.mark.parametrize("users", [0, 1, bundles.FEW, bundles.FEW + 1, 3 * bundles.FEW])
def test_different_users_of_many_days(users: int) -> None:
    """Each comes on three of four days."""
    keys = [user_key(f"u_{number}") for number in range(users)]
    days = [array("q", sorted(keys[day::4] + keys[: users // 2])) for day in range(3)]

    assert len(set(keys[: users // 2]).union(*days)) == different(days)
