"""Mean, standard deviation and extremes of chunks, beside NumPy's in float64."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit as fi
from cases import NUMPY_DTYPES as DTYPES
from fastinit.moments import Moments


def check(x: NDArray, expected: fi.Initializer, *, mean: float | None = None) -> None:
    """Compare the moments of an array, in chunks of odd sizes, with those of NumPy."""
    m = Moments(x.dtype.name, expected.resolve(x.shape))
    data = x.view(np.uint8)
    for begin in range(0, x.size, 1001):
        m.add(data[begin * x.itemsize : (begin + 1001) * x.itemsize])
    exact = x.astype(np.float64)
    std = exact.std()
    assert m.size == x.size
    assert (m.min, m.max) == (exact.min(), exact.max())
    assert m.std == pytest.approx(std, rel=1e-6)
    assert m.mean == pytest.approx(exact.mean() if mean is None else mean, abs=1e-6 * std)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 15, 64, 255, 1000, 70_001])
def test_samples(isa: str, dtype: str, size: int) -> None:
    rng = np.random.default_rng(size)
    check(rng.normal(0.5, 1.5, size).astype(DTYPES[dtype]), fi.Normal(0.5, 1.5))
    check(rng.uniform(-0.02, 0.02, size).astype(DTYPES[dtype]), fi.Uniform(-0.02, 0.02))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_every_finite_number_of_a_small_dtype(isa: str, dtype: str) -> None:
    kind = np.dtype(DTYPES[dtype])
    codes = np.arange(256**kind.itemsize).astype(f"u{kind.itemsize}").view(kind)
    with np.errstate(invalid="ignore"):  # of signalling NaN
        numbers = codes[np.isfinite(codes)]
    if (
        dtype == "bfloat16"
    ):  # of very different sizes, whose squares float32 does not add to six digits
        numbers = numbers[np.abs(np.abs(numbers.astype(np.float64)) - 1) < 0.9]
    check(numbers, fi.Normal(0, 1), mean=0.0)  # each with both signs


@pytest.mark.parametrize(
    ("dtype", "mean", "stddev"),
    [
        ("float32", 1e6, 0.5),
        ("float32", -1e37, 1e36),
        ("float32", 0, 1e-42),
        ("float32", 0, 1e38 / 6),
        ("float64", 1e12, 1.0),
        ("float64", 0, 1e307),
        ("float64", 0, 1e-310),
        ("bfloat16", 0, 1e37),
        ("bfloat16", 100, 1e-30),
        ("float16", 2000, 3.0),
        ("float16", 0, 1e-7),
        ("float8_e4m3fn", 240, 16.0),
        ("float8_e5m2", 0, 1e-4),
    ],
)
def test_far_from_zero_and_at_the_ends_of_the_range(isa: str, dtype: str, mean, stddev) -> None:
    x = fi.Normal(mean, stddev)((5003,), seed=1, dtype=dtype)
    m = Moments(dtype, fi.Normal(mean, stddev).resolve(x.shape))
    m.add(x.view(np.uint8))
    unit = 2.0 ** np.frexp(max(abs(mean), stddev))[1]  # so that no sum overflows
    exact = x.astype(np.float64) / unit
    center = math.fsum(exact) / x.size
    std = math.sqrt(math.fsum((exact - center) ** 2) / x.size)
    assert (m.min / unit, m.max / unit) == (exact.min(), exact.max())
    assert m.std / unit == pytest.approx(std, rel=1e-6)
    assert m.mean / unit == pytest.approx(center, abs=max(1e-6 * std, 1e-16 * abs(center)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_have_no_standard_deviation(dtype: str) -> None:
    x = np.full(1001, 0.1, np.float32).astype(DTYPES[dtype])
    m = Moments(dtype, fi.Constant(0.1).resolve(x.shape))
    m.add(x.view(np.uint8))
    assert (m.min, m.max, m.std) == (float(x[0]), float(x[0]), 0.0)
    assert m.mean == pytest.approx(float(x[0]), rel=1e-7)


def test_no_elements() -> None:
    m = Moments("float32", fi.Normal(0, 1).resolve((0,)))
    m.add(np.empty(0, np.uint8))
    assert m.size == 0
    assert np.isnan(m.mean)
    assert np.isnan(m.std)


def test_several_threads() -> None:
    x = np.random.default_rng(0).normal(3, 2, 2**20).astype(np.float32)
    m = Moments("float32", fi.Normal(3, 2).resolve(x.shape))
    parts = np.split(x.view(np.uint8), 64)
    threads = [
        threading.Thread(target=lambda i=i: [m.add(p) for p in parts[i::4]]) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exact = x.astype(np.float64)
    assert m.size == x.size
    assert (m.min, m.max) == (exact.min(), exact.max())
    assert m.mean == pytest.approx(exact.mean(), abs=2e-6)
    assert m.std == pytest.approx(exact.std(), rel=1e-6)
