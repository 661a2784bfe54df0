"""The check of files: what it measures, what it flags, and that it leaves good tensors alone.

Expected values come from NumPy, SciPy, ml_dtypes and closed formulas. Seeds are fixed; each test of
a tensor has a false-alarm rate of 1e-9, so that the few thousand good tensors here would raise
a flag with a probability of 1e-5, had the seeds been drawn afresh.
"""

from __future__ import annotations

import math
import re
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

import fastinit as fi
from cases import NUMPY_DTYPES as DTYPES
from fastinit import copies, plot
from fastinit.check import Checked, check_tensors, judge, ks_limit, table
from fastinit.files import Stored
from fastinit.measure import SHOWN_BINS, measure
from fastinit.rounding import decode_table
from fastinit.tensor import Tensor
from fastinit.theory import bounds, cdf, cell, theory
from machine import need_matplotlib

CODED = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
LAWS = [
    fi.Uniform(-0.05, 0.05),
    fi.Uniform(0.3, 0.9),
    fi.Normal(0.0, 0.02),
    fi.Normal(0.5, 0.1),
    fi.TruncatedNormal(0.0, 0.03),
    fi.TruncatedNormal(0.1, 0.2, lower=-1.0, upper=3.0),
    fi.TruncatedNormal(0.0, 1.0, lower=0.5, upper=math.inf),
    fi.TruncatedNormal(0.0, 0.01, lower=7.0, upper=9.0),
]


def distribution_of(law: fi.Distribution) -> Any:
    """SciPy's form of it."""
    match law:
        case fi.Uniform(low, high):
            return stats.uniform(low, high - low)
        case fi.Normal(mean, std):
            return stats.norm(mean, std)
        case fi.TruncatedNormal(mean, std, lower=lower, upper=upper):
            return stats.truncnorm(lower, upper, mean, std)
    raise AssertionError(law)


def grid_of(name: str) -> NDArray[np.float64]:
    """All finite numbers of a dtype, in rising order."""
    kind = DTYPES[name]
    codes = np.arange(256**kind.itemsize, dtype=f"u{kind.itemsize}").view(kind)
    with np.errstate(invalid="ignore"):  # signalling NaNs among the codes
        values = codes.astype(np.float64)
    return np.unique(values[np.isfinite(values)])


def draw(law: fi.Distribution, n: int, seed: int, dtype: str = "float32") -> NDArray[Any]:
    """Values of `law`, rounded to nearest, or to the bound rounded inward where that is nearer."""
    rng = np.random.default_rng(seed)
    match law:
        case fi.Uniform(low, high):
            x = rng.uniform(low, high, n)
        case fi.Normal(mean, std):
            return rng.normal(mean, std, n).astype(DTYPES[dtype])
        case fi.TruncatedNormal(mean, std, lower=lower, upper=upper):
            # From the upper tail, where the intervals of this file need their digits.
            p = rng.uniform(special.ndtr(-upper), special.ndtr(-lower), n)
            x = mean - std * special.ndtri(p)
            low, high = mean + std * lower, mean + std * upper
    if dtype in ("float32", "float64"):
        kind = DTYPES[dtype].type
        low, high = (
            kind(b) if inside(kind(b), b) else np.nextafter(kind(b), kind(-towards))
            for b, towards, inside in (
                (low, -math.inf, lambda r, b: float(r) >= b),
                (high, math.inf, lambda r, b: float(r) <= b),
            )
        )
    else:
        grid = grid_of(dtype)
        low, high = grid[grid >= low].min(), grid[grid <= high].max()
    return np.clip(x.astype(DTYPES[dtype]).astype(np.float64), low, high).astype(DTYPES[dtype])


def sample(quantile: Any, n: int, mean: float, std: float) -> NDArray[np.float64]:
    """Values at even quantiles, with exactly this mean and this standard deviation about it."""
    z = quantile((np.arange(n) + 0.5) / n)
    moved: NDArray[np.float64] = mean + std * (z - z.mean()) / z.std()
    return moved


def store(folder: Path, array: NDArray[Any], name: str = "w", before: int = 24) -> Stored:
    """`array` in a file of its own, after some other bytes."""
    path = folder / f"{name}.bin"
    path.write_bytes(b"\xff" * before + array.tobytes() + b"\xff" * 9)
    names = {kind: text for text, kind in DTYPES.items()}
    return Stored(name, names[array.dtype], array.shape, path, before, array.nbytes)


def flags_of(folder: Path, array: NDArray[Any], law: fi.Distribution | None) -> list[str]:
    stored = store(folder, array)
    return judge(measure(stored, law), law, stored)


# Decoding


@pytest.mark.parametrize("name", CODED)
def test_every_code_is_decoded_as_ml_dtypes_does(name: str) -> None:
    kind = DTYPES[name]
    codes = np.arange(256**kind.itemsize, dtype=f"u{kind.itemsize}")
    expected = codes.view(kind).astype(np.float32)
    decoded = decode_table(name)
    assert decoded.dtype == np.float32
    assert np.array_equal(np.isnan(decoded), np.isnan(expected))
    real = ~np.isnan(expected)
    assert np.array_equal(decoded[real].view(np.uint32), expected[real].view(np.uint32))


# Measuring


@pytest.mark.parametrize("buffer_bytes", [8, 4096, 2**18])
def test_measured_values_equal_numpys(tmp_path: Path, dtype: str, buffer_bytes: int) -> None:
    law = fi.Normal(0.5, 0.1)
    a = draw(law, 20_011, 3, dtype).reshape(-1, 1)
    if buffer_bytes == 8:
        a = a[:1501]
    found = measure(store(tmp_path, a), law, None, buffer_bytes)
    x = a.astype(np.float64)
    assert found.size == found.finite == x.size
    assert found.mean == pytest.approx(x.mean(), rel=1e-12)
    assert found.std == pytest.approx(x.std(), rel=1e-10)
    assert (found.min, found.max) == (x.min(), x.max())
    assert (found.at_min, found.at_max) == ((x == x.min()).sum(), (x == x.max()).sum())
    assert found.on_bounds == 0
    assert np.array_equal(found.head, x.reshape(-1)[:1024].astype(np.float32))
    assert found.counts.sum() == x.size


def test_the_histogram_counts_what_numpys_does(tmp_path: Path, dtype: str) -> None:
    law = fi.TruncatedNormal(0.0, 0.03)
    a = draw(law, 50_000, 4, dtype)
    found = measure(store(tmp_path, a), law)
    assert 2 < found.counts.size <= SHOWN_BINS
    expected, _ = np.histogram(a.astype(np.float64), found.edges)
    assert np.abs(found.counts - expected).max() <= 2  # values on an edge may go either way
    assert found.counts.sum() == a.size


