"""Several comparisons at once share one risk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw.ledger.comparing.estimates import Estimate
from session_mw.ledger.comparing.families import holm


def test_holm_is_that_of_the_books() -> None:
    """The smallest times their number, the next times one less, never falling. Worked by hand; R: p.adjust."""
    found = [one.p for one in holm([0.01, 0.04, 0.03, 0.005])]

    assert pytest.approx([0.03, 0.06, 0.06, 0.02]) == found


def test_a_single_one_stays_as_it_is() -> None:
    """Nothing is shared with nobody."""
    (one,) = holm([0.03])

    assert (0.03, 0.95) == (one.p, pytest.approx(one.confidence))
    assert [] == holm([])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 5)), min_size=1, max_size=12))
def test_intervals_leave_out_zero_exactly_where_p_is_small(described: list[tuple[float, float]]) -> None:
    """An interval and its p never contradict each other; no interval is narrower than alone."""
    estimates = [Estimate(value, error, 19) for value, error in described]
    for one, adjusted in zip(estimates, holm([one.p for one in estimates]), strict=True):
        low, high = one.interval(adjusted.confidence)
        assert adjusted.p >= one.p * 0.999999 and adjusted.confidence >= 0.9499999
        assert abs(adjusted.p - 0.05) < 1e-6 or (adjusted.p < 0.05) == (not low <= 0 <= high)
