"""A stored tensor in numbers: one pass over its bytes, in memory that does not depend on its size."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_int, shortened
from fastinit.files import Stored
from fastinit.initializers import Distribution
from fastinit.rounding import decode_table
from fastinit.runs import KEY, Pages, Repeat, Run, Runs
from fastinit.theory import (
    CODES,
    Reals,
    as_measured,
    bounds,
    cdf,
    cumulative,
    grid,
    midpoints,
    moments,
    nearest_uniform,
    theory,
    tolerance,
)

#: Bytes read at a time: with what is computed from them they stay in a second-level cache.
BUFFER_BYTES = 2**18
#: Bins for the distance of float32 and float64, and how many standard deviations they reach on both sides.
BINS = 4096
REACH = 8.0
#: Bins of the histogram that is kept.
SHOWN_BINS = 128
#: How many values of a tensor are compared with those of the others, at most and at least.
HEAD, SHORTEST_HEAD = 1024, 64
#: Tensors of so few different values, such as masks, are not taken for weights.
FEW = 16
#: From here on the square of a value overflows float32; any 64-bit integer is smaller.
HUGE = 2.0**64
#: How many values of float32 and float64 one stands for where subnormal numbers are counted: a prime, which no
#: structure of a tensor has as its period.
ONE_OF = 61
#: The smallest normal number of the dtypes whose subnormal numbers no usual weight has.
SMALLEST_NORMAL = {"float32": 2.0**-126, "bfloat16": 2.0**-126, "float64": 2.0**-1022}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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
    distinct : int
        How many of the bins (float32, float64: 4096 of them) or of the dtype's numbers (16 and 8
        bits) have values.
    huge : int
        How many values are 2**64 or larger, or -2**64 or smaller.
    subnormal : float
        The fraction of subnormal numbers among the values that are not zero, in float32, bfloat16
        and float64. Of float32 and float64 the first 256 KiB count, and one value of 61 after them;
        0 where a theory is given.
    runs : tuple of Run
        The 64 longest stretches of at least 512 bytes of one value, in their order.
    run_count, run_total : int
        How many such stretches there are, and how many values they have.
    repeat : Repeat or None
        Pages that begin like an earlier one: 4 KiB apart, or farther where there would be more
        than 65,536.
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
    distinct: int
    huge: int
    subnormal: float
    runs: tuple[Run, ...]
    run_count: int
    run_total: int
    repeat: Repeat | None

    def __repr__(self) -> str:
        bad = f", nonfinite={self.nonfinite:,}" if self.nonfinite else ""
        return (
            f"Measured(size={self.size:,}, mean={self.mean:.4g}, std={self.std:.4g}, "
            f"min={self.min:.4g}, max={self.max:.4g}{bad})"
        )

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return self.size - self.nonfinite

    @property
    def is_constant(self) -> bool:
        """Whether all values are finite and the same."""
        return self.nonfinite == 0 and self.min == self.max


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
        7 times as much and 3 MiB.
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
    The distance `ks` takes rounding into account. For 16- and 8-bit dtypes it is the largest at
    the points where the rounding steps, halfway between neighbouring numbers. For float32 and
    float64 it is the largest at the 4095 inner edges of the bins, so what lies in one bin, at most
    0.004, may be missing from it. Each point is moved by `fastinit.theory.tolerance`, 1.5 spacings
    of float32 (of float64), in favour of the values: the distance is never above the true one.
    """
    _check_stored(stored, padding_idx)
    item = DTYPE_SIZES[stored.dtype]
    buffer = bytearray(min(max(8, buffer_bytes // 8 * 8), max(stored.nbytes, 1)))
    values: _Codes | _Floats
    runs, pages = Runs(item, buffer), Pages(stored.nbytes, buffer)
    digest = hashlib.blake2b(digest_size=16)
    head = bytearray()
    padding_is_zero = True
    at = 0
    with np.errstate(all="ignore"):
        values = (_Codes if stored.dtype in CODES else _Floats)(stored.dtype, expected, len(buffer))
        for data, is_padding in _pieces(stored, padding_idx, buffer):
            digest.update(data)
            if is_padding:
                padding_is_zero = padding_is_zero and _is_zero(data, values.kind)
            else:
                head += data[: HEAD * item - len(head)]
                # Before `values`, whose arrays take the place of the data in the cache.
                runs.add(len(data) // item, at // item)
                pages.add(len(data), at)
                values.add(np.frombuffer(data, values.kind))
            at += len(data)
            if advance is not None:
                advance(len(data))
        return Measured(
            **values.finish(),
            head=_decode(head, stored.dtype),
            digest=digest.digest(),
            padding_is_zero=padding_is_zero,
            runs=_runs(runs, values, stored),
            run_count=runs.count,
            run_total=runs.total,
            repeat=_repeat(pages, values, item),
        )


def _runs(found: Runs, values: _Codes | _Floats, stored: Stored) -> tuple[Run, ...]:
    dtype, size = stored.dtype, max(1, math.prod(stored.shape))
    rows = found.finish()
    codes = np.array([code for *_, code in rows], f"<u{DTYPE_SIZES[dtype]}")
    decoded = _decode_exactly(codes.tobytes(), dtype).tolist()
    return tuple(
        Run(start, stop, value, max(values.share(value), (stop - start) / size))
        for (start, stop, _), value in zip(rows, decoded, strict=True)
    )


def _repeat(found: Pages, values: _Codes | _Floats, item: int) -> Repeat | None:
    rows = found.finish()
    if rows is None:
        return None
    start, first, count = rows
    return Repeat(start // item, first // item, count, found.count, KEY // item, values.collision())


def _check_stored(stored: Stored, padding_idx: int | None) -> None:
    where = f"{stored.path}: {shortened(stored.name)}"
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
                        f"{stored.path}: {shortened(stored.name)}: expected {stored.nbytes} bytes from "
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
    return _decode_exactly(data, dtype).astype(np.float32)


def _decode_exactly(data: bytes | bytearray, dtype: str) -> NDArray[Any]:
    if dtype in CODES:
        return decode_table(dtype).take(np.frombuffer(data, CODES[dtype]))
    return np.frombuffer(data, "<f4" if dtype == "float32" else "<f8")


class _Codes:
    """A tensor of a 16- or 8-bit dtype: how often each code occurs says all."""

    def __init__(self, dtype: str, expected: Distribution | None, buffer_bytes: int) -> None:
        self.dtype, self.expected, self.kind = dtype, expected, np.dtype(CODES[dtype])
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

    def finish(self) -> dict[str, Any]:
        """What `Measured` takes of the values by themselves."""
        codes = self.codes
        if self.pairs is not None:
            codes = codes + self.pairs.sum(axis=0) + self.pairs.sum(axis=1)
        values, rank = grid(self.dtype)
        finite = rank >= 0
        self.counts = counts = np.zeros(values.size, np.int64)
        np.add.at(counts, rank[finite], codes[finite])
        mean, std, _ = moments(values, counts.astype(np.float64))
        used = np.flatnonzero(counts)
        at_min, at_max = (int(counts[used[i]]) if used.size else 0 for i in (0, -1))
        smallest, largest = values[used[[0, -1]]].tolist() if used.size else (math.nan, math.nan)
        if self.expected is not None:
            self.expected = as_measured(self.expected, self.dtype, smallest, largest)
        edges, shown = self._histogram(counts)
        return {
            "size": int(codes.sum()),
            "mean": mean,
            "std": std,
            "min": smallest,
            "max": largest,
            "nonfinite": int(codes[~finite].sum()),
            "on_bounds": self._on_bounds(counts),
            "at_min": at_min,
            "at_max": at_max,
            "ks": self._distance(counts),
            "edges": edges,
            "counts": shown,
            "clipped": used.size > FEW
            and _piled(at_min, int(counts[used[0] + 1]), at_max, int(counts[used[-1] - 1]), counts),
            "distinct": used.size,
            "huge": int(counts[: np.searchsorted(values, -HUGE, "right")].sum())
            + int(counts[np.searchsorted(values, HUGE) :].sum()),
            "subnormal": self._subnormal(values, counts),
        }

    def _subnormal(self, values: Reals, counts: NDArray[np.int64]) -> float:
        smallest = SMALLEST_NORMAL.get(self.dtype)
        if smallest is None:
            return 0.0
        zeros = int(counts[np.searchsorted(values, 0.0)])
        first, last = np.searchsorted(values, (-smallest, smallest), "left")
        small = int(counts[first + 1 : last].sum()) - zeros  # -smallest itself is normal
        return small / max(1, int(counts.sum()) - zeros)

    def share(self, value: float) -> float:
        """The fraction of the finite values that equal `value`; after `finish`."""
        if not math.isfinite(value):
            return 1.0
        i = np.searchsorted(grid(self.dtype)[0], value)
        return float(self.counts[i] / self.counts.sum())

    def collision(self) -> float:
        """The probability that two of the values are equal; after `finish`."""
        return _collision(self.counts)

    def _on_bounds(self, counts: NDArray[np.int64]) -> float:
        if self.expected is None:
            return 0.0
        on = np.isin(grid(self.dtype)[0], bounds(self.expected, self.dtype))
        return float(counts[on].sum() / max(1, counts.sum()))

    def _distance(self, counts: NDArray[np.int64]) -> float:
        if self.expected is None or not counts.any():
            return math.nan
        least, _, most = cumulative(self.expected, self.dtype)
        return _largest_distance(np.cumsum(counts)[:-1] / counts.sum(), least, most)

    def _histogram(self, counts: NDArray[np.int64]) -> tuple[Reals, NDArray[np.int64]]:
        """Bins that end where the rounding does, or at the bounds, so that no comb appears."""
        middle = midpoints(self.dtype).copy()
        upto = np.cumsum(counts)
        if self.expected is not None:
            low, high = bounds(self.expected)
            first, last = np.searchsorted(grid(self.dtype)[0], bounds(self.expected, self.dtype))
            if first > 0 and math.isfinite(low):
                middle[first - 1] = low
            if last < middle.size and math.isfinite(high):
                middle[last] = high
            center, half = _extent(self.expected)
        else:
            at = np.searchsorted(upto, np.array(QUANTILES) * upto[-1])
            center, half = _extent_of(*grid(self.dtype)[0][at.clip(0, counts.size - 1)])
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
        self.on_bound: dict[float, int] = {}
        self.center, self.half = math.nan, math.nan  # until the first values, without theory
        if expected is not None:
            for distribution in (expected, *nearest_uniform(expected)):
                self.on_bound |= dict.fromkeys(bounds(distribution, dtype), 0)
            self.center, self.half = _extent(expected)
        self.size = self.nonfinite = self.at_min = self.at_max = self.huge = 0
        self.nonzero = self.subnormal = 0
        self.sum = self.squares = 0.0
        self.min, self.max = math.inf, -math.inf
        self.bins = np.zeros(BINS, np.int64)

    def add(self, x: NDArray[Any]) -> None:
        self.size += x.size
        low, high = x.min(), x.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = x[np.isfinite(x)]
            self.nonfinite += x.size - finite.size
            x = finite
            if not x.size:
                return
            low, high = x.min(), x.max()
        self._count_extremes(x, low, high)
        if self.expected is None:
            self._count_subnormal(x if self.size == x.size else x[::ONE_OF])
        if math.isnan(self.center):
            # Of quarters: differences of the largest numbers are infinite.
            self.center, self.half = _extent_of(*4 * np.quantile(x / 4, QUANTILES).astype(float))
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

    def _count_extremes(self, x: NDArray[Any], low: Any, high: Any) -> None:
        if low < self.min:
            self.min, self.at_min = float(low), 0
        if high > self.max:
            self.max, self.at_max = float(high), 0
        # Blocks without the extreme, nearly all, are not searched for it.
        if low == self.min:
            self.at_min += int(np.count_nonzero(x == low))
        if high == self.max:
            self.at_max += int(np.count_nonzero(x == high))
        for bound in self.on_bound:
            if low <= bound <= high:
                self.on_bound[bound] += int(np.count_nonzero(x == bound))
        if low <= -HUGE or high >= HUGE:
            self.huge += int(np.count_nonzero(np.abs(x) >= HUGE))

    def _count_subnormal(self, x: NDArray[Any]) -> None:
        nonzero = int(np.count_nonzero(x))
        self.nonzero += nonzero
        self.subnormal += int(np.count_nonzero(np.abs(x) < SMALLEST_NORMAL[self.dtype]))
        self.subnormal -= x.size - nonzero

    def finish(self) -> dict[str, Any]:
        """What `Measured` takes of the values by themselves."""
        n = self.size - self.nonfinite
        mean = self.sum / n if n else math.nan
        used = np.flatnonzero(self.bins)
        on_bounds = 0
        if self.expected is not None:
            judged = as_measured(self.expected, self.dtype, self.min, self.max)
            on_bounds = sum(self.on_bound[bound] for bound in set(bounds(judged, self.dtype)))
        return {
            "size": self.size,
            "mean": self.center + mean if n else math.nan,
            "std": math.sqrt(max(0.0, self.squares / n - mean * mean)) if n else math.nan,
            "min": self.min if n else math.nan,
            "max": self.max if n else math.nan,
            "nonfinite": self.nonfinite,
            "on_bounds": on_bounds / max(1, n),
            "at_min": self.at_min,
            "at_max": self.at_max,
            "ks": self._distance(n),
            "edges": np.linspace(self.center - self.half, self.center + self.half, SHOWN_BINS + 1),
            "counts": self.bins.reshape(SHOWN_BINS, -1).sum(axis=1),
            "clipped": used.size > FEW
            and _piled(
                self.at_min,
                int(self.bins[used[0] + 1]),
                self.at_max,
                int(self.bins[used[-1] - 1]),
                self.bins,
            ),
            "distinct": used.size,
            "huge": self.huge,
            "subnormal": self.subnormal / max(1, self.nonzero),
        }

    def share(self, value: float) -> float:
        """At least the fraction of the finite values that equal `value`: that of its bin."""
        if not math.isfinite(value):
            return 1.0
        i = int(min(max((value - self.center) * (BINS / (2 * self.half)) + BINS / 2, 0), BINS - 1))
        # It may be on an edge.
        return float(self.bins[max(0, i - 1) : i + 2].max() / self.bins.sum())

    def collision(self) -> float:
        """At least the probability that two of the values are equal: that they are in one bin."""
        return _collision(self.bins)

    def _distance(self, n: int) -> float:
        if self.expected is None or not n:
            return math.nan
        least, most = _edge_cdf(self.expected, self.dtype)
        return _largest_distance(np.cumsum(self.bins)[:-1] / n, least, most)


def _collision(counts: NDArray[np.int64]) -> float:
    """The probability that two values are in one of the bins that they are counted by."""
    shares = counts / max(1, counts.sum())
    return float((shares * shares).sum())


def _largest_distance(ours: Reals, least: Reals, most: Reals) -> float:
    return float(max(0.0, (ours - most).max(), (least - ours).max()))


@lru_cache(maxsize=64)
def _edge_cdf(distribution: Distribution, dtype: str) -> tuple[Reals, Reals]:
    """What the distribution function can be at the inner edges of the bins, after rounding."""
    center, half = _extent(distribution)
    edges: Reals = center + (np.arange(1, BINS, dtype=np.float64) * (2 / BINS) - 1) * half
    off = tolerance(distribution, dtype) + half * 1e-12  # the latter for the rounding of the edges
    return cdf(distribution, edges - off), cdf(distribution, edges + off)


def _extent(expected: Distribution) -> tuple[float, float]:
    """Middle and half width of the bins; bounds fall on their edges, unless they are wide."""
    known = theory(expected, 1)
    low, high = bounds(expected)
    if 0 < high - low <= REACH * known.std and math.isfinite(high - low):
        return low / 2 + high / 2, _width(low / 2 + high / 2, 2 * (high - low))
    center = known.mean if math.isfinite(known.mean) else 0.0
    return center, _width(center, REACH * known.std)


#: Of half the bins' width: the double of it is finite.
WIDEST = 2.0**1000
#: What tells where the values of an unknown distribution lie: outliers do not move them.
QUANTILES = (0.16, 0.5, 0.84)


def _extent_of(below: float, middle: float, above: float) -> tuple[float, float]:
    """The same from three quantiles."""
    return float(middle), _width(float(middle), REACH * float(above - below) / 2)


def _width(center: float, half: float) -> float:
    """`half`, or where it is of no use, something that is."""
    is_of_use = 0 < half < WIDEST and math.isfinite(BINS / half)
    return half if is_of_use else min(max(1.0, abs(center)), WIDEST)


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
