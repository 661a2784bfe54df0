"""Fans of the parameters of a module: the axes that a rule names, else those of the module."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fastinit as fi
import fastinit.torch as face


def limit_of(module: nn.Module, rule: fi.Initializer) -> float:
    """The end of the uniform that a rule gives the weight of a module; 2**16 values come near enough."""
    face.init_module_(module, seed=0, rules={"weight": rule, "bias": fi.zeros}, strict=False)
    return float(module.weight.detach().abs().max())


def he(fan_in: int) -> float:
    return math.sqrt(6 / fan_in)


@pytest.mark.parametrize(
    ("rule", "fan_in"),
    [
        (fi.he_uniform, 1024),
        (fi.VarianceScaling(2.0, "fan_in", "uniform"), 1024),
        (fi.VarianceScaling(2.0, "fan_in", "uniform", in_axis=-2, out_axis=-1), 64),
        (fi.he_uniform.with_axes("in_out"), 64),
        (fi.he_uniform.with_axes("out_in"), 1024),
    ],
)
def test_a_linear_layer(rule: fi.Initializer, fan_in: int) -> None:
    """64 outputs and 1024 inputs: named axes hold, though they are the defaults of a bare shape."""
    assert limit_of(nn.Linear(1024, 64), rule) == pytest.approx(he(fan_in), rel=1e-3)


class Experts(nn.Module):
    """16 experts of 64 inputs and 256 outputs each."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(16, 64, 256))


def test_batch_axis_with_axes_that_are_the_defaults_elsewhere() -> None:
    rule = fi.VarianceScaling(2.0, "fan_in", "uniform", in_axis=-2, out_axis=-1, batch_axis=0)
    assert limit_of(Experts(), rule) == pytest.approx(he(64), rel=1e-3)


def test_batch_axis_alone_is_an_error_that_names_the_parameter() -> None:
    rule = fi.VarianceScaling(2.0, "fan_in", "uniform", batch_axis=0)
    with pytest.raises(ValueError, match=r"'weight': batch_axis=\(0,\) needs in_axis and out_axis beside it"):  # fmt: skip
        limit_of(Experts(), rule)


def test_transposed_convolutions_are_counted_as_torch_counts_them() -> None:
    """Weights of in x out x kernel; torch.nn.init takes the second axis for the inputs."""
    layer = nn.ConvTranspose2d(128, 32, 3)
    theirs = nn.init.kaiming_uniform_(torch.empty_like(layer.weight)).abs().max().item()
    assert theirs == pytest.approx(he(32 * 9), rel=1e-3)
    assert limit_of(layer, fi.he_uniform) == pytest.approx(he(32 * 9), rel=1e-3)
    inputs = fi.he_uniform.with_axes(in_axis=0, out_axis=1)
    assert limit_of(layer, inputs) == pytest.approx(he(128 * 9), rel=1e-3)


def test_conv1d_of_transformers_is_in_x_out() -> None:
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D(1024, 64)
    assert conv1d.weight.shape == (64, 1024)
    assert limit_of(conv1d, fi.he_uniform) == pytest.approx(he(64), rel=1e-3)
    assert limit_of(conv1d, fi.he_uniform.with_axes("out_in")) == pytest.approx(he(1024), rel=1e-3)


def test_module_and_model_count_alike() -> None:
    """The tensors of a GPT-2 config and of the module have the same values under the same rules."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=90)
    module = transformers.GPT2Model(config)
    face.init_module_(module, seed=3, rules={"*c_fc.weight": fi.he_normal, "*": fi.zeros})
    expected = fi.he_normal((32, 128), seed=3, stream="h.0.mlp.c_fc.weight")
    np.testing.assert_array_equal(module.h[0].mlp.c_fc.weight.detach().numpy(), expected)