def test_values_on_the_bounds_are_counted(tmp_path: Path, dtype: str) -> None:
    a = np.array([-0.5, 0.5, 0.5, 0.25, 0.0], DTYPES[dtype])
    assert measure(store(tmp_path, a), fi.Uniform(-0.5, 0.5)).on_bounds == 3 / 5


def test_bounds_are_those_of_the_dtype() -> None:
    # The neighbours of 0.1: 0x3DCCCCCC < 0.1 < 0x3DCCCCCD; 0x3DCC < 0.1 < 0x3DCD.
    law = fi.Uniform(-0.1, 0.1)
    assert bounds(law, "float32")[1] == struct.unpack(">f", b"\x3d\xcc\xcc\xcc")[0]
    assert bounds(law, "bfloat16") == (-0.099609375, 0.099609375)
    assert bounds(law, "float8_e4m3fn") == (-0.09375, 0.09375)
    assert bounds(law, "float64") == (-0.1, 0.1 - 2.0**-56)  # the end of a uniform is open
    closed = fi.TruncatedNormal.within(-0.1, 0.1)
    assert bounds(closed, "float64") == (-0.1, 0.1)
    assert bounds(closed, "bfloat16") == (-0.099609375, 0.099609375)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_ks_is_scipys_to_the_resolution_of_the_bins(
    tmp_path: Path, law: fi.Distribution, name: str
) -> None:
    for seed, n in enumerate((50, 3_000, 100_000)):
        a = draw(law, n, seed, name)
        found = measure(store(tmp_path, a), law).ks
        expected = stats.kstest(a.astype(np.float64), distribution_of(law).cdf).statistic
        # What lies in one bin: 0.0016 for a normal, 0.004 for the steepest.
        assert expected - 0.0045 - 1 / n <= found <= expected + 1e-7


@pytest.mark.parametrize("law", LAWS[:6], ids=str)
@pytest.mark.parametrize("name", CODED)
def test_ks_of_few_bits_is_that_at_the_rounding_boundaries(
    tmp_path: Path, law: fi.Distribution, name: str
) -> None:
    a = draw(law, 30_000, 5, name)
    x = np.sort(a.astype(np.float64))
    grid = grid_of(name)
    middle = (grid[1:] + grid[:-1]) / 2
    reference = distribution_of(law)
    low, high = reference.support()
    theirs = reference.cdf(middle)
    theirs[middle < grid[grid >= low].min()] = 0
    theirs[middle > grid[grid <= high].max()] = 1
    ours = np.searchsorted(x, middle) / x.size
    found = measure(store(tmp_path, a), law).ks
    expected = np.abs(ours - theirs).max()
    # In favour of the values, each point is moved by 1.5 spacings of float32: at most 1.5 * 2**-23 of the
    # size of the values, of which at most a third lies in one such interval.
    assert expected - 5e-7 <= found <= expected + 1e-9


def test_non_finite_values_are_left_out_and_counted(tmp_path: Path, dtype: str) -> None:
    a = draw(fi.Normal(), 5_000, 6, dtype)
    a[[3, 70]] = np.nan
    count = 2
    if dtype != "float8_e4m3fn":
        a[[4, 71, 72]] = [np.inf, -np.inf, np.inf]
        count = 5
    found = measure(store(tmp_path, a), fi.Normal())
    x = a.astype(np.float64)
    assert found.nonfinite == count
    assert found.mean == pytest.approx(x[np.isfinite(x)].mean(), rel=1e-12)
    assert flags_of(tmp_path, a, fi.Normal()) == [f"{count} of 5000 values are NaN or infinite"]
    assert flags_of(tmp_path, a, None) == [f"{count} of 5000 values are NaN or infinite"]
    a[:] = np.nan
    assert flags_of(tmp_path, a, fi.Normal()) == ["5000 of 5000 values are NaN or infinite"]


def test_empty_and_single_tensors(tmp_path: Path, dtype: str) -> None:
    for shape in ((0,), (3, 0), (), (1,)):
        a = np.full(shape, 0.5, DTYPES[dtype])
        for law in (None, fi.Uniform(0.0, 1.0), fi.Normal()):
            assert flags_of(tmp_path, a, law) == []


