"""Numbers rounded once to the dtypes that NumPy lacks, and their codes back to numbers."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

import reference
from fastinit.rounding import decode, decode_table, encode

SMALL = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
CODES = {"bfloat16": np.uint16}


def table(dtype: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # of signalling NaN
        return decode_table(dtype).astype(np.float64)


def all_codes(dtype: str) -> np.ndarray:
    kind = CODES.get(dtype, np.uint8)
    return np.arange(np.iinfo(kind).max + 1).astype(kind)


@pytest.mark.parametrize("dtype", [*SMALL, "float8_e8m0fnu"])
def test_codes_are_those_of_ml_dtypes(dtype: str) -> None:
    codes = all_codes(dtype)
    with np.errstate(invalid="ignore"):
        expected = codes.view(getattr(ml_dtypes, dtype)).astype(np.float64)
    made = decode(codes, dtype)
    np.testing.assert_array_equal(made, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(made)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("dtype", [*SMALL, "float8_e8m0fnu", "float16"])
def test_numbers_of_a_dtype_keep_their_codes(dtype: str) -> None:
    codes = all_codes("bfloat16" if dtype == "float16" else dtype)
    values = table(dtype)
    made = encode(values, dtype)
    is_number = ~np.isnan(values)
    np.testing.assert_array_equal(made.view(codes.dtype)[is_number], codes[is_number])
    assert np.isnan(decode(made, dtype)[~is_number]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16"])
def test_numbers_are_rounded_once(dtype: str) -> None:
    """Numbers of float64 near midpoints, which float32 would move onto them, from the NumPy reference."""
    values = np.unique(np.abs(table(dtype)))
    values = values[np.isfinite(values)]
    middle = (values[1:] + values[:-1]) / 2
    near = [middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), middle * (1 + 2.0**-40)]
    x = np.concatenate([*near, *(-one for one in near), [0.0, -0.0, 5e-324]])
    expected = reference.round_once(dtype, x)
    made = encode(x, dtype)
    np.testing.assert_array_equal(made.view(expected.dtype), expected)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_rounding_is_to_nearest_even(dtype: str) -> None:
    """By fractions, which are exact: the nearest number, and on midpoints that of the even code."""
    x = np.random.default_rng(0).normal(0, 1, 300)
    grid = table(dtype)
    numbers = [(Fraction(v), c) for c, v in enumerate(grid.tolist()) if np.isfinite(v)]
    middle = [(numbers[i][0] + numbers[i + 1][0]) / 2 for i in range(40, 60)]
    x = np.concatenate([x, [float(m) for m in middle]])
    for value, code in zip(x.tolist(), encode(x, dtype).tolist(), strict=True):
        exact = Fraction(value)
        nearest = min(abs(number - exact) for number, _ in numbers)
        candidates = [c for number, c in numbers if abs(number - exact) == nearest]
        assert code in candidates
        assert len({grid[c] for c in candidates}) == 1 or code % 2 == 0


@pytest.mark.parametrize(
    ("dtype", "largest", "beyond", "expected"),
    [
        ("float16", 65519.99, 65520.0, np.inf),
        ("bfloat16", 3.3961775e38, 3.3961776e38, np.inf),
        ("float8_e4m3fn", 464.0, 464.001, np.nan),
        ("float8_e5m2", 61439.9, 61440.0, np.inf),
        ("float8_e4m3fnuz", 247.9, 248.0, np.nan),
        ("float8_e5m2fnuz", 61439.9, 61440.0, np.nan),
        ("float32", 3.4028235677973362e38, 3.4028235677973366e38, np.inf),
    ],
)
def test_what_is_too_large(dtype: str, largest: float, beyond: float, expected: float) -> None:
    """The ends by hand: the largest number and half its last place."""
    x = np.array([largest, beyond, np.inf, np.nan, -beyond])
    made = decode(encode(x, dtype), dtype)
    assert np.isfinite(made[0])
    np.testing.assert_array_equal(made[1:3], [expected, expected])
    assert np.isnan(made[3])
    np.testing.assert_array_equal(made[4], -expected)


def test_integers_and_complex_numbers_stay_as_they_are() -> None:
    assert encode(np.array([2**62 + 1]), "int64").tolist() == [2**62 + 1]
    assert encode(np.array(7.0), "float8_e5m2").shape == ()
    z = np.array([1 + 2j, np.inf], np.complex64)
    assert decode(encode(z, "complex64"), "complex64").tolist() == z.tolist()
