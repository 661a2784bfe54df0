"""What the tensors of a file hold, beside what their initializers should give.

A tensor is measured in one pass over its bytes, in memory that does not depend on its size, and
judged by tests that each raise a false alarm for at most `FALSE_ALARM` of the tensors.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit.checks import check_int
from fastinit.fans import truncated_moments
from fastinit.files import Stored
from fastinit.fill import DTYPE_SIZES, Progress
from fastinit.initializers import Constant, Distribution, Normal, TruncatedNormal, Uniform
from fastinit.tensor import Tensor
from fastinit.threads import get_num_threads, share, spread

Reals = NDArray[np.float64]

#: The probability with which a test flags a tensor that is as it should be.
FALSE_ALARM = 1e-9
#: The same in standard errors, two-sided.
SIGMAS = -NormalDist().inv_cdf(FALSE_ALARM / 2)
#: Bytes read at a time: with what is computed from them they stay in a second-level cache.
BUFFER_BYTES = 2**18
#: Bins for the distance of float32 and float64, and how many standard deviations they reach on both sides.
BINS = 4096
REACH = 8.0
#: Bins of the histogram that is kept.
SHOWN_BINS = 128
#: How many values of a tensor are compared with those of the others, at most and at least.
HEAD, SHORTEST_HEAD = 1024, 64
#: From this correlation on, one tensor is a multiple of another. That of 64 independent values is so large
#: with a probability of (1 - r**2)**31 or 4e-44; rounding a copy to float8_e5m2 costs less than 0.01.
PROPORTIONAL = 0.98
#: Generators draw from a lattice of 2**24 numbers at the coarsest; float32 may round two of them to one.
LATTICE = 2.0**-23


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


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a tensor holds; all but `digest` and `nonfinite` is of its finite values, without the padding row.

    Parameters
    ----------
    size : int
        How many values there are, the non-finite ones included.
    mean, std, min, max : float
        NaN if there are none. The standard deviation is that of the population.
    nonfinite : int
        How many values are NaN or infinite.
    on_bounds : float
        The fraction on the bounds of the distribution, as the dtype has them; 0 without bounds.
    at_min, at_max : int
        How many values equal the smallest, and the largest.
    ks : float
        The largest distance between the distribution functions of the values and of the theory;
        NaN without theory. See `measure`.
    edges, counts : numpy.ndarray
        A histogram of at most `SHOWN_BINS` bins; the outermost hold all that lies beyond.
    clipped : bool
        Whether the values pile up at both ends; a guess that needs no theory.
    head : numpy.ndarray
        The first 1024 values, float32.
    digest : bytes
        BLAKE2b of all bytes, the padding row's included.
    padding_is_zero : bool
    """

    size: int
    mean: float
    std: float
    min: float
    max: float
    nonfinite: int
    on_bounds: float
    at_min: int
    at_max: int
    ks: float
    edges: Reals
    counts: NDArray[np.int64]
    clipped: bool
    head: NDArray[np.float32]
    digest: bytes
    padding_is_zero: bool

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return self.size - self.nonfinite

    @property
    def is_constant(self) -> bool:
        """Whether all values are finite and the same."""
        return self.nonfinite == 0 and self.min == self.max


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """One tensor of a file, and what is off about it.

    Parameters
    ----------
    stored : Stored
    distribution : Distribution or None
        What its values should be, if that is known.
    measured : Measured or None
        None for dtypes that are not fastinit's, such as integers.
    theory : Theory or None
    flags : tuple of str
        Short sentences.
    """

    stored: Stored
    distribution: Distribution | None
    measured: Measured | None
    theory: Theory | None
    flags: tuple[str, ...]


# ----------------------------------------------------------------------------
# Distributions
# ----------------------------------------------------------------------------


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
        case TruncatedNormal(mean, stddev, lower, upper):
            low, high = bounds(distribution)
            z_mean, z_std = truncated_moments(lower, upper)
            mean, std = mean + stddev * z_mean, stddev * z_std
            kurtosis = _truncated_kurtosis(lower, upper)
        case _:
            raise TypeError(f"no theory of {distribution!r}")
    if dtype in _CODES and std > 0:
        mean, std, kurtosis = _moments(_grid(dtype)[0], _probabilities(distribution, dtype))
        if not isinstance(distribution, Normal):
            low, high = bounds(distribution, dtype)
    return Theory(mean, std, low, high, kurtosis)


@lru_cache(maxsize=256)
def _truncated_kurtosis(lower: float, upper: float) -> float:
    """By sums over 4096 cells; it scales tolerances alone, so that 5 digits do."""
    mean, std = truncated_moments(lower, upper)
    edges = np.linspace(max(lower, mean - 16 * std), min(upper, mean + 16 * std), 4097)
    cells = np.diff(_truncated_cdf(edges, lower, upper))
    return _moments((edges[1:] + edges[:-1]) / 2, cells)[2]


def _moments(values: Reals, weights: Reals) -> tuple[float, float, float]:
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
        case TruncatedNormal(mean, stddev, lower, upper) if stddev > 0:
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
    return np.exp((a - z) * (a + z) / 2) * mills(z) / mills(start)


