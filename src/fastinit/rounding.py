"""Numbers of NumPy to the bits of a dtype, rounded once to nearest even, and back."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The 8-bit floats: bits of the fraction, the exponent's bias, and whether the dtype is one "fnuz": without infinity and
#: -0, whose code is NaN.
_EIGHT_BITS = {
    "float8_e4m3fn": (3, 7, False),
    "float8_e5m2": (2, 15, False),
    "float8_e4m3fnuz": (3, 8, True),
    "float8_e5m2fnuz": (2, 16, True),
}
#: What NumPy holds as a number of its own; the other dtypes are encoded here.
_NATIVE = {"float32": "f4", "float64": "f8", "float16": "f2", "complex64": "c8"}


def decode_table(dtype: str) -> NDArray[np.float32]:
    """The value of every code of a 16- or 8-bit float dtype: element c is that of code c.

    Parameters
    ----------
    dtype : str
        "float16", "bfloat16", or one of the 8-bit floats.

    Returns
    -------
    numpy.ndarray
        float32, shape (65536,) or (256,).
    """
    codes = np.arange(256 if dtype.startswith("float8") else 65536, dtype=np.uint32)
    if dtype == "bfloat16":
        return (codes << 16).view(np.float32)
    if dtype == "float16":
        return codes.astype(np.uint16).view(np.float16).astype(np.float32)
    if dtype == "float8_e8m0fnu":
        powers = np.ldexp(np.float32(1), codes[:255].astype(np.int32) - 127)
        return np.append(powers, np.float32(np.nan))
    bits, bias, is_fnuz = _EIGHT_BITS[dtype]
    exponent, fraction = codes >> bits & (127 >> bits), codes & (1 << bits) - 1
    digits = np.where(exponent > 0, (1 << bits) + fraction, fraction)
    powers = np.maximum(exponent, 1).astype(np.int32) - (bias + bits)
    values: NDArray[np.float32] = np.ldexp(digits.astype(np.float32), powers)
    if dtype == "float8_e4m3fn":
        values[codes & 127 == 127] = np.nan
    if dtype == "float8_e5m2":
        values[codes & 127 > 124] = np.nan
        values[codes & 127 == 124] = np.inf
    values[128:] *= -1
    if is_fnuz:
        values[128] = np.nan
    return values


def decode(bits: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Numbers from the bits of a stored dtype: integers and bools as they are, floats as float64."""
    if dtype in _NATIVE:
        numbers: NDArray[Any] = bits.view(_NATIVE[dtype])
        with np.errstate(invalid="ignore"):
            return numbers if dtype == "complex64" else numbers.astype(np.float64)
    if dtype.startswith(("float", "bfloat")):
        values: NDArray[Any] = decode_table(dtype)[bits]
        with np.errstate(invalid="ignore"):  # of signalling NaN
            return values.astype(np.float64)
    integers: NDArray[Any] = bits.view(dtype)
    return integers


def encode(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The elements of a stored dtype, as NumPy's own numbers or as bits, from numbers rounded once to nearest even.

    What is too large becomes infinite, or NaN in a dtype without infinity. Integers must be in the
    range of an integer dtype.
    """
    if not values.ndim:  # of which NumPy makes scalars
        return encode(values.reshape(1), dtype).reshape(())
    if dtype in _NATIVE:
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(_NATIVE[dtype], copy=False)
    if dtype == "bfloat16":
        return _to_bfloat16(values.astype(np.float64, copy=False))
    if dtype.startswith("float8"):
        return _to_8_bits(values.astype(np.float64, copy=False), dtype)
    return values.astype(dtype, copy=False)


def _to_bfloat16(x: NDArray[np.float64]) -> NDArray[Any]:
    bits: NDArray[Any] = np.ascontiguousarray(x).view(np.uint64)
    sign = bits >> 63 << 15
    bits = bits & (2**63 - 1)
    # The fraction loses 45 bits, and the exponent its other bias.
    rounded = bits + (2**44 - 1) + (bits >> 45 & 1)
    codes = (rounded >> 45).astype(np.int64) - ((1023 - 127) << 7)
    magnitude = np.abs(x)
    small = np.flatnonzero(magnitude.reshape(-1) < 2.0**-126)
    if small.size:  # zeros and subnormals: multiples of 2**-133
        units = np.rint(np.ldexp(magnitude.reshape(-1)[small], 133))
        codes.reshape(-1)[small] = units.astype(np.int64)
    np.minimum(codes, 0x7F80, out=codes)
    codes[np.isnan(x)] = 0x7FC0
    return (codes.astype(np.uint64) | sign).astype(np.uint16)


@cache
def _grid(dtype: str) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64], int]:
    """Of the numbers of an 8-bit dtype that are not negative: values, codes, midpoints, and the code of what is too large."""
    table = decode_table(dtype)[: 256 if dtype == "float8_e8m0fnu" else 128].astype(np.float64)
    codes = np.flatnonzero(np.isfinite(table)).astype(np.uint8)
    values = table[codes]
    last = values[-1] + (values[-1] - values[-2]) / 2  # from which on rounding leaves the dtype
    middle = np.append((values[1:] + values[:-1]) / 2, last)
    beyond = {"float8_e4m3fn": 127, "float8_e5m2": 124, "float8_e8m0fnu": 255}
    return values, codes, middle, beyond.get(dtype, 128)


def _to_8_bits(x: NDArray[np.float64], dtype: str) -> NDArray[Any]:
    _, codes, middle, beyond = _grid(dtype)
    all_codes = np.append(codes, np.uint8(beyond))
    magnitude = np.abs(x)
    below = np.searchsorted(middle, magnitude, "left")
    above = np.searchsorted(middle, magnitude, "right")  # another one on a midpoint
    chosen: NDArray[Any] = all_codes[np.where(all_codes[below] & 1, above, below)]
    if dtype == "float8_e8m0fnu":
        return np.where((x > 0) & (chosen != beyond), chosen, np.uint8(255))
    is_fnuz = dtype.endswith("fnuz")
    chosen[np.isnan(x)] = 0x80 if is_fnuz else 0x7F
    is_negative = np.signbit(x) & (chosen != 0) if is_fnuz else np.signbit(x)
    chosen |= is_negative.astype(np.uint8) << 7
    return chosen
