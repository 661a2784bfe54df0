"""Theory and checks of log-uniform, exponential, integers and orthogonal matrices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fastinit as fi
from fastinit.check import Checked, std_limits
from fastinit.cli import main
from fastinit.theory import bounds, cdf, theory
from machine import need_matplotlib

LAWS: list[tuple[fi.Distribution, Any]] = [
    (fi.LogUniform(0.001, 0.1), stats.loguniform(0.001, 0.1)),
    (fi.LogUniform(5.0, 5.5), stats.loguniform(5.0, 5.5)),
    (fi.LogUniform(1e-6, 100.0), stats.loguniform(1e-6, 100.0)),
    (fi.Exponential(0.25), stats.expon(scale=0.25)),
    (fi.RandomIntegers(-3, 200), stats.randint(-3, 200)),
    (fi.RandomIntegers(0, 2), stats.randint(0, 2)),
]
SIZES = [(400, 500), (30, 40)]


@pytest.mark.parametrize(("init", "law"), LAWS)
def test_moments_and_cdf_are_scipys(init: fi.Distribution, law: Any) -> None:
    mean, variance, kurtosis = (float(x) for x in law.stats(moments="mvk"))
    known = theory(init, 1000)
    assert known.mean == pytest.approx(mean, rel=1e-10)
    assert known.std == pytest.approx(
        math.sqrt(variance), rel=1e-7
    )  # SciPy's differences lose digits
    assert known.kurtosis == pytest.approx(3 + kurtosis, rel=1e-4)
    x = np.linspace(mean - 3 * known.std, mean + 5 * known.std, 401)
    np.testing.assert_allclose(cdf(init, x), law.cdf(x), rtol=1e-9, atol=1e-12)
    assert bounds(init) == tuple(float(end) for end in law.support())


def test_largest_of_exponentials() -> None:
    """The median of the largest of n: (1 - exp(-x))**n = 1/2."""
    known = theory(fi.Exponential(2.0), 1000)
    assert (1 - math.exp(-known.max / 2)) ** 1000 == pytest.approx(0.5)
    assert (known.min, known.min_is_bound, known.max_is_bound) == (0.0, True, False)


def test_integers_rounded_to_few_bits() -> None:
    """Half of the odd integers above 256 go up in bfloat16, and half down."""
    import ml_dtypes

    rounded = np.arange(200, 1000).astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)
    known = theory(fi.RandomIntegers(200, 1000), 1, "bfloat16")
    assert known.mean == pytest.approx(rounded.mean(), rel=1e-12)
    assert known.std == pytest.approx(rounded.std(), rel=1e-12)
    assert (known.min, known.max) == (200.0, 1000.0)


def checked(
    tmp_path: Path,
    init: fi.Initializer,
    expected: fi.Initializer,
    shape: tuple[int, ...],
    dtype: Any,
) -> Checked:
    path = tmp_path / "m.safetensors"
    fi.Model([fi.Tensor("w", shape, init, dtype)]).write(path, seed=11)
    (one,) = fi.Model([fi.Tensor("w", shape, expected, dtype)]).check(path)
    return one


@pytest.mark.parametrize("init", [init for init, _ in LAWS] + [fi.Orthogonal(1.5)], ids=repr)
@pytest.mark.parametrize("shape", SIZES)
def test_good_tensors_are_not_flagged(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], init: fi.Initializer
) -> None:
    """Each test has a false alarm of 1e-9."""
    one = checked(tmp_path, init, init, shape, dtype)
    assert one.flags == ()
    assert one.theory is not None
    if init != fi.LogUniform(5.0, 5.5) or not dtype.startswith("float8"):  # a few numbers wide
        assert one.measured is not None
        low, high = std_limits(one)
        assert low <= one.measured.std / one.theory.std <= high


@pytest.mark.parametrize(
    ("init", "expected", "words"),
    [
        (fi.LogUniform(0.001, 0.12), fi.LogUniform(0.001, 0.1), "mean"),
        (fi.Uniform(0.001, 0.1), fi.LogUniform(0.001, 0.1), "mean"),
        (fi.Exponential(0.55), fi.Exponential(0.5), "mean"),
        (fi.Normal(0.5, 0.5), fi.Exponential(0.5), "below the bound 0"),
        (fi.RandomIntegers(0, 100), fi.RandomIntegers(0, 99), "above the bound 98"),
        (fi.RandomIntegers(0, 99), fi.RandomIntegers(0, 120), "mean"),
        (fi.Normal(0.0, 0.05), fi.Orthogonal(), "times that of an orthogonal matrix"),
        (fi.Normal(1.0, 0.01), fi.Orthogonal(), "mean 1, expected 0"),
        (fi.Exponential(0.5), fi.LogUniform(0.001, 3.0), "distance|mean|std"),
    ],
)
def test_other_distributions_are_flagged(
    tmp_path: Path, init: fi.Initializer, expected: fi.Initializer, words: str
) -> None:
    import re

    flags = "; ".join(checked(tmp_path, init, expected, (400, 300), "float32").flags)
    assert re.search(words, flags)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (fi.RandomIntegers(0, 100), "outside of [0, 89], the integers expected"),
        (fi.RandomIntegers(20, 90), ", expected 44.5 +- 0.46"),
        (fi.RandomIntegers(30, 60), "times its theory"),
        (fi.RandomIntegers(0, 90), None),
    ],
)
def test_integer_tensors_are_checked(
    tmp_path: Path, init: fi.Initializer, words: str | None
) -> None:
    one = checked(tmp_path, init, fi.RandomIntegers(0, 90), (400, 300), "int16")
    assert one.notes == ("compared with the range, mean and standard deviation of its integers",)
    assert (words is None and not one.flags) or (words or "") in "; ".join(one.flags)
    assert bool(one.flags) == (words is not None)


def test_layers_of_equal_known_values_are_no_copies(tmp_path: Path) -> None:
    from fastinit.expressions import Known

    frequencies = Known(1e4 ** (-np.arange(0, 128, 2) / 128))
    tensors = [fi.Tensor(f"layers.{i}.inv_freq", (64,), frequencies) for i in range(3)]
    fi.Model(tensors).write(tmp_path / "m.safetensors", seed=0)
    for one in fi.Model(tensors).check(tmp_path / "m.safetensors"):
        assert one.flags == ()
        assert one.notes == ("compared with its known values alone",)


def test_pictures(tmp_path: Path) -> None:
    need_matplotlib()
    from fastinit.expressions import Op

    inits = [init for init, _ in LAWS] + [
        fi.Orthogonal(),
        fi.Identity(),
        Op("exp", (fi.Normal(0.0, 1.0),)),
    ]
    model = fi.Model([fi.Tensor(f"w{i}", (30, 40), init) for i, init in enumerate(inits)])
    model.write(tmp_path / "m.safetensors", seed=0)
    path = tmp_path / "m.png"
    assert main(["check", str(tmp_path / "m.safetensors"), "--plot", str(path)]) in (0, None)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    "text",
    ["log_uniform:low=0.001,high=0.1", "exponential:scale=2", "random_integers:low=0,high=9",
     "orthogonal:gain=2", "identity", "dirac"],
)  # fmt: skip
def test_fill_and_check_by_the_command_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.safetensors"
    shape = "30x40x3" if text == "dirac" else "30x40"
    assert main(["fill", "--shape", shape, "--init", text, "--seed", "3", "-o", str(path)]) in (
        0,
        None,
    )
    assert main(["check", str(path)]) in (0, None)
    assert main(["check", str(path), "--exact"]) in (0, None)
    assert "0 flagged" in capsys.readouterr().out
