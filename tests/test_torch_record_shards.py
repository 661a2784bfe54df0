"""Recorded modules that are sharded, and then changed: errors that name the parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

dist = pytest.importorskip("torch.distributed", reason="needs torch")

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import fastinit as fi
import fastinit.torch as fit


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    """Of one process, which is this one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def recorded(*, tied: bool = False) -> nn.Sequential:
    with fit.record():
        module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        for layer in module:
            nn.init.normal_(layer.weight)
        if tied:
            module[1].weight = module[0].weight
    return module


def in_parallel(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    return parallelize_module(module, mesh, {"0": ColwiseParallel(), "1": RowwiseParallel()})


def fully(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    return fully_shard(module, mesh=mesh)


def both(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    two = init_device_mesh("cpu", (1, 1), mesh_dim_names=("data", "model"))
    return fully(in_parallel(module, two["model"]), two["data"])


SHARDED: dict[str, Callable[[nn.Module, DeviceMesh], nn.Module]] = {
    "fully_shard": fully,
    "parallelize_module": in_parallel,
}


def other(mesh: DeviceMesh) -> nn.Parameter:
    return nn.Parameter(distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)]))


def zero(module: Any) -> None:
    module[0].weight.zero_()


CHANGES: dict[str, tuple[Callable[[Any, DeviceMesh], object], str]] = {
    "zero_": (lambda m, _: zero(m), "changed"),
    "mul_": (lambda m, _: m[0].weight.mul_(2), "changed"),
    "data": (lambda m, _: m[0].weight.data.zero_(), "changed"),
    "detach": (lambda m, _: m[0].weight.detach().zero_(), "changed"),
    "a view": (lambda m, _: m[0].weight.view(-1).zero_(), "changed"),
    "the local shard": (lambda m, _: m[0].weight.to_local().zero_(), "changed"),
    "torch.nn.init": (lambda m, _: nn.init.ones_(m[0].weight), "changed"),
    "reset_parameters": (lambda m, _: m[0].reset_parameters(), "changed"),
    "before a conversion": (lambda m, _: (zero(m), m.bfloat16()), "changed"),
    "data before a conversion": (lambda m, _: (m[0].weight.data.zero_(), m.half()), "changed"),
    "after a conversion": (lambda m, _: zero(m.bfloat16()), "changed"),
    "after to_empty": (lambda m, _: zero(m.to_empty(device="cpu")), "changed"),
    "another parameter": (lambda m, mesh: setattr(m[0], "weight", other(mesh)), "replaced"),
    "a direct write": (lambda m, mesh: m[0]._parameters.update(weight=other(mesh)), "replaced"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("sharded", SHARDED)
@pytest.mark.filterwarnings("ignore")  # of PyTorch, about meta tensors
def test_changes_after_sharding_are_errors(mesh: DeviceMesh, sharded: str, change: str) -> None:
    module = SHARDED[sharded](recorded(), mesh)
    function, message = CHANGES[change]
    with torch.no_grad():
        function(module, mesh)
    with pytest.raises(ValueError, match=rf"^'0\.weight' was {message} after it was recorded"):
        fit.init_module_(module, seed=0)


CONVERSIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "none": lambda m: m,
    "bfloat16": lambda m: m.to(torch.bfloat16),
    "to_empty": lambda m: m.to_empty(device="cpu"),
    "the same dtype": lambda m: m.to(torch.float32),
    "two": lambda m: m.to_empty(device="cpu").to(torch.bfloat16),
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("sharded", [*SHARDED.values(), both])
def test_sharding_and_conversions_keep_recordings(
    mesh: DeviceMesh, sharded: Callable[..., nn.Module], conversion: str
) -> None:
    module: Any = fit.init_module_(CONVERSIONS[conversion](sharded(recorded(), mesh)), seed=0)
    for name in ("0.weight", "1.weight"):
        weight = module.get_parameter(name)
        expected = torch.from_numpy(fi.Normal(0.0, 1.0)((4, 4), seed=0, stream=name))
        assert type(weight) is DTensor
        assert torch.equal(weight.full_tensor(), expected.to(weight.dtype))


def test_copies_of_sharded_modules(mesh: DeviceMesh) -> None:
    module: Any = fit.init_module_(copy.deepcopy(in_parallel(recorded(), mesh)), seed=0)
    expected = torch.from_numpy(fi.Normal(0.0, 1.0)((4, 4), seed=0, stream="0.weight"))
    assert torch.equal(module[0].weight.full_tensor(), expected)


def test_ties_outlive_fully_shard(mesh: DeviceMesh) -> None:
    module: Any = fully_shard(recorded(tied=True), mesh=mesh).to_empty(device="cpu")
    fit.init_module_(module, seed=0)
    assert module[0].weight is module[1].weight


def test_ties_that_sharding_cuts_are_errors(mesh: DeviceMesh) -> None:
    """One is sharded by rows, and the other by columns."""
    module = in_parallel(recorded(tied=True), mesh)
    with pytest.raises(
        ValueError, match=r"^'1\.weight' was tied to '0\.weight' when it was recorded"
    ):
        fit.init_module_(module, seed=0)


def test_modules_are_sharded_after_the_recording(mesh: DeviceMesh) -> None:
    message = r"modules must be sharded after record\(\), got a DTensor for 'weight' of a Linear"
    module = fully_shard(recorded(), mesh=mesh)
    with pytest.raises(RuntimeError, match=message), fit.record(module):
        pass
