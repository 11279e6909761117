"""
Distributions: the numbers of the tables.

References: scipy 1.17.1, ``2 * stats.t.sf(t, df)``, ``stats.t.ppf(0.5 + c / 2, df)``, ``stats.chi2.sf(x, df)``,
``stats.binomtest(k, n).proportion_ci(method="wilson")``.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw.ledger.comparing.distributions import chi_square_p, student, student_p, wilson, z_of


@pytest.mark.parametrize(
    ("freedom", "confidence", "expected"),
    [
        (1, 0.95, 12.706204736174694),
        (2, 0.95, 4.302652729749462),
        (2.5, 0.9, 2.5582186141359355),
        (9, 0.95, 2.262157162798205),
        (9, 0.995, 3.689662392304245),
        (29, 0.95, 2.045229642132703),
        (120, 0.99, 2.6174211451068654),
        (10**7, 0.95, 1.95996),
    ],
)
def test_quantiles_of_student(freedom: float, confidence: float, expected: float) -> None:
    """For whole and broken degrees of freedom, few and many."""
    assert math.isclose(expected, student(freedom, confidence), rel_tol=1e-5 if freedom > 1e6 else 1e-9)


@pytest.mark.parametrize(
    ("t", "freedom", "expected"),
    [
        (0.5, 3, 0.651447964848151),
        (2.0, 9, 0.07655282377070101),
        (-2.0, 9.7, 0.07426830896567062),
        (3.5, 40, 0.0011577066147574699),
        (8.0, 100, 2.2728648077280694e-12),
        (0.01, 1, 0.993634014470186),
        (0.0, 5, 1.0),
        (math.inf, 5, 0.0),
    ],
)
def test_p_of_student(t: float, freedom: float, expected: float) -> None:
    """On both sides."""
    assert math.isclose(expected, student_p(t, freedom), rel_tol=1e-8)


@pytest.mark.parametrize(
    ("value", "freedom", "expected"),
    [
        (0.0, 3, 1.0),
        (0.1, 1, 0.7518296340458492),
        (3.84, 1, 0.05004352124870519),
        (10.83, 1, 0.0009986863791802592),
        (13.8, 2, 0.0010077854290485102),
        (2, 10, 0.9963401531726563),
        (50, 20, 0.0002214766382487835),
        (500, 400, 0.00048221275959343273),
    ],
)
def test_p_of_chi_square(value: float, freedom: int, expected: float) -> None:
    """Of both ways in which it is worked out."""
    assert math.isclose(expected, chi_square_p(value, freedom), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("ones", "of", "low", "high"),
    [
        (3, 10, 0.10779126740630102, 0.6032218525388546),
        (0, 12, 0.0, 0.24249400665524085),
        (12, 12, 1 - 0.24249400665524085, 1.0),
        (50, 100, 0.4038315303659956, 0.5961684696340044),
    ],
)
def test_wilson(ones: int, of: int, low: float, high: float) -> None:
    """Also where there is none, or nothing else: never outside 0 to 1."""
    assert pytest.approx((low, high), abs=1e-12) == wilson(ones / of, of, z_of(0.95))


@settings(deadline=None, max_examples=30)
@given(st.floats(0.3, 500), st.floats(0.01, 0.9999))
def test_quantile_and_p_undo_each_other(freedom: float, confidence: float) -> None:
    """What lies beyond a quantile is what it leaves."""
    assert math.isclose(1 - confidence, student_p(student(freedom, confidence), freedom), rel_tol=1e-6)
