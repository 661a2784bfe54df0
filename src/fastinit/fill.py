"""Outputs, shapes and indices to kernel calls over regions of memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastinit import _kernel
from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_int, counted, shown
from fastinit.choices import DtypeName
from fastinit.streams import Seed, Stream, seed_value, stream_key
from fastinit.threads import get_num_threads, share

if TYPE_CHECKING:
    from fastinit.computed import Prepared

Array = NDArray[Any]
IndexItem = int | np.integer[Any] | slice | EllipsisType
Index = IndexItem | tuple[IndexItem, ...]

#: Makes the prepared distribution for one dtype, such as "float32".
Prepare = Callable[[str], "_kernel.Distribution | Prepared"]

#: Elements per task of a threaded fill: 2 MiB of float32, a huge page, and 0.2 to 1.5 milliseconds, so
#: that Ctrl-C is answered at once and the last tasks end together. Half of it costs uniforms 3 %.
TASK = 2**19

#: Tasks are multiples of it: 16 KiB of float32, whole pages and super-blocks.
GRAIN = 2**12

#: Arrays of interleaved axes up to this size are searched for overlap.
LARGE = 2**16

#: The dtypes that NumPy has; it learns the others from the package ml_dtypes.
_NATIVE: dict[np.dtype[Any], DtypeName] = {
    np.dtype("float32"): "float32",
    np.dtype("float64"): "float64",
    np.dtype("float16"): "float16",
}
#: Further ones, which computed distributions of integers and known values fill.
_EXACT = {
    np.dtype(name): name
    for name in ("bool", "complex64", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)))
}
_FROM_ML_DTYPES = tuple(name for name in DTYPE_SIZES if name not in _NATIVE.values())


def dtype_size(name: str) -> int:
    """Bytes of an element of the dtype of this name."""
    size = DTYPE_SIZES.get(name) if isinstance(name, str) else None
    if size is None:
        raise ValueError(f"dtype must be one of {', '.join(DTYPE_SIZES)}, got {shown(name)}")
    return size


def output_dtype(dtype: DTypeLike, is_computed: bool = False) -> np.dtype[Any]:
    """The NumPy dtype of a new array; bfloat16 and the 8-bit ones need the package ml_dtypes.

    Computed distributions take integers, too.
    """
    if isinstance(dtype, str) and dtype in _FROM_ML_DTYPES:
        try:
            import ml_dtypes
        except ImportError as error:
            raise ImportError(
                f"dtype {dtype!r} needs the package ml_dtypes: pip install ml_dtypes"
            ) from error
        dtype = getattr(ml_dtypes, dtype)
    try:
        if dtype is None:
            raise TypeError("None is float64 to NumPy, which nobody would expect here")
        result: np.dtype[Any] = np.dtype(dtype)
    except MemoryError:
        raise
    except Exception as error:  # NumPy asks the object for its attributes, and for its text
        raise TypeError(f"dtype must be {expected_dtypes()}, got {shown(dtype)}") from error
    if not (is_computed and result in _EXACT):
        dtype_name(result, "dtype")
    return result


def new_array(shape: tuple[int, ...], dtype: DTypeLike, is_computed: bool = False) -> Array:
    """An uninitialised C-contiguous array."""
    made = output_dtype(dtype, is_computed)
    if math.prod(filter(None, shape)) * made.itemsize > sys.maxsize:
        raise ValueError(f"shape must fit the address space as {made.name}, got {shown(shape)}")
    return np.empty(shape, made)


def dtype_name(dtype: np.dtype[Any], argument: str) -> DtypeName:
    """The kernel's name of a dtype, or a TypeError about `argument`."""
    native = _NATIVE.get(dtype)
    if native is not None:
        return native
    # ml_dtypes registers its own as user types; its import is the user's.
    if dtype.name not in _FROM_ML_DTYPES or dtype.isbuiltin != 2:
        order = "" if dtype.isnative else " in native byte order"
        raise TypeError(f"{argument} must be {expected_dtypes()}{order}, got {shown(dtype)}")
    return cast("DtypeName", dtype.name)


