"""The description of one tensor of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastinit import _kernel
from fastinit.checks import check_int, shown
from fastinit.choices import AxesName, StoredDtypeName
from fastinit.dtypes import constant_bytes, is_fillable, stored_dtype
from fastinit.fans import check_axes_name, normalize_shape
from fastinit.initializers import Distribution, Initializer, prepare
from fastinit.streams import stream_name


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a model.

    Parameters
    ----------
    name : str
        Not empty. It is the tensor's stream too: equal names and seeds give equal values.
    shape : tuple of int
        () and zero sizes are allowed.
    init : Initializer
        What its elements are.
    dtype : str
        "float32", "float64", "float16", "bfloat16", "float8_e4m3fn" or "float8_e5m2"; for
        constants also the other dtypes of safetensors, such as "int64", "bool" and
        "float8_e8m0fnu": integers take those in their range, the others 0 and 1.
    padding_idx : int, optional
        The index on the first axis whose row is zero, as in ``torch.nn.Embedding``.
    axes : {"in_out", "out_in"}
        Where its inputs and outputs lie, for an initializer that scales by fans and names no
        axes of its own: kernel x in x out as in Keras and Flax, or out x in x kernel as in
        PyTorch.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named with what was expected and what came.
    """

    name: str
    shape: tuple[int, ...]
    init: Initializer
    dtype: StoredDtypeName = "float32"
    padding_idx: int | None = None
    axes: AxesName = "in_out"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                f"name must be a text of at least one character, got {shown(self.name)}"
            )
        stream_name(self.name)
        object.__setattr__(self, "shape", normalize_shape(self.shape))
        if not isinstance(self.init, Initializer):
            raise TypeError(f"init must be an initializer, got {shown(self.init)}")
        check_axes_name("axes", self.axes)
        self.init.with_default_axes(self.axes)
        dtype = stored_dtype(self.dtype)
        dtype.nbytes(self.size)
        if not dtype.fillable:
            constant_bytes(dtype, self.resolve())
            if self.padding_idx is not None:
                raise ValueError(f"padding_idx is for float dtypes, got {dtype.name}")
        if self.padding_idx is not None:
            if not self.shape or not self.shape[0]:
                raise ValueError(
                    f"padding_idx needs a row on the first axis, got shape {self.shape}"
                )
            rows = self.shape[0]
            expected = f"an int in [0, {rows}), a row of shape {shown(self.shape)}"
            row = check_int("padding_idx", self.padding_idx, 0, rows - 1, expected)
            object.__setattr__(self, "padding_idx", row)

    @property
    def init_with_axes(self) -> Initializer:
        """`init`, with the axes of this tensor where it needs some and names none."""
        return self.init.with_default_axes(self.axes)

    def resolve(self) -> Distribution:
        """The plain distribution of its elements."""
        return self.init_with_axes.resolve(self.shape)

    def prepare(self, dtype: str | None = None) -> _kernel.Distribution | bytes:
        """The kernel's distribution, for another dtype than its own if one is given.

        For a dtype that takes constants only, the bytes that its elements repeat.
        """
        name = dtype or self.dtype
        if not is_fillable(name):
            return constant_bytes(stored_dtype(name), self.resolve())
        return prepare(self.init_with_axes, self.shape, name)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its elements take."""
        return stored_dtype(self.dtype).nbytes(self.size)
