"""Copies of drawn tensors in other dtypes, and arithmetic of integers: in modules, files and specs alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import fastinit as fi
from fastinit.torch import init_module_, record, recorded_tensors

SEED = 5


class Copies(nn.Module):
    """Float64 masters of float32 weights, the reverse, and what is computed from both."""

    def __init__(self) -> None:
        super().__init__()
        self.single = nn.Parameter(torch.randn(40, 20) * 0.02)
        self.master = nn.Parameter(self.single.detach().double())
        self.precise = nn.Parameter(torch.rand(40, 20, dtype=torch.float64))
        self.working = nn.Parameter(self.precise.detach().float())
        self.mixed = nn.Parameter(self.single.detach()[:, :1] + self.precise.detach())
        self.register_buffer("mask", (torch.rand(300) < 0.25).double())
        self.register_buffer("inverse", (self.mask < 0.5).float())
        norm = self.single.detach().double().norm(dim=1, keepdim=True)
        self.unit = nn.Parameter(self.single.detach().double() / norm)


def made(module: nn.Module, path: Path) -> nn.Module:
    """The module initialised, after a comparison with its file, by a spec that was written and read."""
    spec = path / "spec.json"
    spec.write_text(fi.Model(recorded_tensors(module)).to_json())
    model = fi.Model.load(spec)
    init_module_(module, seed=SEED)
    for name, tensor in module.state_dict().items():
        assert np.array_equal(model.make(name, seed=SEED), tensor.numpy()), name
    return module


def test_copies_in_other_dtypes_stay_equal(tmp_path: Path) -> None:
    with record():
        module = Copies()
    one = made(module, tmp_path)
    expected = fi.Normal(0.0, 0.02)((40, 20), seed=SEED, stream="single")
    assert torch.equal(one.single, torch.from_numpy(expected))
    assert torch.equal(one.master, one.single.double())
    expected = fi.Uniform(0.0, 1.0)((40, 20), seed=SEED, stream="precise", dtype="float64")
    assert torch.equal(one.precise, torch.from_numpy(expected))
    assert torch.equal(one.working, one.precise.float())
    assert torch.equal(one.mixed, one.single[:, :1] + one.precise)
    expected = fi.Uniform(0.0, 1.0)((300,), seed=SEED, stream="mask") < 0.25
    assert torch.equal(one.mask, torch.from_numpy(expected).double())
    assert torch.equal(one.inverse, 1 - one.mask.float())
    torch.testing.assert_close(one.unit.norm(dim=1), torch.ones(40).double(), rtol=1e-15, atol=0)
    torch.testing.assert_close(
        one.unit * one.master.norm(dim=1, keepdim=True), one.master, rtol=1e-15, atol=0
    )


class Signs(nn.Module):
    """Arithmetic of integers that stays in the range of its dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("signs", torch.randint(0, 2, (600,)) * 2 - 1)
        self.register_buffer("offset", (torch.randint(0, 200, (600,)) - 100).to(torch.int8))
        self.register_buffer("distance", torch.randint(-9, 10, (600,)).abs().neg())
        self.register_buffer("flags", torch.randint(0, 2, (600,)).bool())
        self.register_buffer("floats", torch.randint(0, 10, (600,)).float() / 10)


def test_arithmetic_of_integers(tmp_path: Path) -> None:
    with record():
        module = Signs()
    one = made(module, tmp_path)

    def integers(low: int, high: int, name: str) -> Tensor:
        values = fi.RandomIntegers(low, high)((600,), seed=SEED, stream=name, dtype="int64")
        return torch.from_numpy(values)

    assert torch.equal(one.signs, integers(0, 2, "signs") * 2 - 1)
    assert torch.equal(one.offset, (integers(0, 200, "offset") - 100).to(torch.int8))
    assert torch.equal(one.distance, -integers(-9, 10, "distance").abs())
    assert torch.equal(one.flags, integers(0, 2, "flags").bool())
    assert torch.equal(one.floats, integers(0, 10, "floats").float() / 10)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (lambda: (torch.rand(500) * 10).int().float(), lambda t: t - t.round()),
        (lambda: torch.randint(0, 2000, (500,)).to(torch.int8).float(), lambda t: (t.abs() > 128).float()),
        (lambda: torch.randint(0, 3, (500,)).bool().float(), lambda t: t * (t - 1)),
    ],
    ids=["cut off", "wrapped", "truth"],
)  # fmt: skip
def test_conversions_that_change_values_are_done(make, check) -> None:  # type: ignore[no-untyped-def]
    """By PyTorch for modules; a spec has no form for them."""
    with record():
        module = nn.Module()
        module.values = nn.Parameter(make())
    with pytest.raises(ValueError, match="values cannot be described"):
        recorded_tensors(module)
    init_module_(module, seed=SEED)
    values = module.values.detach()
    assert values.unique().numel() > 1
    assert not check(values).any()


def test_draws_that_pytorch_goes_on_with_stay_below_their_end() -> None:
    """In bfloat16 one uniform in 512 is rounded up to the end, which [0, 1) leaves out."""
    with record():
        module = nn.Module()
        module.values = nn.Parameter(torch.rand(20000, dtype=torch.bfloat16))
        module.sorted = nn.Parameter(module.values.detach().sort().values)
    init_module_(module, seed=SEED)
    assert module.values.max() < 1
    assert torch.equal(module.sorted, module.values.sort().values)
