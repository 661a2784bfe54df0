"""The description of one tensor of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastinit.checks import check_int, shown
from fastinit.choices import DtypeName
from fastinit.fans import normalize_shape
from fastinit.fill import dtype_size
from fastinit.initializers import Initializer
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
        "float32", "float64", "float16", "bfloat16", "float8_e4m3fn" or "float8_e5m2".
    padding_idx : int, optional
        The index on the first axis whose row is zero, as in ``torch.nn.Embedding``.
    """

    name: str
    shape: tuple[int, ...]
    init: Initializer
    dtype: DtypeName = "float32"
    padding_idx: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                f"name must be a text of at least one character, got {shown(self.name)}"
            )
        stream_name(self.name)
        object.__setattr__(self, "shape", normalize_shape(self.shape))
        if not isinstance(self.init, Initializer):
            raise TypeError(f"init must be an initializer, got {shown(self.init)}")
        dtype_size(self.dtype)
        if self.padding_idx is not None:
            if not self.shape or not self.shape[0]:
                raise ValueError(
                    f"padding_idx needs a row on the first axis, got shape {self.shape}"
                )
            row = check_int("padding_idx", self.padding_idx, 0, self.shape[0] - 1)
            object.__setattr__(self, "padding_idx", row)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its elements take."""
        return self.size * dtype_size(self.dtype)
