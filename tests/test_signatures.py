"""Arguments whose order means other things to the frameworks are taken by name alone, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import fastinit as fi


@pytest.mark.parametrize(
    ("call", "match"),
    [
        # (mean, std, a, b) of torch.nn.init.trunc_normal_, whose bounds are values
        (lambda: fi.TruncatedNormal(0, 0.02, -2, 2), r"lower and upper by name, in units of stddev.*TruncatedNormal\.within"),
        # (a, b, loc, scale) of scipy.stats.truncnorm
        (lambda: fi.TruncatedNormal(-2, 2, 0, 0.02), "lower and upper by name"),
        (lambda: fi.TruncatedNormal(0, 0.02, -2), "lower and upper by name"),
        # (mean, std, a, b) of torch.nn.init.trunc_normal_ again
        (lambda: fi.TruncatedNormal.within(0, 0.02, -2, 2), "positional argument"),
        # stddev of jax.nn.initializers.truncated_normal and .normal, mean of torch and Keras
        (lambda: fi.TruncatedNormal(0.02), r"write TruncatedNormal\(0\.0, 0\.02\) or TruncatedNormal\(stddev=0\.02\)"),
        (lambda: fi.TruncatedNormal(0.02, lower=-3), "mean and stddev, or one of them by name, got one argument"),
        (lambda: fi.Normal(0.02), r"write Normal\(0\.0, 0\.02\) or Normal\(stddev=0\.02\)"),
        # scale of jax.nn.initializers.uniform; minval of keras.initializers.RandomUniform
        (lambda: fi.Uniform(0.05), "both low and high or neither, got one argument"),
        (lambda: fi.Uniform(low=0.0), "both low and high or neither"),
        (lambda: fi.Uniform(high=0.05), "both low and high or neither"),
        # the fourth is in_axis to JAX, and the seed to Keras and TensorFlow
        (lambda: fi.VarianceScaling(2.0, "fan_in", "truncated_normal", 0), "positional argument"),
    ],
)  # fmt: skip
def test_orders_of_the_frameworks(call: Callable[[], object], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        call()


def test_orders_that_all_agree_on() -> None:
    assert fi.Normal(1, 2) == fi.Normal(mean=1.0, stddev=2.0)
    assert fi.Normal(0.0, stddev=2) == fi.Normal(stddev=2.0)
    assert fi.Uniform(-1, 2) == fi.Uniform(high=2.0, low=-1.0)
    assert fi.Uniform() == fi.Uniform(-0.05, 0.05)
    assert fi.TruncatedNormal(1, 2) == fi.TruncatedNormal(mean=1, stddev=2, lower=-2, upper=2)
    assert fi.TruncatedNormal(0.0, stddev=2) == fi.TruncatedNormal(stddev=2.0)
    assert fi.TruncatedNormal.within(-1, 3, mean=1, stddev=2) == fi.TruncatedNormal(
        1, 2, lower=-1, upper=1
    )
    assert fi.VarianceScaling(2, "fan_out", "uniform").scale == 2.0
