"""Distributions against closed formulas, with fixed seeds and a stated false-alarm rate.

Every check is two-sided at 5 standard errors or a p-value of 5e-7: had the seeds been drawn
afresh, one check would fail by chance with probability 6e-7, and the nearly 700 checks of this
file together with 4e-4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

import fastinit as fi
from cases import TRUNCATED, truncated_normal

inf = math.inf
FALSE_ALARM = 5e-7
SIGMAS = 5.0
C2 = 0.87962566103423978  # standard deviation of a standard normal cut at +-2


def check_moments(x: NDArray[Any], mean: float, std: float, kurtosis: float) -> None:
    """Sample mean and variance within SIGMAS standard errors of the exact ones."""
    n = x.size
    x = x.astype(np.float64).reshape(-1)
    assert abs(x.mean() - mean) < SIGMAS * std / math.sqrt(n)
    variance_error = std**2 * math.sqrt((kurtosis - 1) / n)
    assert abs(((x - mean) ** 2).mean() - std**2) < SIGMAS * variance_error


UNIFORM_KURTOSIS, NORMAL_KURTOSIS = 1.8, 3.0
TRUNCATED_KURTOSIS = 2.3655  # of a standard normal cut at +-2; only scales the tolerance

SHAPE = (3, 3, 512, 256)  # two spatial axes: fan_in 4608, fan_out 2304
IN, OUT = 4608, 2304


@pytest.mark.parametrize(
    ("make", "variance", "kind"),
    [
        (fi.lecun_normal, 1 / IN, "truncated"),
        (fi.glorot_normal, 2 / (IN + OUT), "truncated"),
        (fi.xavier_normal, 2 / (IN + OUT), "truncated"),
        (fi.glorot_uniform, 6 / (IN + OUT) / 3, "uniform"),
        (fi.xavier_uniform, 6 / (IN + OUT) / 3, "uniform"),
        (fi.he_normal, 2 / IN, "truncated"),
        (fi.kaiming_normal, 2 / IN, "truncated"),
        (fi.he_uniform, 6 / IN / 3, "uniform"),
        (fi.kaiming_uniform, 6 / IN / 3, "uniform"),
        (fi.lecun_uniform, 3 / IN / 3, "uniform"),
        (fi.VarianceScaling(2.0, "fan_out", "untruncated_normal"), 2 / OUT, "normal"),
        (fi.VarianceScaling(1.0, "fan_geo_avg", "uniform"), 1 / math.sqrt(IN * OUT), "uniform"),
        (fi.VarianceScaling(2.0, correction="none"), 2 / IN * C2**2, "truncated"),
        (fi.VarianceScaling(2.0, correction="tf_contrib"), 1.3 * 2 / IN * C2**2, "truncated"),
        (fi.tf_contrib.variance_scaling_initializer(seed=1), 2 / IN * C2**2, "truncated"),
        (fi.tf_contrib.variance_scaling_initializer(1.0, "FAN_OUT", seed=1), 1 / OUT * C2**2, "truncated"),
        (fi.tf_contrib.variance_scaling_initializer(1.0, "FAN_AVG", True, seed=1), 2 / (IN + OUT), "uniform"),
        (
            fi.tf_contrib.variance_scaling_initializer(seed=1, correction="tf_contrib"),
            1.3 * 2 / IN * C2**2,
            "truncated",
        ),
        (fi.tf_contrib.xavier_initializer(seed=1), 6 / (IN + OUT) / 3, "uniform"),
        (fi.tf_contrib.xavier_initializer(False, seed=1), 2 / (IN + OUT) * C2**2, "truncated"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_table_of_initializers(make: Any, variance: float, kind: str, dtype: str) -> None:
    std = math.sqrt(variance)
    if isinstance(make, fi.Initializer):
        x = make(SHAPE, seed=20, dtype=dtype)
    else:
        x = make(SHAPE, dtype)
    if kind == "uniform":
        law, kurtosis, limit = stats.uniform(-1, 2), UNIFORM_KURTOSIS, math.sqrt(3) * std
        unit = x / limit
    elif kind == "truncated":
        law, kurtosis, limit = stats.truncnorm(-2, 2), TRUNCATED_KURTOSIS, 2 * std / C2
        unit = x / (std / C2)
    else:
        law, kurtosis, limit = stats.norm(), NORMAL_KURTOSIS, inf
        unit = x / std
    check_moments(x, 0.0, std, kurtosis)
    assert abs(x).max() <= limit
    if limit < inf:  # 1.2 million values come within 1e-4 of the bound, but none crosses it
        assert abs(x).max() > 0.9999 * limit
    assert stats.kstest(unit.reshape(-1)[:300_000], law.cdf).pvalue > FALSE_ALARM


#: Intervals in standard deviations: every proposal, and both sides of each switch between two.
SWITCHES = [
    # across 0: narrow below a width of sqrt(2 pi) = 2.5066, else truncated
    (-1.0, 1.506), (-1.0, 1.507), (-0.1, 2.406), (-0.1, 2.407), (-2.5, 0.006), (-2.5, 0.007), (-0.01, 0.02),
    (-2.0, 2.0), (-8.0, 0.5), (-inf, 1.0), (-0.5, inf), (-inf, inf), (-1e-9, inf), (-3.0, 0.1),
    # from 0 on: narrow up to a fall of the density by 2.18, then half below 1/4
    (0.0, 1.248), (0.0, 1.249), (0.0, inf), (0.2, 1.264), (0.2, 1.265), (0.2499, inf), (0.2499, 2.0),
    # exponential below 3/2
    (0.25, 1.273), (0.25, 1.274), (0.25, inf), (1.0, 1.599), (1.0, 1.6), (1.0, 3.0), (1.4999, 1.9515), (1.4999, inf),
    # tail
    (1.5, 1.951), (1.5, 1.952), (1.5, inf), (3.0, 3.25), (3.0, 3.26), (3.0, inf), (6.0, 9.0), (30.0, inf),
    (100.0, 100.0077), (100.0, 100.0079), (1e4, inf), (1e4, 1e4 + 1e-5), (1e8, inf), (1e100, inf),
]  # fmt: skip


def excess_cdf(a: float, b: float, e: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(Z <= a + e) for a standard normal Z on [a, b], a > -inf, exact in far tails too."""
    if a < 0:
        return (special.ndtr(a + e) - special.ndtr(a)) / (special.ndtr(b) - special.ndtr(a))

    def survival(e: Any) -> Any:  # relative to that at a
        root = math.sqrt(0.5)
        return np.exp(-e * (a + e / 2)) * special.erfcx((a + e) * root) / special.erfcx(a * root)

    width = b - a
    if (a + width / 2) * width < 1e-3:  # the survivals would cancel; the density is flat to 1e-3
        return e / width * (1 + (a + width / 2) * (width - e) / 2)
    return (1 - survival(e)) / (1 - (survival(width) if width < inf else 0.0))


