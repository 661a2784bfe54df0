"""Parameters and buffers that are views of one memory: they are so after initialisation."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fastinit as fi
from fastinit.torch import init_module_, record


class Views(nn.Module):
    """A decoder whose weight is the transpose of the encoder's, halves of one memory, and a buffer that is a view."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(40, 32), nn.Linear(32, 40)
        self.decoder.weight = nn.Parameter(self.encoder.weight.t())
        self.keys, self.values = map(nn.Parameter, torch.randn(64, 32).chunk(2))
        self.register_buffer("rows", self.encoder.weight.detach()[:3])


def test_views_of_one_memory_are_so_after_initialisation() -> None:
    """As in plain construction: what changes one changes the other."""
    with record():
        module = Views()
    init_module_(module, seed=0)
    bound = 40**-0.5
    expected = fi.Uniform(-bound, bound)((32, 40), seed=0, stream="encoder.weight")
    torch.testing.assert_close(module.encoder.weight.detach(), torch.from_numpy(expected))
    with torch.no_grad():
        module.decoder.weight[:, 0] = 7
    assert (module.encoder.weight[0] == 7).all()
    assert (module.rows[0] == 7).all()
    assert torch.equal(module.decoder.weight, module.encoder.weight.t())
    halves = module.keys.untyped_storage(), module.values.untyped_storage()
    assert halves[0].data_ptr() == halves[1].data_ptr()
    assert type(module.decoder.weight) is nn.Parameter
    assert [name for name, _ in module.named_parameters()] == [
        "keys", "values", "encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias",
    ]  # fmt: skip


def test_converted_views_are_copies_as_in_pytorch() -> None:
    with record():
        module = Views()
    init_module_(module.to(torch.bfloat16), seed=0)
    assert module.decoder.weight.dtype == torch.bfloat16
    assert torch.equal(module.decoder.weight, module.encoder.weight.t())


def test_copies_of_recorded_modules_have_memory_of_their_own() -> None:
    with record():
        student = nn.Linear(30, 20)
    module = nn.ModuleList([student, copy.deepcopy(student)])
    init_module_(module, seed=0)
    for mine, theirs in zip(*(one.parameters() for one in module), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()
