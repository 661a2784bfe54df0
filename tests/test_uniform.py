"""Uniforms are half-open in every dtype, as everywhere else: `low` can occur and `high` cannot."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

import fastinit as fi
import reference
from conftest import as_bits

NUMPY = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in reference.DTYPES}

#: The largest value below 4: 4 less half a unit in the last place of 4, by the bits of the significand.
BELOW_4 = {
    "float32": 4 - 2.0**-22,
    "float64": 4 - 2.0**-51,
    "float16": 4 - 2.0**-9,
    "bfloat16": 4 - 2.0**-6,
    "float8_e4m3fn": 3.75,
    "float8_e5m2": 3.5,
}


def test_no_value_equals_high(isa: str, dtype: str) -> None:
    """A million values of [0, 4): 16- and 8-bit dtypes round thousands of them to 4."""
    x = fi.Uniform(0, 4)(2**20, seed=0, dtype=dtype).astype(np.float64)
    assert x.max() <= BELOW_4[dtype]
    if NUMPY[dtype].itemsize <= 2:  # so many values are in its cell that one is there for certain
        assert x.max() == BELOW_4[dtype]
        assert x.min() == 0 or dtype == "float16"


def test_the_value_that_rounding_takes_to_high(isa: str) -> None:
    """In float32, 1 + u is a tie between 2 and its neighbour for the largest u alone."""
    key, word = 0, 0xFFFFFF00
    size = 2**26
    x = fi.Uniform(1, 2)(size, seed=key)
    u = fi.Uniform(0, 1)(size, seed=key)
    largest = np.flatnonzero(u == np.float32(1 - 2.0**-24))
    assert largest.size  # e**-4 to miss all of them, and the seed is fixed
    assert x.max() == np.float32(2 - 2.0**-23)
    assert (x[largest] == np.float32(2 - 2.0**-23)).all()
    at = int(largest[0])
    drawn = reference.element_words(
        reference.FLOAT32, key, reference.UNIFORM, reference.elements(at, 1)
    )
    assert drawn[0] >= word


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 4), (1, 2), (-3, -2), (-1, 0), (0, 1), (-0.3, 0.7), (3e-3, 7.9e-3), (0.5, 0.53125)],
)
def test_values_of_the_reference(dtype: str, low: float, high: float) -> None:
    x = fi.Uniform(low, high)(5000, seed=3, dtype=dtype)
    expected = reference.uniform(dtype, 3, 0, 5000, low, high)
    assert np.array_equal(as_bits(x), as_bits(expected))
    values = x.astype(np.float64)
    assert values.min() >= low
    assert values.max() < high


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("bfloat16", 1.001, 1.0078125),  # 1.0078125 follows 1
        ("float16", 2.0001, 2.001953125),
        ("float8_e4m3fn", 1.01, 1.125),
        ("float8_e5m2", 1.01, 1.25),
        ("float32", 1 + 2.0**-30, 1 + 2.0**-23),
    ],
)
def test_no_value_of_the_dtype(dtype: str, low: float, high: float) -> None:
    """`high` is a value of the dtype, and the only one in [low, high]."""
    with pytest.raises(ValueError, match="no value between the bounds"):
        fi.Uniform(low, high)((3,), seed=0, dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("bfloat16", 1, 1.0078125),
        ("float16", 2, 2.001953125),
        ("float8_e4m3fn", -1.125, -1.0625),
        ("float32", 1, 1 + 2.0**-23),
        ("float64", 1, 1 + 2.0**-52),
    ],
)
def test_only_low(dtype: str, low: float, high: float) -> None:
    """`low` is the only value of the dtype in [low, high)."""
    x = fi.Uniform(low, high)((100,), seed=0, dtype=dtype)
    assert (x.astype(np.float64) == low).all()


def test_equal_ends_are_a_constant(dtype: str) -> None:
    x = fi.Uniform(0.5, 0.5)((100,), seed=0, dtype=dtype)
    assert (x.astype(np.float64) == 0.5).all()


def test_symmetric_uniforms_reach_low_alone() -> None:
    """He's uniform on 6 inputs is U[-1, 1): in bfloat16 the ends are -1 and 1 - 2**-8."""
    x = fi.he_uniform((6, 2**17), seed=0, dtype="bfloat16").astype(np.float64)
    assert x.min() == -1
    assert x.max() == 1 - 2.0**-8


def test_an_end_below_zero() -> None:
    """Of [-1, 0) the largest values are not 0, and not -0: in float64 the smallest subnormal is below 0."""
    x = fi.Uniform(-1, 0)(2**16, seed=0, dtype="float8_e4m3fn").astype(np.float64)
    assert x.max() == -(2.0**-9)
    assert math.copysign(1, x.max()) == -1
