"""Expressions besides arithmetic: parts of tensors with distributions of their own, norms, and casts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_int, shown
from fastinit.computed import BOX, Evaluation, Ranges, take
from fastinit.dtypes import constant_bytes, constant_value, stored_dtype
from fastinit.fans import normalize_shape
from fastinit.fill import Array, Index, select_box
from fastinit.initializers import Computed, Distribution, prepare
from fastinit.rounding import decode


def check_dtype(distribution: Distribution, dtype: str) -> None:
    """Refuse a dtype that cannot have the values of a draw, or of a part of a tensor."""
    if isinstance(distribution, Computed):
        distribution.check_dtype(dtype)
    elif dtype in DTYPE_SIZES:
        prepare(distribution, (), dtype)
    else:
        constant_bytes(stored_dtype(dtype), distribution)


def limits_of(operand: Distribution | float) -> tuple[int, int] | None:
    """The least and the largest value where all are integers; None otherwise."""
    if isinstance(operand, Computed):
        return operand.limits()
    value = operand if isinstance(operand, float) else constant_value(operand)
    return None if value is None or not value.is_integer() else (int(value), int(value))


def check_broadcast(name: str, shape: tuple[int, ...], wanted: Sequence[int]) -> None:
    pairs = zip(shape[::-1], tuple(wanted)[::-1], strict=False)
    if len(shape) > len(wanted) or any(n not in (1, w) for n, w in pairs):
        raise ValueError(f"{name} of shape {shape} must broadcast to {tuple(wanted)}")


def check_operand(name: str, value: object) -> None:
    if not isinstance(value, Distribution):
        raise TypeError(f"{name} must be a distribution, got {shown(value)}")


@dataclass(frozen=True, slots=True, eq=False)
class Parts(Computed):
    """A tensor some of whose parts have distributions of their own.

    Parameters
    ----------
    base : Distribution
        Of all elements that are in no part.
    parts : sequence of (index, Distribution)
        ``whole[index]`` has this distribution, and the shape of ``whole[index]``; a later one
        overrides an earlier one. Its draws are where it says: `Draw` has `first` and `steps`.
    """

    base: Distribution
    parts: tuple[tuple[Index, Distribution], ...]

    def __post_init__(self) -> None:
        check_operand("base", self.base)
        pairs = tuple((_items(index), part) for index, part in self.parts)
        for _, part in pairs:
            check_operand("parts", part)
        object.__setattr__(self, "parts", pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parts) and self._identity() == other._identity()

    def __hash__(self) -> int:  # slices have no hash in Python 3.11
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return self.base, tuple((repr(index), part) for index, part in self.parts)

    def resolve(self, shape: Sequence[int]) -> Distribution:
        self.base.resolve(shape)
        for index, part in self.parts:
            box = select_box(tuple(shape), index)
            part.resolve(tuple(len(box.ranges[axis]) for axis in box.axes))
        return self

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        values = np.empty([len(r) for r in ranges])
        for one in self._placed(shape, ranges):
            made = evaluation.values(one.distribution, one.shape, one.ranges)
            one.view(values)[...] = made
        return values

    def check_dtype(self, dtype: str) -> None:
        for distribution in (self.base, *(part for _, part in self.parts)):
            check_dtype(distribution, dtype)

    def paint(
        self,
        out: Array,
        shape: tuple[int, ...],
        ranges: Ranges,
        evaluation: Evaluation,
        dtype: str,
    ) -> None:
        for one in self._placed(shape, ranges):
            one.distribution.paint(one.view(out), one.shape, one.ranges, evaluation, dtype)

    def _placed(self, shape: tuple[int, ...], ranges: Ranges) -> list[_Placed]:
        """What lies in a box, in the order in which it is written, from the last that covers all of it on."""
        parts = [(..., self.base), *self.parts]
        placed = [_Placed(shape, ranges, index, part) for index, part in parts]
        placed = [one for one in placed if one.is_inside]
        sizes = tuple(map(len, ranges))
        full = [i for i, one in enumerate(placed) if one.sizes == sizes]
        return placed[full[-1] :] if full else []


class _Placed:
    """The elements of a part that lie in a box: where in the box, and where in the part."""

    def __init__(
        self, shape: tuple[int, ...], ranges: Ranges, index: Index, part: Distribution
    ) -> None:
        selected, kept = select_box(shape, index)
        common = [intersect(r, s) for r, s in zip(ranges, selected, strict=True)]
        self.distribution = part
        self.is_inside = all(common)
        if not self.is_inside:
            return
        self.sizes = tuple(map(len, common))
        self.shape = tuple(len(selected[axis]) for axis in kept)
        self.ranges = tuple(positions_in(common[axis], selected[axis]) for axis in kept)
        places = [positions_in(c, r) for c, r in zip(common, ranges, strict=True)]
        self._box = tuple(
            slice(r.start, r.stop, r.step) if axis in kept else r.start
            for axis, r in enumerate(places)
        )

    def view(self, out: Array) -> Array:
        """The elements of the part in an array of the box, with the axes of the part."""
        return out[(*self._box, ...)]


def _items(index: Any) -> Index:
    items = tuple(index) if isinstance(index, (tuple, list)) else (index,)
    return tuple(int(item) if isinstance(item, np.integer) else item for item in items)


def intersect(r: range, selected: range) -> range:
    """The elements of `r` that are in `selected`, in the order of `r`."""
    if not r or not selected:
        return range(0)
    rising = r if r.step > 0 else r[::-1]
    low, high = min(selected[0], selected[-1]), max(selected[0], selected[-1])
    begin = max(0, -((rising.start - low) // rising.step))
    inside = rising[begin : max(begin, (high - rising.start) // rising.step + 1)]
    period = abs(selected.step) // math.gcd(rising.step, selected.step)
    at = next((i for i, x in enumerate(inside[:period]) if x in selected), None)
    found = range(0) if at is None else inside[at::period]
    return found if r.step > 0 else found[::-1]


def positions_in(common: range, within: range) -> range:
    """Where the elements of a range that are in another one are in that, in rising order if `common` is of its order."""
    first = within.index(common[0])
    step = within.index(common[1]) - first if len(common) > 1 else 1
    return range(first, first + step * len(common), step)


@dataclass(frozen=True, slots=True)
class Norm(Computed):
    """The square root of the sum of squares over axes, which are kept with size 1.

    Parameters
    ----------
    of : Distribution
    shape : tuple of int
        The shape of `of`.
    axes : tuple of int
        The axes that are summed over, counted from the first one.

    Notes
    -----
    It needs all elements of `of`, which are computed once for a tensor, whatever part is filled.
    """

    of: Distribution
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        check_operand("of", self.of)
        object.__setattr__(self, "shape", normalize_shape(self.shape))
        ndim = len(self.shape)
        axes = {check_int("axes", axis, -ndim, ndim - 1) % ndim for axis in self.axes}
        object.__setattr__(self, "axes", tuple(sorted(axes)))

    def resolve(self, shape: Sequence[int]) -> Distribution:
        self.of.resolve(self.shape)
        kept = tuple(1 if a in self.axes else n for a, n in enumerate(self.shape))
        check_broadcast("a norm", kept, shape)
        return self

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        whole = evaluation.whole(self, self.shape, lambda: self._whole(evaluation))
        return take(whole, shape, ranges)

    def _whole(self, evaluation: Evaluation) -> NDArray[np.float64]:
        kept = [axis for axis in range(len(self.shape)) if axis not in self.axes]
        sizes = [self.shape[axis] for axis in kept] or [1]
        norms = np.empty(sizes)
        summed = math.prod(self.shape[axis] for axis in self.axes)
        rows = max(1, BOX // max(1, summed))  # of the first axis that is kept
        for begin in range(0, sizes[0], rows):
            some = list(map(range, self.shape))
            if kept:
                some[kept[0]] = range(begin, min(begin + rows, sizes[0]))
            values = evaluation.in_box().values(self.of, self.shape, tuple(some))
            values = np.broadcast_to(values, [len(r) for r in some])
            sums = _sum_last(values.transpose([*kept, *self.axes]), len(kept))
            norms[begin : begin + rows] = np.sqrt(sums)
        return norms.reshape([1 if a in self.axes else n for a, n in enumerate(self.shape)])


def _sum_last(values: NDArray[Any], kept: int) -> NDArray[np.float64]:
    """Sums of squares over the axes after the first ones, in halves: NumPy's own order depends on memory layout."""
    summed = math.prod(values.shape[kept:])
    squares = values.astype(np.float64).reshape(*values.shape[:kept], summed) ** 2
    while squares.shape[-1] > 1:
        half = squares.shape[-1] // 2
        rest = squares[..., 2 * half :]
        squares = np.concatenate((squares[..., :half] + squares[..., half : 2 * half], rest), -1)
    sums: NDArray[np.float64] = squares.sum(axis=-1)
    return sums


@dataclass(frozen=True, slots=True)
class Cast(Computed):
    """The values that a tensor of another dtype has: draws of that dtype, rounded to it.

    A tensor of float64 draws other values from its stream than one of the other dtypes, so a copy
    between them needs the dtype of its source.

    Parameters
    ----------
    of : Distribution
    dtype : str
        That safetensors has, of whole bytes.
    """

    of: Distribution
    dtype: str

    def __post_init__(self) -> None:
        check_operand("of", self.of)
        if stored_dtype(self.dtype).bits < 8:
            raise ValueError(f"dtype must be of whole bytes, got {self.dtype}")

    def resolve(self, shape: Sequence[int]) -> Distribution:
        check_dtype(self.of, self.dtype)
        self.of.resolve(shape)
        return self

    def limits(self) -> tuple[int, int] | None:
        return limits_of(self.of)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        bits = np.empty([len(r) for r in ranges], f"u{stored_dtype(self.dtype).bits // 8}")
        real = "float64" if self.dtype == "float64" else "float32"
        self.of.paint(bits, shape, ranges, evaluation.with_real(real), self.dtype)
        return decode(bits, self.dtype)