def bounds(distribution: Distribution, dtype: str | None = None) -> tuple[float, float]:
    """The bounds of a distribution, infinite where it has none; rounded inward to numbers of `dtype`."""
    match distribution:
        case Constant(low):
            high = low
        case Uniform(low, high):
            pass
        case TruncatedNormal(mean, stddev, lower, upper) if stddev > 0:
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
    if dtype in _CODES:
        values = _grid(dtype)[0]
        return float(values[min(int(np.searchsorted(values, low)), values.size - 1)])
    if dtype == "float64":
        return low
    near = np.float32(low)
    return float(near if float(near) >= low else np.nextafter(near, np.float32(math.inf)))


def _rescaled(distribution: Distribution, factor: float) -> Distribution:
    """The distribution with `factor` times its deviations from its mean."""
    center = theory(distribution, 1).mean

    def moved(x: float) -> float:
        return center + (x - center) * factor

    match distribution:
        case Uniform(low, high):
            return Uniform(moved(low), moved(high))
        case Normal(mean, std):
            return Normal(mean, std * factor)
        case TruncatedNormal(mean, stddev, lower, upper):
            return TruncatedNormal(moved(mean), stddev * factor, lower, upper)
    return distribution


# ----------------------------------------------------------------------------
# Numbers of few bits
# ----------------------------------------------------------------------------

#: The unsigned integer that holds a number of each dtype that is read by its codes.
_CODES = {"float16": "<u2", "bfloat16": "<u2", "float8_e4m3fn": "u1", "float8_e5m2": "u1"}


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
def _grid(dtype: str) -> tuple[Reals, NDArray[np.int64]]:
    """The finite numbers of a dtype in rising order, and which of them each code is (-1: none)."""
    table = decode_table(dtype)
    finite = np.isfinite(table)
    values = np.unique(table[finite].astype(np.float64) + 0.0)
    rank = np.full(table.size, -1, np.int64)
    rank[finite] = np.searchsorted(values, table[finite])
    return values, rank


@cache
def _midpoints(dtype: str) -> Reals:
    """Where the rounding goes over from one number of a dtype to the next."""
    values = _grid(dtype)[0]
    return (values[1:] + values[:-1]) / 2


@lru_cache(maxsize=32)
def _probabilities(distribution: Distribution, dtype: str) -> Reals:
    """The probability of each number of a 16- or 8-bit dtype.

    What would round over a bound takes the bound rounded inward.
    """
    low, high = bounds(distribution, dtype)
    middle = _midpoints(dtype)
    below = cdf(distribution, middle)
    below[middle < low] = 0
    below[middle > high] = 1
    return np.diff(np.concatenate(([0.0], below, [1.0])))


def _cell(distribution: Distribution, dtype: str, value: float) -> tuple[float, float, float]:
    """The probabilities that an element is below `value`, is `value` and is above it."""
    if dtype in _CODES:
        p = _probabilities(distribution, dtype)
        i = int(np.searchsorted(_grid(dtype)[0], value))
        return float(p[:i].sum()), float(p[i]), float(p[i + 1 :].sum())
    # A whole spacing on each side: values over a bound were moved by more than a rounding.
    h = float(_spacing(np.array([value]), dtype)[0])
    below, to_here = cdf(distribution, np.array([value - h, value + h]))
    return float(below), float(to_here - below), float(1 - to_here)


def _spacing(x: Reals, dtype: str) -> Reals:
    """The distance of neighbouring numbers of float32 or float64 at `x`."""
    spacing: Reals = np.spacing(np.abs(x).astype(dtype)).astype(np.float64)
    return spacing


# ----------------------------------------------------------------------------
# Measuring
# ----------------------------------------------------------------------------


