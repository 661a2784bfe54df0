"""The dtypes that files can hold: their names in each format, their sizes, and the bytes of constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit.checks import shown
from fastinit.initializers import Constant, Distribution, Normal, TruncatedNormal, Uniform


@dataclass(frozen=True, slots=True)
class StoredDtype:
    """A dtype of stored tensors.

    Parameters
    ----------
    name : str
        What NumPy or ml_dtypes calls it, and so does fastinit.
    code : str
        What safetensors calls it (https://github.com/huggingface/safetensors, tensor.rs).
    bits : int
        Of an element. Elements of fewer than 8 bits follow each other without gaps.
    npy : str or None
        Its name in .npy files. NumPy has no bfloat16 and no 8-bit floats: those are void items
        there, as ml_dtypes writes them. None where a file of packed elements cannot be had.
    zero, one : int or None
        The codes of 0 and 1, little endian; None if the dtype has no such number.
    fillable : bool
        Whether it takes any distribution, or constants only.
    is_integer : bool
        Whether it is an integer type, which takes every constant within its range.
    """

    name: str
    code: str
    bits: int
    npy: str | None
    zero: int | None
    one: int
    fillable: bool = False
    is_integer: bool = False

    def nbytes(self, size: int) -> int:
        """Bytes of `size` elements; ValueError where they are no whole number of bytes."""
        if size * self.bits % 8:
            raise ValueError(
                f"{self.name} has {self.bits} bits an element, and {size} of them fill no whole "
                "number of bytes: safetensors cannot hold them"
            )
        return size * self.bits // 8


def _integers() -> list[StoredDtype]:
    kinds = [("uint", "U", "u"), ("int", "I", "i")]
    return [
        StoredDtype(f"{name}{bits}", f"{code}{bits}", bits, f"{'<|'[bits == 8]}{npy}{bits // 8}", 0, 1, is_integer=True)
        for bits in (64, 32, 16, 8)
        for name, code, npy in kinds
    ]  # fmt: skip


#: All dtypes that safetensors 0.8 has, by name: those that take any distribution first, then those for constants only.
DTYPES = {
    dtype.name: dtype
    for dtype in (
        StoredDtype("float32", "F32", 32, "<f4", 0, 0x3F800000, fillable=True),
        StoredDtype("float64", "F64", 64, "<f8", 0, 0x3FF0000000000000, fillable=True),
        StoredDtype("float16", "F16", 16, "<f2", 0, 0x3C00, fillable=True),
        StoredDtype("bfloat16", "BF16", 16, "|V2", 0, 0x3F80, fillable=True),
        StoredDtype("float8_e4m3fn", "F8_E4M3", 8, "|V1", 0, 0x38, fillable=True),
        StoredDtype("float8_e5m2", "F8_E5M2", 8, "|V1", 0, 0x3C, fillable=True),
        StoredDtype("float8_e4m3fnuz", "F8_E4M3FNUZ", 8, "|V1", 0, 0x40),
        StoredDtype("float8_e5m2fnuz", "F8_E5M2FNUZ", 8, "|V1", 0, 0x40),
        StoredDtype("float8_e8m0fnu", "F8_E8M0", 8, "|V1", None, 0x7F),  # powers of two alone
        StoredDtype("float6_e2m3fn", "F6_E2M3", 6, None, 0, 0x08),
        StoredDtype("float6_e3m2fn", "F6_E3M2", 6, None, 0, 0x0C),
        StoredDtype("float4_e2m1fn", "F4", 4, None, 0, 0x2),
        StoredDtype("complex64", "C64", 64, "<c8", 0, 0x3F800000),
        *_integers(),
        StoredDtype("bool", "BOOL", 8, "|b1", 0, 1),
    )
}
BY_CODE = {dtype.code: dtype for dtype in DTYPES.values()}
#: The dtypes that .npy files tell: of the void items, those of 2 bytes are taken for bfloat16.
BY_NPY = {
    dtype.npy: dtype for dtype in DTYPES.values() if dtype.npy is not None and dtype.npy != "|V1"
}
FILLABLE = tuple(name for name, dtype in DTYPES.items() if dtype.fillable)


def stored_dtype(name: object) -> StoredDtype:
    """The dtype of a name."""
    dtype = DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {shown(name)}")
    return dtype


def is_fillable(name: str) -> bool:
    """Whether tensors of a dtype take any distribution."""
    return name in FILLABLE


def constant_value(distribution: Distribution) -> float | None:
    """The value of a distribution that has only one."""
    match distribution:
        case Constant(value) | Normal(value, 0.0):
            return value
        case Uniform(low, high) if low == high:
            return low
        case TruncatedNormal(mean, stddev) if stddev == 0:
            return mean
    return None


def constant_bytes(dtype: StoredDtype, distribution: Distribution) -> bytes:
    """The bytes of a constant, which a tensor repeats: those of an element, or the byte of several.

    Raises
    ------
    ValueError
        Another distribution than a constant, or one that the dtype does not have exactly.
    """
    value = constant_value(distribution)
    code = None if value is None else _code(dtype, value)
    if code is None:
        numbers = "0 and 1"
        if dtype.is_integer:
            numbers = f"integers in [{_limits(dtype)[0]}, {_limits(dtype)[1]}]"
        elif dtype.zero is None:
            numbers = "1"
        elif dtype.bits == 6:
            numbers = "0 (safetensors does not define the order of its bits)"
        raise ValueError(
            f"{dtype.name} takes only constants, here {numbers}: expected such an initializer, "
            f"got {shown(distribution)}"
        )
    count = max(1, 8 // dtype.bits)
    packed = sum(code << dtype.bits * i for i in range(count))
    return packed.to_bytes(max(1, dtype.bits // 8), "little")


def _limits(dtype: StoredDtype) -> tuple[int, int]:
    signed = not dtype.name.startswith("u")
    return (-(2 ** (dtype.bits - 1)) if signed else 0), 2 ** (dtype.bits - signed) - 1


def _code(dtype: StoredDtype, value: float) -> int | None:
    """The code of a number, if the dtype has it."""
    if dtype.is_integer:
        low, high = _limits(dtype)
        exact = value.is_integer() and low <= value <= high
        return int(value) % 2**dtype.bits if exact else None
    if value == 0:
        return dtype.zero
    # Of four equal codes of 6 bits, the bytes depend on which bits come first.
    return dtype.one if value == 1 and dtype.bits != 6 else None


def constant_array(
    shape: tuple[int, ...], dtype: StoredDtype, distribution: Distribution
) -> NDArray[Any]:
    """A new array of a constant."""
    value = constant_value(distribution)
    assert value is not None
    out = new_stored_array(shape, dtype)
    out[...] = int(value) if dtype.is_integer else value
    return out


def new_stored_array(shape: tuple[int, ...], dtype: StoredDtype) -> NDArray[Any]:
    """A new array of any dtype; NumPy learns the smaller floats from the package ml_dtypes, a byte for each element."""
    if dtype.npy is not None and not dtype.npy.startswith("|V"):
        return np.empty(shape, dtype.name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            f"dtype {dtype.name!r} needs the package ml_dtypes: pip install ml_dtypes"
        ) from error
    return np.empty(shape, getattr(ml_dtypes, dtype.name))


def not_measured(name: str) -> str:
    """Why the values of a stored tensor are not measured, and what to do."""
    if name in ("complex64", "<c8", "<c16", "<c32"):
        return f"not measured: {name} is complex; save array.real and array.imag to check them"
    return f"not measured: its dtype is not one of {', '.join(FILLABLE)}"
