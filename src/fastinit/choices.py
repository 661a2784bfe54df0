"""The names that arguments take, as types for type checkers and as tuples for checks at run time.

A function that passes one of them on can use the same types:

>>> import fastinit as fi
>>> from fastinit.choices import Mode
>>> def scaled(mode: Mode) -> fi.VarianceScaling:
...     return fi.VarianceScaling(1.0, mode)
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeGuard, get_args

import numpy as np

#: The fan by which a `VarianceScaling` divides its scale.
Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
#: The distribution of a `VarianceScaling`.
DistributionName = Literal["truncated_normal", "untruncated_normal", "uniform"]
#: How a `VarianceScaling` compensates for the variance that truncation removes.
Correction = Literal["exact", "tf_contrib", "none"]
#: Where a weight has inputs and outputs: kernel x in x out (Keras, Flax), or out x in x kernel (PyTorch).
AxesName = Literal["in_out", "out_in"]
#: What `fastinit.torch.init_module_` does where a class that was not recorded may set parameters itself.
Unrecorded = Literal["error", "layer_defaults"]
#: Instruction sets, widest first.
Isa = Literal["avx512", "avx2", "sse2", "neon", "scalar"]
#: Dtypes of tensors.
DtypeName = Literal["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
#: Dtypes of stored tensors that take constants only; `fastinit.dtypes` has their sizes and codes.
ConstantDtypeName = Literal[
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn",
    "float4_e2m1fn", "complex64", "uint64", "int64", "uint32", "int32", "uint16", "int16", "uint8",
    "int8", "bool",
]  # fmt: skip
StoredDtypeName = DtypeName | ConstantDtypeName

MODES: tuple[Mode, ...] = get_args(Mode)
DISTRIBUTIONS: tuple[DistributionName, ...] = get_args(DistributionName)
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)
UNRECORDED: tuple[Unrecorded, ...] = get_args(Unrecorded)
ISAS: tuple[Isa, ...] = get_args(Isa)
DTYPE_NAMES: tuple[DtypeName, ...] = get_args(DtypeName)
CONSTANT_DTYPE_NAMES: tuple[ConstantDtypeName, ...] = get_args(ConstantDtypeName)

#: NumPy's other names of its float dtypes in native byte order.
NumpyDtypeName = Literal[
    "half", "single", "double", "float", "e", "f", "d", "f2", "f4", "f8", "=f2", "=f4", "=f8",
    "<f2", "<f4", "<f8",
]  # fmt: skip


class HasDtype(Protocol):
    """An object with a NumPy dtype, such as the scalar types of ``jax.numpy``."""

    @property
    def dtype(self) -> np.dtype[Any]: ...


#: A float dtype as an argument: its name, a NumPy dtype, or a scalar type. At run time everything that
#: numpy.dtype accepts will do. type[np.floating] would also refuse integers, but ml_dtypes declares its types as
#: type[np.generic].
Dtype = DtypeName | NumpyDtypeName | np.dtype[Any] | type[np.generic] | type[float] | HasDtype


def is_stored_dtype_name(value: object) -> TypeGuard[StoredDtypeName]:
    """Whether a value, of a file for example, is the name of a dtype that files can hold."""
    return isinstance(value, str) and value in (*DTYPE_NAMES, *CONSTANT_DTYPE_NAMES)
