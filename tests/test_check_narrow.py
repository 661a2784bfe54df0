"""The check of tensors whose distribution is only a few numbers of its dtype wide.

Seeds are fixed. Each of the three tests of a tensor has a false-alarm rate of about 1e-9: had the seeds been drawn
afresh, a flag would come up among the 3,000 good tensors here with a probability of about 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import fastinit as fi
from fastinit.check import check_tensors, table
from fastinit.files import Stored
from fastinit.theory import cumulative, moment_tolerance, theory, tolerance

#: Digits of each dtype, the implicit one included, and the largest exponent of a mean here.
DTYPES = {
    "float32": (24, 30),
    "float64": (53, 90),
    "float16": (11, 10),
    "bfloat16": (8, 30),
    "float8_e4m3fn": (4, 5),
    "float8_e5m2": (3, 10),
}
CODED = list(DTYPES)[2:]
inf = math.inf


def check_one(
    folder: Path, values: NDArray[Any], dtype: str, expected: fi.Distribution
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags and notes."""
    path = folder / "w.bin"
    values.tofile(path)
    stored = Stored("w", dtype, values.shape, path, 0, values.nbytes)
    (one,) = check_tensors([(stored, fi.Tensor("w", values.shape, expected, dtype))])
    assert table([one]).splitlines()[2:] == [
        *(f"    ! {flag}" for flag in one.flags),
        *(f"    - {note}" for note in one.notes),
    ]
    return one.flags, one.notes


def truncated(rng: np.random.Generator, mean: float, std: float) -> fi.Distribution:
    """Of any interval, one-sided ones and far tails included; the values are near `mean`, about `std` wide."""
    lower = rng.uniform(-4, 4) if rng.random() < 0.7 else rng.choice([-1, 1]) * 10 ** rng.uniform(0, 3)  # fmt: skip
    upper = lower + 10 ** rng.uniform(-2, 1)
    kind = rng.random()
    lower, upper = (-inf if kind < 0.15 else lower), (inf if kind > 0.85 else upper)
    stddev = std / fi.truncated_std(lower, upper)
    near = min(max(lower, 0.0), upper)
    return fi.TruncatedNormal(mean - stddev * near, stddev, lower=lower, upper=upper)


def distributions(count: int, dtype: str) -> Iterator[tuple[fi.Distribution, int, int]]:
    """Random ones of 0.02 to 100 spacings with a size and a seed; some means are numbers of the dtype or halfway."""
    digits, most = DTYPES[dtype]
    for i in range(count):
        rng = np.random.default_rng((2024, digits, i))
        mean = rng.choice([-1, 1]) * 2 ** rng.uniform(-min(most, 6), most)
        space = 2.0 ** (math.frexp(mean)[1] - digits)
        if rng.random() < 0.3:
            mean = round(mean / space + rng.choice([0.0, 0.5])) * space
        std = space * 10 ** rng.uniform(-1.7, 2)
        n, seed = int(10 ** rng.uniform(1, 5)), int(rng.integers(2**63))
        yield fi.Normal(mean, std), n, seed
        yield fi.Uniform(mean - 1.7 * std, mean + 1.7 * std), n, seed
        yield truncated(rng, mean, std), n, seed


@pytest.mark.parametrize("dtype", DTYPES)
def test_good_tensors_of_narrow_distributions_raise_no_flag(tmp_path: Path, dtype: str) -> None:
    checked = 0
    for expected, n, seed in distributions(200, dtype):
        try:
            values = expected((n,), seed=seed, dtype=dtype)
        except ValueError:  # no number of the dtype lies between the bounds
            continue
        assert check_one(tmp_path, values, dtype, expected)[0] == (), (expected, n, seed)
        checked += 1
    assert checked > 400


@pytest.mark.parametrize("dtype", CODED)
def test_good_tensors_whose_rounding_hangs_on_float32(tmp_path: Path, dtype: str) -> None:
    """A few spacings of float32, across the middle of two numbers of a smaller dtype."""
    for i in range(60):
        rng = np.random.default_rng((7, i))
        middle = 1 + 2.0 ** -DTYPES[dtype][0]
        std = 2.0**-23 * 10 ** rng.uniform(-0.5, 4)
        mean = middle + rng.uniform(-1.5, 1.5) * std
        below, above = rng.uniform(-4, 0.5), rng.uniform(-0.5, 4)
        for expected in (
            fi.Normal(mean, std),
            fi.TruncatedNormal(mean, std, lower=-inf, upper=above),
            fi.TruncatedNormal(mean, std, lower=below, upper=inf),
        ):
            values = expected((10 ** (2 + i % 4),), seed=i, dtype=dtype)
            assert check_one(tmp_path, values, dtype, expected)[0] == (), (expected, i)


