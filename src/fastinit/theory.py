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
from fastinit.distributions import Exponential, LogUniform, OrthogonalMatrix, RandomIntegers
from fastinit.dtypes import constant_value
from fastinit.fans import gauss_legendre, truncated_moments
from fastinit.initializers import Constant, Distribution, Normal, TruncatedNormal, Uniform
from fastinit.rounding import decode_table, encode

Reals = NDArray[np.float64]

#: The distributions whose moments and distribution function are known.
WITH_THEORY = (
    Constant, Uniform, Normal, TruncatedNormal, LogUniform, Exponential, RandomIntegers,
)  # fmt: skip
#: Integers that are rounded one by one: of more, those that lie halfway between two numbers of a dtype matter less.
MOST_INTEGERS = 2**16


@dataclass(frozen=True, slots=True)
class Theory:
    """What a tensor should measure.

    Parameters
    ----------
    mean, std, kurtosis : float
        Moments of the distribution. The kurtosis of a normal is 3.
    min, max : float
        The bounds. At an end without a bound, the median of the smallest or of the largest of n values.
    min_is_bound, max_is_bound : bool
        Which of the two `min` and `max` are.
    """

    mean: float
    std: float
    min: float
    max: float
    kurtosis: float
    min_is_bound: bool
    max_is_bound: bool

    def std_error(self, n: int) -> float:
        """The standard error of the standard deviation of n values."""
        return self.std * math.sqrt((self.kurtosis - 1) / (4 * n))


def theory(distribution: Distribution, n: int, dtype: str | None = None) -> Theory:
    """What n values of a distribution should measure.

    Parameters
    ----------
    distribution : Distribution
    n : int
        How many values there are. It matters for the extremes of distributions without bounds.
    dtype : str, optional
        For 16- and 8-bit dtypes the moments are those after rounding, and the bounds are rounded
        inward; a constant is rounded to nearest. None, float32 and float64 stand for exact numbers.

    Returns
    -------
    Theory

    Raises
    ------
    TypeError
        A distribution that is not one of fastinit's.
    """
    value = constant_value(distribution)
    if value is not None and dtype in CODES:
        distribution = Constant(nearest(value, dtype))
    low, high = bounds(distribution, dtype if dtype in CODES else None)
    is_bound = math.isfinite(low), math.isfinite(high)
    match distribution:
        case Constant(value):
            mean, std, kurtosis = value, 0.0, 1.0
        case Uniform(left, right):
            mean, std, kurtosis = left / 2 + right / 2, (right - left) / math.sqrt(12), 1.8
        case Normal(mean, std):
            kurtosis = 3.0
            reach = _median_of_largest(-math.inf, n) * std
            low, high = mean - reach, mean + reach
        case TruncatedNormal(_, stddev, lower=lower, upper=upper):
            origin = _origin(distribution)
            z_mean, z_std, kurtosis = truncated_moments(lower, upper)
            mean, std = origin + stddev * z_mean, stddev * z_std
            if not is_bound[0]:
                low = origin - stddev * _median_of_largest(-upper, n)
            if not is_bound[1]:
                high = origin + stddev * _median_of_largest(lower, n)
        case LogUniform(left, right):
            mean, std, kurtosis = _log_uniform_moments(left, right)
        case Exponential(scale):
            mean, std, kurtosis = scale, scale, 9.0
            high = -scale * math.log(-math.expm1(-math.log(2) / max(n, 1)))
        case RandomIntegers(first, stop):
            mean, std, kurtosis = _integer_moments(first, stop)
        case OrthogonalMatrix(gain, rows, columns):
            size = max(rows, columns)
            mean, std, kurtosis = 0.0, abs(gain) / math.sqrt(max(1, size)), 3 * size / (size + 2)
            return Theory(mean, std, low, high, kurtosis, *is_bound)  # of all dtypes
        case _:
            raise TypeError(f"no theory of {shown(distribution)}")
    if dtype in CODES and std > 0:
        mean, std, kurtosis = moments(grid(dtype)[0], probabilities(distribution, dtype))
    return Theory(mean, std, low, high, kurtosis, *is_bound)