def test_memory_does_not_grow_with_the_tensor(tmp_path: Path, dtype: str) -> None:
    a = np.resize(draw(fi.Normal(), 2**16, 6, dtype), 2**24 // DTYPES[dtype].itemsize)
    stored = store(tmp_path, a)
    measure(stored, fi.Normal())  # makes the tables, which are kept
    tracemalloc.start()
    try:
        measure(stored, fi.Normal())
        assert tracemalloc.get_traced_memory()[1] < 2**22 < stored.nbytes / 2
    finally:
        tracemalloc.stop()


def test_bad_files_are_named_with_the_tensor(tmp_path: Path) -> None:
    good = store(tmp_path, np.zeros((3, 4), np.float32))
    short = Stored("w", "float32", (300, 4), good.path, 24, 4800)
    with pytest.raises(
        ValueError, match=r"w\.bin: 'w': expected 4800 bytes from 24 on, .* after 57 of"
    ):
        measure(short)
    with pytest.raises(
        ValueError, match=r"w\.bin: 'w': float32 of shape .* must have 48 bytes, got 44"
    ):
        measure(Stored("w", "float32", (3, 4), good.path, 24, 44))
    with pytest.raises(ValueError, match=r"w\.bin: 'w': dtype must be one of float32.*got I64"):
        measure(Stored("w", "I64", (3, 4), good.path, 24, 96))
    with pytest.raises(ValueError, match=r"w\.bin: 'w': padding_idx must be .*, got 3"):
        measure(good, None, 3)


@pytest.mark.parametrize(("kind", "largest"), [("f4", 3.4e38), ("f8", 1.7e308)])
@pytest.mark.parametrize("low", [-1, 0, 1])
@pytest.mark.parametrize("lows", [30, 50])  # with 50 the median lies between two values
def test_the_largest_numbers(
    tmp_path: Path, kind: str, largest: float, low: int, lows: int
) -> None:
    """Differences of them are infinite: no error, no warning, and the right extremes."""
    a = np.array([low * largest] * lows + [largest] * (100 - lows), kind)
    for expected in (None, fi.Uniform(-largest, largest), fi.Normal(0, 1)):
        found = measure(store(tmp_path, a), expected)
        assert (found.min, found.max) == (float(a[0]), float(a[-1]))
        assert found.counts.sum() == 100
        assert np.isfinite(found.edges).all()
    assert measure(store(tmp_path, a)).counts.sum() == 100


EXTREME = [
    (fi.Normal(0, 1e-320), "float32"),  # the std of the values is infinite times its own
    (fi.Uniform(0, 1e-320), "float32"),
    (fi.TruncatedNormal(0, 1e-320, lower=-1, upper=1), "float32"),
    (fi.TruncatedNormal(0, 1, lower=0, upper=1e-320), "float32"),
    (fi.TruncatedNormal(0, 1e-30, lower=-1e300, upper=1e300), "float32"),
    (fi.TruncatedNormal(0, 1e300, lower=-1, upper=1), "float64"),
    (fi.TruncatedNormal(1e154, 1e154, lower=-1e300, upper=1e300), "float64"),
    (fi.TruncatedNormal(1.7e308, 1.7e308, lower=-1, upper=1), "float64"),
    (fi.TruncatedNormal(1.7e308, 1.7e308, lower=0, upper=2), "float64"),  # its mean is infinite
    (fi.Constant(1e300), "float64"),
]


@pytest.mark.parametrize(("law", "dtype"), EXTREME, ids=str)
@pytest.mark.parametrize("kind", ["f4", "f8", "f2"])
def test_laws_at_the_ends_of_the_range(
    tmp_path: Path, law: fi.Distribution, dtype: str, kind: str
) -> None:
    """A file may record any: what is off is flagged, without an error or a warning."""
    np.save(tmp_path / "w.npy", np.linspace(-1, 1, 70).astype(kind))
    (one,) = fi.Model([Tensor("w", (70,), law, dtype)]).check(tmp_path / "w.npy")
    assert one.flags
    assert one.measured is not None
    assert np.isfinite(one.measured.edges).all()
    assert len(table([one]).splitlines()) > 2


def test_one_long_name_does_not_widen_all_rows(tmp_path: Path) -> None:
    names = ["n\n" * 10**5, *map(str, range(1000))]
    where = [Stored(name, "I64", (0,), tmp_path / "w", 0, 0) for name in names]
    text = table([Checked(one.name, one, None, None, None, ()) for one in where])
    assert len(text) < 600_000
    assert text.splitlines()[1].startswith("n\\nn\\n")


# Theory


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_theory_is_scipys(law: fi.Distribution) -> None:
    found, reference = theory(law, 10), distribution_of(law)
    mean, variance, kurtosis = reference.stats("mvk")
    if law == LAWS[-1]:  # SciPy loses the digits of moments so far out; the density does not
        low, high = reference.support()
        x = np.linspace(low, high, 200_001)
        w = reference.pdf(x) / reference.pdf(x).sum()
        mean = (w * x).sum()
        variance = (w * (x - mean) ** 2).sum()
        kurtosis = (w * (x - mean) ** 4).sum() / variance**2 - 3
        assert found.std == pytest.approx(math.sqrt(variance), rel=1e-4)
    else:
        assert found.std == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.mean == pytest.approx(mean, rel=1e-4 if law == LAWS[-1] else 1e-9, abs=1e-15)
    assert found.kurtosis == pytest.approx(kurtosis + 3, rel=1e-4 if law == LAWS[-1] else 1e-9)
    low, high = reference.support()
    assert (found.min_is_bound, found.max_is_bound) == (math.isfinite(low), math.isfinite(high))
    assert not found.min_is_bound or found.min == pytest.approx(low)
    assert not found.max_is_bound or found.max == pytest.approx(high)


@pytest.mark.parametrize(
    "law", [*LAWS, fi.TruncatedNormal(0.0, 1.0, lower=-9.0, upper=-4.0), fi.TruncatedNormal(0, 1, lower=30, upper=math.inf)], ids=str
)  # fmt: skip
def test_distribution_function_is_scipys(law: fi.Distribution) -> None:
    reference = distribution_of(law)
    x = reference.ppf(np.linspace(0.001, 0.999, 999))
    assert cdf(law, x) == pytest.approx(np.linspace(0.001, 0.999, 999), abs=1e-9)
    assert cdf(law, np.array([-1e30, 1e30])).tolist() == [0, 1]


def test_far_lower_tail() -> None:
    """Where the probabilities above all values are 1 to the last digit."""
    for lower, upper in ((-math.inf, -30.0), (-12.0, -10.0)):
        expected = fi.TruncatedNormal(0, 1, lower=lower, upper=upper)
        x = -stats.truncnorm(-upper, -lower).isf(np.linspace(0.001, 0.999, 999))
        assert cdf(expected, x) == pytest.approx(np.linspace(0.001, 0.999, 999), abs=1e-9)


def test_distribution_function_around_the_mean() -> None:
    x = np.array([-1e-4, -9e-5, -1e-5, 0.0, 1e-9, 1e-5, 9e-5, 1e-4])
    assert cdf(fi.Normal(), x) == pytest.approx(special.ndtr(x), abs=2e-13)


def test_standard_error_of_the_standard_deviation() -> None:
    """std sqrt((kurtosis - 1) / 4 n): std / sqrt(2 n) for a normal, std / sqrt(5 n) for a uniform."""
    assert theory(fi.Normal(0.0, 3.0), 50).std_error(50) == pytest.approx(0.3)
    uniform = fi.Uniform(low=0.0, high=math.sqrt(12))
    assert theory(uniform, 20).std_error(20) == pytest.approx(0.1)


def test_extremes_are_the_bounds_of_the_dtype(dtype: str) -> None:
    found = theory(fi.TruncatedNormal(0.0, 1.0, lower=0.1, upper=2.1), 10, dtype)
    # Rounded inward: 0x2E67 is the number of float16 above 0.1, and spacings at 2.1 are 2**-9, 2**-6, 1/4 and 1/2.
    within = {
        "float16": (struct.unpack(">e", b"\x2e\x67")[0], 1075 / 512),
        "bfloat16": (0.10009765625, 134 / 64),
        "float8_e4m3fn": (0.1015625, 2.0),
        "float8_e5m2": (0.109375, 2.0),
    }
    assert (found.min, found.max) == within.get(dtype, (0.1, 2.1))
    assert bounds(fi.TruncatedNormal(lower=0, upper=math.inf), dtype) == (0, math.inf)
    assert bounds(fi.Normal(), dtype) == (-math.inf, math.inf)


def test_extremes_of_a_normal_are_medians() -> None:
    # P(all of n below x) = Phi(x)**n = 1/2.
    x = special.ndtri(0.5 ** (1 / 1000))
    found = theory(fi.Normal(1.0, 2.0), 1000)
    assert (found.min, found.max) == pytest.approx((1 - 2 * x, 1 + 2 * x))


@pytest.mark.parametrize("name", CODED)
def test_theory_after_rounding_is_that_of_many_rounded_values(name: str) -> None:
    law = fi.Normal(0.0, 0.013)
    x = (special.ndtri((np.arange(2_000_000) + 0.5) / 2_000_000) * 0.013).astype(DTYPES[name])
    found = theory(law, 10, name)
    assert found.std == pytest.approx(x.astype(np.float64).std(), rel=1e-5)


# Good tensors


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_good_tensors_raise_no_flag(tmp_path: Path, dtype: str, law: fi.Distribution) -> None:
    for seed in range(12):
        for n in (2, 7, 64, 1_000, 40_000):
            assert flags_of(tmp_path, draw(law, n, 100 * seed + n % 97, dtype), law) == []


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
def test_own_tensors_raise_no_flag(tmp_path: Path, name: str) -> None:
    for init in (
        fi.he_normal,
        fi.glorot_uniform,
        fi.Normal(0.0, 0.02),
        fi.TruncatedNormal(0, 0.02, lower=-3, upper=3),
    ):
        for seed in range(5):
            a = init((256, 1024), seed=seed, dtype=name)
            assert flags_of(tmp_path, a, init.resolve(a.shape)) == []
            assert flags_of(tmp_path, a, None) == []


def test_rounding_far_from_zero_raises_no_flag(tmp_path: Path) -> None:
    # 16 numbers of float32 in a standard deviation.
    for law in (fi.Normal(1000.0, 1e-3), fi.Uniform(1000.0, 1000.002)):
        for seed in range(5):
            assert flags_of(tmp_path, draw(law, 100_000, seed), law) == []


def test_values_that_vanish_in_the_dtype_raise_no_flag(tmp_path: Path) -> None:
    for std in (1e-5, 4e-4, 1e-3):  # the smallest float8_e4m3fn is 2e-3
        law = fi.Normal(0.0, std)
        assert flags_of(tmp_path, draw(law, 50_000, 1, "float8_e4m3fn"), law) == []


# Bad tensors


@pytest.mark.parametrize("parts", [2, 3, 4, 8])
def test_the_fan_of_a_shard_is_named(tmp_path: Path, dtype: str, parts: int) -> None:
    whole, shard = (1024, 256), (1024 // parts, 256)
    a = draw(fi.he_normal.resolve(shard), 1024 * 256, 8, dtype)
    (flag,) = flags_of(tmp_path, a, fi.he_normal.resolve(whole))
    std, ratio, *words = flag.split(" ", 2)
    # Four standard errors of the sample, and what 8-bit dtypes add to the variance by rounding.
    assert float(ratio) == pytest.approx(math.sqrt(1024 / (1024 // parts)), rel=0.012)
    expected = f"times its theory: as if its fan were 1/{parts}, that of a shard"
    assert (std, words) == ("std", [expected])


def test_a_fan_too_large_is_named(tmp_path: Path, dtype: str) -> None:
    a = draw(fi.Normal(0.0, 0.01), 200_000, 8, dtype)
    flags = flags_of(tmp_path, a, fi.Normal(0.0, 0.02))
    assert flags == ["std 0.50 times its theory: as if its fan were 4 times as large"]


@pytest.mark.parametrize("ratio", [1.32, 1.5, 1.62, 0.62, 0.67, 0.76])
def test_other_ratios_name_no_fan(tmp_path: Path, ratio: float) -> None:
    """Their squares, or those of their inverses, are above and below the nearest whole number."""
    expected, n = fi.Normal(0.0, 0.02), 100_001
    a = sample(special.ndtri, n, 0.0, ratio * 0.02)
    assert flags_of(tmp_path, a, expected) == [f"std {ratio:.2f} times its theory"]


@pytest.mark.parametrize("outlier", [None, 2.5, -2.5])
def test_values_beyond_the_bounds_of_the_other_fan_name_no_fan(
    tmp_path: Path, outlier: float | None
) -> None:
    """A quarter of the fan doubles the bounds; a value outside of those has another cause."""
    expected, n = fi.Uniform(low=-1.0, high=1.0), 100_001
    a = sample(np.asarray, n, 0.0, 2 / math.sqrt(3))
    if outlier is not None:
        a[77] = outlier
    flag = flags_of(tmp_path, a, expected)[0]
    fan = "" if outlier is not None else ": as if its fan were 1/4, that of a shard"
    assert flag == f"std 2.00 times its theory{fan}"


@pytest.mark.parametrize(
    "law", [fi.Normal(0.0, 0.02), fi.TruncatedNormal(0.0, 0.02, lower=-3.0, upper=3.0)]
)
def test_clipped_normals_are_flagged(tmp_path: Path, dtype: str, law: fi.Distribution) -> None:
    x = draw(fi.Normal(0.0, 0.02), 100_000, 10, "float64")
    a = np.clip(x, -0.04, 0.04).astype(DTYPES[dtype])
    assert any(flag.startswith("clipped: ") for flag in flags_of(tmp_path, a, law))


def test_values_clipped_to_the_bounds_themselves_are_flagged(tmp_path: Path, dtype: str) -> None:
    """A normal cut by clipping at +-2 instead of drawing again: 2.3 % on each bound."""
    law = fi.TruncatedNormal(0.0, 0.25)
    x = draw(fi.Normal(0.0, 0.25), 100_000, 11, "float64")
    a = np.clip(x, -0.5, 0.5).astype(DTYPES[dtype])
    assert any("clipped" in flag for flag in flags_of(tmp_path, a, law))
    assert (
        measure(store(tmp_path, a), law).on_bounds
        == np.isin(a.astype(np.float64), (-0.5, 0.5)).mean()
    )


def test_values_outside_the_bounds_are_flagged(tmp_path: Path, dtype: str) -> None:
    law = fi.Uniform(-0.5, 0.5)
    a = draw(law, 10_000, 12, dtype)
    a[77] = 0.75
    assert flags_of(tmp_path, a, law) == ["values up to 0.75 above the bound 0.5"]
    a[78] = -1
    expected = ["values down to -1 below the bound -0.5 and up to 0.75 above the bound 0.5"]
    assert flags_of(tmp_path, a, law) == expected


def test_rounding_over_a_bound_is_called_that(tmp_path: Path) -> None:
    law = fi.TruncatedNormal.within(-0.1, 0.1, mean=0.0, stddev=10.0)  # all but uniform
    x = np.random.default_rng(13).uniform(-0.1, 0.1, 10_000).astype(ml_dtypes.bfloat16)
    (flag,) = flags_of(tmp_path, x, law)
    assert flag.endswith("above the bound 0.0996094, as rounding to nearest gives")


def test_a_mean_that_is_off_is_flagged(tmp_path: Path, dtype: str) -> None:
    a = draw(fi.Normal(0.05, 0.5), 40_000, 14, dtype)
    flags = flags_of(tmp_path, a, fi.Normal(0.0, 0.5))
    assert flags
    assert flags[0].startswith("mean 0.0")


def test_a_wrong_shape_of_the_same_moments_is_flagged(tmp_path: Path, dtype: str) -> None:
    a = draw(fi.Uniform(-math.sqrt(3) / 8, math.sqrt(3) / 8), 40_000, 15, dtype)
    flags = flags_of(tmp_path, a, fi.Normal(0.0, 0.125))
    assert any("distance" in flag or "clipped" in flag or "std" in flag for flag in flags)


def test_a_normal_instead_of_a_uniform_shows_in_the_distance(tmp_path: Path) -> None:
    a = draw(fi.Uniform(-math.sqrt(3) / 8, math.sqrt(3) / 8), 40_000, 15)
    (flag,) = flags_of(tmp_path, a, fi.Normal(0.0, 0.125))
    assert flag.startswith("distance 0.05")  # scipy: max |Phi(x) - uniform| = 0.057
    assert flag.endswith(f"from a normal distribution, expected at most {ks_limit(40_000):.2g}")


# Limits: two-sided, and tested just inside and just outside.

#: The standard errors that a normal exceeds, on either side, with a probability of 1e-9: 6.1094.
SIGMAS = float(stats.norm.isf(1e-9 / 2))


def has_flag(flags: list[str], start: str) -> bool:
    return any(flag.startswith(start) for flag in flags)


@pytest.mark.parametrize("side", [-1, 1])
def test_limits_of_the_mean(tmp_path: Path, side: int) -> None:
    expected, n = fi.Normal(0.5, 2.0), 10_000
    limit = SIGMAS * 2.0 / math.sqrt(n)
    within = sample(special.ndtri, n, 0.5 + side * 0.995 * limit, 2.0)
    assert flags_of(tmp_path, within, expected) == []
    beyond = sample(special.ndtri, n, 0.5 + side * 1.005 * limit, 2.0)
    assert has_flag(flags_of(tmp_path, beyond, expected), "mean ")


@pytest.mark.parametrize(
    ("expected", "quantile", "kurtosis"),
    [(fi.Normal(1.0, 3.0), special.ndtri, 3.0), (fi.Uniform(low=0.0, high=1.0), np.asarray, 1.8)],
    ids=["normal", "uniform"],
)
def test_limits_of_the_standard_deviation(
    tmp_path: Path, expected: fi.Distribution, quantile: Any, kurtosis: float
) -> None:
    """The upper limit is a quantile of chi-squared, with the degrees of freedom that give the variance its
    standard error. The lower limit is 6.1 of these standard errors, but for terms of 1 / n: it allows more."""
    mean, std = distribution_of(expected).stats("m"), distribution_of(expected).std()

    def is_flagged(n: int, ratio: float) -> bool:
        """Of n values whose variance, from n - 1 degrees of freedom, is `ratio` times its theory."""
        a = sample(quantile, n, mean, std * math.sqrt(ratio * (n - 1) / n))
        return has_flag(flags_of(tmp_path, a, expected), "std ")

    freedom = 2 * 100 / (kurtosis - 1)
    upper = stats.chi2.isf(1e-9 / 2, freedom) / freedom
    assert not is_flagged(101, 0.99 * upper)
    assert is_flagged(101, 1.01 * upper)
    lower = 1 - SIGMAS * math.sqrt((kurtosis - 1) / 100_000)
    assert not is_flagged(100_001, lower + 1e-4)
    assert is_flagged(100_001, lower - 1e-3)


def test_bounds_on_either_side(tmp_path: Path, dtype: str) -> None:
    expected = fi.Uniform(low=-0.5, high=0.5)
    for value, words in (
        (0.75, "values up to 0.75 above the bound 0.5"),
        (-0.75, "values down to -0.75 below the bound -0.5"),
    ):
        a = draw(expected, 10_000, 12, dtype)
        a[77] = value
        assert flags_of(tmp_path, a, expected) == [words]


def test_one_clipped_tail_is_the_one_that_is_named(tmp_path: Path) -> None:
    expected = fi.Normal(0.0, 0.02)
    x = draw(expected, 100_000, 10)
    for a, end in (
        (np.maximum(x, np.float32(-0.04)), "-0.04"),
        (np.minimum(x, np.float32(0.04)), "0.04"),
    ):
        share = (a == np.float32(end)).mean()
        assert share == pytest.approx(stats.norm.sf(2), rel=0.1)
        flags = [flag for flag in flags_of(tmp_path, a, expected) if flag.startswith("clipped")]
        assert flags == [f"clipped: {share:.2%} of the values at {end}"]


def test_constants(tmp_path: Path, dtype: str) -> None:
    a = np.full((40, 30), 0.1, DTYPES[dtype])
    value = float(a.astype(np.float64)[0, 0])
    assert flags_of(tmp_path, a, fi.Constant(0.1)) == []
    assert flags_of(tmp_path, a, fi.Normal(0.1, 0.0)) == []
    assert flags_of(tmp_path, a, fi.Constant(1.0)) == [f"all values are {value:.6g}, expected 1"]
    assert flags_of(tmp_path, a, fi.Normal()) == [
        f"all values are {value:.6g}, expected a normal distribution"
    ]
    assert flags_of(tmp_path, a, None) == [f"all values are {value:.6g}"]
    assert flags_of(tmp_path, a[0], None) == []  # a bias or a scale
    a[3, 4] = 2
    assert flags_of(tmp_path, a, fi.Constant(0.1)) == [
        f"values from {value:.6g} to 2, expected 0.1 throughout"
    ]
    a[3, 4] = -2
    assert flags_of(tmp_path, a, fi.Constant(0.1)) == [
        f"values from -2 to {value:.6g}, expected 0.1 throughout"
    ]


def test_without_theory_clipping_shows(tmp_path: Path, dtype: str) -> None:
    x = draw(fi.Normal(0.0, 0.02), 100_000, 16, "float64")
    clipped = np.clip(x, -0.02, 0.02).astype(DTYPES[dtype])
    (flag,) = flags_of(tmp_path, clipped, None)
    assert flag.startswith("clipped: 1")
    assert flags_of(tmp_path, x.astype(DTYPES[dtype]), None) == []
    signs = np.sign(x).astype(DTYPES[dtype])
    assert flags_of(tmp_path, signs, None) == []


def test_ks_limit_holds_for_every_size() -> None:
    for n in (10, 1000, 10**6):
        assert stats.kstwo.sf(ks_limit(n), n) <= 1e-9


# The padding row


@pytest.mark.parametrize("row", [0, 3, 49])
def test_the_padding_row_is_left_out(tmp_path: Path, dtype: str, row: int) -> None:
    a = draw(fi.Normal(0.5, 0.1), 50 * 77, 17, dtype).reshape(50, 77)
    a[row] = 0
    a[row, 5] = -0.0
    stored = store(tmp_path, a)
    for buffer_bytes in (64, 2**18):
        found = measure(stored, fi.Normal(0.5, 0.1), row, buffer_bytes)
        rest = np.delete(a.astype(np.float64), row, axis=0)
        assert found.size == rest.size
        assert found.mean == pytest.approx(rest.mean(), rel=1e-12)
        assert found.min == rest.min()
        assert np.array_equal(found.head, rest.reshape(-1)[:1024].astype(np.float32))
        assert judge(found, fi.Normal(0.5, 0.1), stored) == []
    a[row, 70] = 0.25
    stored = store(tmp_path, a)
    flags = judge(measure(stored, fi.Normal(0.5, 0.1), row), fi.Normal(0.5, 0.1), stored)
    assert flags == ["the padding row is not zero"]


# All tensors of a file


def check_arrays(
    folder: Path, arrays: dict[str, NDArray[Any]], threads: int | None = None
) -> list[Checked]:
    return check_tensors(
        [(store(folder, a, name), None) for name, a in arrays.items()], threads=threads
    )


def test_repeated_and_proportional_tensors_name_the_first(tmp_path: Path) -> None:
    first = draw(fi.Normal(), 5_000, 18)
    arrays = {
        "a": first,
        "different": draw(fi.Normal(), 5_000, 19),
        "b": first,
        "c": first,
        "scaled": first[:200] * np.float32(0.3),
        "negated": (-2 * first[:1000]).astype(ml_dtypes.float8_e5m2),
        "half": first.astype(np.float16),
        "short": first[:63] * 2,
    }
    flags = {one.name: list(one.flags) for one in check_arrays(tmp_path, arrays)}
    assert flags["a"] == flags["different"] == flags["short"] == []
    assert flags["b"] == flags["c"] == ["repeats a"]
    words = "proportional to a: 0.3 times its values, correlation 1.0000 of the first 128"
    assert flags["scaled"] == [words]
    assert flags["half"] == ["repeats values of a in another dtype"]
    both = first[:512], arrays["negated"][:512].astype(np.float64)
    r = np.corrcoef(*both)[0, 1]
    words = rf"proportional to a: -(2|1\.9\d\d|2\.0\d\d) times its values, correlation {r:.4f} of the first 512"
    assert [re.fullmatch(words, flag) is not None for flag in flags["negated"]] == [True]


def test_one_stream_for_two_shapes_is_found(tmp_path: Path) -> None:
    """The same seed without stream names: the same numbers, scaled by the fans."""
    arrays = {
        "up": fi.he_normal((64, 256), seed=1),
        "down": fi.he_normal((256, 64), seed=1),
        "named": fi.he_normal((256, 64), seed=1, stream="named"),
    }
    flags = {one.name: one.flags for one in check_arrays(tmp_path, arrays)}
    words = "proportional to up: 0.5 times its values, correlation 1.0000 of the first 1024"
    assert flags == {"up": (), "down": (words,), "named": ()}  # sqrt(64 / 256)


def test_a_thousand_different_tensors_are_not_repeated(tmp_path: Path) -> None:
    arrays = {
        f"w{i}": draw(LAWS[i % 7], (64, 100, 1024)[i % 3], i, list(DTYPES)[i % 6])
        for i in range(1000)
    }
    assert not any(one.flags for one in check_arrays(tmp_path, arrays))


def test_many_sizes_cost_no_more_comparisons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads are of five lengths, and each is made ready at most once for each length."""
    normalized = []
    unit = copies._unit
    monkeypatch.setattr(copies, "_unit", lambda head: normalized.append(head.size) or unit(head))
    arrays = {f"w{n}": draw(fi.Normal(), n, n) for n in range(64, 1024, 8)}
    check_arrays(tmp_path, arrays)
    assert set(normalized) == {64, 128, 256, 512}
    assert len(normalized) <= 4 * len(arrays)


def test_constants_are_not_repeated(tmp_path: Path) -> None:
    arrays = {name: np.ones(500, np.float32) for name in "abc"}
    arrays |= {f"zero {name}": np.zeros(500, np.float32) for name in "abc"}
    assert not any(one.flags for one in check_arrays(tmp_path, arrays))


def test_results_do_not_depend_on_threads(tmp_path: Path) -> None:
    arrays = {f"w{n}": draw(fi.Normal(), n, n) for n in (3, 70_000, 500, 200_000, 1)}
    one, three = (check_arrays(tmp_path, arrays, threads) for threads in (1, 3))
    assert [c.name for c in one] == list(arrays)
    assert table(one) == table(three)
    for c, name in zip(one, arrays, strict=True):
        assert c.measured is not None
        assert c.measured.size == arrays[name].size


def test_expectations_of_a_model(tmp_path: Path) -> None:
    pairs: list[tuple[Stored, Tensor | None]] = []
    a = fi.Normal()((30, 40), seed=2)
    a[1] = 0
    pairs.append(
        (store(tmp_path, a, "embedding"), Tensor("embedding", (30, 40), fi.Normal(), padding_idx=1))
    )
    a = draw(fi.Normal(), 1200, 3, "bfloat16").reshape(40, 30)
    pairs.append((store(tmp_path, a, "other"), Tensor("other", (30, 40), fi.Normal())))
    path = tmp_path / "ids.bin"
    path.write_bytes(bytes(80))
    pairs.append((Stored("ids", "I64", (10,), path, 0, 80), None))
    reported: list[tuple[int, int]] = []
    embedding, other, ids = check_tensors(
        pairs, threads=1, progress=lambda *at: reported.append(at)
    )
    assert embedding.flags == ()
    assert embedding.theory is not None
    assert embedding.theory.std == 1
    assert other.flags == ("shape (40, 30), expected (30, 40)", "dtype bfloat16, expected float32")
    note = "not measured: its dtype is not one of float32, float64, float16, bfloat16, float8_e4m3fn, float8_e5m2"
    assert (ids.measured, ids.flags, ids.notes) == (None, (), (note,))
    total = 4800 + 2400 + 80
    assert reported[-1] == (total, total)


def test_table_is_aligned_and_keeps_names_whole(tmp_path: Path) -> None:
    name = "model.layers." + "x" * 80
    shard = draw(fi.Normal(0.0, 0.04), 90_000, 20).reshape(300, 300)
    pairs = [
        (store(tmp_path, shard, name), Tensor(name, (300, 300), fi.Normal(0.0, 0.02))),
        (store(tmp_path, np.ones(3, np.float32), "b"), Tensor("b", (3,), fi.ones)),
    ]
    head, first, flag, second = table(check_tensors(pairs)).splitlines()
    assert "std/theory" in head.split()
    assert first.startswith(f"{name}  float32  300x300")
    assert flag == "    ! std 2.00 times its theory: as if its fan were 1/4, that of a shard"
    assert second.index("float32") == head.index("dtype")
    ratio = shard.std(dtype=np.float64) / 0.02
    at = head.index("std/theory") + len("std/theory")
    assert first[:at].endswith(f"  {ratio:.4f}")


# The picture


@pytest.fixture
def checked(tmp_path: Path) -> list[Checked]:
    pairs: list[tuple[Stored, Tensor | None]] = [
        (
            store(tmp_path, draw(law, 5_000, i, name), f"w{i}.{name}"),
            Tensor(f"w{i}", (5_000,), law, name),
        )
        for i, (law, name) in enumerate(zip(LAWS[:6], DTYPES, strict=True))
    ]
    wrong = store(tmp_path, draw(fi.Normal(0, 3), 500, 9), "$wrong_{")
    pairs.append((wrong, Tensor("wrong", (500,), fi.Normal())))
    pairs.append((store(tmp_path, np.ones(40, np.float32), "ones"), None))
    return check_tensors(pairs)


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize(("limit", "rows"), [(24, 2), (3, 1)])
def test_histograms_are_a_png(
    tmp_path: Path, checked: list[Checked], limit: int, rows: int
) -> None:
    """14 inches of 100 dots wide; 5.9 inches for the overview, and 2.45 for each row of histograms."""
    need_matplotlib()
    path = tmp_path / "plots" / "check.png"
    path.parent.mkdir()
    words = plot.histograms(checked, path, limit)
    assert words.startswith(f"{min(limit, 7)} of 8 tensors: 1 of 1 flagged ones, then one of each")
    assert png_size(path) == pytest.approx((1400, 590 + rows * 245), abs=1)
    assert list(path.parent.iterdir()) == [path]
    plot.histograms([], path)
    png_size(path)


def test_flagged_tensors_are_drawn_first(checked: list[Checked]) -> None:
    names = [one.name for one, _ in plot._choose(checked, 24)]
    assert names[0] == "$wrong_{"
    assert "ones" not in names
    assert len(names) == 7


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = ["b.10.w", "b.9.w", "a", "b.9.10", "b.9.2", "10", "b.9", "9"]
    expected = ["9", "10", "a", "b.9", "b.9.2", "b.9.10", "b.9.w", "b.10.w"]
    assert sorted(names, key=plot.natural) == expected


@pytest.fixture
def many(tmp_path: Path) -> list[Checked]:
    """30 layers of two kinds, three of which are wrong; a constant and a missing tensor; one without theory."""
    tensors = [
        *(Tensor(f"h.{i}.w", (40, 50), fi.Normal(0, 0.5)) for i in range(30)),
        *(Tensor(f"h.{i}.v", (7,), fi.Uniform(0.0, 1.0)) for i in range(30)),
        Tensor("norm", (9,), fi.ones),
        Tensor("lost", (9,), fi.ones),
    ]
    for i, tensor in enumerate(tensors[:-1]):
        a = tensor.init(tensor.shape, seed=i)
        np.save(tmp_path / f"{tensor.name}.npy", a * 3 if tensor.name in ("h.4.w", "h.20.w") else a)
    np.save(tmp_path / "other.npy", draw(fi.Normal(), 100, 5))
    np.save(tmp_path / "ids.npy", np.arange(3))
    return fi.Model(tensors).check(tmp_path)


def test_one_tensor_of_each_kind_is_drawn(many: list[Checked]) -> None:
    ordered = sorted(many, key=lambda one: plot.natural(one.name))
    chosen = [(one.name, alike) for one, alike in plot._choose(ordered, 24)]
    assert chosen == [
        ("h.20.w", 2),
        ("ids", 1),
        ("lost", 1),
        ("other", 1),
        ("h.15.v", 30),
        ("h.15.w", 28),
    ]


def figure_of(checked: list[Checked], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    need_matplotlib()
    from matplotlib import figure

    kept: list[Any] = []
    save = figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda self, *a, **k: (kept.append(self), save(self, *a, **k))
    )
    plot.histograms(checked, folder / "p.png")
    return kept[0]


def test_the_overview_shows_every_tensor(
    tmp_path: Path, many: list[Checked], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = figure_of(many, tmp_path, monkeypatch)
    top, bottom, *panels = figure.axes
    ordered = sorted(many, key=lambda one: plot.natural(one.name))
    numbers = {one.name: i for i, one in enumerate(ordered)}
    assert [numbers[f"h.{i}.{x}"] for i in (0, 10, 29) for x in "vw"] == [0, 1, 20, 21, 58, 59]
    good, wrong, lost = (dict(zip(*line.get_data(), strict=True)) for line in top.lines[1:])
    assert len(good) == 58
    assert sorted(wrong) == [9, 41]  # h.4.w, h.20.w
    assert sorted(wrong.values()) == pytest.approx([3, 3], rel=0.1)
    measured = {one.name: one.measured for one in many}
    assert good[20] == measured["h.10.v"].std * math.sqrt(12)
    assert good[21] == measured["h.10.w"].std / 0.5
    assert sorted(lost) == [numbers["ids"], numbers["lost"], numbers["other"]]
    distances = dict(zip(*bottom.lines[1].get_data(), strict=True))
    limit = math.sqrt(math.log(2e9) / (2 * 2000))
    assert distances[21] == pytest.approx(max(0.03, measured["h.10.w"].ks / limit))
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("std / theory", "KS / limit")
    assert [text.get_text() for text in figure.texts[:2]] != []
    texts = [text.get_text() for text in figure.texts]
    assert "64 tensors in the order of their names, 5 flagged" in texts
    words = (
        "Not shown as points: 1 constant, 1 without theory, 1 not measured, 1 missing in the file."
    )
    assert words in texts
    words = (
        "6 of 64 tensors: 4 of 5 flagged ones, then one of each kind (name without numbers, shape)"
    )
    assert words in texts
    assert len(panels) == 6
    ticks = [tick.get_text() for tick in bottom.get_xticklabels()]
    assert ticks[:2] == ["0\nh.0", "6\nh.3"]


def test_panels_have_names_flags_and_numbers(
    tmp_path: Path, many: list[Checked], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = figure_of(many, tmp_path, monkeypatch).axes[2:]
    texts = [[text.get_text() for text in axes.texts] for axes in panels]
    assert texts[1] == ["60  ids", "not a tensor of the model", "not measured"]
    assert texts[2] == ["61  lost", "missing in the file", "missing in the file"]
    found = next(one.measured for one in many if one.name == "h.15.w")
    limit = math.sqrt(math.log(2e9) / (2 * 2000))
    assert found is not None
    assert texts[5] == [
        "31  h.15.w",
        "1 of 28 alike",
        f"float32 40x50, mean {found.mean:.3g}, std {found.std:.4g}\n"
        f"std / theory {found.std / 0.5:.4f}, KS / limit {found.ks / limit:.2g}",
    ]


def test_without_a_theory_the_overview_shows_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {f"h.{i}": draw(fi.Normal(), 1000, i) * np.float32(2.0**i) for i in range(12)}
    checked = check_arrays(tmp_path, arrays)
    top, bottom, *_ = figure_of(checked, tmp_path, monkeypatch).axes
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("std", "largest |value|")
    stds, largest = (dict(zip(*axes.lines[0].get_data(), strict=True)) for axes in (top, bottom))
    assert stds[11] == pytest.approx(arrays["h.11"].std(dtype=np.float64))
    assert largest[11] == np.abs(arrays["h.11"]).max()


def test_labels_of_the_overview_stay_in_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logarithmic ticks of standard deviations within one decade, and tensors of NaN, which are not constant."""
    arrays = {f"h.{i}": draw(fi.Normal(), 1000, i) * np.float32(0.02 + i / 1000) for i in range(9)}
    arrays |= {"nan": np.full(100, np.nan, np.float32), "zeros": np.zeros(100, np.float32)}
    figure = figure_of(check_arrays(tmp_path, arrays), tmp_path, monkeypatch)
    assert [axes.yaxis.label.get_window_extent().x0 > 0 for axes in figure.axes[:2]] == [True] * 2
    words = "Not shown as points: 1 constant, 1 without a finite value."
    assert any(words in text.get_text() for text in figure.texts)


def test_bars_far_from_the_theory_are_in_their_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bfloat16 tensor far wider than its truncated normal; its bars make up an area of 1."""
    values = (draw(fi.Normal(), 60_000, 3) * np.float32(50.0)).astype(ml_dtypes.bfloat16)
    stored = store(tmp_path, values, "w")
    tensor = fi.Tensor("w", values.shape, fi.TruncatedNormal(), "bfloat16")
    checked = check_tensors([(stored, tensor)])
    axes = figure_of(checked, tmp_path, monkeypatch).axes[2]
    heights, edges, _ = axes.patches[0].get_data()
    low, high = axes.get_xlim()
    assert low <= edges[0]
    assert edges[-1] <= high
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    assert axes.get_ylim()[1] > heights.max()


def test_a_wild_value_gives_no_long_numbers(tmp_path: Path) -> None:
    values = draw(fi.Normal(), 10_000, 4)
    values[0] = 1e30
    (one,) = check_tensors([(store(tmp_path, values, "w"), fi.Tensor("w", (10_000,), fi.Normal()))])
    assert "std 1e+28 times its theory" in one.flags
    assert "  1e+28  " in table([one])


@pytest.mark.parametrize(
    ("law", "low", "high"),
    [
        (fi.Normal(1.0, 2.0), -7.0, 9.0),
        (fi.TruncatedNormal(0.0, 1.0, lower=-math.inf, upper=math.inf), -4.0, 4.0),
        (fi.Uniform(-1.0, 1.0), -1.0, 1.0),
    ],
    ids=str,
)
def test_the_density_is_drawn_between_bounds_and_up_to_four_standard_deviations(
    tmp_path: Path, law: fi.Distribution, low: float, high: float
) -> None:
    """Also for few values, whose extremes lie near the mean."""
    stored = store(tmp_path, np.array([0.25, 0.5], np.float32))
    (one,) = check_tensors([(stored, Tensor("w", (2,), law))])
    assert one.measured is not None
    shown = plot._shown_range(one, one.measured)
    margin = (high - low) / 30
    assert shown == pytest.approx((low - margin, high + margin), rel=1e-6)


@pytest.mark.parametrize("name", ["weights.npy", "model.safetensors", "picture", "picture.pdf"])
def test_a_picture_is_a_png(tmp_path: Path, name: str) -> None:
    """A forgotten value of --plot must not make a picture of a file of weights."""
    path = tmp_path / name
    path.write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"the picture must be a file NAME\.png, got"):
        plot.histograms([], path)
    assert path.read_bytes() == b"weights"


def test_a_failed_picture_leaves_nothing(
    tmp_path: Path, checked: list[Checked], monkeypatch: pytest.MonkeyPatch
) -> None:
    need_matplotlib()
    from matplotlib import figure

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(figure.Figure, "savefig", fail)
    path = tmp_path / "plots" / "check.png"
    path.parent.mkdir()
    with pytest.raises(OSError, match="disk full"):
        plot.histograms(checked, path)
    assert list(path.parent.iterdir()) == []


def test_without_matplotlib_the_error_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"matplotlib: pip install matplotlib$"):
        plot.histograms([], tmp_path / "check.png")


def test_long_names_lose_their_middle() -> None:
    assert plot.shortened("encoder.layers.11.weight", 24) == "encoder.layers.11.weight"
    assert plot.shortened("encoder.layers.11.weight", 13) == "encode\N{HORIZONTAL ELLIPSIS}weight"


def test_values_far_beyond_a_tail_give_no_warning() -> None:
    """Whoever reads a damaged file sees its flags, not those of NumPy: a warning is an error in these tests."""
    assert cell(fi.TruncatedNormal(0, 1, lower=6, upper=np.inf), "float64", 1e200) == (
        1.0,
        0.0,
        0.0,
    )
