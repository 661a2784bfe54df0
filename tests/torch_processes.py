"""Run by test_torch_distributed.py in each of several processes: DTensors, compared with the core's whole tensors."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

import fastinit as fi
import fastinit.torch as face

SEED = 5


def meshes(world: int) -> list[DeviceMesh]:
    """All meshes of one and two dimensions that use every process."""
    shapes = [(world,)] + [(n, world // n) for n in range(1, world + 1) if world % n == 0]
    names = ("data", "model")
    return [init_device_mesh("cpu", s, mesh_dim_names=names[: len(s)]) for s in shapes]


def check_functions(mesh: DeviceMesh) -> None:
    """Every placement of tensors whose axes the mesh does and does not divide."""
    placements: list[Any] = [Replicate(), Shard(0), Shard(1), Shard(2)]
    layouts = list(itertools.product(placements, repeat=mesh.ndim))
    shape = (7, 6, 3)
    law = fi.VarianceScaling(2.0, "fan_in", "untruncated_normal", in_axis=1, out_axis=0)
    for layout in layouts:
        for dtype in (torch.float32, torch.bfloat16):
            tensor = distribute_tensor(torch.zeros(shape, dtype=dtype), mesh, layout)
            with CommDebugMode() as communication:
                result = face.kaiming_normal_(tensor, nonlinearity="relu", seed=SEED, stream="w")
            assert result is tensor
            assert communication.get_total_counts() == 0
            whole = torch.from_numpy(law(shape, seed=SEED, stream="w")).to(dtype)
            assert torch.equal(tensor.full_tensor(), whole), (mesh, layout, dtype)


def check_generator(mesh: DeviceMesh) -> None:
    """Seeds that are drawn alike by all processes give the tensor that one process would get."""
    torch.manual_seed(3)
    whole = face.trunc_normal_(torch.empty(9, 5), std=0.5, a=-1.0, b=1.0)
    torch.manual_seed(3)
    tensor = distribute_tensor(torch.zeros(9, 5), mesh, [Shard(0)] * mesh.ndim)
    assert torch.equal(face.trunc_normal_(tensor, std=0.5, a=-1.0, b=1.0).full_tensor(), whole)


def check_errors(mesh: DeviceMesh, world: int) -> None:
    partial = DTensor.from_local(torch.ones(4, 4), mesh, [Partial()] * mesh.ndim)
    with pytest.raises(ValueError, match="placements Shard or Replicate"):
        face.normal_(partial, seed=SEED)
    assert torch.equal(partial.to_local(), torch.ones(4, 4))
    if world > 1:  # a process outside of the mesh has nothing to fill
        alone = DeviceMesh("cpu", [0])
        tensor = distribute_tensor(torch.zeros(4, 4), alone, [Shard(0)])
        face.uniform_(tensor, seed=SEED)
        if dist.get_rank() == 0:
            expected = torch.from_numpy(fi.Uniform(0, 1)((4, 4), seed=SEED))
            assert torch.equal(tensor.to_local(), expected)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(7)
        self.up = nn.Linear(7, 10)
        self.down = nn.Linear(10, 7)


class Network(nn.Module):
    """With a padding row, a shared matrix, and sizes that no number of processes divides."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 7, padding_idx=8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.convolution = nn.Conv2d(3, 5, 3)
        self.head = nn.Linear(7, 11, bias=False)
        self.head.weight = self.tokens.weight


RULES: list[Any] = [
    {},
    {
        "blocks.0.*.bias": fi.Uniform(-1, 1),
        nn.LayerNorm: fi.Constant(2.0),
        nn.Embedding: fi.TruncatedNormal(0, 0.02),
        nn.Linear: fi.he_normal,
    },
]


def check_modules(mesh: DeviceMesh) -> None:
    """Modules that FSDP sharded, with and without tensor parallelism, beside a module of one process."""
    for rules, device, parallel in itertools.product(RULES, ("cpu", "meta"), (False, True)):
        if parallel and mesh.ndim < 2:
            continue
        arguments: Any = {"seed": SEED, "rules": rules, "unrecorded": "layer_defaults"}
        expected = face.init_module_(Network(), **arguments).state_dict()
        with torch.device(device):
            network = Network()
        plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
        for block in network.blocks:
            if parallel:
                parallelize_module(block, mesh["model"], plan)
            fully_shard(block, mesh=mesh["data"] if parallel else mesh)
        fully_shard(network, mesh=mesh["data"] if parallel else mesh)
        with CommDebugMode() as communication:
            face.init_module_(network, **arguments)
        assert communication.get_total_counts() == 0
        assert network.head.weight is network.tokens.weight
        assert not network.tokens.weight.full_tensor()[8].any()
        strided = any("Strided" in repr(p.placements) for p in network.parameters())
        assert strided == (parallel and mesh.size(1) > 1)  # what FSDP makes of TP's shards
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor.full_tensor(), expected[name]), (mesh, rules, device, name)


