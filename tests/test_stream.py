"""The library equals the NumPy oracle to the bit, on every instruction set, wherever it starts and stops."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest

import fastinit as fi
import reference
from cases import DISTRIBUTIONS, elements, initializer, oracle, truncated_normal
from conftest import as_bits

inf = float("inf")
KEY = 0x9E3779B97F4A7C15

#: Around every lane count (1 to 16), super-block (32, 64), chunk of the kernel (4096).
LENGTHS = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    4095,
    4096,
    4097,
)
#: Starts: aligned, misaligned, and either side of 2**32 elements, blocks (2**34) and the last ones.
STARTS = (0, 1, 17, 63, 2**32 - 33, 2**32, 2**34 - 1, 2**40 + 13, 2**63, 2**64 - 4100)


@pytest.mark.parametrize("case", DISTRIBUTIONS)
def test_every_start(isa: str, case: str, dtype: str) -> None:
    for start in STARTS:
        got = elements(case, dtype, KEY, start, 333)
        np.testing.assert_array_equal(got, oracle(case, dtype, KEY, start, 333), err_msg=f"{start}")


@pytest.mark.parametrize("case", ["uniform", "normal", "truncated", "tail"])
def test_every_length(isa: str, case: str, dtype: str) -> None:
    whole = oracle(case, dtype, KEY, 5, max(LENGTHS))
    for n in LENGTHS:
        np.testing.assert_array_equal(elements(case, dtype, KEY, 5, n), whole[:n], err_msg=f"{n}")


@pytest.mark.parametrize("case", DISTRIBUTIONS)
def test_long_fill(isa: str, case: str) -> None:
    """Many chunks, so that queues of rejected elements fill up and run over several attempts."""
    n = 40_000
    np.testing.assert_array_equal(
        elements(case, "float32", KEY, 3, n), oracle(case, "float32", KEY, 3, n)
    )


@pytest.mark.parametrize("case", ["normal", "truncated", "half", "narrow", "exponential", "tail"])
def test_split_at_every_offset_of_a_super_block(isa: str, case: str, dtype: str) -> None:
    n = 130
    whole = oracle(case, dtype, KEY, 0, n)
    out = np.zeros(n, whole.dtype)
    for cut in range(65):
        out[:cut] = elements(case, dtype, KEY, 0, cut)
        out[cut:] = elements(case, dtype, KEY, cut, n - cut)
        np.testing.assert_array_equal(out, whole, err_msg=f"cut at {cut}")


#: Bounds in standard deviations where the header changes the proposal: a width of sqrt(2 pi) if the interval includes
#: 0; above 0, a log-density that falls by ln 2.18, and lower bounds of 0.25 and 1.5.
SWITCHES = (
    *((a, a + math.sqrt(2 * math.pi)) for a in (-1.0, -0.01, -2.5)),
    *((a, math.sqrt(a * a + 2 * math.log(2.18))) for a in (0.0, 0.125, 1.0, 3.0)),
    *((a, b) for a in (0.25, 1.5) for b in (3.0, inf)),
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reflected", [False, True])
@pytest.mark.parametrize(("lower", "upper"), SWITCHES)
def test_both_sides_of_each_change_of_the_proposal(
    lower: float, upper: float, reflected: bool, dtype: str
) -> None:
    """Either proposal would give the right distribution, but only one of them the right bits."""
    for factor in (1 - 1e-4, 1 - 1e-7, 1 - 1e-15, 1.0, 1 + 1e-15, 1 + 1e-7, 1 + 1e-4):
        for a, b in ((lower * factor, upper), (lower, upper * factor)):
            low, high = (-b, -a) if reflected else (a, b)
            made = fi.TruncatedNormal(0.5, 2.0, lower=low, upper=high)((70,), seed=KEY, dtype=dtype)
            want = reference.truncated_normal(dtype, KEY, 0, 70, 0.5, 2.0, low, high)
            np.testing.assert_array_equal(as_bits(made), as_bits(want), err_msg=f"{low}, {high}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mean", [0.0, 1.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_bounds_next_to_a_value(dtype: str, mean: float, side: int) -> None:
    """A normal on a bound is kept; one beyond it by the least that a double can say is drawn again."""
    z = fi.Normal()((100,), seed=KEY, dtype=dtype)
    for i in np.flatnonzero((side * z > 0.8) & (side * z < 1.9)):
        value = float(z[i])
        for bound, is_kept in ((value, True), (math.nextafter(value, 0.0), False)):
            lower, upper = sorted((bound, -2.0 * side))
            made = fi.TruncatedNormal(mean, 1.0, lower=lower, upper=upper)
            got = made((100,), seed=KEY, dtype=dtype)
            want = reference.truncated_normal(dtype, KEY, 0, 100, mean, 1.0, lower, upper)
            np.testing.assert_array_equal(as_bits(got), as_bits(want))
            assert mean != 0 or (got[i] == z[i]) == is_kept


def random_parameters(generator: random.Random) -> tuple[float, float, float, float]:
    """Any mean, standard deviation and bounds, with extremes and cancelling means."""
    stddev = (
        10 ** generator.uniform(-46, 38)
        if generator.random() < 0.5
        else 10 ** generator.uniform(-3, 3)
    )
    lower = generator.choice([-inf, 0.0, generator.gauss(0, 2), 10 ** generator.uniform(-3, 40)])
    width = generator.choice([inf, 10 ** generator.uniform(-6, 2)])
    upper = lower + width if lower > -inf else generator.gauss(0, 2)
    if generator.random() < 0.5:
        lower, upper = -upper, -lower
    near = lower if abs(lower) < abs(upper) else upper
    mean = generator.choice(
        [0.0, generator.gauss(0, 10), -stddev * near, stddev * generator.gauss(0, 3)]
    )
    return mean if abs(mean) < inf else 0.0, stddev, lower, upper


@pytest.mark.parametrize("seed", range(4))
def test_random_parameters(isa: str, dtype: str, seed: int) -> None:
    """Whatever the library accepts, it makes as the oracle does: bounds, subnormals, zeros of either sign."""
    generator = random.Random(1000 * seed + len(dtype))
    accepted = 0
    for _ in range(100):
        parameters = random_parameters(generator)
        if not parameters[2] < parameters[3]:
            continue
        try:
            made = truncated_normal(*parameters)((70,), seed=KEY, dtype=dtype)
        except ValueError:  # the range of the dtype, tested elsewhere
            continue
        accepted += 1
        want = reference.truncated_normal(dtype, KEY, 0, 70, *parameters)
        np.testing.assert_array_equal(as_bits(made), as_bits(want), err_msg=f"{parameters}")
        values = made.astype(np.float64)
        assert np.isfinite(values).all()
        mean, stddev, lower, upper = parameters
        assert mean + stddev * lower <= values.min()
        assert values.max() <= mean + stddev * upper
    assert accepted > 25


@pytest.mark.parametrize(
    "bound",
    # 1.30e-18 and 1.31e-18: widths below and above 2**-60, from where the kernel scales otherwise.
    [-1e-60, 1e-41, 3e-39, 1.30e-18, 1.31e-18, -65504.0, 5.960464477539063e-08, 1e-7],
)
def test_uniform_bounds_at_the_ends_of_the_dtype(dtype: str, bound: float) -> None:
    """Subnormal bounds, bounds that round to -0, the largest float16."""
    low, high = sorted((bound, bound / 3))
    try:
        made = fi.Uniform(low, high)((70,), seed=KEY, dtype=dtype)
    except ValueError as error:
        # Some dtypes have none, and some do not reach so far.
        assert re.search("no value between the bounds|could exceed", str(error))  # noqa: PT017
        return
    want = reference.uniform(dtype, KEY, 0, 70, low, high)
    np.testing.assert_array_equal(as_bits(made), as_bits(want))


def test_misaligned_memory(isa: str, dtype: str) -> None:
    """Outputs at every address modulo 64, aligned to nothing, with guards on both sides."""
    n = 100
    whole = oracle("truncated", dtype, KEY, 0, n)
    make = initializer("truncated")
    out_dtype = make((1,), seed=0, dtype=dtype).dtype
    nbytes = n * out_dtype.itemsize
    for address in range(64):
        memory = np.full(nbytes + 128, 0xA5, np.uint8)
        out = memory[address : address + nbytes].view(out_dtype)
        make.fill(out, seed=KEY)
        np.testing.assert_array_equal(as_bits(out.copy()), whole)
        assert (memory[:address] == 0xA5).all()
        assert (memory[address + nbytes :] == 0xA5).all()


#: The largest value below 1.25 of each small dtype.
BELOW_5_4 = {
    "float16": 1.25 - 2.0**-10,
    "bfloat16": 1.25 - 2.0**-7,
    "float8_e4m3fn": 1.125,
    "float8_e5m2": 1.0,
}


@pytest.mark.parametrize("small", BELOW_5_4)
@pytest.mark.parametrize(
    "make", [fi.Uniform(-0.75, 1.25), fi.Normal(0.5, 0.02), fi.Normal(0, 1e-3), fi.Normal(0, 60)]
)
def test_small_floats_are_the_rounded_float32(isa: str, make: fi.Initializer, small: str) -> None:
    """NumPy's and ml_dtypes' own rounding of the float32 tensor, down to subnormals and near the largest.

    What rounds to the end of a uniform takes the value below it.
    """
    exact = make((4, 5000), seed=8)
    narrow = make((4, 5000), seed=8, dtype=small)
    expected = exact.astype(narrow.dtype)
    if isinstance(make, fi.Uniform):
        expected[expected.astype(np.float64) == 1.25] = BELOW_5_4[small]
    np.testing.assert_array_equal(as_bits(narrow), as_bits(expected))


def test_float16_subnormals_are_rounded_like_numpys(isa: str) -> None:
    """Values around 2**-24, float16's smallest, and 2**-14, its smallest normal number."""
    for stddev in (1e-8, 6e-8, 1e-6, 6e-5):
        exact = fi.Normal(0.0, stddev)((5000,), seed=3)
        narrow = fi.Normal(0.0, stddev)((5000,), seed=3, dtype="float16")
        np.testing.assert_array_equal(as_bits(narrow), as_bits(exact.astype(np.float16)))


def test_truncated_keeps_the_normals_inside_the_bounds() -> None:
    """Candidate 0 is the plain normal's value: only what lies outside is drawn again."""
    normal = fi.Normal()((20_000,), seed=5)
    truncated = fi.TruncatedNormal()((20_000,), seed=5)
    inside = abs(normal) <= 2
    np.testing.assert_array_equal(truncated[inside], normal[inside])
    assert (truncated[~inside] != normal[~inside]).all()
