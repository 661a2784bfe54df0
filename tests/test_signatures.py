"""Arguments whose order means other things to the frameworks are taken by name alone, or not at all."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import fastinit as fi


@pytest.mark.parametrize(
    ("call", "match"),
    [
        # (mean, std, a, b) of torch.nn.init.trunc_normal_, whose bounds are values
        (lambda: fi.TruncatedNormal(0, 0.02, -2, 2), r"the rest by name, got 4 arguments without names: .*TruncatedNormal\.within"),
        # (a, b, loc, scale) of scipy.stats.truncnorm
        (lambda: fi.TruncatedNormal(-2, 2, 0, 0.02), "the rest by name, got 4 arguments without names"),
        (lambda: fi.TruncatedNormal(0, 0.02, -2), "the rest by name, got 3 arguments without names"),
        # (mean, std, a, b) of torch.nn.init.trunc_normal_ again
        (lambda: fi.TruncatedNormal.within(0, 0.02, -2, 2), "positional argument"),
        # stddev of jax.nn.initializers.truncated_normal and .normal, mean of torch and Keras
        (lambda: fi.TruncatedNormal(0.02), r"takes mean and stddev together, got 0\.02 alone: write TruncatedNormal\(0\.0, 0\.02, lower="),
        (lambda: fi.TruncatedNormal(0.02, lower=-3), r"takes mean and stddev together, got 0\.02 alone"),
        (lambda: fi.Normal(0.02), r"got 0\.02 alone: write Normal\(0\.0, 0\.02\) or Normal\(stddev=0\.02\)"),
        # scale of jax.nn.initializers.uniform; minval of keras.initializers.RandomUniform
        (lambda: fi.Uniform(0.05), r"Uniform takes low and high together, got 0\.05 alone: give both ends"),
        (lambda: fi.Uniform(low=0.0), r"takes low and high together, got 0\.0 alone"),
        (lambda: fi.Uniform(high=0.05), r"takes low and high together, got 0\.05 alone"),
        (lambda: fi.Uniform(hihg=0.05), "unexpected keyword argument 'hihg'"),
        # the fourth is in_axis to JAX, and the seed to Keras and TensorFlow
        (lambda: fi.VarianceScaling(2.0, "fan_in", "truncated_normal", 0), "positional argument"),
        # the third is the distribution to tf.compat.v1.variance_scaling_initializer, the first the seed of glorot_uniform_initializer
        (lambda: fi.tf_contrib.variance_scaling_initializer(1.0, "FAN_IN", "truncated_normal"), "uniform must be True or False, got 'truncated_normal'"),
        (lambda: fi.tf_contrib.xavier_initializer(42), "uniform must be True or False, got 42"),
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


def test_signatures_are_those_of_the_fields() -> None:
    assert (
        str(inspect.signature(fi.Normal)) == "(mean: 'float' = 0.0, stddev: 'float' = 1.0) -> None"
    )
    assert list(inspect.signature(fi.Uniform).parameters) == ["low", "high"]
    truncated = inspect.signature(fi.TruncatedNormal).parameters
    assert list(truncated) == ["mean", "stddev", "lower", "upper"]
    assert truncated["lower"].kind is inspect.Parameter.KEYWORD_ONLY