def expected_dtypes() -> str:
    """The names of all dtypes, for errors."""
    *rest, last = DTYPE_SIZES
    return f"{', '.join(rest)} or {last}"


def check_output(out: Any, is_computed: bool = False) -> str:
    """Refuse anything but a writable float array without overlap and masks; return the dtype's name.

    Computed distributions take arrays of integers, too.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    exact = _EXACT.get(out.dtype) if is_computed else None
    name = exact or dtype_name(out.dtype, "out.dtype")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    # Asked of plain arrays too, it costs a small fill 15 %.
    if type(out) is not np.ndarray and np.ma.is_masked(out):
        masked = np.count_nonzero(np.ma.getmask(out))
        raise ValueError(
            f"out must not have masked elements, got an array with {masked} of {out.size} masked; "
            "pass out.data to fill them all"
        )
    if may_overlap(out):
        raise ValueError(
            "out must not have elements that may share memory, got an array of "
            f"shape {out.shape} and strides {out.strides}"
        )
    return name


def may_overlap(out: Array) -> bool:
    """Whether elements of `out` share memory; a guess where its axes interleave and it is large."""
    if out.flags.c_contiguous or out.size == 0:
        return False
    axes = sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True) if n > 1)
    extent = out.itemsize
    for stride, n in axes:
        if stride < extent:
            break
        extent += stride * (n - 1)
    else:
        return False
    if out.size > LARGE or axes[0][0] == 0:
        return True
    places = np.zeros(1, np.int64)
    for stride, n in axes:
        places = np.add.outer(places, stride * np.arange(n)).reshape(-1)
    return bool((np.diff(np.sort(places)) < out.itemsize).any())


def select(
    shape: tuple[int, ...], index: Index, strides: Sequence[int] | None = None
) -> tuple[int, list[int], list[int], list[int]]:
    """Basic indexing: first element, and counts, steps and kept axes.

    Counts and steps (in elements) have one entry per axis of `shape`; integers
    give a count of 1 and are not among the kept axes. Elements lie in C order unless
    `strides` says how many there are from one position to the next along each axis.
    """
    first, counts, steps, kept = 0, [], [], []
    strides = c_strides(shape) if strides is None else strides
    items = zip(shape, strides, expand(shape, index), strict=True)
    for axis, (n, stride, item) in enumerate(items):
        start, step, count = select_axis(axis, n, item)
        first += start * stride
        counts.append(count)
        steps.append(step * stride)
        if isinstance(item, slice):
            kept.append(axis)
    return first, counts, steps, kept


def expand(shape: tuple[int, ...], index: Index) -> list[Any]:
    """The items of an index, one for each axis."""
    items: list[Any] = list(index) if isinstance(index, tuple) else [index]
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise ValueError(f"index must have at most one Ellipsis, got {shown(index)}")
    missing = len(shape) - (len(items) - len(ellipses))
    if missing < 0:
        raise ValueError(
            f"index must have at most {counted(len(shape), 'item')} for shape {shape}, got {shown(index)}"
        )
    at = ellipses[0] if ellipses else len(items)
    items[at : at + len(ellipses)] = [slice(None)] * missing
    return items


def select_axis(axis: int, n: int, item: Any) -> tuple[int, int, int]:
    """Start, step and count of one item of an index."""
    if isinstance(item, slice):
        try:
            start, stop, step = item.indices(n)
        except TypeError as error:
            raise TypeError(f"index[{axis}] must be a slice of ints, got {shown(item)}") from error
        except ValueError as error:
            raise ValueError(
                f"index[{axis}] must not have a step of 0, got {shown(item)}"
            ) from error
        if any(end is not None and not -n <= end <= n for end in (item.start, item.stop)):
            raise ValueError(
                f"index[{axis}] must have its ends in [{-n}, {n}], those of axis {axis}, got {shown(item)}"
            )
        return start, step, max(0, -((start - stop) // step))
    if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
        raise TypeError(f"index[{axis}] must be an int, a slice or Ellipsis, got {shown(item)}")
    expected = None if n else f"a slice, because axis {axis} has no elements"
    i = check_int(f"index[{axis}]", item, -n, n - 1, expected)
    return i % n, 1, 1


class Box(NamedTuple):
    """Elements of a tensor, and on which of its axes those of an output lie."""

    ranges: tuple[range, ...]  # one for each axis of the tensor
    axes: tuple[int, ...]  # one for each axis of the output

    def view(self, out: Array) -> Array:
        """`out` with the axes of the tensor, of one element where it has no such axis."""
        ordered = out.transpose(sorted(range(out.ndim), key=self.axes.__getitem__))
        axes = range(len(self.ranges))
        items = [slice(None) if axis in self.axes else np.newaxis for axis in axes]
        return ordered[(*items, ...)]

    def part(self, shape: tuple[int, ...], index: Index) -> Box:
        """The part of an index; `shape` is that of the output."""
        ranges, axes = list(self.ranges), []
        for axis, item in zip(self.axes, expand(shape, index), strict=True):
            start, step, count = select_axis(axis, len(ranges[axis]), item)
            whole = ranges[axis]
            begin, step = whole.start + start * whole.step, step * whole.step
            ranges[axis] = range(begin, begin + step * count, step)
            if isinstance(item, slice):
                axes.append(axis)
        return Box(tuple(ranges), tuple(axes))


def select_box(shape: tuple[int, ...], index: Index) -> Box:
    """The box of an index."""
    return Box(tuple(map(range, shape)), tuple(range(len(shape)))).part(shape, index)


def fill_array(
    out: Array,
    dtype: str,
    prepare: Prepare,
    seed: Seed,
    stream: Stream,
    shape: tuple[int, ...],
    index: Index | None,
    threads: int | None,
) -> None:
    """Fill `out` with the elements of a tensor of `shape`, or of its part `index`.

    Its items are taken to be of `dtype`, whatever NumPy calls them.
    """
    first, steps = check_part(out, shape, index)
    threads = None if threads is None else check_int("threads", threads, 1)
    distribution = prepare(dtype)
    out = np.asarray(out)  # subclasses may index and reshape as they like
    if not isinstance(distribution, _kernel.Distribution):
        box = select_box(shape, ... if index is None else index)
        distribution.fill(out, seed_value(seed), stream, shape, box, threads)
        return
    key = stream_key(seed, stream)
    if index is None and out.flags.c_contiguous:
        if out.size <= TASK:  # what follows takes as long as a thousand elements
            _kernel.fill(distribution, key, 0, out, 0, out.size)
            return
        out, steps = out.reshape(-1), [1]
    elif index is None:
        steps = c_strides(shape)
    fill_strided(out, distribution, key, first, steps, threads)


def fill_strided(
    out: Array,
    distribution: _kernel.Distribution,
    key: int,
    first: int,
    steps: Sequence[int],
    threads: int | None,
) -> None:
    """Fill `out` with elements of a stream: from `first` on, `steps` apart along each axis of `out`."""
    order = stream_order(steps)
    out = out.transpose(order)
    dims = merge(out.shape, [steps[axis] for axis in order], out.strides)
    if out.size:
        _run_tasks(_task(out, dims, first, distribution, key), out.size, threads)


def stream_order(steps: Sequence[int]) -> list[int]:
    """The order of axes in which neighbours in the stream are made together, whatever their order in memory."""
    return sorted(range(len(steps)), key=lambda axis: -abs(steps[axis]))


def check_part(
    out: Array,
    shape: tuple[int, ...],
    index: Index | None,
    strides: Sequence[int] | None = None,
) -> tuple[int, Sequence[int]]:
    """Refuse an array that has not the shape of a part; returns the part's first element and steps.

    `strides` are those of the whole, as `select` takes them. Of the whole in C order no steps are
    returned, which small fills do not need.
    """
    first, wanted = 0, shape
    steps: Sequence[int] = [] if strides is None else strides
    if index is not None:
        first, counts, all_steps, kept = select(shape, index, strides)
        wanted = tuple(counts[axis] for axis in kept)
        steps = [all_steps[axis] for axis in kept]
    if out.shape != wanted:
        part = "" if index is None else f" of index {shown(index)} of shape {shape}"
        raise ValueError(f"out must have the shape {wanted}{part}, got {out.shape}")
    return first, steps


def zero_row(out: Array, row: int, shape: tuple[int, ...], index: Index | None) -> None:
    """Zero what `out`, a part of a tensor of `shape`, has of a row of its first axis."""
    rows = range(shape[0])
    item = expand(shape, ... if index is None else index)[0]
    if not isinstance(item, slice):
        if rows[item] == row:
            out[...] = 0
    elif row in rows[item]:
        out[rows[item].index(row)] = 0


def c_strides(shape: tuple[int, ...]) -> list[int]:
    """Elements from one position to the next along each axis of a C-ordered tensor."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


