"""What is off about the tensors of a file.

Each is measured and judged by tests that each raise a false alarm for at most `FALSE_ALARM` of the tensors.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_callback, check_int, printable, without_middle
from fastinit.dtypes import constant_value, not_measured
from fastinit.exact import first_difference
from fastinit.files import Stored
from fastinit.initializers import Distribution, Normal, TruncatedNormal, Uniform
from fastinit.measure import BUFFER_BYTES, SHORTEST_HEAD, Measured, measure
from fastinit.tensor import Tensor
from fastinit.theory import (
    CODES,
    Theory,
    as_measured,
    bounds,
    cell,
    grid,
    moment_tolerance,
    nearest,
    rescaled,
    spacing,
    theory,
    tolerance,
)
from fastinit.threads import Progress, get_num_threads, share, spread
from fastinit.write import PIECE, Source

#: The probability with which a test flags a tensor that is as it should be.
FALSE_ALARM = 1e-9
#: The same in standard errors, two-sided.
SIGMAS = -NormalDist().inv_cdf(FALSE_ALARM / 2)
#: From this correlation on, one tensor is a multiple of another. That of 64 independent values is so large
#: with a probability of (1 - r**2)**31 or 4e-44; rounding a copy to float8_e5m2 costs less than 0.01.
PROPORTIONAL = 0.98
#: Distributions of a smaller standard deviation, in spacings, get a note about the tolerance.
NARROW = 16
#: Generators draw from a lattice of 2**24 numbers at the coarsest; float32 may round two of them to one.
LATTICE = 2.0**-23
#: PyTorch draws uniforms of these dtypes from as many numbers as the significand holds, 2**8 and 2**11.
COARSE_LATTICE = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """One tensor of a file, and what is off about it.

    Parameters
    ----------
    stored : Stored
    distribution : Distribution or None
        What its values should be, if that is known.
    measured : Measured or None
        None for dtypes that take no distribution, such as integers: those are compared with
        their constant, where it is known.
    theory : Theory or None
    flags : tuple of str
        Short sentences.
    notes : tuple of str
        What limits the verdict, as short sentences.
    """

    stored: Stored
    distribution: Distribution | None
    measured: Measured | None
    theory: Theory | None
    flags: tuple[str, ...]
    notes: tuple[str, ...] = ()


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
        verb = "is" if measured.nonfinite == 1 else "are"
        flags.append(f"{measured.nonfinite} of {measured.size} values {verb} NaN or infinite")
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
    if dtype in CODES:
        off = float(np.abs(grid(dtype)[0] - value).min())
    else:
        off = float(spacing(np.array([value]), dtype)[0]) / 2
    off += abs(value) * 2.0**-24  # values may pass through float32 on their way to fewer bits
    if measured.min >= value - off and measured.max <= value + off:
        return []
    if measured.min == measured.max:
        return [f"all values are {measured.min:.6g}, expected {value:.6g}"]
    return [f"values from {measured.min:.6g} to {measured.max:.6g}, expected {value:.6g} throughout"]  # fmt: skip


def _judge_random(measured: Measured, expected: Distribution, dtype: str) -> list[str]:
    n = measured.finite
    expected = as_measured(expected, dtype, measured.min, measured.max)
    if measured.min == measured.max:
        p = min(1.0, cell(expected, dtype, measured.min)[1] + LATTICE)
        unlikely = (n - 1) * math.log(p) < math.log(FALSE_ALARM)
        return [f"all values are {measured.min:.6g}, expected {_words(expected)}"] if unlikely else []  # fmt: skip
    known = theory(expected, n, dtype)
    mean_off, std_off = moment_tolerance(expected, dtype)
    flags = []
    like, other_fan = expected, None  # what the values are like, but for what is flagged already
    if known.kurtosis < 3.5 or n > 200 * known.kurtosis:  # else the errors are not those of normals
        error = SIGMAS * max(known.std, measured.std) / math.sqrt(n)
        if abs(measured.mean - known.mean) > error + mean_off:
            flags.append(f"mean {measured.mean:.4g}, expected {known.mean:.4g} +- {error:.2g}")
        if _std_is_off(measured.std, known, n, std_off):
            ratio = measured.std / known.std
            like = rescaled(expected, ratio)
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
    names = ((Uniform, "uniform"), (Normal, "normal"), (TruncatedNormal, "truncated normal"))
    return f"a {next(name for kind, name in names if isinstance(distribution, kind))} distribution"


def _factor(ratio: float) -> str:
    return f"{ratio:.2f}" if abs(ratio - 1) > 0.02 else f"{ratio:.5f}"


def _std_is_off(std: float, known: Theory, n: int, off: float) -> bool:
    if n < 2 or not known.std:
        return False
    low, high = _variance_limits(n, known.kurtosis)
    return std - off > known.std * math.sqrt(high) or std + off < known.std * math.sqrt(low)


def _variance_limits(n: int, kurtosis: float) -> tuple[float, float]:
    """Between which the variance of n values about their mean lies, over its theory."""
    freedom = n - 1  # degrees of freedom
    error = SIGMAS * math.sqrt((kurtosis - 1) / freedom) + 1e-9  # the latter for rounding
    # The variance about the mean of the values is smaller than that about the theory's by the square of
    # the distance. Of two values with a probability of 1/2 each, this is all that makes it vary.
    distance = SIGMAS * SIGMAS / n
    spread = (kurtosis - 1) / (9 * freedom)  # Wilson, Hilferty: 2 / (9 degrees of freedom)
    root = SIGMAS * math.sqrt(spread)
    low, high = (max(0.0, 1 - spread + side * root) ** 3 * freedom / n for side in (-1, 1))
    return max(0.0, min(low, 1 - error - distance)), max(high, 1 + error)


def _other_fan(
    measured: Measured, expected: Distribution, known: Theory, dtype: str
) -> tuple[str, Distribution] | None:
    """Words about the fan that explains the standard deviation, and the distribution with it."""
    ratio = measured.std / known.std
    square = max(ratio, 1 / ratio) * max(ratio, 1 / ratio) if ratio > 0 else 0.0
    k = round(square) if math.isfinite(square) else 0
    if k < 2 or abs(theory(expected, 1).mean) > 1e-6 * known.std:  # before rounding, which moves it
        return None
    other = rescaled(expected, math.sqrt(k) if ratio > 1 else math.sqrt(1 / k))
    other = as_measured(other, dtype, measured.min, measured.max)
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
    near_low, near_high = (nearest(bound, dtype) for bound in bounds(expected))
    if measured.min < low:
        beyond.append(f"down to {measured.min:.6g} below the bound {low:.6g}")
    if measured.max > high:
        shown = expected.high if isinstance(expected, Uniform) else high  # the open end itself
        beyond.append(f"up to {measured.max:.6g} above the bound {shown:.6g}")
    if not beyond:
        return []
    rounded = measured.min >= near_low and measured.max <= near_high
    why = ", as rounding to nearest gives" if rounded else ""
    return [f"values {' and '.join(beyond)}{why}"]


def _is_piled(measured: Measured, like: Distribution, dtype: str) -> tuple[bool, bool]:
    """Whether more values equal the smallest (the largest) than chance allows.

    Given that one has it and none lies beyond, each of the others has it with the
    probability of its cell over that of all up to it.
    """
    n = measured.finite - 1
    lattice = COARSE_LATTICE.get(dtype, LATTICE) if isinstance(like, Uniform) else LATTICE
    _, here, above = cell(like, dtype, measured.min)
    share = here / (here + above) if here + above else 1.0
    at_min = _too_many(measured.at_min - 1, n, share + lattice)
    below, here, _ = cell(like, dtype, measured.max)
    share = here / (here + below) if here + below else 1.0
    at_max = _too_many(measured.at_max - 1, n, share + lattice)
    # Values that a rounding took over a bound lie close together, but were not clipped.
    low, high = bounds(like, dtype)
    return at_min and measured.min >= low, at_max and measured.max <= high


def _too_many(count: int, n: int, p: float) -> bool:
    """Whether `count` of n is too many at probability p, by Chernoff's bound."""
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
            flags[i] = f"repeats {without_middle(stored[other].name)}"
        # Of a few lengths, however many sizes there are: each length is compared with all that are longer.
        elif _is_spread(head := found.head[: 1 << found.head.size.bit_length() >> 1]):
            heads[i] = head
    for i, j, r in _proportional(heads):
        flags[i] = f"proportional to {without_middle(stored[j].name)}: correlation {r:.4f}"
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
        In the order of `pairs`. Tensors of dtypes that take constants only are compared with
        theirs, not measured; a note says which are neither.

    Raises
    ------
    ValueError, OSError
        A file that cannot be read, named with the tensor.

    Notes
    -----
    Tensors are compared with all others: "repeats" means the same bytes, "proportional" a
    correlation above 0.98 or below -0.98 of their first 64, 128, 256, 512 or 1024 values, as
    many as both have. Among the pairs of 10,000 independent tensors one is flagged with a
    probability below 1e-30.
    """
    check_callback("progress", progress)
    threads = get_num_threads() if threads is None else check_int("threads", threads, 1)
    expected = [None if tensor is None else tensor.resolve() for _, tensor in pairs]  # fmt: skip
    measured: list[Measured | None] = [None] * len(pairs)
    compared: dict[int, tuple[str, ...]] = {}  # flags of tensors of dtypes for constants
    count = _Count(sum(stored.nbytes for stored, _ in pairs), progress)

    def task(i: int) -> None:
        stored, tensor = pairs[order[i]]
        if stored.dtype in DTYPE_SIZES:
            padding = _padding(stored, tensor)
            measured[order[i]] = measure(
                stored, expected[order[i]], padding, BUFFER_BYTES, count.advance
            )
            return
        if tensor is not None and (tensor.dtype, tensor.shape) == (stored.dtype, stored.shape):
            compared[order[i]] = _compare(stored, tensor)
        count.advance(stored.nbytes)

    # The largest first, in the order in which `share` hands out its numbers.
    largest = sorted(range(len(pairs)), key=lambda i: -pairs[i][0].nbytes)
    turns = spread(len(pairs), max(1, min(threads, len(pairs))))
    order = dict(zip(turns, largest, strict=True))
    share(task, len(pairs), threads)
    repeats = _repeats([stored for stored, _ in pairs], measured)
    with np.errstate(all="ignore"):  # of laws at the ends of the range of a float
        return [
            _checked(stored, tensor, expected[i], measured[i], repeats.get(i), compared.get(i))
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


def _compare(stored: Stored, tensor: Tensor) -> tuple[str, ...]:
    """Compare a tensor of a dtype for constants with its constant; returns its flags."""
    source = Source(tensor, seed=0)  # constants have the same bytes for all
    for begin in range(0, stored.nbytes, PIECE):
        element = first_difference(stored, source, begin)
        if element is not None:
            where = tuple(map(int, np.unravel_index(element, stored.shape)))
            value = constant_value(tensor.resolve())
            return (f"not {value:g} throughout: element {where} differs",)
    return ()


def _checked(
    stored: Stored,
    tensor: Tensor | None,
    expected: Distribution | None,
    measured: Measured | None,
    repeat: str | None,
    compared: tuple[str, ...] | None,
) -> Checked:
    flags = []
    if tensor is not None and tensor.shape != stored.shape:
        flags.append(f"shape {stored.shape}, expected {tensor.shape}")
    if tensor is not None and tensor.dtype != stored.dtype:
        flags.append(f"dtype {stored.dtype}, expected {tensor.dtype}")
    if measured is None:
        why = not_measured(stored.dtype) if compared is None else "compared with the constant alone"
        return Checked(stored, expected, None, None, (*flags, *(compared or ())), (why,))
    flags += judge(measured, expected, stored)
    if repeat is not None:
        flags.append(repeat)
    if expected is None:
        return Checked(stored, None, measured, None, tuple(flags))
    judged = as_measured(expected, stored.dtype, measured.min, measured.max)
    known = theory(judged, measured.finite, stored.dtype)
    return Checked(stored, expected, measured, known, tuple(flags), notes(expected, stored.dtype))


def notes(expected: Distribution, dtype: str) -> tuple[str, ...]:
    """Say how little can be told where the distribution is only a few numbers wide."""
    std, off = theory(expected, 1).std, tolerance(expected, dtype)
    if dtype in CODES and 0 < std < (step := _step(expected, dtype)):
        return (
            f"the expected standard deviation is {std / step:.2g} spacings of {dtype}: most of it is lost "
            "in rounding, so little can be told from the values",
        )
    if not 0 < std < NARROW * off / 1.5:
        return ()
    real = "float64" if dtype == "float64" else "float32"
    return (
        f"the expected standard deviation is {1.5 * std / off:.2g} spacings of {real}: "
        f"rounding may move values by 1.5 spacings, which hides smaller differences",
    )


def _step(expected: Distribution, dtype: str) -> float:
    """The distance of neighbouring numbers of a 16- or 8-bit dtype around the mean of a distribution."""
    values = grid(dtype)[0]
    i = min(max(int(np.searchsorted(values, theory(expected, 1).mean)), 1), values.size - 1)
    return float(values[i] - values[i - 1])


COLUMNS = ("name", "dtype", "shape", "mean", "std", "std/theory", "min", "max", "on bounds", "KS", "limit")  # fmt: skip


#: Characters; all rows are as wide as the longest.
WIDEST_NAME = 200


def table(checked: Sequence[Checked]) -> str:
    """The measurements as aligned lines, each followed by its flags and notes on lines of their own."""
    rows = [COLUMNS, *(_row(one) for one in checked)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, one in zip(rows, [None, *checked], strict=True):
        cells = [
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if one is not None:
            lines += [f"    ! {printable(flag)}" for flag in one.flags]
            lines += [f"    - {note}" for note in one.notes]
    return "\n".join(lines)


def _row(one: Checked) -> tuple[str, ...]:
    shape = "x".join(map(str, one.stored.shape)) or "()"
    name = printable(without_middle(one.stored.name, WIDEST_NAME))
    found, known = one.measured, one.theory
    if found is None or not found.finite:
        return name, one.stored.dtype, shape, *[""] * (len(COLUMNS) - 3)
    ratio = f"{found.std / known.std:.4f}" if known is not None and known.std else ""
    distance = not math.isnan(found.ks) and bool(ratio)
    return (
        name,
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