def _log_uniform_moments(low: float, high: float) -> tuple[float, float, float]:
    """Mean, standard deviation and kurtosis, by quadrature: differences of powers would lose their digits."""
    nodes, weights = gauss_legendre(64)
    mean, std, kurtosis = moments(np.exp(math.log(high / low) * nodes), weights)
    return low * mean, low * std, kurtosis


def _integer_moments(first: int, stop: int) -> tuple[float, float, float]:
    count = stop - first
    if count == 1:
        return float(first), 0.0, 1.0
    square = float(count) ** 2
    kurtosis = 1.8 * (square - 7 / 3) / (square - 1)
    return (first + stop - 1) / 2, math.sqrt((square - 1) / 12), kurtosis


def _origin(distribution: TruncatedNormal) -> float:
    """The mean of the normal before truncation, or the bound that lies between it and all values.

    The values of a far tail have digits relative to that bound which they lose relative to the mean.
    """
    near = min(max(distribution.lower, 0.0), distribution.upper)
    return distribution.mean + distribution.stddev * near


def _median_of_largest(lower: float, n: int) -> float:
    """The median of the largest of n standard normals above `lower`, relative to max(lower, 0)."""
    # P(one is above x)**n = 1/2 for the smallest, so with p above the largest: (1 - p)**n = 1/2.
    p = -math.expm1(-math.log(2) / max(n, 1))
    if lower < FAR:
        below = 0.5 * math.erfc(lower / math.sqrt(2)) * p
        return -NormalDist().inv_cdf(below) - max(lower, 0.0)
    # Newton's method for the logarithm of the tail. It is concave, and the start lies beyond the root.
    depth = -math.log(p)
    e = 2 * depth / (lower + math.hypot(lower, math.sqrt(2 * depth)))
    for _ in range(6):
        inverse_hazard = float(_mills(np.float64(lower + e)))
        log_ratio = math.log(inverse_hazard / float(_mills(np.float64(lower))))
        e -= (e * (lower + e / 2) - log_ratio - depth) * inverse_hazard
    return e


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
        case TruncatedNormal(_, stddev, lower=lower, upper=upper) if stddev > 0:
            return _truncated_cdf((x - _origin(distribution)) / stddev, lower, upper)
        case LogUniform(low, high):
            inside = np.log(np.clip(x, low, high) / low) / math.log(high / low)
            return np.clip(inside, 0.0, 1.0)
        case Exponential(scale):
            return -np.expm1(-np.maximum(x, 0.0) / scale)
        case RandomIntegers(first, stop) if stop - first > 1:
            return np.clip((np.floor(x) - (first - 1)) / (stop - first), 0.0, 1.0)
    return (x >= theory(distribution, 1).mean).astype(np.float64)


#: From this bound on, tails are computed relative to the tail above it: they lose their digits, or vanish.
FAR = 5.0


def _truncated_cdf(e: Reals, lower: float, upper: float) -> Reals:
    """The distribution function at `e` from the number of [lower, upper] that is nearest to 0."""
    if upper <= 0:
        return 1 - _truncated_cdf(-e, -upper, -lower)
    near, width = max(lower, 0.0), upper - lower
    e = np.clip(e, lower - near, upper - near)
    if width * (abs(lower) + width / 2) <= 1:  # differences of tails would lose their digits
        below = _integral(e + (near - lower), lower) / _integral(np.array([width]), lower)
    elif lower < FAR:
        above, (first, last) = _upper_tail(near + e), _upper_tail(np.array([lower, upper]))
        below = (first - above) / (first - last)
    else:
        below = (1 - _relative_tail(e, lower)) / (1 - _relative_tail(np.array([width]), lower))
    return np.clip(below, 0.0, 1.0)


def _integral(d: Reals, lower: float) -> Reals:
    """The integral of the normal density from `lower` to lower + d, relative to the density at `lower`.

    By 8 Gauss-Legendre nodes, right to 1e-15 where the exponent is at most 1.
    """
    total = np.zeros_like(d)
    for node, weight in zip(*gauss_legendre(8), strict=True):
        total += weight * np.exp(-(d * node) * (lower + d * node / 2))
    return total * d


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


