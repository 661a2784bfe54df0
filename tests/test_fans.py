"""Fans, gains and corrections against published values and closed formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import fastinit as fi
from fastinit.fans import truncated_moments

inf = math.inf


@pytest.mark.parametrize(
    ("shape", "fans"),
    [  # the vectors of Haiku's tests, a Keras convolution, and Llama-3-8B's MLP
        ((), (1, 1)),
        ((2,), (2, 2)),
        ((3, 4), (3, 4)),
        ((1, 2, 3, 4), (6, 8)),
        ((3, 3, 64, 128), (576, 1152)),
        ((4096, 14336), (4096, 14336)),
        ((0, 5), (0, 5)),
        ((2, 0, 5), (0, 10)),
    ],
)
def test_default_axes(shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert fi.compute_fans(shape) == fans


@pytest.mark.parametrize(
    ("shape", "axes", "fans"),
    [
        ((128, 64, 3, 3), {"in_axis": 1, "out_axis": 0}, (576, 1152)),  # PyTorch's convolution
        ((10, 20), {"in_axis": -1, "out_axis": 0}, (20, 10)),
        ((8, 20, 4, 16), {"in_axis": 1, "out_axis": (2, 3), "batch_axis": 0}, (20, 64)),
        ((8, 20, 4, 16), {"in_axis": (1,), "out_axis": [-2, -1]}, (160, 512)),
        ((2, 3, 5, 7), {"in_axis": (0, 1), "out_axis": (), "batch_axis": 2}, (42, 7)),
    ],
)
def test_axes(shape: tuple[int, ...], axes: dict, fans: tuple[int, int]) -> None:
    assert fi.compute_fans(shape, **axes) == fans


def test_large_fans_are_exact() -> None:
    assert fi.compute_fans((2**62, 1, 3)) == (2**62, 3 * 2**62)


def test_gains() -> None:
    """The table of PyTorch's documentation."""
    assert fi.calculate_gain("linear") == fi.calculate_gain("sigmoid") == 1
    assert fi.calculate_gain("tanh") == 5 / 3
    assert fi.calculate_gain("relu") == math.sqrt(2)
    assert fi.calculate_gain("selu") == 0.75
    assert fi.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert fi.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert fi.calculate_gain("leaky_relu", np.float32(0)) == math.sqrt(2)


def test_truncated_std_at_2_is_the_published_constant() -> None:
    assert fi.truncated_std(-2, 2) == 0.87962566103423978


@pytest.mark.parametrize(
    ("a", "b"), [(-1, 1), (-2, 2.0001), (-3, 0.5), (0, 1), (0, 9), (0.5, 4), (-inf, inf), (-inf, 0), (1, inf)]
)  # fmt: skip
def test_truncated_std_closed_formula(a: float, b: float) -> None:
    phi, Phi = stats.norm.pdf, stats.norm.cdf
    z = Phi(b) - Phi(a)
    edges = [x * phi(x) if math.isfinite(x) else 0.0 for x in (a, b)]
    variance = 1 + (edges[0] - edges[1]) / z - ((phi(a) - phi(b)) / z) ** 2
    assert fi.truncated_std(a, b) == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert fi.truncated_std(-b, -a) == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_truncated_std_where_the_formula_has_no_digits() -> None:
    width = 1e-9
    assert fi.truncated_std(1, 1 + width) == pytest.approx(width / math.sqrt(12), rel=1e-6)
    assert fi.truncated_std(-width, width) == pytest.approx(2 * width / math.sqrt(12), rel=1e-9)
    # The tail beyond a is exponential with rate a; the next term of the variance is -6 / a**4.
    assert fi.truncated_std(0, 1e-300) == pytest.approx(1e-300 / math.sqrt(12), rel=1e-9)
    for a in (1e3, 1e8, 1e150, 1e160, 1e308):
        assert fi.truncated_std(a, inf) == pytest.approx(1 / a, rel=(2 / a) ** 2 + 1e-9)


def test_truncated_mean() -> None:
    """The closed formula (phi(a) - phi(b)) / Z, and the exponential limit; relative to the nearest number to 0."""
    phi, Phi = stats.norm.pdf, stats.norm.cdf
    for a, b in ((-1.0, 2.5), (0.5, 4.0), (-inf, 1.0), (0.0, inf)):
        mean = (phi(a) - phi(b)) / (Phi(b) - Phi(a)) - max(a, 0)
        assert truncated_moments(a, b)[0] == pytest.approx(mean, rel=1e-12)
        assert truncated_moments(-b, -a)[0] == pytest.approx(-mean, rel=1e-12)
    assert truncated_moments(1e6, inf)[0] == pytest.approx(1e-6, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "resolved"),
    [
        (fi.VarianceScaling(3.0, "fan_in", "uniform"), fi.Uniform(-math.sqrt(9 / 20), math.sqrt(9 / 20))),
        (fi.VarianceScaling(3.0, "fan_out", "untruncated_normal"), fi.Normal(0, math.sqrt(3 / 80))),
        (fi.VarianceScaling(3.0, "fan_avg", correction="none"), fi.TruncatedNormal(0, math.sqrt(3 / 50))),
        (fi.VarianceScaling(3.0, "fan_geo_avg", "untruncated_normal"), fi.Normal(0, math.sqrt(3 / 40))),
        (fi.VarianceScaling(3.0, in_axis=1, out_axis=0, correction="none"), fi.TruncatedNormal(0, math.sqrt(3 / 80))),
        (fi.VarianceScaling(2.0), fi.TruncatedNormal(0, math.sqrt(2 / 20) / 0.87962566103423978)),
        (fi.VarianceScaling(2.0, correction="tf_contrib"), fi.TruncatedNormal(0, math.sqrt(1.3 * 2 / 20))),
    ],
)  # fmt: skip
def test_variance_scaling_resolves(make: fi.VarianceScaling, resolved: fi.Distribution) -> None:
    assert make.resolve((20, 80)) == resolved


def test_zero_fans_count_as_one() -> None:
    assert fi.VarianceScaling(1.0, "fan_in", "uniform").resolve((0, 5)) == fi.Uniform(
        -math.sqrt(3), math.sqrt(3)
    )


def test_aliases_are_the_same_objects() -> None:
    assert fi.xavier_normal is fi.glorot_normal
    assert fi.xavier_uniform is fi.glorot_uniform
    assert fi.kaiming_normal is fi.he_normal
    assert fi.kaiming_uniform is fi.he_uniform


def test_initializers_are_frozen_values() -> None:
    assert fi.VarianceScaling(2, batch_axis=[]) == fi.he_normal
    assert hash(fi.VarianceScaling(2, batch_axis=[])) == hash(fi.he_normal)
    with pytest.raises(AttributeError):
        fi.he_normal.scale = 3.0  # type: ignore[misc]
