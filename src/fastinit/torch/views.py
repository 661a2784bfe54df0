"""The elements of tensors in their memories, and which of them two tensors share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from fastinit.computed import as_slice
from fastinit.fill import c_strides
from fastinit.parts import intersect, positions_in

#: Memories up to this many elements are searched element by element for what a write leaves of another.
MOST_SEARCHED = 2**24


class NotExpressibleError(ValueError):
    """Drawn values go through an operation that expressions lack."""


class Access(NamedTuple):
    """The elements of a tensor in its memory, counted in elements."""

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.size)

    @property
    def span(self) -> tuple[int, int]:
        """The first element, and the one behind the last."""
        last = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        return (self.offset, self.offset + last + 1) if self.numel else (self.offset, self.offset)


def access_of(tensor: Tensor) -> Access:
    return Access(tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def whole_access(shape: Sequence[int]) -> Access:
    """A contiguous tensor from the first element of its memory on."""
    return Access(0, tuple(shape), tuple(c_strides(tuple(shape))))


def across_axes(outer: Access, inner: Access) -> list[list[range]] | None:
    """Where an axis of `inner` runs along two axes of `outer`, as after a reshape: parts of it that run along one.

    Of the two ways to cut it, that with fewer parts.
    """
    if inner == outer:
        return None
    sizes = {step: n for n, step in zip(outer.size, outer.stride, strict=True) if n > 1}
    whole = [range(n) for n in inner.size]
    for axis, (n, step) in enumerate(zip(inner.size, inner.stride, strict=True)):
        size = sizes.get(step, n)
        if n > size and n % size == 0 and step * size in sizes:
            rows = [range(start, n, size) for start in range(size)]
            blocks = [range(start, start + size) for start in range(0, n, size)]
            return [[*whole[:axis], cut, *whole[axis + 1 :]] for cut in min(rows, blocks, key=len)]
    return None


def index_at(access: Access, offset: int) -> list[int]:
    """The index of the element at an offset from the first one."""
    index = [0] * len(access.size)
    axes = sorted(
        (axis for axis, n in enumerate(access.size) if n > 1), key=lambda a: -access.stride[a]
    )
    for axis in axes:
        if access.stride[axis]:
            index[axis], offset = divmod(offset, access.stride[axis])
    if offset:
        raise NotExpressibleError("a view between the elements of a result has no expression")
    return index


def overlap(
    written: Access, read: Access, whole: tuple[int, ...], numel: int
) -> list[range] | None:
    """Which elements of a read a write has set, as ranges of its axes; None if it has set none."""
    if written == read or (written.numel == numel and 0 not in written.stride):
        return [range(n) for n in read.size]
    (a, b), (c, d) = written.span, read.span
    if a >= d or c >= b:
        return None
    for shape in dict.fromkeys((whole, read.size, written.size)):
        if math.prod(shape) == numel:
            boxes = _box(written, shape), _box(read, shape)
            if boxes[0] is not None and boxes[1] is not None:
                return _common(boxes[0], boxes[1], read)
    return _search(written, read, numel)


Box = list[
    tuple[range, int | None]
]  # for each axis of a memory: indices, and the axis of the tensor


def _box(access: Access, shape: Sequence[int]) -> Box | None:
    """An access as indices of each axis of its memory, where each axis of it lies along one of these."""
    whole = whole_access(shape)
    try:
        first = index_at(whole, access.offset)
    except NotExpressibleError:
        return None
    box: Box = [(range(at, at + 1), None) for at in first]
    for axis, (n, step) in enumerate(zip(access.size, access.stride, strict=True)):
        if n == 1 or step == 0:
            continue
        along = next(
            (
                i
                for i, (size, s) in enumerate(zip(shape, whole.stride, strict=True))
                if size > 1 and step % s == 0
            ),
            None,
        )
        if along is None or box[along][1] is not None:
            return None
        move = step // whole.stride[along]
        indices = range(first[along], first[along] + n * move, move)
        if not 0 <= indices[-1] < shape[along]:
            return None
        box[along] = indices, axis
    return box


def _common(written: Box, read: Box, access: Access) -> list[range] | None:
    """The elements of a read that are in a write too, as ranges of the axes of the read."""
    ranges = [range(n) for n in access.size]
    for (w, _), (r, axis) in zip(written, read, strict=True):
        both = intersect(r, w)
        if not both:
            return None
        if axis is not None:
            ranges[axis] = positions_in(both, r)
    return ranges


def _as_range(indices: Sequence[int]) -> range:
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    made = range(indices[0], indices[-1] + 1, step)
    if len(made) != len(indices) or any(i != j for i, j in zip(made, indices, strict=True)):
        raise NotExpressibleError("a view of scattered elements has no expression")
    return made


def _search(written: Access, read: Access, numel: int) -> list[range] | None:
    """The same, element by element."""
    if numel > MOST_SEARCHED:
        raise NotExpressibleError("a view across the axes of a large tensor has no expression")
    is_set = np.zeros(numel, bool)
    _view(is_set, written)[...] = True
    found = _view(is_set, read)
    if not found.any():
        return None
    ranges = [
        _as_range(
            np.flatnonzero(found.any(axis=tuple(b for b in range(found.ndim) if b != a))).tolist()
        )
        for a in range(found.ndim)
    ]
    if not found[tuple(map(as_slice, ranges))].all():
        raise NotExpressibleError("a view of scattered elements has no expression")
    return ranges


def all_set(writes: Iterable[Access], read: Access, numel: int) -> bool:
    """Whether some writes have set all elements of a read, of which nothing else can be told: element by element."""
    is_set = np.zeros(numel, bool)
    for written in writes:
        _view(is_set, written)[...] = True
    return bool(_view(is_set, read).all())


def _view(flat: np.ndarray[Any, Any], access: Access) -> np.ndarray[Any, Any]:
    strides = tuple(step * flat.itemsize for step in access.stride)
    return np.lib.stride_tricks.as_strided(flat[access.offset :], access.size, strides)