def _relative_tail(e: Reals, a: float) -> Reals:
    """The probability above a + e of a standard normal over that above a, for e >= 0 and a >= FAR."""
    with np.errstate(over="ignore"):  # far out the exponent is -inf, and the probability 0
        return np.exp(-e * (a + e / 2)) * (_mills(a + e) / _mills(np.array([a])))


def _mills(t: Reals | np.float64) -> Reals:
    """The probability above t of a standard normal over its density at t, for t >= FAR."""
    fraction: Reals = np.zeros_like(t)
    for k in range(40, 0, -1):  # Laplace's continued fraction, 1e-13 at 5
        fraction = k / (t + fraction)
    return 1 / (t + fraction)


class NearestUniform(Uniform):
    """A uniform whose values were rounded to nearest, as other libraries do: `high` can occur."""

    __slots__ = ()


def nearest_uniform(distribution: Distribution) -> list[Distribution]:
    """The same distribution rounded to nearest, if it is a uniform; no constant is one."""
    match distribution:
        case Uniform(low, high) if low < high:
            return [NearestUniform(low, high)]
    return []


def as_measured(
    expected: Distribution, dtype: str, smallest: float, largest: float
) -> Distribution:
    """The distribution by which values with these extremes are to be judged.

    A uniform has no values on its open end, nor beyond its ends. The numbers of the dtype that are
    nearest to the ends show that the values were rounded to nearest.
    """
    for rounded in nearest_uniform(expected):
        (low, high), (near_low, near_high) = bounds(expected, dtype), bounds(rounded, dtype)
        if smallest == near_low < low or largest == near_high > high:
            return rounded
    return expected


def bounds(distribution: Distribution, dtype: str | None = None) -> tuple[float, float]:
    """The bounds of a distribution, infinite where it has none.

    With a dtype, its smallest and its largest number between them; the upper bound of a uniform is
    not one of its values.
    """
    match distribution:
        case NearestUniform(low, high) | LogUniform(low, high) if dtype is not None:
            return nearest(low, dtype), nearest(high, dtype)
        case RandomIntegers(first, stop):
            low, high = float(first), float(stop - 1)
            return (low, high) if dtype is None else (nearest(low, dtype), nearest(high, dtype))
        case LogUniform(low, high):
            pass
        case Exponential():
            low, high = 0.0, math.inf
        case OrthogonalMatrix(gain):
            low, high = -abs(gain), abs(gain)
        case Constant(low):
            high = low
        case Uniform(low, high):
            if dtype is not None and low < high:
                high = math.nextafter(high, -math.inf)
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper) if stddev > 0:
            low, high = mean + stddev * lower, mean + stddev * upper
        case TruncatedNormal(low) | Normal(low, 0.0):
            high = low
        case _:
            low, high = -math.inf, math.inf
    return (low, high) if dtype is None else (_inward(low, dtype), -_inward(-high, dtype))


def nearest(x: float, dtype: str) -> float:
    """The number of `dtype` nearest to `x`."""
    if dtype in CODES and math.isfinite(x):
        return float(grid(dtype)[0][np.searchsorted(midpoints(dtype), x)])
    return float(np.float32(x)) if dtype == "float32" else x


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
                return type(distribution)(moved(low), moved(high))
            case Normal(mean, std):
                return Normal(mean, std * factor)
            case TruncatedNormal(mean, stddev, lower=lower, upper=upper):
                return TruncatedNormal(moved(mean), stddev * factor, lower=lower, upper=upper)
    return distribution


#: The unsigned integer that holds a number of each dtype that is read by its codes.
CODES = {"float16": "<u2", "bfloat16": "<u2", "float8_e4m3fn": "u1", "float8_e5m2": "u1"}


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


@lru_cache(maxsize=256)
def tolerance(distribution: Distribution, dtype: str) -> float:
    """How far a value may be from its exact number, before it is rounded to a 16- or 8-bit dtype.

    Whoever computes in float32 (float64) may round each parameter to it, and rounds the value: this
    moves values by up to one spacing and half a spacing. Before that, bounds are computed in float64.
    """
    known = theory(distribution, 1)
    furthest = np.array([abs(known.mean) + 4 * known.std])
    off = spacing(furthest, "float64" if dtype == "float64" else "float32")
    if isinstance(distribution, TruncatedNormal):
        off += spacing(np.array([distribution.mean]), "float64")
    return 1.5 * float(off[0])


