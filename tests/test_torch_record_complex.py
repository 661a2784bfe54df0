"""Complex parameters, and memories that are set through views in another dtype."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import fastinit as fi
from fastinit.torch import init_module_, record, recorded_tensors

SEED = 2


def normals(std: float, shape: tuple[int, ...], stream: str) -> Tensor:
    """Complex numbers whose parts are normal, with a variance of std ** 2 together."""
    init = fi.Normal(0.0, std / math.sqrt(2))
    return torch.view_as_complex(torch.from_numpy(init((*shape, 2), seed=SEED, stream=stream)))


def uniforms(low: float, high: float, shape: tuple[int, ...], stream: str) -> Tensor:
    values = fi.Uniform(low, high)((*shape, 2), seed=SEED, stream=stream)
    return torch.view_as_complex(torch.from_numpy(values))


class Complex(nn.Module):
    """As Fourier neural operators and state spaces have them."""

    def __init__(self) -> None:
        super().__init__()
        c = torch.cfloat
        self.fourier = nn.Parameter(torch.rand(16, 8, dtype=c) / 256)
        self.normal = nn.Parameter(torch.randn(16, 8, dtype=c))
        self.parts = nn.Parameter(torch.view_as_real(torch.randn(16, 8, dtype=c)))
        self.again = nn.Parameter(torch.empty(16, 8, dtype=c).normal_(0.0, 0.1))
        self.reset = nn.Parameter(torch.randn(16, 8, dtype=c))
        nn.init.uniform_(self.reset, -0.5, 0.5)
        self.apart = nn.Parameter(torch.empty(16, 8, dtype=c))
        nn.init.normal_(self.apart.real, std=0.2)
        nn.init.zeros_(self.apart.imag)
        self.viewed = nn.Parameter(torch.empty(16, 8, dtype=c))
        torch.view_as_real(self.viewed.data).uniform_(-1, 1)
        self.adjoint = nn.Parameter(self.normal.detach().mH.contiguous())
        self.size = nn.Parameter(self.normal.detach().abs())
        self.linear = nn.Linear(16, 8, dtype=c)


def test_complex_draws_are_those_of_their_parts() -> None:
    with record():
        module = Complex()
    init_module_(module, seed=SEED)
    got = {name: tensor.detach() for name, tensor in module.named_parameters()}
    shape = (16, 8)
    torch.testing.assert_close(got["fourier"], uniforms(0, 1, shape, "fourier") / 256)
    assert torch.equal(got["normal"], normals(1.0, shape, "normal"))
    assert torch.equal(torch.view_as_complex(got["parts"]), normals(1.0, shape, "parts"))
    assert torch.equal(got["again"], normals(0.1, shape, "again"))
    assert torch.equal(got["reset"], uniforms(-0.5, 0.5, shape, "reset"))
    expected = torch.view_as_complex(torch.zeros(16, 8, 2))
    values = fi.Normal(0.0, 0.2)((16, 8, 2), seed=SEED, stream="apart")
    expected.real[...] = torch.from_numpy(values)[..., 0]
    assert torch.equal(got["apart"], expected)
    assert torch.equal(got["viewed"], uniforms(-1, 1, shape, "viewed"))
    assert torch.equal(got["adjoint"], got["normal"].mH)
    assert not got["adjoint"].is_conj()
    assert torch.equal(got["size"], got["normal"].abs())
    bound = 1 / math.sqrt(16)  # of PyTorch's kaiming_uniform_ with a = sqrt(5)
    expected = uniforms(-bound, bound, (8, 16), "linear.weight")
    torch.testing.assert_close(got["linear.weight"], expected)


def test_a_spec_holds_parts_of_complex_draws_and_names_complex_ones() -> None:
    with record():
        module = nn.Module()
        module.parts = nn.Parameter(torch.view_as_real(torch.randn(16, 8, dtype=torch.cfloat)))
    (tensor,) = recorded_tensors(module)
    assert tensor.init == fi.Normal(0.0, 1 / math.sqrt(2))
    with record(module):
        module.whole = nn.Parameter(torch.randn(16, dtype=torch.cfloat))
    with pytest.raises(ValueError, match="whole cannot be described without PyTorch"):
        recorded_tensors(module)


def test_methods_that_run_later_change_what_a_complex_parameter_holds() -> None:
    with record():
        module = nn.Linear(16, 8, dtype=torch.cfloat)
    with record(module), torch.no_grad():
        module.weight.normal_(0.0, 0.1)
        module.bias.zero_()
    init_module_(module, seed=SEED)
    assert torch.equal(module.weight.detach(), normals(0.1, (8, 16), "weight"))
    assert not module.bias.any()


def test_bits_of_a_float() -> None:
    """Elements of the same size: all of a memory may be set in another dtype."""
    with record():
        module = nn.Module()
        module.weight = nn.Parameter(torch.randn(64))
        module.weight.detach().view(torch.int32).bitwise_and_(-(2**16))
    init_module_(module, seed=SEED)
    expected = torch.from_numpy(fi.Normal(0.0, 1.0)((64,), seed=SEED, stream="weight"))
    expected.view(torch.int32).bitwise_and_(-(2**16))
    assert torch.equal(module.weight.detach(), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda: torch.zeros(300, 300, dtype=torch.cfloat).real.normal_(),
        lambda: torch.randn(64).view(torch.int32)[:8].zero_(),
        lambda: torch.randn(64).view(torch.uint8)[0].fill_(1),
    ],
)
def test_a_part_in_another_dtype_is_an_error_that_names_the_line(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RuntimeError, match=r"view of a part of it in .* line \d+"), record():
        change()