def interval_moments(a: float, b: float) -> tuple[float, float, float]:
    """Mean (from a if a >= 0), standard deviation and kurtosis, by the trapezoidal rule."""
    near = max(a, 0.0)
    low = max(a, -12.0) if a < 0 else 0.0
    e, step = np.linspace(low, min(b - near, 12.0, 60 / max(near, 1e-300)), 200_001, retstep=True)
    w = np.exp(-e * (near + e / 2))
    w[[0, -1]] /= 2
    w /= w.sum()
    mean = float(np.dot(w, e))
    central = [float(np.dot(w, ((e - mean) / step) ** k)) for k in (2, 4)]
    return mean, step * math.sqrt(central[0]), central[1] / central[0] ** 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize(("a", "b"), SWITCHES)
def test_truncated_normal(a: float, b: float, reflect: bool, dtype: str) -> None:
    """Kolmogorov-Smirnov, mean and standard deviation on one interval.

    In units of the interval's own scale, with the near bound moved to 0, so that the
    rounding of float32 outputs does not hide the law.
    """
    mean, std, kurtosis = interval_moments(a, b)
    near = a if a > -inf else 0.0
    stddev = 1 / std
    shift = stddev * near if a >= 0 else 0.0  # -mean / std of the parent
    if reflect:
        make = fi.TruncatedNormal(shift, stddev, lower=-b, upper=-a)
    else:
        make = fi.TruncatedNormal(-shift, stddev, lower=a, upper=b)
    x = make((150_000,), seed=77, dtype=dtype).astype(np.float64)
    if reflect:
        x = -x
    low, high = (-shift + stddev * bound for bound in (a, b))
    assert low <= x.min()
    assert x.max() <= high
    if a == -inf:
        cdf = stats.truncnorm(a, b).cdf(x * std) if b < inf else stats.norm.cdf(x * std)
    else:
        cdf = excess_cdf(a, b, x * std - (a if a < 0 else 0.0))
    # Sorted in place of scipy's kstest with a callable: the values above are already the law's.
    assert stats.kstest(cdf, "uniform").pvalue > FALSE_ALARM
    check_moments(x, mean / std, 1.0, kurtosis)


