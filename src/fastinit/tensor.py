"""The description of one tensor of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any

from fastinit import _kernel
from fastinit.checks import check_int, counted, shown
from fastinit.choices import AxesName, StoredDtypeName
from fastinit.computed import Prepared
from fastinit.dtypes import constant_bytes, stored_dtype
from fastinit.fans import check_axes_name, normalize_axes, normalize_shape
from fastinit.fill import Box, Index, IndexItem, expand, select, select_axis, select_box
from fastinit.initializers import Computed, Distribution, Initializer, prepare
from fastinit.rules import check_fans
from fastinit.streams import Stream, stream_key, stream_name

#: What to do about a tensor that has no fans.
FANS_ADVICE = "give it another, such as zeros or normal, or limit a rule to matrices by min_axes=2"


@dataclass(frozen=True, slots=True, repr=False)
class Tensor:
    """One tensor of a model: a tensor of its own, or a part of a whole one, maybe transposed.

    Parameters
    ----------
    name : str
        Not empty. It is the tensor's stream too, unless `stream` names another: equal streams
        and seeds give equal values.
    shape : tuple of int
        () and zero sizes are allowed.
    init : Initializer
        What its elements are. One that scales by fans needs a shape of at least two axes.
    dtype : str
        "float32", "float64", "float16", "bfloat16", "float8_e4m3fn" or "float8_e5m2"; for
        constants also the other dtypes of safetensors, such as "int64", "bool" and
        "float8_e8m0fnu": integers take those in their range, the others 0 and 1.
    padding_idx : int, optional
        The index on the first axis of `shape` whose row is zero, as in ``torch.nn.Embedding``.
    axes : {"in_out", "out_in"}
        Where inputs and outputs lie, for an initializer that scales by fans and names no
        axes of its own: kernel x in x out as in Keras and Flax, or out x in x kernel as in
        PyTorch.
    stream : str or int, optional
        The stream of the values, in place of the name. "" is the stream of the seed itself.
    whole_shape : tuple of int, optional
        The shape of the whole tensor, from which fans are counted, with its `axes`. By default
        the whole is this tensor, its axes in the order that `axis_order` undoes.
    index : int, slice, Ellipsis or tuple of these, optional
        Which part of the whole this tensor is, as initializers take it. It needs `whole_shape`.
    axis_order : sequence of int, optional
        The order of the axes, as ``numpy.transpose`` takes it: the tensor is
        ``numpy.transpose(whole[index], axis_order)``.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named with what was expected and what came.

    Notes
    -----
    Arguments that say no more than their defaults become None: a `stream` that is the name, an
    `index` of the whole. Tensors of the same values are equal then.

    Examples
    --------
    The keys of a fused attention weight, stored as in x out, have the values of the fused one:

    >>> import fastinit as fi
    >>> k = fi.Tensor("k.weight", (8, 4), fi.he_normal, axes="out_in", stream="qkv.weight",
    ...               whole_shape=(12, 8), index=slice(4, 8), axis_order=(1, 0))
    >>> whole = fi.he_normal.with_axes("out_in")((12, 8), seed=0, stream="qkv.weight")
    >>> bool((fi.Model([k]).make("k.weight", seed=0) == whole[4:8].T).all())
    True
    """

    name: str
    shape: tuple[int, ...]
    init: Initializer
    dtype: StoredDtypeName = "float32"
    padding_idx: int | None = None
    axes: AxesName = "in_out"
    _: KW_ONLY
    stream: Stream | None = None
    whole_shape: tuple[int, ...] | None = None
    index: Index | None = field(default=None, hash=False)  # slices have no hash in Python 3.11
    axis_order: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                f"name must be a text of at least one character, got {shown(self.name)}"
            )
        stream_name(self.name)
        self._set(shape=normalize_shape(self.shape))
        if not isinstance(self.init, Initializer):
            raise TypeError(f"init must be an initializer, got {shown(self.init)}")
        check_axes_name("axes", self.axes)
        self.init.with_default_axes(self.axes)
        self._normalize_padding()
        self._normalize_stream()
        self._normalize_part()
        check_fans(self.name, self.init, self.whole, FANS_ADVICE)
        if isinstance(self.init, Computed):
            self.init.resolve(self.whole)
        self._check_dtype()

    def _check_dtype(self) -> None:
        """Refuse elements that fill no whole number of bytes, and what a dtype for constants does not have."""
        dtype = stored_dtype(self.dtype)
        dtype.nbytes(self.size)
        if dtype.fillable:
            return
        distribution = self.resolve()
        if isinstance(distribution, Computed):
            distribution.check_dtype(dtype.name)
        else:
            constant_bytes(dtype, distribution)
        if self.padding_idx is not None:
            raise ValueError(f"padding_idx is for float dtypes, got {dtype.name}")

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _normalize_padding(self) -> None:
        if self.padding_idx is None:
            return
        if not self.shape or not self.shape[0]:
            raise ValueError(f"padding_idx needs a row on the first axis, got shape {self.shape}")
        rows = self.shape[0]
        expected = f"an int in [0, {rows}), a row of shape {shown(self.shape)}"
        self._set(padding_idx=check_int("padding_idx", self.padding_idx, 0, rows - 1, expected))

    def _normalize_stream(self) -> None:
        if self.stream is not None:
            stream = stream_name(self.stream).decode()
            self._set(stream=None if stream == self.name else stream)

    def _normalize_part(self) -> None:
        """Make the index and the order of axes plain, leave out what is the default, and check that all fits."""
        if self.index is not None and self.whole_shape is None:
            raise ValueError("index needs whole_shape, the shape of the whole tensor; got none")
        if self.axis_order is not None:
            order = _permutation(self.axis_order, len(self.shape))
            self._set(axis_order=None if order == tuple(range(len(order))) else order)
        if self.whole_shape is None:
            return
        whole = normalize_shape(self.whole_shape)
        index = None if self.index is None else _plain_index(whole, self.index)
        _, counts, _, kept = select(whole, ... if index is None else index)
        if len(kept) != len(self.shape):
            raise ValueError(
                f"shape must have {counted(len(kept), 'size')}, as {self._part_text(whole)} give; got {self.shape}"
            )
        fitting = self._ordered([counts[axis] for axis in kept])
        if fitting != self.shape:
            raise ValueError(
                f"shape must be {fitting}, that of {self._part_text(whole)}; got {self.shape}"
            )
        self._set(whole_shape=None if index is None else whole, index=index)

    def _part_text(self, whole: tuple[int, ...]) -> str:
        return f"whole_shape {whole}, index {shown(self.index)} and axis_order {shown(self.axis_order)}"

    def _ordered(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Numbers of the axes of ``whole[index]``, in the order of the tensor's own axes."""
        return tuple(numbers[axis] for axis in self._order)

    @property
    def _order(self) -> tuple[int, ...]:
        return tuple(range(len(self.shape)) if self.axis_order is None else self.axis_order)

    def __repr__(self) -> str:
        shown_always = ("name", "shape", "init", "dtype", "padding_idx", "axes")
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        given = [f"{k}={v!r}" for k, v in values.items() if k in shown_always or v is not None]
        return f"Tensor({', '.join(given)})"

    @property
    def whole(self) -> tuple[int, ...]:
        """The shape of the whole tensor that this one is part of: its own without index and axis_order."""
        if self.whole_shape is not None:
            return self.whole_shape
        sizes = dict(zip(self._order, self.shape, strict=True))
        return tuple(sizes[axis] for axis in range(len(sizes)))

    @property
    def positions(self) -> tuple[int, list[int]]:
        """The position in the stream of its first element, and the step along each of its axes."""
        first, _, steps, kept = select(self.whole, ... if self.index is None else self.index)
        return first, list(self._ordered([steps[axis] for axis in kept]))

    @property
    def stream_name(self) -> Stream:
        """The stream of its values."""
        return self.name if self.stream is None else self.stream

    def key(self, seed: int) -> int:
        """The key of the generator, from a seed and the stream."""
        return stream_key(seed, self.stream_name)

    @property
    def init_with_axes(self) -> Initializer:
        """`init`, with the axes of this tensor where it needs some and names none."""
        return self.init.with_default_axes(self.axes)

    def resolve(self) -> Distribution:
        """The plain distribution of its elements."""
        return self.init_with_axes.resolve(self.whole)

    def box(self, index: Index = ...) -> Box:
        """The elements of the whole that a part of it has, and their axes."""
        box = select_box(self.whole, ... if self.index is None else self.index)
        box = Box(box.ranges, tuple(box.axes[axis] for axis in self._order))
        return box.part(self.shape, index)

    def prepare(self, dtype: str | None = None) -> _kernel.Distribution | Prepared:
        """The prepared distribution, for another dtype than its own if one is given."""
        return prepare(self.init_with_axes, self.whole, dtype or self.dtype)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its elements take."""
        return stored_dtype(self.dtype).nbytes(self.size)


def _permutation(axis_order: Sequence[int], ndim: int) -> tuple[int, ...]:
    """`axis_order` as axes counted from the first one, each of them once."""
    given = normalize_axes("axis_order", axis_order)
    order = tuple(axis + ndim if axis < 0 else axis for axis in given)
    if sorted(order) != list(range(ndim)):
        raise ValueError(
            f"axis_order must name each of the {ndim} axes of shape once, got {shown(axis_order)}"
        )
    return order


def _plain_index(shape: tuple[int, ...], index: Index) -> Index | None:
    """The same index with an item for each axis, counted from the first element; None for the whole."""
    items = enumerate(zip(shape, expand(shape, index), strict=True))
    plain = tuple(_plain_item(axis, n, item) for axis, (n, item) in items)
    return None if all(item == slice(None) for item in plain) else plain


def _plain_item(axis: int, n: int, item: IndexItem) -> IndexItem:
    start, step, count = select_axis(axis, n, item)
    if not isinstance(item, slice):
        return start
    if count == n and (step == 1 or n < 2):
        return slice(None)
    if count < 2:
        return slice(start, start + 1) if count else slice(0, 0)
    stop = start + (count - 1) * step + (1 if step > 0 else -1)
    return slice(start, stop if stop >= 0 else None, None if step == 1 else step)
