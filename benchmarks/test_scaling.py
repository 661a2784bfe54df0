"""How fastinit's own speed goes with size, threads, instruction set, dtype, bounds, and fresh memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import pytest

import fastinit as fi
from conftest import Measure, N
from peers import LAWS, need

Warm = Callable[[int], np.ndarray]


@pytest.mark.parametrize("exponent", [*range(8, 30, 2), 30])
@pytest.mark.parametrize("law", LAWS)
def test_size(measure: Measure, warm: Warm, law: str, exponent: int) -> None:
    n = measure.size(2**exponent)
    out = warm(4 * n).view(np.float32)
    measure("size", law, n, lambda: LAWS[law].fill(out, seed=0, threads=1))


@pytest.mark.parametrize("exponent", [*range(8, 30, 2), 30])
def test_size_of_memset(measure: Measure, warm: Warm, exponent: int) -> None:
    n = measure.size(2**exponent)
    memory = warm(4 * n)
    measure("size", "memset", n, lambda: ctypes.memset(memory.ctypes.data, 1, memory.size))


@pytest.mark.parametrize("threads", range(1, fi.get_num_threads() + 1))
@pytest.mark.parametrize("law", LAWS)
def test_threads(measure: Measure, warm: Warm, law: str, threads: int) -> None:
    n = measure.size(4 * N)
    out = warm(4 * n).view(np.float32)
    work = lambda: LAWS[law].fill(out, seed=0, threads=threads)  # noqa: E731
    measure("threads", law, n, work, threads=threads)


@pytest.mark.parametrize("isa", fi.available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("law", LAWS)
def test_instruction_set(measure: Measure, warm: Warm, law: str, dtype: str, isa: str) -> None:
    n = measure.size(N // 4)
    out = warm(np.dtype(dtype).itemsize * n).view(dtype)
    fi.set_isa(isa)
    try:
        measure(
            f"instruction set {dtype}",
            law,
            n,
            lambda: LAWS[law].fill(out, seed=0, threads=1),
            isa=isa,
        )
    finally:
        fi.set_isa(None)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("law", LAWS)
def test_dtype(measure: Measure, warm: Warm, law: str, dtype: str) -> None:
    n = measure.size(N)
    number = need("ml_dtypes").bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    out = warm(np.dtype(number).itemsize * n).view(number)
    measure("dtype", law, n, lambda: LAWS[law].fill(out, seed=0, threads=1), dtype=dtype)


#: Bounds in standard deviations: each proposal of the kernel, and where it changes to the next.
INTERVALS = [
    (-math.inf, math.inf),
    (-3.0, 3.0),
    (-2.0, 2.0),
    (-1.5, 1.5),
    (-1.0, 1.0),
    (-0.5, 1.5),
    (-0.1, 0.1),
    (-1.0, math.inf),
    (-0.01, math.inf),
    (0.0, math.inf),
    (0.24, math.inf),
    (0.26, math.inf),
    (0.75, math.inf),
    (1.49, math.inf),
    (1.5, math.inf),
    (2.0, 2.25),
    (2.0, 3.0),
    (3.0, 5.0),
    (5.0, math.inf),
    (1e4, math.inf),
]


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_interval(measure: Measure, warm: Warm, lower: float, upper: float) -> None:
    n = measure.size(N // 4)
    out = warm(4 * n).view(np.float32)
    make = fi.TruncatedNormal(0.0, 0.02, lower, upper)
    who = f"[{lower:g}, {upper:g}]"
    measure("interval", who, n, lambda: make.fill(out, seed=0, threads=1))


SHAPE = (4096, 4096)
FRESH: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
    "numpy.full": lambda shape: np.full(shape, 1.5, np.float32),
    "he_normal": lambda shape: fi.he_normal(shape, seed=0),
    "normal": lambda shape: LAWS["normal"](shape, seed=0),
    "uniform": lambda shape: LAWS["uniform"](shape, seed=0),
}


@pytest.mark.parametrize("who", FRESH)
def test_fresh_array(measure: Measure, who: str) -> None:
    """A new array: its pages are made as they are first touched, which costs as much as the sampling."""
    n = measure.size(math.prod(SHAPE))
    shape = (n // SHAPE[1], SHAPE[1])
    measure("fresh array", who, n, lambda: FRESH[who](shape), threads=fi.get_num_threads())


def test_fill_of_256_elements(measure: Measure) -> None:
    out = np.ones(256, np.float32)
    measure("call", "fill of 256 elements", 256, lambda: fi.he_normal.fill(out, seed=0))


def test_new_array_of_16_by_16(measure: Measure) -> None:
    measure("call", "he_normal((16, 16))", 256, lambda: fi.he_normal((16, 16), seed=0))
