"""What is wrong with stored tensors whose distribution has no theory of independent elements: matrices, integers, expressions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit.checks import counted, shortened
from fastinit.distributions import Dirac, Identity, OrthogonalMatrix, RandomIntegers
from fastinit.dtypes import constant_value, stored_dtype
from fastinit.exact import first_difference, index_of
from fastinit.expressions import Known, Parts
from fastinit.files import Stored
from fastinit.initializers import Constant, Distribution
from fastinit.limits import SIGMAS, variance_limits
from fastinit.measure import Measured
from fastinit.tensor import Tensor
from fastinit.theory import CODES, grid, theory
from fastinit.write import PIECE, Source

#: How far rounding to a dtype moves a number, relative to it.
PRECISION = {
    "float16": 2.0**-11, "bfloat16": 2.0**-8, "float8_e4m3fn": 2.0**-4, "float8_e5m2": 2.0**-3,
}  # fmt: skip


def is_exact(distribution: Distribution) -> bool:
    """Whether all elements are known, and computed by nothing whose last bits depend on the machine."""
    if isinstance(distribution, Parts):
        return all(map(is_exact, (distribution.base, *(part for _, part in distribution.parts))))
    return isinstance(distribution, (Constant, Known, Identity, Dirac))


def compared_note(distribution: Distribution) -> str:
    """What a tensor was compared with, for dtypes that are not measured and for known values."""
    if isinstance(distribution, RandomIntegers):
        return "compared with the range, mean and standard deviation of its integers"
    if constant_value(distribution) is not None:
        return "compared with the constant alone"
    if is_exact(distribution):
        return "compared with its known values alone"
    return "no theory of this expression: what was measured is compared with nothing"


def compare(stored: Stored, tensor: Tensor) -> tuple[str, ...]:
    """Compare a tensor with values that are known, or with the range and moments of integers; returns its flags."""
    distribution = tensor.resolve()
    if isinstance(distribution, RandomIntegers) and constant_value(distribution) is None:
        return tuple(judge_integers(stored, distribution))
    if not is_exact(distribution) and constant_value(distribution) is None:
        return ()
    source = Source(tensor, seed=0)  # known values have the same bytes for all
    for begin in range(0, stored.nbytes, PIECE):
        element = first_difference(stored, source, begin)
        if element is not None:
            value, where = constant_value(distribution), index_of(element, stored.shape)
            what = "as expected" if value is None else f"{value:g} throughout"
            return (f"not {what}: element {where} differs",)
    return ()


def judge_integers(stored: Stored, expected: RandomIntegers) -> list[str]:
    """What is wrong with a tensor of an integer dtype by its extremes and moments."""
    n = math.prod(stored.shape)
    known = theory(expected, n)
    outside, total, squares = 0, 0.0, 0.0
    for values in _integers(stored):
        outside += int(np.count_nonzero((values < expected.low) | (values > expected.high - 1)))
        distances = values.astype(np.float64) - known.mean
        total += float(distances.sum())
        squares += float((distances * distances).sum())
    if outside:
        return [
            f"{counted(outside, 'value')} outside of [{expected.low}, {expected.high - 1}], "
            "the integers expected"
        ]
    if n < 2:
        return []
    flags, mean = [], total / n
    error = SIGMAS * known.std / math.sqrt(n)
    if abs(mean) > error:
        flags.append(f"mean {mean + known.mean:.4g}, expected {known.mean:.4g} +- {error:.2g}")
    std = math.sqrt(max(0.0, squares / n - mean * mean))
    low, high = variance_limits(n, known.kurtosis)
    if not known.std * math.sqrt(low) <= std <= known.std * math.sqrt(high):
        flags.append(f"std {std / known.std:.5f} times its theory")
    return flags


def _integers(stored: Stored) -> Iterator[NDArray[Any]]:
    """The elements of a tensor of an integer dtype or bool, in chunks."""
    npy = stored_dtype(stored.dtype).npy
    assert npy is not None
    kind = np.dtype(npy)
    for begin in range(0, stored.nbytes, PIECE):
        size = min(PIECE, stored.nbytes - begin)
        data = np.fromfile(stored.path, np.uint8, size, offset=stored.offset + begin)
        if data.size < size:
            raise ValueError(f"{stored.path}: {shortened(stored.name)}: the file ends early")
        yield data.view(kind)


def orthogonal_tolerance(expected: OrthogonalMatrix, dtype: str) -> float:
    """How far rounding may move the root of the mean square, relative to it."""
    std = theory(expected, 1).std
    if dtype not in CODES or not std:
        return 1e-5  # of factors that were computed in float32
    values = grid(dtype)[0]
    smallest = float(values[values > 0][0])
    return PRECISION[dtype] + smallest / (2 * std)


def judge_orthogonal(measured: Measured, expected: OrthogonalMatrix, dtype: str) -> list[str]:
    """What is wrong with an orthogonal matrix by its moments: its sum of squares is known but for rounding."""
    known, n = theory(expected, measured.finite, dtype), measured.finite
    if not known.std or not n:
        return []
    flags = []
    error = SIGMAS * known.std / math.sqrt(n)
    off = orthogonal_tolerance(expected, dtype)
    if abs(measured.mean) > error + off * known.std:
        flags.append(f"mean {measured.mean:.4g}, expected 0 +- {error:.2g}")
    root = math.hypot(measured.std, measured.mean)
    if abs(root / known.std - 1) > off:
        ratio = f"{root / known.std:.5f}"
        flags.append(f"root of the mean square {ratio} times that of an orthogonal matrix")
    return flags
