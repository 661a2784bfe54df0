"""What is wrong with the tensors of a file.

Each is measured and judged by tests that each raise a false alarm for at most `FALSE_ALARM` of the tensors.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastinit._kernel import DTYPE_SIZES
from fastinit.check_computed import (
    compare,
    compared_note,
    is_exact,
    judge_orthogonal,
    orthogonal_tolerance,
)
from fastinit.checks import (
    check_callback,
    check_int,
    counted,
    printable,
    shortened,
    shown,
    without_middle,
)
from fastinit.copies import copies
from fastinit.distributions import Exponential, LogUniform, OrthogonalMatrix, RandomIntegers
from fastinit.dtypes import not_measured
from fastinit.exact import index_of
from fastinit.files import Stored
from fastinit.initializers import Distribution, Normal, TruncatedNormal, Uniform
from fastinit.limits import FALSE_ALARM, SIGMAS, ks_limit, variance_limits
from fastinit.measure import BUFFER_BYTES, FEW, HUGE, Measured, measure
from fastinit.rules import near_words
from fastinit.runs import MOST_RUNS, Run
from fastinit.tensor import Tensor
from fastinit.theory import (
    CODES,
    Theory,
    as_measured,
    bounds,
    cell,
    grid,
    has_theory,
    moment_tolerance,
    nearest,
    rescaled,
    spacing,
    theory,
    tolerance,
)
from fastinit.threads import Progress, get_num_threads, share, spread

#: Distributions of a smaller standard deviation, in spacings, get a note about the tolerance.
NARROW = 16
#: The largest numbers of float32, bfloat16 and float64: limits, rather than weights.
LARGEST = ((2 - 2.0**-23) * 2.0**127, (2 - 2.0**-7) * 2.0**127, np.finfo(np.float64).max)
#: From this fraction of the values other than zero on, subnormal numbers are flagged where no theory is known.
MANY_SUBNORMAL = 0.1
#: From this fraction of the values on, a gap explains what moments and distance say.
LARGE_GAP = 0.01
#: Up to this fraction of zeros in whole rows, they may be rows of unused tokens.
MOST_ROWS = 0.1
#: From here on a standard deviation over its theory is written with an exponent.
LONG_RATIO = 1e4
#: Runs of one tensor that get a note each.
MOST_NOTES = 3
#: How many names get near names.
MOST_NEAR = 20
#: Vectors of fewer elements may be biases of several layers in one, of which some are zero.
LONGEST_BIAS = 2**16
#: What distributions are called in flags.
WORDS = (
    (Uniform, "a uniform"), (Normal, "a normal"), (TruncatedNormal, "a truncated normal"),
    (LogUniform, "a log-uniform"), (Exponential, "an exponential"), (RandomIntegers, "an integer"),
)  # fmt: skip
#: Generators draw from a lattice of 2**24 numbers at the coarsest; float32 may round two of them to one.
LATTICE = 2.0**-23
#: PyTorch draws uniforms of these dtypes from as many numbers as the significand holds, 2**8 and 2**11.
COARSE_LATTICE = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Checked:
    """One tensor of a file or of a model, and what is wrong with it.

    Parameters
    ----------
    name : str
    stored : Stored or None
        Where it lies; None for a tensor of the model that is missing in the file.
    distribution : Distribution or None
        What its values should be, if that is known.
    measured : Measured or None
        None for missing tensors and for dtypes that take no distribution, such as integers: those
        are compared with their constant, where it is known.
    theory : Theory or None
    flags : tuple of str
        Short sentences about what is wrong.
    notes : tuple of str
        What limits the verdict, and what may or may not be meant, as short sentences.
    """

    name: str
    stored: Stored | None
    distribution: Distribution | None
    measured: Measured | None
    theory: Theory | None
    flags: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        where, found = self.stored, self.measured
        parts = [shortened(self.name)]
        if where is not None:
            parts.append(f"{where.dtype} {shown(where.shape)}")
        if found is not None and found.finite:
            parts.append(f"mean {found.mean:.4g}, std {found.std:.4g}")
        flags = "; ".join(self.flags)
        parts.append(f"flags: {without_middle(printable(flags), 200)}" if flags else "no flags")
        return f"Checked({', '.join(parts)})"


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
    flags = _judge_padding(measured) + _judge_finite(measured)
    if not measured.finite:
        return flags
    if expected is None:
        return flags + _judge_alone(measured, stored)
    low, high = bounds(expected)
    if low == high:
        return flags + _judge_constant(measured, low, stored.dtype)
    runs = _judge_runs(measured, expected, stored)
    # Where a gap is large, moments and distance describe that.
    if not runs or measured.run_total < LARGE_GAP * measured.finite:
        flags += _judge_random(measured, expected, stored.dtype)
    return flags + runs + _repeat_words(measured, stored.shape)


def _judge_padding(measured: Measured) -> list[str]:
    return [] if measured.padding_is_zero else ["the padding row is not zero"]


def _judge_finite(measured: Measured) -> list[str]:
    if not measured.nonfinite:
        return []
    verb = "is" if measured.nonfinite == 1 else "are"
    return [f"{measured.nonfinite} of {measured.size} values {verb} NaN or infinite"]


def _judge_alone(measured: Measured, stored: Stored) -> list[str]:
    axes = len(stored.shape)
    if measured.is_constant:
        is_flagged = axes > 1 and measured.size > 1
        return [f"all values are {measured.min:.6g}"] if is_flagged else []
    flags = [_clipped_words(measured, True, True)] if measured.clipped else []
    if measured.huge and not _is_mask(measured):
        largest = max(measured.max, measured.min, key=abs)
        flags.append(
            f"{counted(measured.huge, 'value')} of 2**64 or more, as uninitialised memory has: {largest:.4g} for one"
        )
    if axes > 1 and measured.subnormal >= MANY_SUBNORMAL:
        flags.append(
            f"{measured.subnormal:.0%} of the values other than zero are subnormal numbers, as in uninitialised memory"
        )
    return flags + _gaps(measured, stored.shape)[0]


def _is_mask(measured: Measured) -> bool:
    """Whether each of the huge values is one that masks and limits have: a value that recurs, or the largest of a dtype."""
    ends = ((measured.min, measured.at_min), (measured.max, measured.at_max))
    limits = [(abs(value), count) for value, count in ends if abs(value) >= HUGE]
    return sum(count for _, count in limits) == measured.huge and all(
        count > 1 or value in LARGEST for value, count in limits
    )


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
    return flags or _judge_extremes(measured, expected, dtype)


def _judge_extremes(measured: Measured, expected: Distribution, dtype: str) -> list[str]:
    """A value too far out for so many; one in a million hardly moves mean, deviation and distance."""
    below, here, _ = cell(expected, dtype, measured.min)
    _, there, above = cell(expected, dtype, measured.max)
    ends = (("smallest", measured.min, below + here), ("largest", measured.max, above + there))
    return [
        f"the {which} value is {value:.6g}, too far out for {_words(expected)}"
        for which, value, p in ends
        if measured.finite * p < FALSE_ALARM / 2
    ]


def _words(distribution: Distribution) -> str:
    return f"{next(name for kind, name in WORDS if isinstance(distribution, kind))} distribution"


def _factor(ratio: float) -> str:
    if ratio >= LONG_RATIO:
        return ratio_text(ratio)
    return f"{ratio:.2f}" if abs(ratio - 1) > 0.02 else f"{ratio:.5f}"


def ratio_text(ratio: float) -> str:
    """A standard deviation over its theory for tables and pictures; one wild value makes it 1e28."""
    return f"{ratio:.4f}" if ratio < LONG_RATIO else f"{ratio:.4g}"


def _std_is_off(std: float, known: Theory, n: int, off: float) -> bool:
    if n < 2 or not known.std:
        return False
    low, high = variance_limits(n, known.kurtosis)
    return std - off > known.std * math.sqrt(high) or std + off < known.std * math.sqrt(low)


def std_limits(one: Checked) -> tuple[float, float]:
    """Between which the standard deviation of a tensor over its theory raises no flag."""
    if one.measured is None or one.theory is None or one.distribution is None or one.stored is None:
        raise ValueError(f"no theory of {shortened(one.name)}")
    if isinstance(one.distribution, OrthogonalMatrix):
        off = orthogonal_tolerance(one.distribution, one.stored.dtype)
        # Of the standard deviation about the mean, which the sum of squares does not fix.
        return 1 - off - SIGMAS * SIGMAS / max(2, one.measured.finite), 1 + off
    low, high = variance_limits(max(2, one.measured.finite), one.theory.kurtosis)
    off = moment_tolerance(one.distribution, one.stored.dtype)[1] / one.theory.std
    return max(0.0, math.sqrt(low) - off), math.sqrt(high) + off


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


def _judge_runs(measured: Measured, expected: Distribution, stored: Stored) -> list[str]:
    """Stretches of one value that chance does not explain."""
    lattice = (
        COARSE_LATTICE.get(stored.dtype, LATTICE) if isinstance(expected, Uniform) else LATTICE
    )
    runs = [
        run
        for run in measured.runs
        if math.isfinite(run.value)  # NaN and infinities are flagged as such
        and _is_unlikely(run, measured, cell(expected, stored.dtype, run.value)[1] + lattice)
    ]
    return [_run_words(runs, stored.shape)] if runs else []


def _is_unlikely(run: Run, measured: Measured, p: float = 0.0) -> bool:
    """Whether a run of this length of a value of probability p is anywhere with at most `FALSE_ALARM`.

    The fraction of the values that equal it counts where that is larger than p.
    """
    p = min(1.0, max(p, run.share))
    return math.log(measured.size) + (run.size - 1) * math.log(p) < math.log(FALSE_ALARM)


def _gaps(measured: Measured, shape: tuple[int, ...]) -> tuple[list[str], list[str]]:
    """Flags and notes about stretches of one value and repeated pages, where no theory is known.

    Only zeros are flagged, and not where they are likely to be meant: in masks and tensors of few values,
    in more places than torn pages are, in whole rows that are few, in the first row (of tables of sines), in
    a vector that may hold several biases.
    """
    if measured.distinct <= FEW:
        return [], []
    runs = [run for run in measured.runs if _is_unlikely(run, measured)]
    notes = _repeat_words(measured, shape)
    if not runs:
        return [], notes
    if measured.run_count > MOST_RUNS:
        words = f"{measured.run_count:,} runs of one value, as masks and pruned weights have"
        return [], [f"{words}: {_run_words(runs[:1], shape)}", *notes]
    zeros = [run for run in runs if run.value == 0]
    rows = [run for run in zeros if _is_rows(run, shape)]
    if len(shape) == 1:
        torn = zeros if measured.size >= LONGEST_BIAS else []
    elif sum(run.size for run in rows) > MOST_ROWS * measured.size:
        torn = zeros
    else:
        first = math.prod(shape[1:])
        torn = [run for run in zeros if run not in rows and run.stop > first]
    others = [run for run in runs if run not in torn]
    flags = [_run_words(torn, shape)] if torn else []
    return flags, [_run_words([run], shape) for run in others[:MOST_NOTES]] + notes


def _is_rows(run: Run, shape: tuple[int, ...]) -> bool:
    """Whether a run is whole rows of the first axis, but for a few elements next to them that are equal by chance."""
    row = math.prod(shape[1:])
    inner = run.stop // row * row - -(-run.start // row) * row
    beside = run.size - inner
    return len(shape) > 1 and inner > 0 and beside * math.log(run.share) >= math.log(FALSE_ALARM)


def _run_words(runs: Sequence[Run], shape: tuple[int, ...]) -> str:
    """About the longest of some runs, and how many others there are."""
    run = max(runs, key=lambda one: one.size)
    row = math.prod(shape[1:])
    if len(shape) > 1 and run.start % row == 0 and run.size == row:
        words = f"row {run.start // row} is {run.value:.6g} throughout"
        words += ", as a padding row is (padding_idx)" if run.value == 0 else ""
    else:
        what = "zeros" if run.value == 0 else f"values {run.value:.6g}"
        words = f"{run.size:,} {what} in a row from element {_at(run.start, shape)} on"
    others = len(runs) - 1
    return words + (f", and {others} more such run{'s' if others > 1 else ''}" if others else "")


def _at(element: int, shape: tuple[int, ...]) -> str:
    """The index of an element, without the parentheses of one number."""
    where = index_of(element, shape)
    return f"{where[0]:,}" if len(where) == 1 else f"{where}"


def _repeat_words(measured: Measured, shape: tuple[int, ...]) -> list[str]:
    """About pages that begin like earlier ones, where chance does not explain it."""
    found = measured.repeat
    if found is None or found.collision >= 1:
        return []
    pairs = math.log(found.pages) * 2 - math.log(2)
    if pairs + found.compared * math.log(found.collision) >= math.log(FALSE_ALARM):
        return []
    return [
        f"{found.count:,} of its {found.pages:,} pages repeat an earlier one: the values from element "
        f"{_at(found.start, shape)} on are those from {_at(found.first, shape)} on"
    ]


def name_problems(
    found: Collection[str], expected: Collection[str], skipped: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """What to say of names that only a file has, and of those that only the model has, by name.

    Names that are `skipped` may be in the file. The first `MOST_NEAR` of each are given near names: of those
    that only the other has, else of all that it has.
    """
    known, present = {*expected, *skipped}, set(found)
    extra = [name for name in found if name not in known]
    missing = [name for name in expected if name not in present]

    def words(problem: str, names: Sequence[str], *others: Collection[str]) -> dict[str, str]:
        near = {
            name: next(filter(None, (near_words(name, some) for some in others)), "")
            for name in names[:MOST_NEAR]
        }
        return {name: problem + near.get(name, "") for name in names}

    return (
        words("not a tensor of the model", extra, missing, expected),
        words("missing in the file", missing, extra, found),
    )


def with_name_problems(
    checked: Sequence[Checked], expected: Collection[str], skipped: Collection[str]
) -> list[Checked]:
    """Add a flag to tensors whose names are not expected, and a `Checked` for each expected one that is missing."""
    extra, missing = name_problems([one.name for one in checked], expected, skipped)
    known = [
        replace(one, flags=(extra[one.name], *one.flags)) if one.name in extra else one
        for one in checked
    ]
    return known + [Checked(name, None, None, None, None, (why,)) for name, why in missing.items()]


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
    judged = [None if one is None or not has_theory(one) else one for one in expected]
    measured: list[Measured | None] = [None] * len(pairs)
    compared: dict[int, tuple[str, ...]] = {}  # flags of tensors of known values and of integers
    count = _Count(sum(stored.nbytes for stored, _ in pairs), progress)

    def task(i: int) -> None:
        number = order[i]
        stored, tensor = pairs[number]
        if stored.dtype in DTYPE_SIZES:
            padding = _padding(stored, tensor)
            measured[number] = measure(stored, judged[number], padding, BUFFER_BYTES, count.advance)
        else:
            count.advance(stored.nbytes)
        is_judged = judged[number] is not None and stored.dtype in DTYPE_SIZES
        if tensor is None or is_judged:
            return
        if (tensor.dtype, tensor.shape) == (stored.dtype, stored.shape):
            compared[number] = compare(stored, tensor)

    # The largest first, in the order in which `share` hands out its numbers.
    largest = sorted(range(len(pairs)), key=lambda i: -pairs[i][0].nbytes)
    turns = spread(len(pairs), max(1, min(threads, len(pairs))))
    order = dict(zip(turns, largest, strict=True))
    share(task, len(pairs), threads)
    origins = [None if tensor is None else _origin(tensor) for _, tensor in pairs]
    # Expressions may be alike: known values, or a small draw added to them.
    apart = [
        None if one is not None and not _is_random(one) else found
        for found, one in zip(measured, expected, strict=True)
    ]
    repeats = copies([stored for stored, _ in pairs], apart, origins)
    with np.errstate(all="ignore"):  # of laws at the ends of the range of a float
        return [
            _checked(stored, tensor, expected[i], measured[i], repeats.get(i), compared.get(i))
            for i, (stored, tensor) in enumerate(pairs)
        ]


def _origin(tensor: Tensor) -> tuple[str, int, list[int]]:
    """The stream of a tensor, its first element there, and the step along its last axis: what its first values depend on."""
    first, steps = tensor.positions
    return tensor.name if tensor.stream is None else str(tensor.stream), first, steps[-1:]


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


def _is_random(distribution: Distribution) -> bool:
    """Whether no two tensors of a distribution are alike by chance."""
    return has_theory(distribution) or isinstance(distribution, OrthogonalMatrix)


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
    name = stored.name
    if measured is None:
        why = not_measured(stored.dtype)
        if compared is not None and expected is not None:
            why = compared_note(expected)
        wrong = (*flags, *(compared or ()))
        return Checked(name, stored, expected, None, None, wrong, (why,))
    if expected is not None and not has_theory(expected):
        return _checked_computed(stored, expected, measured, (*flags, *(compared or ())))
    flags += judge(measured, expected, stored)
    if repeat is not None:
        flags.append(repeat)
    if expected is None:
        is_varied = measured.finite > 0 and not measured.is_constant
        limits = tuple(_gaps(measured, stored.shape)[1]) if is_varied else ()
        return Checked(name, stored, None, measured, None, tuple(flags), limits)
    judged = as_measured(expected, stored.dtype, measured.min, measured.max)
    known = theory(judged, measured.finite, stored.dtype)
    limits = notes(expected, stored.dtype)
    return Checked(name, stored, expected, measured, known, tuple(flags), limits)


def _checked_computed(
    stored: Stored, expected: Distribution, measured: Measured, flags: tuple[str, ...]
) -> Checked:
    """What is known of a tensor of an orthogonal matrix, of known values, or of another expression."""
    found = [*flags, *_judge_padding(measured)]
    if not is_exact(expected):  # of which infinite ones are meant
        found += _judge_finite(measured)
    if not isinstance(expected, OrthogonalMatrix):
        limits = (compared_note(expected),)
        return Checked(stored.name, stored, None, measured, None, tuple(found), limits)
    found += judge_orthogonal(measured, expected, stored.dtype)
    known = theory(expected, measured.finite, stored.dtype)
    return Checked(stored.name, stored, expected, measured, known, tuple(found))


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


def totals(checked: Sequence[Checked]) -> str:
    """How many tensors the file has, and how many are missing, flagged and not measured."""
    missing = sum(one.stored is None for one in checked)
    flagged = sum(bool(one.flags) for one in checked)
    unmeasured = sum(note.startswith("not measured") for one in checked for note in one.notes)
    parts = [counted(len(checked) - missing, "tensor")]
    parts += [f"{missing:,} missing"] if missing else []
    parts += [f"{flagged:,} flagged"]
    parts += [f"{unmeasured:,} not measured"] if unmeasured else []
    return ", ".join(parts)


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
            lines += [f"    - {printable(note)}" for note in one.notes]
    return "\n".join(lines)


def _row(one: Checked) -> tuple[str, ...]:
    name, stored = printable(without_middle(one.name, WIDEST_NAME)), one.stored
    if stored is None:
        return name, *[""] * (len(COLUMNS) - 1)
    shape = "x".join(map(str, stored.shape)) or "()"
    found, known = one.measured, one.theory
    if found is None or not found.finite:
        return name, stored.dtype, shape, *[""] * (len(COLUMNS) - 3)
    ratio = ratio_text(found.std / known.std) if known is not None and known.std else ""
    distance = not math.isnan(found.ks) and bool(ratio)
    return (
        name,
        stored.dtype,
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