@pytest.mark.parametrize("case", TRUNCATED)
def test_bounds_hold_in_the_output_dtype(case: str, dtype: str) -> None:
    mean, stddev, lower, upper = TRUNCATED[case]
    x = truncated_normal(*TRUNCATED[case])((100_000,), seed=6, dtype=dtype).astype(np.float64)
    assert x.min() >= mean + stddev * lower
    assert x.max() <= mean + stddev * upper
    assert np.isfinite(x).all()


def test_uniform_bounds_hold_in_the_output_dtype() -> None:
    for low, high in ((-0.1, 0.1), (0.3, 0.7), (1e-3, 1.1e-3), (-5.0, -4.9)):
        for dtype in ("float16", "bfloat16", "float32", "float64"):
            x = fi.Uniform(low, high)((200_000,), seed=6, dtype=dtype).astype(np.float64)
            assert low <= x.min()
            assert x.max() <= high


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_reaches_far_and_is_never_zero(dtype: str) -> None:
    """4 million values: counts beyond 4 and 5 sigma are Poisson, and pairs are uncorrelated."""
    n = 2**22
    x = fi.Normal()((n,), seed=4, dtype=dtype).astype(np.float64)
    check_moments(x, 0.0, 1.0, NORMAL_KURTOSIS)
    for sigma in (1, 2, 3, 4, 5):
        expected = n * 2 * stats.norm.sf(sigma)
        count = np.count_nonzero(abs(x) > sigma)
        p = 2 * min(stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected))
        assert p > FALSE_ALARM, (sigma, count, expected)
    assert np.count_nonzero(x) == n
    for lag in (1, 16, 32, 48, 64):
        assert abs(np.dot(x[lag:], x[:-lag]) / (n - lag)) < SIGMAS / math.sqrt(n - lag)
    assert abs(np.dot(x, fi.Normal()((n,), seed=5, dtype=dtype)) / n) < SIGMAS / math.sqrt(n)
    assert abs(
        np.dot(x, fi.Normal()((n,), seed=4, stream="b", dtype=dtype)) / n
    ) < SIGMAS / math.sqrt(n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_box_muller_pairs(dtype: str) -> None:
    """The squared radius of a pair is exponential, the angle uniform."""
    lag = 16
    x = fi.Normal()((2**18,), seed=3, dtype=dtype).astype(np.float64).reshape(-1, 2, lag)
    z0, z1 = x[:, 0].reshape(-1), x[:, 1].reshape(-1)
    assert stats.kstest((z0**2 + z1**2) / 2, "expon").pvalue > FALSE_ALARM
    assert stats.kstest(np.arctan2(z1, z0) / (2 * np.pi) + 0.5, "uniform").pvalue > FALSE_ALARM
