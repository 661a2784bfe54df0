"""`TruncatedNormal.within`: bounds that are values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastinit as fi

FINITE = st.floats(-1e6, 1e6)


def test_bounds_in_units_of_the_standard_deviation() -> None:
    assert fi.TruncatedNormal.within(-2, 3) == fi.TruncatedNormal(0.0, 1.0, lower=-2.0, upper=3.0)
    assert fi.TruncatedNormal.within(-0.5, 2.5, mean=0.5, stddev=0.5) == fi.TruncatedNormal(
        0.5, 0.5, lower=-2.0, upper=4.0
    )
    assert fi.TruncatedNormal.within(-math.inf, 1, stddev=2) == fi.TruncatedNormal(
        0.0, 2.0, lower=-math.inf, upper=0.5
    )


@given(FINITE, FINITE, FINITE, st.floats(1e-6, 1e6), st.sampled_from(["float32", "float64"]))
def test_no_value_is_outside(low: float, high: float, mean: float, std: float, dtype: str) -> None:
    """Bounds that are numbers of the dtype itself, so that a rounding outward would show."""
    low, high = (float(np.dtype(dtype).type(x)) for x in (low, high))
    assume(high - low > 8 * np.spacing(np.dtype(dtype).type(max(-low, high))))
    assume((high - mean) / std - (low - mean) / std > 1e-9)  # what is left of it in units of std
    init = fi.TruncatedNormal.within(low, high, mean=mean, stddev=std)
    assert low <= init.mean + init.stddev * init.lower
    assert high >= init.mean + init.stddev * init.upper
    values = init(64, seed=0, dtype=dtype)
    assert low <= values.min()
    assert values.max() <= high


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, 1), "lower must be below upper"),
        ((2, 1), "lower must be below upper"),
        ((-1, 1, 0, 0), "stddev must be positive"),
        ((-1, 1, 0, math.nan), "stddev must be positive"),
        ((-1, 1, math.inf, 1), "lower must be below upper|mean must be finite"),
        ((math.nan, 1), "lower must be below upper"),
        ((0.0, 1e308, -1e308, 1e308), "low and high must be in the range of a float"),
    ],
)
def test_errors(arguments: tuple[float, ...], match: str) -> None:
    low, high, mean, stddev = arguments if len(arguments) == 4 else (*arguments, 0.0, 1.0)
    with pytest.raises(ValueError, match=match):
        fi.TruncatedNormal.within(low, high, mean=mean, stddev=stddev)
