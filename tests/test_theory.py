"""What `theory` says of distributions, up to the furthest tails and the narrowest intervals.

Expected values come from closed formulas: of moments and probabilities in the digits that mpmath is told to keep,
of limits in float64.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

import fastinit as fi
from fastinit.fans import truncated_moments
from fastinit.theory import cdf, theory

mpmath = pytest.importorskip("mpmath")

inf = math.inf
#: Bounds of a standard normal. Their mirror images are tested with them.
INTERVALS = [
    *((lower, inf) for lower in (-9, -1, 0, 0.1, 1, 4.99, 5, 30, 1e3, 1e6, 1e8, 1e9, 1e12)),
    *((-x, x) for x in (1e-12, 1e-5, 0.1, 1, 2, 3, 8)),
    *((lower, lower + width) for lower in (-2.5, 0, 0.5, 3, 6, 20) for width in (2**-30, 0.01, 1, 4)),
    *((lower, lower + 3 / lower) for lower in (1e2, 1e5, 1e8)),
]  # fmt: skip


def density(x: object) -> object:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi) if mpmath.isfinite(x) else 0


def above(x: object) -> object:
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_moments_of_truncated_normals(lower: float, upper: float) -> None:
    """E[z**k] = (k - 1) E[z**(k - 2)] + (a**(k - 1) phi(a) - b**(k - 1) phi(b)) / Z, in 200 digits."""
    with mpmath.workdps(200):
        a, b = mpmath.mpf(lower), mpmath.mpf(upper)
        z = above(a) - above(b)
        raw = [mpmath.mpf(1), (density(a) - density(b)) / z]
        for k in (2, 3, 4):
            ends = a ** (k - 1) * density(a) - (b ** (k - 1) * density(b) if upper < inf else 0)
            raw.append((k - 1) * raw[k - 2] + ends / z)
        mean = raw[1]
        variance = raw[2] - mean**2
        fourth = raw[4] - 4 * mean * raw[3] + 6 * mean**2 * raw[2] - 3 * mean**4
        offset, std = float(mean - min(max(a, 0), b)), float(mpmath.sqrt(variance))
        kurtosis = float(fourth / variance**2)
    expected = pytest.approx((offset, std, kurtosis), rel=1e-12, abs=1e-12 * std)
    assert truncated_moments(lower, upper) == expected
    mirrored = pytest.approx((-offset, std, kurtosis), rel=1e-12, abs=1e-12 * std)
    assert truncated_moments(-upper, -lower) == mirrored
    known = theory(fi.TruncatedNormal(0.5, 2.0, lower=lower, upper=upper), 10)
    assert known.kurtosis == pytest.approx(kurtosis, rel=1e-12)
    assert known.std == pytest.approx(2 * std, rel=1e-12)


@pytest.mark.parametrize("lower", [1e8, 1e9, 1e100, 1e300])
def test_far_tails_are_exponential(lower: float) -> None:
    """Mean and standard deviation 1 / lower from the bound, kurtosis 9; the next terms are of 1 / lower**2."""
    expected = pytest.approx((1 / lower, 1 / lower, 9.0), rel=1e-12)
    assert truncated_moments(lower, inf) == expected
    # The bound is 0 here, and mean + stddev * z would round the values away.
    known = theory(fi.TruncatedNormal(-lower, 1.0, lower=lower, upper=inf), 1000)
    assert (known.mean, known.std, known.kurtosis) == expected
    mirrored = theory(fi.TruncatedNormal(lower, 1.0, lower=-inf, upper=-lower), 1000)
    assert (-mirrored.mean, mirrored.std, mirrored.kurtosis) == expected


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_distribution_functions_of_truncated_normals(lower: float, upper: float) -> None:
    """The bound that is nearest to the mean is moved to 0, where float64 has digits for all intervals."""
    near = max(lower, 0.0)
    span = min(upper - near, 8 / (near / 2 + math.hypot(near, 2) / 2))
    x = np.linspace(lower - near if near or lower > -9 else -9, span, 41)
    with mpmath.workdps(200):
        a, b = mpmath.mpf(lower), mpmath.mpf(upper)
        z = above(a) - above(b)
        expected = [float((above(a) - above(near + mpmath.mpf(e))) / z) for e in x]
    distribution = fi.TruncatedNormal(-near, 1.0, lower=lower, upper=upper)
    assert cdf(distribution, x) == pytest.approx(expected, abs=1e-12)
    mirrored = fi.TruncatedNormal(near, 1.0, lower=-upper, upper=-lower)
    assert 1 - cdf(mirrored, -x) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 10, 10**6, 10**12])
@pytest.mark.parametrize("lower", [-inf, -3, 0, 1, 4.999, 5, 30, 1e4, 1e9])
def test_extremes_without_a_bound_are_medians(lower: float, n: int) -> None:
    """P(all n are below x) = 1/2 at the median of the largest, where P(one is above x) = 1 - 2**(-1/n)."""
    near = max(lower, 0.0)
    known = theory(fi.TruncatedNormal(-near, 1.0, lower=lower, upper=inf), n)
    mirrored = theory(fi.TruncatedNormal(near, 1.0, lower=-inf, upper=-lower), n)
    assert (known.max_is_bound, mirrored.min_is_bound) == (False, False)
    assert known.min_is_bound == mirrored.max_is_bound == math.isfinite(lower)
    assert mirrored.min == -known.max
    if known.min_is_bound:
        assert (known.min, mirrored.max) == (lower - near, near - lower)
    with mpmath.workdps(50):
        ratio = above(near + mpmath.mpf(known.max)) / above(mpmath.mpf(lower))
        expected = -mpmath.expm1(-mpmath.log(2) / n)
        assert float(ratio / expected) == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (fi.Constant(2.0), (True, True)),
        (fi.Uniform(-1.0, 2.0), (True, True)),
        (fi.Normal(0.0, 1.0), (False, False)),
        (fi.Normal(1.0, 0.0), (True, True)),
        (fi.TruncatedNormal(0.0, 1.0), (True, True)),
        (fi.TruncatedNormal(0.0, 1.0, lower=-inf, upper=inf), (False, False)),
        (fi.TruncatedNormal(0.0, 1.0, lower=-inf, upper=2.0), (False, True)),
        (fi.TruncatedNormal(0.0, 1.0, lower=1.0, upper=inf), (True, False)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [None, "float32", "float16", "float8_e4m3fn"])
def test_theory_tells_bounds_from_medians(
    distribution: fi.Distribution, expected: tuple[bool, bool], dtype: str | None
) -> None:
    known = theory(distribution, 1000, dtype)
    assert (known.min_is_bound, known.max_is_bound) == expected
    assert math.isfinite(known.min)
    assert math.isfinite(known.max)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float16", 0.0999755859375),
        ("bfloat16", 0.10009765625),
        ("float8_e4m3fn", 0.1015625),
        ("float8_e5m2", 0.09375),
    ],
)
def test_constants_are_rounded_to_nearest(dtype: str, value: float) -> None:
    """0.1 is none of their numbers, so the numbers above it and below it are no bounds."""
    for sign in (1, -1):
        x = sign * 0.1
        for constant in (fi.Constant(x), fi.Normal(x, 0), fi.Uniform(x, x)):
            known = theory(constant, 72, dtype)
            assert (known.mean, known.std, known.min, known.max) == (sign * value, 0, sign * value, sign * value)  # fmt: skip


def test_extremes_of_one_sided_truncated_normals() -> None:
    """Phi(x)**n = 1/2 for the normal, (2 Phi(x) - 1)**n = 1/2 for its upper half."""
    x, y = special.ndtri(0.5 ** (1 / 1000)), special.ndtri((1 + 0.5 ** (1 / 1000)) / 2)
    known = theory(fi.TruncatedNormal(1.0, 2.0, lower=-inf, upper=inf), 1000)
    assert (known.min, known.max) == pytest.approx((1 - 2 * x, 1 + 2 * x), rel=1e-12)
    known = theory(fi.TruncatedNormal(1.0, 2.0, lower=0.0, upper=inf), 1000)
    assert (known.min, known.max) == pytest.approx((1.0, 1 + 2 * y), rel=1e-12)


def test_the_distribution_function_of_a_constant_is_1_at_its_value() -> None:
    x = np.array([1.0, 2.0, 3.0])
    for constant in (fi.Constant(2), fi.Normal(2, 0), fi.Uniform(2, 2)):
        assert cdf(constant, x).tolist() == [0, 1, 1]
