"""The check of uniforms: its own have no value on the open end, those of other libraries may round to it.

Seeds are fixed. Each of the tests of a tensor has a false-alarm rate of about 1e-9: had the seeds been drawn afresh, a
flag would come up among the 700 good tensors here with a probability of about 1e-6.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit as fi
from cases import NUMPY_DTYPES as DTYPES
from fastinit.check import check_tensors
from fastinit.files import Stored
from fastinit.measure import Measured
from fastinit.theory import bounds, grid, probabilities, theory

CODED = list(DTYPES)[2:]
ENDS = [(-0.1, 0.1), (0.0, 1.0), (-1.0, 0.0), (-0.5, 0.5), (1.0, 2.0), (0.3, 0.9), (-3.0, -2.0)]


def check_one(
    folder: Path, values: NDArray[Any], dtype: str, expected: fi.Distribution
) -> tuple[tuple[str, ...], Measured]:
    path = folder / "w.bin"
    values.tofile(path)
    stored = Stored("w", dtype, values.shape, path, 0, values.nbytes)
    (one,) = check_tensors([(stored, fi.Tensor("w", values.shape, expected, dtype))])
    assert one.measured is not None
    return one.flags, one.measured


def foreign(dtype: str, low: float, high: float, n: int, seed: int) -> NDArray[Any]:
    """What NumPy gives, rounded to nearest by a cast."""
    return np.random.default_rng(seed).uniform(low, high, n).astype(DTYPES[dtype])


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (0.0, 1.0, "float32", (0.0, 1 - 2.0**-24)),
        (0.0, 1.0, "float64", (0.0, 1 - 2.0**-53)),
        (0.0, 1.0, "float16", (0.0, 1 - 2.0**-11)),
        (0.0, 1.0, "bfloat16", (0.0, 1 - 2.0**-8)),
        (0.0, 1.0, "float8_e4m3fn", (0.0, 1 - 2.0**-4)),
        (0.0, 1.0, "float8_e5m2", (0.0, 1 - 2.0**-3)),
        (-1.0, 0.0, "float8_e4m3fn", (-1.0, -(2.0**-9))),
        (-1.0, 0.0, "float64", (-1.0, -(2.0**-1074))),
        (1.001, 1.3, "float8_e5m2", (1.25, 1.25)),
        (1.001, 1.25, "float8_e4m3fn", (1.125, 1.125)),
        (0.5, 0.5, "float8_e4m3fn", (0.5, 0.5)),
        (0.0, 1.0, None, (0.0, 1.0)),
    ],
)
def test_bounds_of_a_uniform(
    low: float, high: float, dtype: str | None, expected: tuple[float, float]
) -> None:
    """The smallest number not below `low` and the largest below `high`; without a dtype the ends themselves."""
    assert bounds(fi.Uniform(low, high), dtype) == expected
    if dtype in CODED:
        known = theory(fi.Uniform(low, high), 10, dtype)
        assert (known.min, known.max) == expected


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize(("low", "high"), ENDS)
def test_probabilities_of_a_uniform(name: str, low: float, high: float) -> None:
    """Each number has what rounds to it; what would round to `high` or beyond is on the largest number below it."""
    kind = DTYPES[name]
    with np.errstate(invalid="ignore"):  # signalling NaNs among the codes
        codes = np.arange(256**kind.itemsize, dtype=f"u{kind.itemsize}").view(kind)
        numbers = codes.astype(np.float64)
    numbers = np.unique(numbers[np.isfinite(numbers)] + 0.0)
    inside = numbers[(numbers >= low) & (numbers < high)]
    cuts = np.concatenate(([low], (inside[1:] + inside[:-1]) / 2, [high]))
    expected = np.zeros(numbers.size)
    expected[np.searchsorted(numbers, inside)] = np.diff(cuts) / (high - low)
    assert np.array_equal(grid(name)[0], numbers)
    found = probabilities(fi.Uniform(low, high), name)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert not found[(numbers < low) | (numbers >= high)].any()


@pytest.mark.parametrize(("low", "high"), ENDS)
def test_own_uniforms_raise_no_flag(tmp_path: Path, dtype: str, low: float, high: float) -> None:
    expected = fi.Uniform(low, high)
    for seed, n in enumerate((3, 100, 5000, 300_000)):
        values = expected((n,), seed=seed, dtype=dtype)
        assert check_one(tmp_path, values, dtype, expected)[0] == ()


@pytest.mark.parametrize(("low", "high"), ENDS)
def test_uniforms_rounded_to_nearest_raise_no_flag(
    tmp_path: Path, dtype: str, low: float, high: float
) -> None:
    expected = fi.Uniform(low, high)
    for seed, n in enumerate((3, 100, 5000, 1_000_000)):
        values = foreign(dtype, low, high, n, seed)
        assert check_one(tmp_path, values, dtype, expected)[0] == (), n


@pytest.mark.parametrize("name", CODED)
def test_a_foreign_uniform_of_any_size_raises_no_flag(tmp_path: Path, name: str) -> None:
    """Values on a lattice of 2**26 equal steps, in any order, stand for so many: each mass is exact."""
    n = 2**26
    rng = np.random.default_rng(26)
    for low, high in ((0.0, 1.0), (-0.1, 0.1)):
        parts = [
            (low + (high - low) * ((rng.permutation(2**22) * 16 + i + 0.5) / n)).astype(
                DTYPES[name]
            )
            for i in range(16)
        ]
        values = np.concatenate(parts)
        flags, found = check_one(tmp_path, values, name, fi.Uniform(low, high))
        assert flags == ()
        assert found.ks < 1e-6


def test_values_on_the_open_end_count_as_on_the_bounds(tmp_path: Path, dtype: str) -> None:
    values = np.array([-0.5, 0.5, 0.5, 0.25, 0.0], DTYPES[dtype])
    assert check_one(tmp_path, values, dtype, fi.Uniform(-0.5, 0.5))[1].on_bounds == 3 / 5
    largest = bounds(fi.Uniform(-0.5, 0.5), dtype)[1]
    values = np.array([-0.5, largest, 0.25, 0.0], DTYPES[dtype])
    assert check_one(tmp_path, values, dtype, fi.Uniform(-0.5, 0.5))[1].on_bounds == 2 / 4


def test_one_value_on_the_open_end_is_enough(tmp_path: Path) -> None:
    """A float32 file of NumPy with one value that rounded to 1, among many that did not."""
    values = np.random.default_rng(1).uniform(0, 1, 100_000).astype(np.float32)
    values[5] = 1
    assert check_one(tmp_path, values, "float32", fi.Uniform(0.0, 1.0))[0] == ()


# Wrong tensors


@pytest.mark.parametrize("share", [1.02, 1.2])
def test_clipped_uniforms_are_flagged(tmp_path: Path, dtype: str, share: float) -> None:
    """Wider ones, clipped to the ends: 1 % (8.3 %) of the values on each."""
    for low, high in ((-0.5, 0.5), (1.0, 2.0)):
        middle, half = (low + high) / 2, (high - low) / 2
        wider = np.random.default_rng(3).uniform(middle - share * half, middle + share * half, 1_000_000)  # fmt: skip
        values = np.clip(wider, low, high).astype(DTYPES[dtype])
        flags = check_one(tmp_path, values, dtype, fi.Uniform(low, high))[0]
        assert any(flag.startswith("clipped: ") for flag in flags) or dtype.startswith("float8")
        assert flags


def test_clipped_below_the_open_end(tmp_path: Path, dtype: str) -> None:
    """All that was not below `high` took the largest number that is: a pile at one end."""
    largest = bounds(fi.Uniform(0.0, 1.0), dtype)[1]
    wider = np.random.default_rng(4).uniform(0.0, 1.3, 200_000).astype(DTYPES[dtype])
    values = np.minimum(wider, np.array(largest, DTYPES[dtype]))
    flags = check_one(tmp_path, values, dtype, fi.Uniform(0.0, 1.0))[0]
    assert any("clipped" in flag or flag.startswith("mean") for flag in flags)


def test_values_beyond_the_rounded_end_are_flagged(tmp_path: Path, dtype: str) -> None:
    values = foreign(dtype, -0.5, 0.5, 10_000, 5)
    values[7] = 0.75
    expected = ("values up to 0.75 above the bound 0.5",)
    assert check_one(tmp_path, values, dtype, fi.Uniform(-0.5, 0.5))[0] == expected


def test_a_foreign_uniform_of_another_width_is_flagged(tmp_path: Path, dtype: str) -> None:
    values = foreign(dtype, -0.5, 0.5, 100_000, 6)
    flags = check_one(tmp_path, values, dtype, fi.Uniform(-1.0, 1.0))[0]
    assert flags[0].startswith("std 0.5")
    assert flags[0].endswith(" times its theory: as if its fan were 4 times as large")


@pytest.mark.parametrize("name", CODED)
def test_the_fan_of_a_shard_is_named_of_own_uniforms(tmp_path: Path, name: str) -> None:
    """U[-1, 1) has a mean below 0 where its values are rounded; U[-2, 2) has the fan of a quarter."""
    values = fi.Uniform(-2.0, 2.0)((200_000,), seed=1, dtype=name)
    (flag,) = check_one(tmp_path, values, name, fi.Uniform(-1.0, 1.0))[0]
    assert flag.endswith(" times its theory: as if its fan were 1/4, that of a shard")


def test_equal_ends_are_a_constant(tmp_path: Path, dtype: str) -> None:
    values = np.full(100, 0.5, DTYPES[dtype])
    assert check_one(tmp_path, values, dtype, fi.Uniform(0.5, 0.5))[0] == ()
    flags = check_one(tmp_path, values * 2, dtype, fi.Uniform(0.5, 0.5))[0]
    assert flags == ("all values are 1, expected 0.5",)
    assert math.isclose(theory(fi.Uniform(0.5, 0.5), 10, dtype).max, 0.5)


@pytest.mark.parametrize(("dtype", "numbers"), [("bfloat16", 2**8), ("float16", 2**11)])
def test_uniforms_of_few_numbers_are_not_clipped(tmp_path: Path, dtype: str, numbers: int) -> None:
    """PyTorch draws uniforms of these dtypes from so many numbers in [0, 1): the bound has 1/numbers of the values."""
    rng = np.random.default_rng(5)
    low, high = -0.03125, 0.03125
    u = rng.integers(0, numbers, 2**20) / numbers
    values = (low + (high - low) * u).astype(DTYPES[dtype])
    flags, measured = check_one(tmp_path, values, dtype, fi.Uniform(low, high))
    assert measured.at_min / measured.size == pytest.approx(1 / numbers, rel=0.1)
    assert not [flag for flag in flags if "clipped" in flag]
    clipped = np.clip(values.astype(np.float32) * 1.1, low, high).astype(DTYPES[dtype])
    flags, _ = check_one(tmp_path, clipped, dtype, fi.Uniform(low, high))
    assert [flag for flag in flags if "clipped" in flag]


def test_torchs_own_layer_is_not_clipped(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for dtype in ("bfloat16", "float16"):
        weight = torch.nn.Linear(1024, 1024, dtype=getattr(torch, dtype)).weight.detach()
        values = weight.reshape(-1).view(torch.uint16).numpy().view(DTYPES[dtype])
        flags, _ = check_one(tmp_path, values, dtype, fi.Uniform(-0.03125, 0.03125))
        assert flags == ()