@lru_cache(maxsize=16)
def cumulative(distribution: Distribution, dtype: str) -> tuple[Reals, Reals, Reals]:
    """The probability of each number of a 16- or 8-bit dtype but the last together with all below it.

    What would round over a bound takes the number of `bounds` there. The first array is the smallest that
    the probabilities can be within the `tolerance`, the second is exact, and the third is the largest.
    """
    if (
        isinstance(distribution, RandomIntegers)
        and distribution.high - distribution.low <= MOST_INTEGERS
    ):
        below = _rounded_integers(distribution, dtype)
        return below, below, below
    low, high = bounds(distribution, dtype)
    middle = midpoints(dtype)
    off = tolerance(distribution, dtype)
    least, exact, most = (cdf(distribution, middle + shift) for shift in (-off, 0.0, off))
    for below in (least, exact, most):
        below[middle < low] = 0
        below[middle > high] = 1
    return least, exact, most


def _rounded_integers(distribution: RandomIntegers, dtype: str) -> Reals:
    """`cumulative` of integers, of which many may lie halfway between two numbers of the dtype."""
    integers = np.arange(distribution.low, distribution.high, dtype=np.float64)
    values, rank = grid(dtype)
    ranks = rank[encode(integers, dtype).view(CODES[dtype])]
    counts = np.bincount(ranks[ranks >= 0], minlength=values.size)
    return np.cumsum(counts)[:-1] / integers.size


def probabilities(distribution: Distribution, dtype: str) -> Reals:
    """The probability of each number of a 16- or 8-bit dtype; see `cumulative`."""
    return np.diff(np.concatenate(([0.0], cumulative(distribution, dtype)[1], [1.0])))


def moment_tolerance(distribution: Distribution, dtype: str) -> tuple[float, float]:
    """How far the `tolerance` moves the mean and the standard deviation of many values, at most."""
    if dtype not in CODES:
        off = tolerance(distribution, dtype)
        return off, off
    known = theory(distribution, 1, dtype)
    values = grid(dtype)[0]
    least, exact, most = cumulative(distribution, dtype)
    moved = np.maximum(most - exact, exact - least)
    mean = float((np.diff(values) * moved).sum())
    # E[f(x)] changes by the sum of the steps of f times the changes of the distribution function.
    squares = (values - known.mean) ** 2
    variance = float((np.abs(np.diff(squares)) * moved).sum()) + mean * mean
    return mean, known.std - math.sqrt(max(0.0, known.std * known.std - variance))


def cell(distribution: Distribution, dtype: str, value: float) -> tuple[float, float, float]:
    """The probabilities that an element is below `value`, is `value` and is above it.

    The one in the middle is the largest within the `tolerance`, the others are the smallest.
    """
    if dtype in CODES:
        least, _, most = cumulative(distribution, dtype)
        i = int(np.searchsorted(grid(dtype)[0], value))
        below = least[i - 1] if i else 0.0
        to_here = most[i] if i < most.size else 1.0
    else:
        off = tolerance(distribution, dtype)
        below, to_here = cdf(distribution, np.array([value - off, value + off]))
    return float(below), float(to_here - below), float(1 - to_here)


def spacing(x: Reals, dtype: str) -> Reals:
    """The distance of neighbouring numbers of float32 or float64 at `x`."""
    held = np.minimum(np.abs(x), np.finfo(dtype).max)
    spacing: Reals = np.spacing(held.astype(dtype)).astype(np.float64)
    return spacing


def has_theory(distribution: Distribution) -> bool:
    """Whether `theory` and `cdf` know a distribution, as they do all that is no expression."""
    return isinstance(distribution, WITH_THEORY)


def normal_probability(lower: float, upper: float) -> float:
    """The probability of a standard normal between two numbers, also far out."""
    if lower > 0:
        lower, upper = -upper, -lower
    below = [0.5 * math.erfc(-end / math.sqrt(2)) for end in (lower, upper)]
    return below[1] - below[0]