@pytest.mark.parametrize(
    ("expected", "dtype", "seed"),
    [
        (fi.Normal(583.0, 4e-5), "float32", 1),
        (fi.Normal(583.00002, 4e-5), "float32", 2),
        (fi.TruncatedNormal.within(4775.526, 4775.563, mean=4775.5, stddev=0.05), "float32", 3),
        (fi.TruncatedNormal.within(4775.526, 4775.563, mean=4775.5445, stddev=0.005), "float32", 4),
        (fi.Normal(1.0, 2.0**-11), "float16", 5),
        (fi.Uniform(-1.5e-12, 1e-12), "float64", 6),
        (fi.TruncatedNormal(-0.5, 1.0, lower=0.5, upper=0.5 + 2**-45), "float32", 7),
        (fi.TruncatedNormal(0.0, 1e14, lower=-1e-15, upper=1e-15), "float32", 8),
        (fi.TruncatedNormal(-1e8, 1.0, lower=1e8, upper=inf), "float32", 9),
        (fi.TruncatedNormal(1e12, 1.0, lower=-inf, upper=-1e12), "float64", 10),
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [10, 1000, 10**6])
def test_named_good_tensors(
    tmp_path: Path, expected: fi.Distribution, dtype: str, seed: int, n: int
) -> None:
    values = expected((n,), seed=seed, dtype=dtype)
    assert check_one(tmp_path, values, dtype, expected)[0] == ()


@pytest.mark.parametrize("n", range(10, 60))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_two_values_of_any_split_that_chance_makes(tmp_path: Path, n: int, share: float) -> None:
    """Splits that come up with a probability above 1e-7; their variance is at most that of the theory."""
    middle = 1 + 2.0**-8
    mean = middle + stats.norm.ppf(share) * 2.0**-12
    expected = fi.Normal(mean, 2.0**-12)
    for count in range(n + 1):
        if min(stats.binom.cdf(count, n, share), stats.binom.sf(count - 1, n, share)) < 1e-7:
            continue
        values = np.where(np.arange(n) < count, 1 + 2.0**-7, 1.0).astype(ml_dtypes.bfloat16)
        assert check_one(tmp_path, values, "bfloat16", expected)[0] == (), (n, count)


# Wrong tensors

NARROW = fi.Normal(583.0, 4e-5)  # 0.66 spacings of float32, which are 2**-14 there
WIDER = fi.Normal(583.0, 20 * 2.0**-14)


def near_583(law: Any, n: int = 100_000) -> NDArray[np.float32]:
    """Values 583 + 2**-14 * law, rounded to nearest from float64."""
    return (583 + 2.0**-14 * law.rvs(n, random_state=1)).astype(np.float32)


@pytest.mark.parametrize(
    ("law", "flag"),
    [
        (stats.norm(3, 0.66), "mean 583, expected 583"),
        (stats.norm(0, 3), "std 4"),
        (stats.uniform(-5, 10), "std 4"),
    ],
)
def test_wrong_tensors_of_a_narrow_distribution_are_flagged(
    tmp_path: Path, law: Any, flag: str
) -> None:
    flags, notes = check_one(tmp_path, near_583(law), "float32", NARROW)
    assert any(f.startswith(flag) for f in flags), flags
    assert notes


def test_what_the_rounding_hides_is_said(tmp_path: Path) -> None:
    """A standard deviation that is 1.3 times as large is within the tolerance: the table says that there is one."""
    flags, notes = check_one(tmp_path, near_583(stats.norm(0, 0.85)), "float32", NARROW)
    assert flags == ()
    assert notes == (
        "the expected standard deviation is 0.66 spacings of float32: "
        "rounding may move values by 1.5 spacings, which hides smaller differences",
    )


@pytest.mark.parametrize(
    ("law", "flag"),
    [
        (stats.norm(3, 20), "mean 583, expected 583"),
        (stats.norm(0, 23), "std 1.15 times its theory"),
        (stats.uniform(-20 * 3**0.5, 40 * 3**0.5), "distance 0.0"),
        (stats.norm(0, 20), ""),
    ],
)
def test_wrong_tensors_of_a_wider_distribution_are_flagged(
    tmp_path: Path, law: Any, flag: str
) -> None:
    flags, notes = check_one(tmp_path, near_583(law), "float32", WIDER)
    assert [f[: len(flag)] for f in flags] == ([flag] if flag else [])
    assert notes == ()


def test_wrong_tensors_of_three_numbers_are_flagged(tmp_path: Path) -> None:
    """Normal(1, 2**-11) in float16 is 1 - 2**-11, 1 and 1 + 2**-10 at 24 %, 53 % and 16 %, and few others."""
    expected = fi.Normal(1.0, 2.0**-11)
    good = expected((100_000,), seed=1, dtype="float16")
    assert check_one(tmp_path, good, "float16", expected) == ((), ())
    wrong = {
        "mean 1.0": good * np.float16(1 + 2.0**-10),
        "std 1.": (1 + (good.astype(float) - 1) * 1.5).astype(np.float16),
        "all values are 1": np.ones(1000, np.float16),
        "std 0.": np.where(np.arange(100_000) % 2, np.float16(1), np.float16(1 - 2.0**-11)),
    }
    for flag, values in wrong.items():
        flags, _ = check_one(tmp_path, values, "float16", expected)
        assert any(f.startswith(flag) for f in flags), (flag, flags)


def test_values_beyond_the_bounds_of_a_narrow_distribution_are_flagged(tmp_path: Path) -> None:
    expected = fi.TruncatedNormal.within(4775.526, 4775.563, mean=4775.5, stddev=0.05)
    values = expected((1000,), seed=1)
    values[7] = np.float32(4775.564)
    (flag,), _ = check_one(tmp_path, values, "float32", expected)
    assert flag.startswith("values up to 4775.56 above the bound")


# The tolerance


def test_the_tolerance_is_one_and_a_half_spacings() -> None:
    assert tolerance(NARROW, "float32") == 1.5 * 2.0**-14
    assert tolerance(NARROW, "bfloat16") == 1.5 * 2.0**-14
    assert tolerance(NARROW, "float64") == 1.5 * 2.0**-43


@pytest.mark.parametrize("dtype", CODED)
def test_moments_of_few_bits_change_by_no_more_than_their_tolerance(dtype: str) -> None:
    """Parameters moved by a spacing of float32 give moments within it; here those of two numbers with SciPy's shares."""
    digits = DTYPES[dtype][0]
    low, high = 1.0, 1 + 2.0 ** (1 - digits)
    middle, std = (low + high) / 2, 5 * 2.0**-23
    for offset in np.linspace(-8, 8, 9):
        expected = fi.Normal(middle + offset * 2.0**-23, std)
        known, (mean_off, std_off) = theory(expected, 1, dtype), moment_tolerance(expected, dtype)
        for moved in (-1.0, 0.0, 1.0):
            p = stats.norm.sf(middle, expected.mean + moved * 2.0**-23, std)
            mean, spread = low + p * (high - low), math.sqrt(p * (1 - p)) * (high - low)
            assert abs(mean - known.mean) <= mean_off + 1e-15
            assert abs(spread - known.std) <= std_off + 1e-15
            if moved == 0:
                assert (known.mean, known.std) == pytest.approx((mean, spread), rel=1e-9)


def test_the_tolerance_of_wide_distributions_is_small() -> None:
    for dtype in CODED:
        least, exact, most = cumulative(fi.Normal(0.0, 0.02), dtype)
        assert (least <= exact).all()
        assert (exact <= most).all()
        assert (most - least).max() < 1e-6
        assert max(moment_tolerance(fi.Normal(0.0, 0.02), dtype)) < 2e-8  # 1.5 spacings of 0.08


@pytest.mark.parametrize(
    ("expected", "dtype", "spacings"),
    [
        (fi.Normal(100, 0.05), "bfloat16", "0.1"),  # the spacing there is 1/2
        (fi.Uniform(99.9, 100.1), "bfloat16", "0.12"),
        (fi.Normal(1000, 0.1), "float16", "0.2"),
        (fi.Normal(5, 0.1), "float8_e4m3fn", "0.2"),
    ],
)
def test_less_than_a_spacing_wide(
    tmp_path: Path, expected: fi.Distribution, dtype: str, spacings: str
) -> None:
    """Nothing is flagged, and the reason for that is stated."""
    flags, notes = check_one(tmp_path, expected(5000, seed=0, dtype=dtype), dtype, expected)  # type: ignore[arg-type]
    assert flags == ()
    assert notes == (
        f"the expected standard deviation is {spacings} spacings of {dtype}: most of it is lost in rounding, "
        "so little can be told from the values",
    )
