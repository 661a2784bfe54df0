"""What values of a distribution should measure, in exact numbers and in those of each dtype."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fastinit.checks import shown
from fastinit.fans import truncated_moments
from fastinit.initializers import Constant, Distribution, Normal, TruncatedNormal, Uniform

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Theory:
    """What a tensor should measure.

    Parameters
    ----------
    mean, std, kurtosis : float
        Of the distribution; the kurtosis of a normal is 3.
    min, max : float
        The bounds; where there are none, the median of the smallest and the largest of n values.
    """

    mean: float
    std: float
    min: float
    max: float
    kurtosis: float

    def std_error(self, n: int) -> float:
        """The standard error of the standard deviation of n values."""
        return self.std * math.sqrt((self.kurtosis - 1) / (4 * n))


def theory(distribution: Distribution, n: int, dtype: str | None = None) -> Theory:
    """What n values of a distribution should measure.

    Parameters
    ----------
    distribution : Distribution
    n : int
        How many values, for the extremes of distributions without bounds.
    dtype : str, optional
        For 16- and 8-bit dtypes the moments are those after rounding, and the bounds are rounded
        inward. None, float32 and float64 stand for exact numbers.

    Returns
    -------
    Theory

    Raises
    ------
    TypeError
        A distribution that is not one of fastinit's.
    """
    match distribution:
        case Constant(value):
            mean, std, low, high, kurtosis = value, 0.0, value, value, 1.0
        case Uniform(low, high):
            mean, std, kurtosis = low / 2 + high / 2, (high - low) / math.sqrt(12), 1.8
        case Normal(mean, std):
            # The median of the largest of n values: Phi(x)**n = 1/2, Phi(-x) = 1 - 2**(-1/n).
            reach = -NormalDist().inv_cdf(-math.expm1(-math.log(2) / max(n, 1)))
            low, high, kurtosis = mean - reach * std, mean + reach * std, 3.0
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper):
            low, high = bounds(distribution)
            z_mean, z_std = truncated_moments(lower, upper)
            mean, std = mean + stddev * z_mean, stddev * z_std
            kurtosis = _truncated_kurtosis(lower, upper)
        case _:
            raise TypeError(f"no theory of {shown(distribution)}")
    if dtype in CODES and std > 0:
        mean, std, kurtosis = moments(grid(dtype)[0], probabilities(distribution, dtype))
        if not isinstance(distribution, Normal):
            low, high = bounds(distribution, dtype)
    return Theory(mean, std, low, high, kurtosis)


@lru_cache(maxsize=256)
def _truncated_kurtosis(lower: float, upper: float) -> float:
    """By sums over 4096 cells; it scales tolerances alone, so that 5 digits do."""
    mean, std = truncated_moments(lower, upper)
    edges = np.linspace(max(lower, mean - 16 * std), min(upper, mean + 16 * std), 4097)
    cells = np.diff(_truncated_cdf(edges, lower, upper))
    return moments((edges[1:] + edges[:-1]) / 2, cells)[2]


def moments(values: Reals, weights: Reals) -> tuple[float, float, float]:
    """Mean, standard deviation and kurtosis of weighted values; NaN for no weight at all."""
    total = float(weights.sum())
    if not total:
        return math.nan, math.nan, math.nan
    used = np.flatnonzero(weights)
    values, weights = values[used], weights[used] / total
    # From the middle value on: differences keep their digits where the mean is far from zero.
    origin = values[values.size // 2]
    # Sums, not products of vectors, for which NumPy's BLAS would start threads of its own.
    mean = float((weights * (values - origin)).sum())
    deviations = values - origin - mean
    std = math.sqrt(float((weights * deviations * deviations).sum()))
    if not std:
        return float(origin) + mean, 0.0, 1.0
    z = deviations / std
    return float(origin) + mean, std, float((weights * z * z * z * z).sum())


def cdf(distribution: Distribution, x: Reals) -> Reals:
    """The distribution function at `x`, of exact numbers; 1 at the value of a constant."""
    match distribution:
        case Uniform(low, high) if low < high:
            below: Reals = np.clip((x - low) / (high - low), 0.0, 1.0)
            return below
        case Normal(mean, std) if std > 0:
            return _upper_tail((mean - x) / std)
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper) if stddev > 0:
            return _truncated_cdf((x - mean) / stddev, lower, upper)
    return (x >= theory(distribution, 1).mean).astype(np.float64)


def _truncated_cdf(z: Reals, lower: float, upper: float) -> Reals:
    if upper <= 0:
        return 1 - _truncated_cdf(-z, -upper, -lower)
    z = np.clip(z, lower, upper)
    ends = np.array([lower, upper])
    if lower < 5:
        above, (first, last) = _upper_tail(z), _upper_tail(ends)
    else:  # where the tails themselves lose their digits or vanish: relative to that at `lower`
        above, (first, last) = _relative_tail(z, lower), _relative_tail(ends, lower)
    below: Reals = np.clip((first - above) / (first - last), 0.0, 1.0)
    return below


def _upper_tail(z: Reals) -> Reals:
    """The probability above z of a standard normal."""
    tail = 0.5 - z / math.sqrt(2 * math.pi)
    # Most numbers of a 16-bit dtype lie near 0, where the line above is right to 1e-13, or far out.
    tail[z < -9] = 1
    tail[z > 40] = 0
    slow = np.flatnonzero((np.abs(z) > 1e-4) & (z >= -9) & (z <= 40))
    scaled = (z[slow] / math.sqrt(2)).tolist()
    tail[slow] = np.fromiter(map(math.erfc, scaled), np.float64, slow.size) / 2
    return tail


def _relative_tail(z: Reals, a: float) -> Reals:
    """The probability above z of a standard normal over that above a, for z >= a >= 5."""

    def mills(t: Reals) -> Reals:
        fraction = np.zeros_like(t)
        for k in range(40, 0, -1):  # Laplace's continued fraction, 1e-13 at 5
            fraction = k / (t + fraction)
        return 1 / (t + fraction)

    start = np.array([a])
    with np.errstate(over="ignore"):  # far out the exponent is -inf, and the probability 0
        return np.exp((a - z) * (a + z) / 2) * mills(z) / mills(start)


def bounds(distribution: Distribution, dtype: str | None = None) -> tuple[float, float]:
    """The bounds of a distribution, infinite where it has none; rounded inward to numbers of `dtype`."""
    match distribution:
        case Constant(low):
            high = low
        case Uniform(low, high):
            pass
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper) if stddev > 0:
            low, high = mean + stddev * lower, mean + stddev * upper
        case TruncatedNormal(low) | Normal(low, 0.0):
            high = low
        case _:
            low, high = -math.inf, math.inf
    return (low, high) if dtype is None else (_inward(low, dtype), -_inward(-high, dtype))


def _inward(low: float, dtype: str) -> float:
    """The smallest number of `dtype` that is not below `low`."""
    if math.isinf(low):
        return low
    if dtype in CODES:
        values = grid(dtype)[0]
        return float(values[min(int(np.searchsorted(values, low)), values.size - 1)])
    if dtype == "float64":
        return low
    near = np.float32(low)
    return float(near if float(near) >= low else np.nextafter(near, np.float32(math.inf)))


def rescaled(distribution: Distribution, factor: float) -> Distribution:
    """The distribution with `factor` times its deviations from its mean, if a float can hold them."""
    center = theory(distribution, 1).mean

    def moved(x: float) -> float:
        return center + (x - center) * factor

    with suppress(ValueError):  # not finite
        match distribution:
            case Uniform(low, high):
                return Uniform(moved(low), moved(high))
            case Normal(mean, std):
                return Normal(mean, std * factor)
            case TruncatedNormal(mean, stddev, lower=lower, upper=upper):
                return TruncatedNormal(moved(mean), stddev * factor, lower=lower, upper=upper)
    return distribution


#: The unsigned integer that holds a number of each dtype that is read by its codes.
CODES = {"float16": "<u2", "bfloat16": "<u2", "float8_e4m3fn": "u1", "float8_e5m2": "u1"}


def decode_table(dtype: str) -> NDArray[np.float32]:
    """The value of every code of a 16- or 8-bit dtype: element c is that of code c.

    Parameters
    ----------
    dtype : str
        "float16", "bfloat16", "float8_e4m3fn" or "float8_e5m2".

    Returns
    -------
    numpy.ndarray
        float32, shape (65536,) or (256,).
    """
    codes = np.arange(256 if dtype.startswith("float8") else 65536, dtype=np.uint32)
    if dtype == "bfloat16":
        return (codes << 16).view(np.float32)
    if dtype == "float8_e4m3fn":
        exponent, fraction = codes >> 3 & 15, codes & 7
        digits = np.where(exponent > 0, 8 + fraction, fraction)
        powers = np.maximum(exponent, 1).astype(np.int32) - 10
        values: NDArray[np.float32] = np.ldexp(digits.astype(np.float32), powers)
        values[codes & 127 == 127] = np.nan
        values[128:] *= -1
        return values
    # float8_e5m2 is the upper byte of a float16.
    halves = (codes << 8 if dtype == "float8_e5m2" else codes).astype(np.uint16)
    return halves.view(np.float16).astype(np.float32)


@cache
def grid(dtype: str) -> tuple[Reals, NDArray[np.int64]]:
    """The finite numbers of a dtype in rising order, and which of them each code is (-1: none)."""
    table = decode_table(dtype)
    finite = np.isfinite(table)
    values = np.unique(table[finite].astype(np.float64) + 0.0)
    rank = np.full(table.size, -1, np.int64)
    rank[finite] = np.searchsorted(values, table[finite])
    return values, rank


@cache
def midpoints(dtype: str) -> Reals:
    """Where the rounding goes over from one number of a dtype to the next."""
    values = grid(dtype)[0]
    return (values[1:] + values[:-1]) / 2


@lru_cache(maxsize=32)
def probabilities(distribution: Distribution, dtype: str) -> Reals:
    """The probability of each number of a 16- or 8-bit dtype.

    What would round over a bound takes the bound rounded inward.
    """
    low, high = bounds(distribution, dtype)
    middle = midpoints(dtype)
    below = cdf(distribution, middle)
    below[middle < low] = 0
    below[middle > high] = 1
    return np.diff(np.concatenate(([0.0], below, [1.0])))


def cell(distribution: Distribution, dtype: str, value: float) -> tuple[float, float, float]:
    """The probabilities that an element is below `value`, is `value` and is above it."""
    if dtype in CODES:
        p = probabilities(distribution, dtype)
        i = int(np.searchsorted(grid(dtype)[0], value))
        return float(p[:i].sum()), float(p[i]), float(p[i + 1 :].sum())
    # A whole spacing on each side: values over a bound were moved by more than a rounding.
    h = float(spacing(np.array([value]), dtype)[0])
    below, to_here = cdf(distribution, np.array([value - h, value + h]))
    return float(below), float(to_here - below), float(1 - to_here)


def spacing(x: Reals, dtype: str) -> Reals:
    """The distance of neighbouring numbers of float32 or float64 at `x`."""
    spacing: Reals = np.spacing(np.abs(x).astype(dtype)).astype(np.float64)
    return spacing
