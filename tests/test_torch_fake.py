"""DTensors whose local part has no memory of its own: fake tensors, as for memory estimates, and other subclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("torch.distributed.tensor", reason="needs torch")

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.testing._internal.two_tensor import TwoTensor

import fastinit as fi
import fastinit.torch as face

#: PyTorch warns of random numbers on the CPU and of fake process groups.
pytestmark = pytest.mark.filterwarnings("ignore")

#: All that sample and that PyTorch itself can run on fake tensors (its trunc_normal_ and sparse_ cannot).
NAMES = ["kaiming_normal_", "kaiming_uniform_", "normal_", "orthogonal_", "uniform_", "xavier_normal_", "xavier_uniform_"]  # fmt: skip


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """Four processes, of which only the first exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield init_device_mesh("cpu", (4,))
    dist.destroy_process_group()


@pytest.mark.parametrize("name", NAMES)
def test_patched_functions_of_fake_shards(mesh: DeviceMesh, name: str) -> None:
    with FakeTensorMode(), face.patched():
        tensor = distribute_tensor(torch.empty(8, 4), mesh, [Shard(0)])
        assert getattr(nn.init, name)(tensor) is tensor
        assert getattr(face, name)(tensor) is tensor
        with pytest.raises(
            TypeError, match=r"got a DTensor with a local FakeTensor of torch\.float32"
        ):
            getattr(face, name)(tensor, seed=0)


@pytest.mark.parametrize("name", [*NAMES, "trunc_normal_"])
def test_patched_functions_of_shards_of_a_subclass(mesh: DeviceMesh, name: str) -> None:
    """They are PyTorch's own: same values from the same state of its generator."""

    def shard() -> Any:
        return DTensor.from_local(TwoTensor(torch.ones(2, 4), torch.ones(2, 4)), mesh, [Shard(0)])

    torch.manual_seed(0)
    expected = getattr(nn.init, name)(shard())._local_tensor
    torch.manual_seed(0)
    with face.patched():
        result = getattr(nn.init, name)(shard())._local_tensor
    assert torch.equal(result.a, expected.a)
    assert torch.equal(result.b, expected.b)
    assert not (result.a == 1).any()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(12, 8, padding_idx=1)
        self.linear = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.attention = nn.MultiheadAttention(8, 2)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("rules", [{}, {"*": fi.Normal(0, 0.02)}, {nn.Linear: fi.he_normal}])
def test_fake_modules(mesh: DeviceMesh, sharded: bool, rules: Any) -> None:
    with FakeTensorMode():
        network = Network()
        if sharded:
            fully_shard(network.linear, mesh=mesh)
            fully_shard(network, mesh=mesh)
        face.init_module_(network, seed=0, rules=rules, unrecorded="layer_defaults")
        for parameter in network.parameters():
            local = parameter._local_tensor if sharded else parameter
            assert isinstance(local, FakeTensor)
            assert local.shape[0] == parameter.shape[0] // (4 if sharded else 1)


def _two(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(TwoTensor(weight.detach().clone(), weight.detach().clone()))


@pytest.mark.parametrize("wrap", [_two, "shard"])
def test_modules_of_a_subclass(mesh: DeviceMesh, wrap: Any) -> None:
    """Modules set them by PyTorch's operations, 8 x 32 values of U[-0.125, 0.125]; rules name what has no memory."""
    layer = nn.Linear(64, 8, bias=False)
    parameter = _two(layer.weight) if wrap is _two else None
    if parameter is None:
        local = TwoTensor(torch.ones(8, 16), torch.ones(8, 16))
        parameter = nn.Parameter(DTensor.from_local(local, mesh, [Shard(1)]))
    layer.weight = parameter
    with pytest.raises(
        TypeError, match="'weight' must have memory to have a rule, got a TwoTensor"
    ):
        face.init_module_(layer, seed=0, rules={"*": fi.zeros})
    face.init_module_(layer, seed=0)
    inner: Callable[[Any], Any] = lambda p: getattr(p, "_local_tensor", p).a  # noqa: E731
    first = inner(layer.weight).detach().clone()
    assert 0.1 < first.abs().max() <= 0.125  # false alarm (0.8)^128 = 4e-13
    torch.rand(5)
    face.init_module_(layer, seed=0)
    assert torch.equal(inner(layer.weight), first)
