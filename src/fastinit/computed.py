"""Evaluate expressions: distributions whose values NumPy computes in float64 from the kernel's draws, box by box."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastinit import _kernel
from fastinit.fill import Array, Box, c_strides
from fastinit.streams import Stream, numbered, stream_key
from fastinit.threads import get_num_threads, share, usable_cpus

if TYPE_CHECKING:
    from fastinit.initializers import Computed, Distribution

#: The elements of a tensor that are evaluated: for each axis those of a range.
Ranges = tuple[range, ...]
#: Elements that are evaluated at once: float64 values and a few temporaries of them fit a core's cache.
BOX = 2**16


class Evaluation:
    """What the values of one box depend on besides the expression, and the values that it uses more than once.

    Parameters
    ----------
    seed, stream
        Those of the tensor.
    real : {"float32", "float64"}
        The dtype of draws.
    wholes : Wholes, optional
        Where whole tensors are kept: by default with those of other boxes of the same tensors.
    """

    def __init__(self, seed: int, stream: Stream, real: str, wholes: Wholes | None = None) -> None:
        self.seed, self.stream, self.real = seed, stream, real
        self._wholes = _wholes if wholes is None else wholes
        # The expression is kept beside its values: another one could get its id.
        self._values: dict[Hashable, tuple[Distribution, NDArray[Any]]] = {}

    def key(self, number: int, stream: Stream | None = None) -> int:
        """The generator's key of the draw of this number: 1 is that of the stream's own name."""
        return stream_key(self.seed, numbered(self.stream if stream is None else stream, number))

    def of(self, number: int, stream: Stream | None = None) -> Evaluation:
        """The evaluation of what takes this draw for the only one."""
        stream = numbered(self.stream if stream is None else stream, number)
        return Evaluation(self.seed, stream, self.real, self._wholes)

    def values(
        self, distribution: Distribution, shape: tuple[int, ...], ranges: Ranges
    ) -> NDArray[Any]:
        """The elements of a distribution over a tensor of `shape`, to be broadcast to the sizes of `ranges`."""
        key = (id(distribution), shape, ranges)
        found = self._values.get(key)
        if found is None:
            found = distribution, distribution.compute(shape, ranges, self)
            self._values[key] = found
        return found[1]

    def whole(
        self,
        distribution: Distribution,
        shape: tuple[int, ...],
        make: Callable[[], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """What needs all elements of a tensor, computed once for all its boxes."""
        key = (self.key(1), self.stream, self.real, distribution, shape)
        return self._wholes.get(key, make)

    def with_real(self, real: str) -> Evaluation:
        """The same with draws of a dtype."""
        return self if real == self.real else Evaluation(self.seed, self.stream, real, self._wholes)

    def in_box(self) -> Evaluation:
        """The same without values: those of another box, or of another thread, follow."""
        return Evaluation(self.seed, self.stream, self.real, self._wholes)


class Wholes:
    """The last whole tensors, one for each thread that may be at work on another; others wait for who computes one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[threading.Lock, list[NDArray[Any]]]]
        self._entries = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        with self._lock:
            lock, made = self._entries.setdefault(key, (threading.Lock(), []))
            self._entries.move_to_end(key)
            while len(self._entries) > usable_cpus() + 1:
                self._entries.popitem(last=False)
        with lock:
            if not made:
                made.append(make())
            return made[0]

    def clear(self) -> None:
        """Let go of the memory."""
        with self._lock:
            self._entries.clear()


_wholes = Wholes()


def forget_wholes() -> None:
    """Let go of the whole tensors that boxes needed."""
    _wholes.clear()