def check_unrecorded(mesh: DeviceMesh) -> None:
    """Sharding a module changes its class, which hides neither that of layers nor those of others."""
    layers = nn.Sequential(nn.Linear(7, 10), nn.LayerNorm(10))
    fully_shard(layers[0], mesh=mesh)
    fully_shard(layers, mesh=mesh)
    face.init_module_(layers, seed=SEED)
    x = fi.Uniform(-(7**-0.5), 7**-0.5)((10, 7), seed=SEED, stream="0.weight")
    assert torch.allclose(layers[0].weight.full_tensor(), torch.from_numpy(x), rtol=1e-6, atol=0)
    network = Network()
    for block in network.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    with pytest.raises(ValueError, match=r"class Network .* may initialise 'tokens\.weight'"):
        face.init_module_(network, seed=SEED)
    blocks = network.blocks
    with pytest.raises(ValueError, match=r"class Block .* may initialise '0\.norm\.weight'"):
        face.init_module_(blocks, seed=SEED)


def check_flat_parameters() -> None:
    """FSDP1 has parameters of other names and shapes, which would have other values."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    for kept in (False, True):
        layers = nn.Sequential(nn.Linear(4, 4))
        wrapped = FullyShardedDataParallel(
            layers, device_id=torch.device("cpu"), use_orig_params=kept
        )
        with pytest.raises(
            ValueError, match=r"'0' is a FullyShardedDataParallel.* before wrapping"
        ):
            face.init_module_(nn.Sequential(wrapped), seed=SEED)


class Hooked(nn.Module):
    """Initialises itself by a method that is given to it."""

    def __init__(self, method: Callable[[nn.Parameter], object]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 3))
        self.method = method

    def reset_parameters(self) -> None:
        self.method(self.weight)


def check_hooks(mesh: DeviceMesh) -> None:
    """What modules may do with sharded parameters, and what PyTorch would do wrong."""
    table = torch.arange(21.0).reshape(7, 3)
    module = Hooked(lambda weight: weight.copy_(table))
    fully_shard(module, mesh=mesh)
    face.init_module_(module, seed=SEED)
    assert torch.equal(module.weight.full_tensor(), table)
    refused: dict[str, Callable[[nn.Parameter], object]] = {
        "__getitem__": lambda weight: nn.init.normal_(weight[:3]),
        "normal_": lambda weight: weight.normal_(0, 0.02),
        "uniform_": lambda weight: weight.data.uniform_(),
    }
    for name, method in refused.items():
        module = Hooked(method)
        fully_shard(module, mesh=mesh)
        with pytest.raises(
            ValueError, match=f"sharded parameters that their module sets by {name}"
        ):
            face.init_module_(module, seed=SEED)


def check_training(mesh: DeviceMesh) -> None:
    """FSDP frees and allocates memory, before and after."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5))
    fully_shard(network[0], mesh=mesh)
    fully_shard(network, mesh=mesh)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for seed in (1, 2):
        network(torch.ones(2, 6)).sum().backward()
        optimizer.step()
        face.init_module_(network, seed=seed)
    expected = face.init_module_(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5)), seed=2)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor.full_tensor(), expected.state_dict()[name])
    before = network[0].weight.full_tensor().clone()
    optimizer.zero_grad()
    network(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    assert not torch.equal(network[0].weight.full_tensor(), before)


def main(rank: int, world: int, file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    for mesh in meshes(world):
        check_functions(mesh)
        check_generator(mesh)
        check_modules(mesh)
    check_unrecorded(meshes(world)[0])
    check_flat_parameters()
    check_hooks(meshes(world)[0])
    check_training(meshes(world)[0])
    check_errors(meshes(world)[0], world)
    dist.destroy_process_group()


if __name__ == "__main__":
    world, file = int(sys.argv[1]), sys.argv[2]
    torch.multiprocessing.spawn(main, (world, file), nprocs=world)
