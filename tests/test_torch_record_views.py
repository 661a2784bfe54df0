"""Views of tensors that were known before they were drawn: what is written through them is recorded."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fastinit as fi
from fastinit.torch import init_module_, record, recorded_tensors


class Written(nn.Module):
    """A small parameter that begins as zeros, is drawn, and then written through views."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3))
        nn.init.normal_(self.weight)
        with torch.no_grad():
            self.weight[:, 0].zero_()
            self.weight.detach()[1, 1].fill_(3)
            self.weight.data[2].mul_(2)
        self.copy = nn.Parameter(self.weight.detach().to(torch.bfloat16))


def test_writes_through_views_of_small_tensors_are_recorded() -> None:
    with record():
        module = Written()
    expected = fi.Normal(0.0, 1.0)((4, 3), seed=0, stream="weight")
    expected[:, 0], expected[1, 1] = 0, 3
    expected[2] *= 2
    model = fi.Model(recorded_tensors(module))
    assert (model.make("weight", seed=0) == expected).all()
    init_module_(module, seed=0)
    assert (module.weight.detach().numpy() == expected).all()
    assert (module.weight.bfloat16() == module.copy).all()


def test_a_known_tensor_may_be_drawn_by_a_function_of_torch_nn_init() -> None:
    with record():
        module = nn.Module()
        module.token = nn.Parameter(torch.zeros(1, 1, 8))
        nn.init.trunc_normal_(module.token, std=0.02)
    (token,) = recorded_tensors(module)
    assert token.init == fi.TruncatedNormal.within(-2.0, 2.0, mean=0.0, stddev=0.02)


def test_reshaped_copies_across_axes() -> None:
    """Rows of halves interleaved, as transformers stores some fused weights, and a rotary permutation of three axes."""
    with record():
        layer = nn.Linear(3, 8, bias=False)
        weight = layer.weight.detach()
        interleaved = weight.reshape(2, 4, 3).transpose(0, 1).reshape(8, 3).contiguous()
        rotary = weight.view(2, 2, 2, 3).transpose(1, 2).reshape(8, 3)
        scaled = (weight.view(2, 4, 3) * 2).transpose(0, 1).reshape(8, 3)
    given = {"a": interleaved, "b": rotary, "c": scaled}
    tensors = recorded_tensors(layer, tensors=given)
    model = fi.Model(tensors)
    init_module_(layer, seed=0)
    w = layer.weight.detach()
    assert (model.make("a", seed=0) == w[[0, 4, 1, 5, 2, 6, 3, 7]].numpy()).all()
    assert (model.make("b", seed=0) == w[[0, 2, 1, 3, 4, 6, 5, 7]].numpy()).all()
    assert (model.make("c", seed=0) == 2 * w[[0, 4, 1, 5, 2, 6, 3, 7]].numpy()).all()


def test_joined_and_interleaved_tensors_of_any_size() -> None:
    """Nothing searches 2^25 elements for what each of two writes has set: only axes are compared."""
    with record():
        module = nn.Module()
        module.gate, module.up = (
            nn.Parameter(torch.empty(2, 4096, 2048).normal_()) for _ in range(2)
        )
        joined = torch.cat([module.gate.detach(), module.up.detach()], 1)
        rows = joined.reshape(2, 2, 4096, 2048).transpose(1, 2).reshape(2, 8192, 2048)
    (tensor,) = recorded_tensors(module, tensors={"rows": rows})
    expected = fi.Tensor("up", (2, 4096, 2048), fi.Normal(0.0, 1.0))
    part = fi.Tensor("rows", tensor.shape, tensor.init)
    made = fi.Model([part]).make("rows", index=(1, slice(0, 8), slice(0, 4)), seed=0)
    up = fi.Model([expected]).make("up", index=(1, slice(0, 4), slice(0, 4)), seed=0)
    assert (made[1::2] == up).all()


def test_identities_of_any_size_are_a_line_of_a_spec() -> None:
    with record():
        module = nn.Module()
        module.eye = nn.Parameter(nn.init.eye_(torch.empty(300, 290)))
        module.made = nn.Parameter(torch.eye(300))
        module.dirac = nn.Parameter(nn.init.dirac_(torch.empty(300, 300, 3)))
        module.small = nn.Parameter(nn.init.eye_(torch.zeros(8, 8)))
    assert [tensor.init for tensor in recorded_tensors(module)] == [
        fi.Identity(), fi.Identity(), fi.Dirac(), fi.Identity(),
    ]  # fmt: skip
    init_module_(module, seed=0)
    assert torch.equal(module.eye, torch.eye(300, 290))
    assert torch.equal(module.made, torch.eye(300))
    assert torch.equal(module.small, torch.eye(8))
    assert torch.equal(module.dirac[:, :, 1], torch.eye(300))
    assert module.dirac.sum() == 300


def test_reshaped_copies_of_constants_are_constants() -> None:
    """The zero biases of a fused qkv whose rows are permuted for rotary positions."""
    with record():
        layer = nn.Linear(8, 24)
        nn.init.zeros_(layer.bias)
        q, k, v = layer.bias.detach().chunk(3)
        rotary = [part.view(2, 2, 2).transpose(1, 2).reshape(8) for part in (q, k)]
        joined = torch.cat([*rotary, v])
    (tensor,) = recorded_tensors(layer, tensors={"qkv": joined})
    assert (fi.Model([tensor]).make("qkv", seed=0) == 0).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile imports
def test_compiled_modules_are_recorded_modules() -> None:
    with record():
        layer = nn.Linear(3, 2)
    tensors = recorded_tensors(torch.compile(layer))
    assert [(tensor.name, tensor.shape) for tensor in tensors] == [
        ("weight", (2, 3)),
        ("bias", (2,)),
    ]