class Prepared:
    """A `Computed` made ready for one dtype: what `_kernel.Distribution` is for the others."""

    def __init__(self, distribution: Computed, dtype: str) -> None:
        self.distribution, self.dtype = distribution, dtype

    def __repr__(self) -> str:
        return f"{self.distribution!r} in {self.dtype}"

    @property
    def real(self) -> str:
        """The dtype of draws."""
        return "float64" if self.dtype == "float64" else "float32"

    def fill(
        self,
        out: Array,
        seed: int,
        stream: Stream,
        shape: tuple[int, ...],
        box: Box,
        threads: int | None,
    ) -> None:
        """Fill `out` with the elements of a tensor of `shape` that are in a box.

        Its items are taken to be of the dtype, whatever NumPy calls them.
        """
        ranges, whole = box.ranges, box.view(out)
        if not out.size:
            return
        # No other box needs what the box of all elements does.
        wholes = Wholes() if whole.size == math.prod(shape) else None
        evaluation = Evaluation(seed, stream, self.real, wholes)

        @_kernel.in_default_arithmetic
        def fill_part(part: tuple[slice, ...]) -> None:
            chosen = tuple(r[item] for r, item in zip(ranges, part, strict=True))
            items: tuple[Any, ...] = (*part, ...)  # the latter for an array of no axes
            box = evaluation.in_box()
            with np.errstate(all="ignore"):
                self.distribution.paint(whole[items], shape, chosen, box, self.dtype)

        tiles = Tiles(whole.shape)
        threads = get_num_threads() if threads is None else threads
        share(lambda i: fill_part(tiles[i]), len(tiles), threads)


class Tiles:
    """The parts of at most `most` elements that make an array, in C order."""

    def __init__(self, sizes: Sequence[int], most: int = BOX) -> None:
        self._sizes = sizes
        rows = c_strides(tuple(sizes))
        # The last axis that is cut: all elements of those after it fit a part.
        self._axis = next((k for k, row in enumerate(rows) if row <= most), 0)
        self._step = max(1, most // rows[self._axis]) if sizes else 1
        cut = sizes[self._axis] if sizes else 1
        self._counts = [*sizes[: self._axis], -(-cut // self._step)]

    def __len__(self) -> int:
        return math.prod(self._counts)

    def __getitem__(self, i: int) -> tuple[slice, ...]:
        if not self._sizes:
            return ()
        at: list[int] = []
        for count in reversed(self._counts):
            i, position = divmod(i, count)
            at.insert(0, position)
        begin = at.pop() * self._step
        outer = [slice(position, position + 1) for position in at]
        rest = [slice(None)] * (len(self._sizes) - self._axis - 1)
        return (*outer, slice(begin, begin + self._step), *rest)


def flat_boxes(shape: tuple[int, ...], begin: int, stop: int) -> Iterator[tuple[int, Ranges]]:
    """The largest boxes that make the elements [begin, stop) in C order: where each begins, and its ranges."""
    rows = c_strides(shape)
    at = begin
    while at < stop:
        axis = next((k for k, row in enumerate(rows) if at % row == 0 and row <= stop - at), -1)
        if axis < 0:  # a tensor of no axes
            yield at, ()
            return
        row, where = rows[axis], [at // row % n for n, row in zip(shape, rows, strict=True)]
        count = min(shape[axis] - where[axis], (stop - at) // row)
        some = range(where[axis], where[axis] + count)
        yield at, (*(range(i, i + 1) for i in where[:axis]), some, *map(range, shape[axis + 1 :]))
        at += count * row


def take(values: NDArray[Any], shape: tuple[int, ...], ranges: Ranges) -> NDArray[Any]:
    """The elements of an array that broadcasts to `shape`, to be broadcast to the sizes of `ranges`."""
    first = len(shape) - values.ndim
    items = [
        slice(0, 1) if n == 1 else as_slice(r)
        for n, r in zip(values.shape, ranges[first:], strict=True)
    ]
    return values[tuple(items)]


def as_slice(r: range) -> slice:
    """The slice of the same elements."""
    if not r:
        return slice(0, 0)
    stop = r[-1] + (1 if r.step > 0 else -1)
    return slice(r[0], stop if stop >= 0 else None, None if r.step == 1 else r.step)
