"""Tensors as Dask arrays, whose chunks are made where they are used. See ``docs/dask.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastinit.choices import Dtype, DtypeName
from fastinit.fans import normalize_shape
from fastinit.fill import Array, Index, dtype_name, output_dtype
from fastinit.initializers import Initializer, prepare
from fastinit.streams import Seed, Stream, seed_value, stream_name

try:
    import dask.array as da
except ImportError as error:
    raise ImportError("fastinit.dask needs the package dask: pip install 'dask[array]'") from error

__all__ = ["array"]


@dataclass(frozen=True)
class _Tensor:
    """A tensor that makes the parts that it is asked for: what the tasks of a graph carry.

    Dask reads `shape`, `dtype` and `ndim`, and makes the token of an array from the fields. The
    dtype is a name because Dask's tokens do not tell the dtypes of ml_dtypes from each other.
    """

    initializer: Initializer
    shape: tuple[int, ...]
    dtype_name: DtypeName
    seed: int
    stream: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return output_dtype(self.dtype_name)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Index) -> Array:
        # One thread each: the scheduler shares the chunks among the CPUs.
        return self.initializer.shard(
            self.shape,
            index,
            seed=self.seed,
            stream=self.stream,
            dtype=self.dtype_name,
            threads=1,
        )


def array(
    initializer: Initializer,
    shape: int | Sequence[int],
    *,
    seed: Seed,
    stream: Stream = "",
    dtype: Dtype = "float32",
    chunks: Any = "auto",
) -> da.Array:
    """A tensor as a lazy Dask array.

    Parameters
    ----------
    initializer : fastinit.Initializer
        Such as `fastinit.he_normal`; its fans are those of the whole shape.
    shape : int or sequence of int
        Shape of the tensor; () and zero sizes are allowed.
    seed : int, numpy.random.SeedSequence or numpy.random.Generator
        As for calling the initializer, but that it must be given. It is read once, now.
    stream : str or int
        Name of the tensor.
    dtype : dtype
        As for calling the initializer.
    chunks : int, tuple, dict or str
        As for `dask.array.from_array`; Dask chooses by default. They change no value.

    Returns
    -------
    dask.array.Array
        Equal to the bit to ``initializer(shape, seed=seed, stream=stream, dtype=dtype)``. Each
        task makes its own chunk, in one thread, where it runs, or only that part of it to which a
        slice of the array comes down. Equal arguments give the same name, so that graphs share chunks.

    Raises
    ------
    ValueError, TypeError
        As calling the initializer and `dask.array.from_array`, before any task runs.
    """
    if not isinstance(initializer, Initializer):
        raise TypeError(f"initializer must be a fastinit.Initializer, got {initializer!r}")
    if seed is None:
        raise TypeError("seed must be given to make chunks that fit together, got None")
    dims = normalize_shape(shape)
    name = dtype_name(output_dtype(dtype), "dtype")
    prepare(initializer, dims, name)  # for its errors
    tensor = _Tensor(initializer, dims, name, seed_value(seed), stream_name(stream).decode())
    # Inline, for tasks that depend on nothing: schedulers start such ones where there is room.
    return da.from_array(
        tensor,
        chunks=chunks,
        inline_array=True,
        meta=np.empty((0,) * len(dims), tensor.dtype),
    )


def __dir__() -> list[str]:
    """The public names, without the modules that make them."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
