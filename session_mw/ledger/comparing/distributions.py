"""
Student's t, chi-square, and Wilson's interval, with nothing but the standard library.

Source:
    W. H. Press and others, "Numerical Recipes", 6.2 and 6.4 (the continued fractions);
    W. J. Lentz, Applied Optics 15 (1976), in the form of Thompson and Barnett (1986);
    E. B. Wilson, "Probable Inference", JASA 1927.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, count
from statistics import NormalDist

CONFIDENCE = 0.95
ENOUGH = 1e-15  # relative change at which a continued fraction is done
TINY = 1e-300  # in place of a denominator of zero
STEPS = 10_000

Interval = tuple[float, float]


def z_of(confidence: float) -> float:
    """Return the two-sided quantile of the normal distribution."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def student_p(t: float, freedom: float) -> float:
    """Return how likely a value at least as far from zero as *t* is, with so many degrees of freedom."""
    if math.isinf(t):
        return 0.0
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


@lru_cache(maxsize=512)
def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """
    Return the two-sided quantile of Student's t distribution.

    Args:
        freedom: Degrees, above 0.
        confidence: Between 0 and 1.
    """
    beyond, low, high = 1 - confidence, 0.0, 1.0
    while student_p(high, freedom) > beyond:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, freedom) > beyond else (low, middle)
    return (low + high) / 2


def chi_square_p(value: float, freedom: int) -> float:
    """Return how likely a sum of squares of at least *value* is."""
    return 1.0 if value <= 0 else _gamma_above(freedom / 2, value / 2)


def wilson(share: float, size: float, z: float) -> Interval:
    """
    Return Wilson's interval of a share.

    Args:
        share: As seen, 0 to 1.
        size: In how many independent ones; a fraction where they are not independent.
        z: Quantile.
    """
    middle = share + z * z / (2 * size)
    away = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    whole = 1 + z * z / size
    return max(0.0, (middle - away) / whole), min(1.0, (middle + away) / whole)


def _beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )  # the same from both sides
    if x < (a + 1) / (a + b + 2):
        return front / a * _fraction(1.0, 1.0, _beta_terms(a, b, x))
    return 1 - front / b * _fraction(1.0, 1.0, _beta_terms(b, a, 1 - x))


def _beta_terms(a: float, b: float, x: float) -> Iterable[tuple[float, float]]:
    """Yield numerators and denominators of its fraction, after the first 1 / 1."""
    for m in count():
        yield -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)), 1.0
        yield (m + 1) * (b - m - 1) * x / ((a + 2 * m + 1) * (a + 2 * m + 2)), 1.0


def _gamma_above(a: float, x: float) -> float:
    """Return the regularised upper incomplete gamma function."""
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x >= a + 1:
        terms = ((-n * (n - a), x + 2 * n + 1 - a) for n in count(1))
        return front * _fraction(1.0, x + 1 - a, terms)
    term = total = 1 / a
    for n in count(1):
        term *= x / (a + n)
        total += term
        if term < total * ENOUGH:
            break
    return 1 - front * total


def _fraction(first: float, below: float, terms: Iterable[tuple[float, float]]) -> float:
    """Return the continued fraction first / (below + n1 / (d1 + n2 / (d2 + ...)))."""
    found, c, d = TINY, TINY, 0.0
    for step, (above, under) in enumerate(chain([(first, below)], terms)):
        d = 1 / (under + above * d or TINY)
        c = under + above / c or TINY
        found *= c * d
        if abs(c * d - 1) < ENOUGH or step > STEPS:
            break
    return found