Dim = tuple[int, int, int]  # count, step in elements, step in bytes of the output


def merge(counts: Sequence[int], steps: Sequence[int], strides: Sequence[int]) -> list[Dim]:
    """The fewest dimensions that visit the same elements in the same order."""
    dims: list[Dim] = []
    for count, step, stride in zip(counts, steps, strides, strict=True):
        if count == 1:
            continue
        if dims and dims[-1][1:] == (count * step, count * stride):
            dims[-1] = (dims[-1][0] * count, step, stride)
        else:
            dims.append((count, step, stride))
    return dims


def _task(
    out: Array, dims: list[Dim], first: int, distribution: _kernel.Distribution, key: int
) -> Callable[[int, int], None]:
    """A function that fills the positions [start, stop) of `out`."""
    if not dims or (len(dims) == 1 and dims[0][1:] == (1, out.itemsize)):

        def fill_run(start: int, stop: int) -> None:
            _kernel.fill(distribution, key, first + start, out, start, stop - start)

        return fill_run

    span, offset = _memory_span(out)
    count = np.array([n for n, _, _ in dims], np.uint64)
    # Steps are taken modulo 2**64: tensors may have up to 2**64 elements.
    step = np.array([s % 2**64 for _, s, _ in dims], np.uint64).view(np.int64)
    stride = np.array([s for _, _, s in dims], np.int64)
    region = _kernel.Region(count, step, stride, first, span, offset)

    def fill_positions(start: int, stop: int) -> None:
        _kernel.fill_region(distribution, key, region, start, stop - start)

    return fill_positions


def _memory_span(out: Array) -> tuple[Array, int]:
    """All bytes from the lowest to the highest of a strided array, and where element 0 is."""
    low_first = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in out.strides)
    reach = [(n - 1) * abs(s) for n, s in zip(out.shape, out.strides, strict=True)]
    offset = sum(r for r, s in zip(reach, out.strides, strict=True) if s < 0)
    lowest = out[low_first][(slice(0, 1),) * out.ndim].reshape(-1).view(np.uint8)
    span = np.lib.stride_tricks.as_strided(lowest, (sum(reach) + out.itemsize,), (1,))
    return span, offset


def _run_tasks(run: Callable[[int, int], None], size: int, threads: int | None) -> None:
    if size <= TASK:
        run(0, size)
        return
    if threads is None:
        threads = get_num_threads()
    # As many tasks for each thread, and equal ones: most weights are a few of TASK.
    threads = min(threads, -(-size // TASK))
    rounds = -(-size // (TASK * threads))
    step = -(-size // (rounds * threads * GRAIN)) * GRAIN
    share(lambda i: run(i * step, min((i + 1) * step, size)), -(-size // step), threads)