def measure(
    stored: Stored,
    expected: Distribution | None = None,
    padding_idx: int | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    advance: Callable[[int], None] | None = None,
) -> Measured:
    """Measure a tensor in one pass over its bytes.

    Parameters
    ----------
    stored : Stored
        Where it lies; of a dtype of fastinit.
    expected : Distribution, optional
        What its values should be.
    padding_idx : int, optional
        The index on the first axis whose row is left out, and should be zero.
    buffer_bytes : int
        How much is read at a time, rounded down to a multiple of 8. The memory in use is at most
        7 times as much and 2 MiB.
    advance : callable, optional
        Called with the number of bytes that were read since it was last called.

    Returns
    -------
    Measured

    Raises
    ------
    ValueError
        The dtype is not one of fastinit's, the file ends too early, or the number of bytes does
        not fit the shape.

    Notes
    -----
    The distance `ks` takes rounding into account. For 16- and 8-bit dtypes it is the exact
    one from the distribution after rounding, whose steps lie halfway between neighbouring
    numbers. For float32 and float64 it is the largest at the 4095 inner edges of the bins, each
    moved by half a spacing of the dtype in favour of the values: never above the true
    distance, and below it by no more than what lies in one bin, at most 0.004.
    """
    _check_stored(stored, padding_idx)
    item = DTYPE_SIZES[stored.dtype]
    buffer = bytearray(min(max(8, buffer_bytes // 8 * 8), max(stored.nbytes, 1)))
    values: _Codes | _Floats
    values = (_Codes if stored.dtype in _CODES else _Floats)(stored.dtype, expected, len(buffer))
    digest = hashlib.blake2b(digest_size=16)
    head = bytearray()
    padding_is_zero = True
    with np.errstate(all="ignore"):
        for data, is_padding in _pieces(stored, padding_idx, buffer):
            digest.update(data)
            if is_padding:
                padding_is_zero = padding_is_zero and _is_zero(data, values.kind)
            else:
                head += data[: HEAD * item - len(head)]
                values.add(np.frombuffer(data, values.kind))
            if advance is not None:
                advance(len(data))
        return values.finish(_decode(head, stored.dtype), digest.digest(), padding_is_zero)


def _check_stored(stored: Stored, padding_idx: int | None) -> None:
    where = f"{stored.path}: {stored.name}"
    if stored.dtype not in DTYPE_SIZES:
        raise ValueError(
            f"{where}: dtype must be one of {', '.join(DTYPE_SIZES)}, got {stored.dtype}"
        )
    nbytes = math.prod(stored.shape) * DTYPE_SIZES[stored.dtype]
    if stored.nbytes != nbytes:
        raise ValueError(
            f"{where}: {stored.dtype} of shape {stored.shape} must have {nbytes} bytes, "
            f"got {stored.nbytes}"
        )
    if padding_idx is not None:
        check_int(f"{where}: padding_idx", padding_idx, 0, max(0, (*stored.shape, 1)[0] - 1))


def _pieces(
    stored: Stored, padding_idx: int | None, buffer: bytearray
) -> Iterator[tuple[memoryview, bool]]:
    """The bytes of a tensor in order, in one buffer, and whether they are of the padding row."""
    row = stored.nbytes // max(1, (*stored.shape, 1)[0])
    first = stored.nbytes if padding_idx is None else padding_idx * row
    after = min(first + row, stored.nbytes)
    view = memoryview(buffer)
    with open(stored.path, "rb", buffering=0) as file:
        file.seek(stored.offset)
        for start, stop in ((0, first), (first, after), (after, stored.nbytes)):
            for at in range(start, stop, len(buffer)):
                piece = view[: min(len(buffer), stop - at)]
                if (got := _read_into(file, piece)) < len(piece):
                    raise ValueError(
                        f"{stored.path}: {stored.name}: expected {stored.nbytes} bytes from "
                        f"{stored.offset} on, the file ends after {at + got} of them"
                    )
                yield piece, start == first and stop == after


def _read_into(file: Any, piece: memoryview) -> int:
    """Fill `piece`, which may take more than one read; returns how much there was."""
    got = 0
    while got < len(piece):
        count = file.readinto(piece[got:])
        if not count:
            break
        got += count
    return got


def _is_zero(data: memoryview, kind: np.dtype[Any]) -> bool:
    """Whether all values are 0 or -0."""
    values = np.frombuffer(data, kind)
    return not np.any(values << 1 if kind.kind == "u" else values)  # the sign goes out to the left


def _decode(data: bytearray, dtype: str) -> NDArray[np.float32]:
    if dtype in _CODES:
        return decode_table(dtype).take(np.frombuffer(data, _CODES[dtype]))
    return np.frombuffer(data, "<f4" if dtype == "float32" else "<f8").astype(np.float32)


class _Codes:
    """A tensor of a 16- or 8-bit dtype: how often each code occurs says all."""

    def __init__(self, dtype: str, expected: Distribution | None, buffer_bytes: int) -> None:
        self.dtype, self.expected, self.kind = dtype, expected, np.dtype(_CODES[dtype])
        self.codes = np.zeros(256**self.kind.itemsize, np.int64)
        # Bytes are counted in pairs, which is twice as fast, unless they are few.
        self.pairs = np.zeros((256, 256), np.int64) if self.kind.itemsize == 1 else None

    def add(self, codes: NDArray[Any]) -> None:
        if self.pairs is not None and codes.size >= 2**14:
            even = codes.size // 2 * 2
            pairs = np.bincount(codes[:even].view(np.uint16), minlength=65536)
            self.pairs += pairs.reshape(256, 256)
            codes = codes[even:]
        self.codes += np.bincount(codes, minlength=self.codes.size)

    def finish(self, head: NDArray[np.float32], digest: bytes, padding_is_zero: bool) -> Measured:
        codes = self.codes
        if self.pairs is not None:
            codes = codes + self.pairs.sum(axis=0) + self.pairs.sum(axis=1)
        values, rank = _grid(self.dtype)
        finite = rank >= 0
        counts = np.zeros(values.size, np.int64)
        np.add.at(counts, rank[finite], codes[finite])
        mean, std, _ = _moments(values, counts.astype(np.float64))
        used = np.flatnonzero(counts)
        at_min, at_max = (int(counts[used[i]]) if used.size else 0 for i in (0, -1))
        edges, shown = self._histogram(counts)
        return Measured(
            size=int(codes.sum()),
            mean=mean,
            std=std,
            min=float(values[used[0]]) if used.size else math.nan,
            max=float(values[used[-1]]) if used.size else math.nan,
            nonfinite=int(codes[~finite].sum()),
            on_bounds=self._on_bounds(counts),
            at_min=at_min,
            at_max=at_max,
            ks=self._distance(counts),
            edges=edges,
            counts=shown,
            clipped=used.size > 16
            and _piled(at_min, int(counts[used[0] + 1]), at_max, int(counts[used[-1] - 1]), counts),
            head=head,
            digest=digest,
            padding_is_zero=padding_is_zero,
        )

    def _on_bounds(self, counts: NDArray[np.int64]) -> float:
        if self.expected is None:
            return 0.0
        on = np.isin(_grid(self.dtype)[0], bounds(self.expected, self.dtype))
        return float(counts[on].sum() / max(1, counts.sum()))

    def _distance(self, counts: NDArray[np.int64]) -> float:
        if self.expected is None or not counts.any():
            return math.nan
        theirs = np.cumsum(_probabilities(self.expected, self.dtype))
        return float(np.abs(np.cumsum(counts) / counts.sum() - theirs).max())

    def _histogram(self, counts: NDArray[np.int64]) -> tuple[Reals, NDArray[np.int64]]:
        """Bins that end where the rounding does, or at the bounds, so that no comb appears."""
        middle = _midpoints(self.dtype).copy()
        upto = np.cumsum(counts)
        if self.expected is not None:
            low, high = bounds(self.expected)
            first, last = np.searchsorted(_grid(self.dtype)[0], bounds(self.expected, self.dtype))
            if first > 0 and math.isfinite(low):
                middle[first - 1] = low
            if last < middle.size and math.isfinite(high):
                middle[last] = high
            center, half = _extent(self.expected)
        else:
            at = np.searchsorted(upto, np.array(QUANTILES) * upto[-1])
            center, half = _extent_of(*_grid(self.dtype)[0][at.clip(0, counts.size - 1)])
        wanted = np.linspace(center - half, center + half, SHOWN_BINS + 1)
        ends = np.unique(np.searchsorted((middle[1:] + middle[:-1]) / 2, wanted))
        if ends.size < 2:
            ends = np.array([max(0, ends[0] - 1), min(ends[0] + 1, middle.size - 1)])
        shown = np.diff(np.concatenate(([0], upto[ends[1:-1]], upto[-1:])))
        return middle[ends], shown


class _Floats:
    """A tensor of float32 or float64: sums, extremes, and counts in bins."""

    def __init__(self, dtype: str, expected: Distribution | None, buffer_bytes: int) -> None:
        self.dtype, self.expected = dtype, expected
        self.kind = np.dtype("<f4" if dtype == "float32" else "<f8")
        block = -(-buffer_bytes // self.kind.itemsize)
        self.scratch, self.index = np.empty(block), np.empty(block, np.int32)
        self.low, self.high = (math.inf, -math.inf)
        self.center, self.half = math.nan, math.nan  # until the first values, without theory
        if expected is not None:
            self.low, self.high = bounds(expected, dtype)
            self.center, self.half = _extent(expected)
        self.size = self.nonfinite = self.on_bounds = self.at_min = self.at_max = 0
        self.sum = self.squares = 0.0
        self.min, self.max = math.inf, -math.inf
        self.bins = np.zeros(BINS, np.int64)

    def add(self, x: NDArray[Any]) -> None:
        self.size += x.size
        if not (np.isfinite(x.min()) and np.isfinite(x.max())):
            finite = x[np.isfinite(x)]
            self.nonfinite += x.size - finite.size
            x = finite
        if not x.size:
            return
        self._count_extremes(x)
        if math.isnan(self.center):
            self.center, self.half = _extent_of(*np.quantile(x, QUANTILES))
        # All in float64: it costs 0.6 ns an element more than float32, where the hash takes 4, and bins
        # and moments need no allowance for rounding.
        d = np.subtract(x, self.center, out=self.scratch[: x.size], dtype=np.float64)
        self.sum += float(d.sum())
        self.squares += float(np.einsum("i,i->", d, d))  # np.dot would start threads of its own
        d *= BINS / (2 * self.half)
        d += BINS / 2
        np.clip(d, 0, BINS - 1, out=d)
        index = self.index[: x.size]
        np.copyto(index, d, casting="unsafe")
        self.bins += np.bincount(index, minlength=BINS)

    def _count_extremes(self, x: NDArray[Any]) -> None:
        low, high = x.min(), x.max()
        if low < self.min:
            self.min, self.at_min = float(low), 0
        if high > self.max:
            self.max, self.at_max = float(high), 0
        # Blocks without the extreme, nearly all, are not searched for it.
        if low == self.min:
            self.at_min += int(np.count_nonzero(x == low))
        if high == self.max:
            self.at_max += int(np.count_nonzero(x == high))
        for bound in {self.low, self.high}:
            if low <= bound <= high:
                self.on_bounds += int(np.count_nonzero(x == bound))

    def finish(self, head: NDArray[np.float32], digest: bytes, padding_is_zero: bool) -> Measured:
        n = self.size - self.nonfinite
        mean = self.sum / n if n else math.nan
        used = np.flatnonzero(self.bins)
        return Measured(
            size=self.size,
            mean=self.center + mean if n else math.nan,
            std=math.sqrt(max(0.0, self.squares / n - mean * mean)) if n else math.nan,
            min=self.min if n else math.nan,
            max=self.max if n else math.nan,
            nonfinite=self.nonfinite,
            on_bounds=self.on_bounds / max(1, n),
            at_min=self.at_min,
            at_max=self.at_max,
            ks=self._distance(n),
            edges=np.linspace(self.center - self.half, self.center + self.half, SHOWN_BINS + 1),
            counts=self.bins.reshape(SHOWN_BINS, -1).sum(axis=1),
            clipped=used.size > 16
            and _piled(
                self.at_min,
                int(self.bins[used[0] + 1]),
                self.at_max,
                int(self.bins[used[-1] - 1]),
                self.bins,
            ),
            head=head,
            digest=digest,
            padding_is_zero=padding_is_zero,
        )

    def _distance(self, n: int) -> float:
        if self.expected is None or not n:
            return math.nan
        least, most = _edge_cdf(self.expected, self.dtype)
        ours = np.cumsum(self.bins)[:-1] / n
        return float(max(0.0, (ours - most).max(), (least - ours).max()))


@lru_cache(maxsize=64)
def _edge_cdf(distribution: Distribution, dtype: str) -> tuple[Reals, Reals]:
    """What the distribution function can be at the inner edges of the bins, after rounding."""
    center, half = _extent(distribution)
    edges: Reals = center + (np.arange(1, BINS, dtype=np.float64) * (2 / BINS) - 1) * half
    slack = _spacing(edges, dtype) / 2 + half * 1e-12  # the latter for the rounding of the edges
    return cdf(distribution, edges - slack), cdf(distribution, edges + slack)


def _extent(expected: Distribution) -> tuple[float, float]:
    """Middle and half width of the bins; bounds fall on their edges, unless they are wide."""
    known = theory(expected, 1)
    low, high = bounds(expected)
    if 0 < high - low <= REACH * known.std:
        return low / 2 + high / 2, 2 * (high - low)
    return known.mean, _width(known.mean, REACH * known.std)


#: What tells where the values of an unknown distribution lie: outliers do not move them.
QUANTILES = (0.16, 0.5, 0.84)


def _extent_of(below: float, middle: float, above: float) -> tuple[float, float]:
    """The same from three quantiles."""
    return float(middle), _width(float(middle), REACH * float(above - below) / 2)


def _width(center: float, half: float) -> float:
    """`half`, or where it is of no use, something that is."""
    return half if half > 0 and math.isfinite(BINS / half) else max(1.0, abs(center))


def _piled(
    at_min: int, next_to_min: int, at_max: int, next_to_max: int, counts: NDArray[np.int64]
) -> bool:
    """Whether both ends hold far more values than what lies next to them, but not all values."""
    total = int(counts.sum())
    least = max(8, total // 1000)
    return (
        at_min >= max(least, 4 * next_to_min)
        and at_max >= max(least, 4 * next_to_max)
        and at_min + at_max < total / 2
    )


# ----------------------------------------------------------------------------
# Judging
# ----------------------------------------------------------------------------


def ks_limit(n: int) -> float:
    """What the distance of n values exceeds with a probability of at most `FALSE_ALARM`.

    Notes
    -----
    Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of
    Probability 18, 1990; it holds for every n, and for distributions with steps too.
    """
    return math.sqrt(-math.log(FALSE_ALARM / 2) / (2 * n)) if n else math.inf


def judge(measured: Measured, expected: Distribution | None, stored: Stored) -> list[str]:
    """What is off about a tensor by itself.

    Parameters
    ----------
    measured : Measured
        From `measure` with the same `expected`.
    expected : Distribution or None
        None leaves what can be said without theory.
    stored : Stored
        For its dtype and shape.

    Returns
    -------
    list of str
        Short sentences, empty for a tensor that is as it should be.

    Notes
    -----
    Each test flags a good tensor with a probability of about `FALSE_ALARM`. Distance and
    piles are tested by bounds that hold for every size (Dvoretzky-Kiefer-Wolfowitz,
    Chernoff), the mean by its standard error, the variance by Wilson and Hilferty's
    approximation of chi-squared or by its standard error, whichever allows more. The
    distance is left unsaid where one of the others explains it.
    """
    flags = []
    if not measured.padding_is_zero:
        flags.append("the padding row is not zero")
    if measured.nonfinite:
        flags.append(f"{measured.nonfinite} of {measured.size} values are NaN or infinite")
    if not measured.finite:
        return flags
    if expected is None:
        return flags + _judge_alone(measured, len(stored.shape))
    low, high = bounds(expected)
    if low == high:
        return flags + _judge_constant(measured, low, stored.dtype)
    return flags + _judge_random(measured, expected, stored.dtype)


def _judge_alone(measured: Measured, axes: int) -> list[str]:
    if measured.is_constant and axes > 1 and measured.size > 1:
        return [f"all values are {measured.min:.6g}"]
    return [_clipped_words(measured, True, True)] if measured.clipped else []


def _judge_constant(measured: Measured, value: float, dtype: str) -> list[str]:
    if dtype in _CODES:
        off = float(np.abs(_grid(dtype)[0] - value).min())
    else:
        off = float(_spacing(np.array([value]), dtype)[0]) / 2
    off += abs(value) * 2.0**-24  # values may pass through float32 on their way to fewer bits
    if measured.min >= value - off and measured.max <= value + off:
        return []
    if measured.min == measured.max:
        return [f"all values are {measured.min:.6g}, expected {value:.6g}"]
    return [f"values from {measured.min:.6g} to {measured.max:.6g}, expected {value:.6g} throughout"]  # fmt: skip


def _judge_random(measured: Measured, expected: Distribution, dtype: str) -> list[str]:
    n = measured.finite
    if measured.min == measured.max:
        p = min(1.0, _cell(expected, dtype, measured.min)[1] + LATTICE)
        unlikely = (n - 1) * math.log(p) < math.log(FALSE_ALARM)
        return [f"all values are {measured.min:.6g}, expected {_words(expected)}"] if unlikely else []  # fmt: skip
    known = theory(expected, n, dtype)
    slack = 0.0
    if dtype not in _CODES:  # a rounding moves mean and standard deviation by less than this
        slack = float(_spacing(np.array([abs(known.mean) + 4 * known.std]), dtype)[0])
    flags = []
    like, other_fan = expected, None  # what the values are like, but for what is flagged already
    if known.kurtosis < 3.5 or n > 200 * known.kurtosis:  # else the errors are not those of normals
        error = SIGMAS * max(known.std, measured.std) / math.sqrt(n)
        if abs(measured.mean - known.mean) > error + slack:
            flags.append(f"mean {measured.mean:.4g}, expected {known.mean:.4g} +- {error:.2g}")
        if _std_is_off(measured.std, known, n, slack):
            ratio = measured.std / known.std
            like = _rescaled(expected, ratio)
            flags.append(f"std {_factor(ratio)} times its theory")
            other_fan = _other_fan(measured, expected, known, dtype)
    if other_fan is not None:
        words, like = other_fan
        flags[-1] += f": {words}"
    else:
        flags += _judge_bounds(measured, expected, dtype)
    piled = _is_piled(measured, like, dtype)
    if any(piled):
        flags.append(_clipped_words(measured, *piled))
    if not flags and measured.ks > ks_limit(n):
        flags.append(
            f"distance {measured.ks:.2g} from {_words(expected)}, expected at most {ks_limit(n):.2g}"
        )
    return flags


def _words(distribution: Distribution) -> str:
    name = {Uniform: "a uniform", Normal: "a normal", TruncatedNormal: "a truncated normal"}
    return f"{name.get(type(distribution), 'a')} distribution"


def _factor(ratio: float) -> str:
    return f"{ratio:.2f}" if abs(ratio - 1) > 0.02 else f"{ratio:.5f}"


def _std_is_off(std: float, known: Theory, n: int, slack: float) -> bool:
    if n < 2 or not known.std:
        return False
    # About the mean of the values themselves, one degree of freedom is lost.
    above, below = max(0.0, std - slack), std + slack
    low, high = _variance_limits(n - 1, known.kurtosis)
    scale = known.std * math.sqrt((n - 1) / n)
    return above > scale * math.sqrt(high) or below < scale * math.sqrt(low)


def _variance_limits(n: int, kurtosis: float) -> tuple[float, float]:
    """Between which a variance over its theory lies, from n degrees of freedom."""
    error = SIGMAS * math.sqrt((kurtosis - 1) / n)
    spread = (kurtosis - 1) / (9 * n)  # Wilson, Hilferty: 2 / (9 degrees of freedom)
    root = SIGMAS * math.sqrt(spread)
    low, high = (max(0.0, 1 - spread + side * root) for side in (-1, 1))
    return max(0.0, min(low * low * low, 1 - error)), max(high * high * high, 1 + error)


def _other_fan(
    measured: Measured, expected: Distribution, known: Theory, dtype: str
) -> tuple[str, Distribution] | None:
    """Words about the fan that explains the standard deviation, and the distribution with it."""
    ratio = measured.std / known.std
    k = round(max(ratio, 1 / ratio) * max(ratio, 1 / ratio)) if ratio > 0 else 0
    if k < 2 or abs(known.mean) > 1e-6 * known.std:
        return None
    other = _rescaled(expected, math.sqrt(k) if ratio > 1 else math.sqrt(1 / k))
    std = theory(other, measured.finite, dtype).std
    # Of the sample, or what a fan that does not divide by k leaves over.
    error = max(3 * known.std_error(measured.finite) / known.std, 0.001)
    # An error of a tenth of the step from k to k + 1 in the variance: else every ratio would fit some k.
    if not std or error > 0.05 / k or abs(measured.std / std - 1) > error:
        return None
    low, high = bounds(other, dtype)
    if measured.min < low - error * abs(low) or measured.max > high + error * abs(high):
        return None
    words = f"{k} times as large" if ratio < 1 else f"1/{k}, that of a shard"
    return f"as if its fan were {words}", other


def _judge_bounds(measured: Measured, expected: Distribution, dtype: str) -> list[str]:
    low, high = bounds(expected, dtype)
    beyond = []
    near_low, near_high = (_nearest(bound, dtype) for bound in bounds(expected))
    if measured.min < low:
        beyond.append(f"down to {measured.min:.6g} below the bound {low:.6g}")
    if measured.max > high:
        beyond.append(f"up to {measured.max:.6g} above the bound {high:.6g}")
    if not beyond:
        return []
    rounded = measured.min >= near_low and measured.max <= near_high
    why = ", as rounding to nearest gives" if rounded else ""
    return [f"values {' and '.join(beyond)}{why}"]


def _nearest(x: float, dtype: str) -> float:
    """The number of `dtype` nearest to `x`."""
    if dtype in _CODES and math.isfinite(x):
        return float(_grid(dtype)[0][np.searchsorted(_midpoints(dtype), x)])
    return float(np.float32(x)) if dtype == "float32" else x


def _is_piled(measured: Measured, like: Distribution, dtype: str) -> tuple[bool, bool]:
    """Whether more values equal the smallest (the largest) than chance allows.

    Given that one has it and none lies beyond, each of the others has it with the
    probability of its cell over that of all up to it.
    """
    n = measured.finite - 1
    _, here, above = _cell(like, dtype, measured.min)
    at_min = _too_many(measured.at_min - 1, n, here / (here + above) if here + above else 1)
    below, here, _ = _cell(like, dtype, measured.max)
    at_max = _too_many(measured.at_max - 1, n, here / (here + below) if here + below else 1)
    # Values that a rounding took over a bound lie close together, but were not clipped.
    low, high = bounds(like, dtype)
    return at_min and measured.min >= low, at_max and measured.max <= high


def _too_many(count: int, n: int, p: float) -> bool:
    """Whether `count` of n is too many at probability p, by Chernoff's bound."""
    p += LATTICE
    if not n or count <= n * p:
        return False
    q = count / n
    divergence = q * math.log(q / p)
    if q < 1:
        divergence += (1 - q) * math.log((1 - q) / (1 - p))
    return n * divergence > -math.log(FALSE_ALARM)


def _clipped_words(measured: Measured, low: bool, high: bool) -> str:
    ends = []
    if low:
        ends.append(f"{measured.at_min / measured.finite:.2%} of the values at {measured.min:.4g}")
    if high:
        ends.append(f"{measured.at_max / measured.finite:.2%} of the values at {measured.max:.4g}")
    return f"clipped: {' and '.join(ends)}"


# ----------------------------------------------------------------------------
# Repeated tensors
# ----------------------------------------------------------------------------


def _repeats(stored: Sequence[Stored], measured: Sequence[Measured | None]) -> dict[int, str]:
    """By the number of a tensor, a sentence that names the first before it of the same values."""
    flags: dict[int, str] = {}
    first: dict[tuple[str, bytes], int] = {}
    heads: dict[int, NDArray[np.float32]] = {}
    for i, (where, found) in enumerate(zip(stored, measured, strict=True)):
        if found is None or found.min == found.max or not found.finite:
            continue
        other = first.setdefault((where.dtype, found.digest), i)
        if other != i and found.size >= 16:  # so that chance has no part in it
            flags[i] = f"repeats {stored[other].name}"
        elif _is_spread(found.head):
            heads[i] = found.head
    for i, j, r in _proportional(heads):
        flags[i] = f"proportional to {stored[j].name}: correlation {r:.4f}"
    return flags


def _is_spread(head: NDArray[np.float32]) -> bool:
    """Whether the values can tell a tensor: enough, finite, and not all of the sum in a few of them."""
    if head.size < SHORTEST_HEAD or not np.isfinite(head).all():
        return False
    d = head.astype(np.float64)
    d -= d.mean()
    largest = np.abs(d).max()
    if not largest > 1e-300:
        return False
    d /= largest
    squares = d * d
    return bool(squares.sum() ** 2 >= 16 * (squares @ squares))


def _proportional(heads: dict[int, NDArray[np.float32]]) -> Iterator[tuple[int, int, float]]:
    """Tensors that are multiples of an earlier one, by the values that both have: (i, first j, r)."""
    found: dict[int, tuple[int, float]] = {}
    for length in {head.size for head in heads.values()}:
        longer = np.array([i for i, head in heads.items() if head.size >= length])
        unit = np.stack([_unit(heads[i][:length]) for i in longer])
        # Pairs whose shorter head has this length: rows of it against all.
        rows = np.flatnonzero([heads[i].size == length for i in longer])
        for begin in range(0, rows.size, 256):
            some = rows[begin : begin + 256]
            r = unit[some] @ unit.T
            near = np.abs(r) > PROPORTIONAL
            before = near & (longer[None, :] < longer[some, None])
            after = near & (longer[None, :] > longer[some, None])
            firsts = [(some[k], int(before[k].argmax())) for k in np.flatnonzero(before.any(1))]
            firsts += [(k, some[int(after[:, k].argmax())]) for k in np.flatnonzero(after.any(0))]
            for late, early in firsts:
                i, j = int(longer[late]), int(longer[early])
                if i not in found or j < found[i][0]:
                    found[i] = j, float(unit[late] @ unit[early])
    return ((i, j, r) for i, (j, r) in found.items())


def _unit(head: NDArray[np.float32]) -> NDArray[np.float32]:
    """The deviations from the mean, with a sum of squares of 1."""
    d = head.astype(np.float64)
    d -= d.mean()
    largest = float(np.abs(d).max()) or 1.0
    d /= largest
    return (d / (math.sqrt(float(d @ d)) or 1.0)).astype(np.float32)


# ----------------------------------------------------------------------------
# All tensors of a file
# ----------------------------------------------------------------------------


def check_tensors(
    pairs: Sequence[tuple[Stored, Tensor | None]],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Checked]:
    """Measure tensors and say what is off about them.

    Parameters
    ----------
    pairs : sequence of (Stored, Tensor or None)
        Where each tensor lies and what it should be, if that is known.
    threads : int, optional
        At most so many, `get_num_threads()` by default; a tensor is measured by one.
    progress : callable, optional
        Called from the caller's thread with the bytes that are done and all there are.

    Returns
    -------
    list of Checked
        In the order of `pairs`. Tensors of dtypes that are not fastinit's are not measured.

    Raises
    ------
    ValueError, OSError
        A file that cannot be read, named with the tensor.

    Notes
    -----
    Tensors are compared with all others: "repeats" means the same bytes, "proportional" a
    correlation of their first 1024 values (64 at least) above 0.98 or below -0.98. Among
    the pairs of 10,000 independent tensors one is flagged with a probability below 1e-30.
    """
    threads = get_num_threads() if threads is None else check_int("threads", threads, 1)
    expected = [None if tensor is None else tensor.init.resolve(tensor.shape) for _, tensor in pairs]  # fmt: skip
    measured: list[Measured | None] = [None] * len(pairs)
    count = _Count(sum(stored.nbytes for stored, _ in pairs), progress)

    def task(i: int) -> None:
        stored, tensor = pairs[order[i]]
        if stored.dtype in DTYPE_SIZES:
            padding = _padding(stored, tensor)
            measured[order[i]] = measure(
                stored, expected[order[i]], padding, BUFFER_BYTES, count.advance
            )
        else:
            count.advance(stored.nbytes)

    # The largest first, in the order in which `share` hands out its numbers.
    largest = sorted(range(len(pairs)), key=lambda i: -pairs[i][0].nbytes)
    turns = spread(len(pairs), max(1, min(threads, len(pairs))))
    order = dict(zip(turns, largest, strict=True))
    share(task, len(pairs), threads)
    repeats = _repeats([stored for stored, _ in pairs], measured)
    return [
        _checked(stored, tensor, expected[i], measured[i], repeats.get(i))
        for i, (stored, tensor) in enumerate(pairs)
    ]


class _Count:
    """Bytes done by all threads, reported from the one that made it."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress
        self.lock, self.caller = threading.Lock(), threading.get_ident()

    def advance(self, nbytes: int) -> None:
        with self.lock:
            self.done += nbytes
        if self.progress is not None and threading.get_ident() == self.caller:
            self.progress(self.done, self.total)


def _padding(stored: Stored, tensor: Tensor | None) -> int | None:
    return tensor.padding_idx if tensor is not None and tensor.shape == stored.shape else None


def _checked(
    stored: Stored,
    tensor: Tensor | None,
    expected: Distribution | None,
    measured: Measured | None,
    repeat: str | None,
) -> Checked:
    flags = []
    if tensor is not None and tensor.shape != stored.shape:
        flags.append(f"shape {stored.shape}, expected {tensor.shape}")
    if tensor is not None and tensor.dtype != stored.dtype:
        flags.append(f"dtype {stored.dtype}, expected {tensor.dtype}")
    if measured is None:
        return Checked(stored, expected, None, None, tuple(flags))
    flags += judge(measured, expected, stored)
    if repeat is not None:
        flags.append(repeat)
    known = None if expected is None else theory(expected, measured.finite, stored.dtype)
    return Checked(stored, expected, measured, known, tuple(flags))


COLUMNS = ("name", "dtype", "shape", "mean", "std", "std/theory", "min", "max", "on bounds", "KS", "limit")  # fmt: skip


def table(checked: Sequence[Checked]) -> str:
    """The measurements as aligned lines, each followed by its flags on lines of their own."""
    rows = [COLUMNS, *(_row(one) for one in checked)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, flags in zip(rows, [(), *(one.flags for one in checked)], strict=True):
        cells = [
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        lines += [f"    ! {flag}" for flag in flags]
    return "\n".join(lines)


def _row(one: Checked) -> tuple[str, ...]:
    shape = "x".join(map(str, one.stored.shape)) or "()"
    found, known = one.measured, one.theory
    if found is None or not found.finite:
        return one.stored.name, one.stored.dtype, shape, *[""] * (len(COLUMNS) - 3)
    ratio = f"{found.std / known.std:.4f}" if known is not None and known.std else ""
    distance = not math.isnan(found.ks) and bool(ratio)
    return (
        one.stored.name,
        one.stored.dtype,
        shape,
        f"{found.mean:.4g}",
        f"{found.std:.4g}",
        ratio,
        f"{found.min:.4g}",
        f"{found.max:.4g}",
        f"{found.on_bounds:.2%}" if ratio else "",
        f"{found.ks:.2g}" if distance else "",
        f"{ks_limit(found.finite):.2g}" if distance else "",
    )
