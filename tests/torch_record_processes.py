"""Run by test_torch_record_models.py in each of several processes: recorded models that are sharded before they are made."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

import fastinit.torch as fit
from torch_models import CASES, tensors_of

SEED = 3

#: Models whose tensors are fills and element-wise operations, of which each process makes its shard alone.
STYLES = ["gpt", "llama", "mamba", "packed qkv", "experts", "lora", "resnet", "unet", "vit", "siren", "teacher", "padding", "perturbed", "dtypes", "depth and width"]  # fmt: skip
#: Models that need whole tensors.
WHOLE = ["lstm language model", "rwkv", "weight norm", "special matrices", "whole tensors"]


def check_fsdp(style: str, mesh: DeviceMesh) -> None:
    """Sharded on the first axis, and made without communication."""
    expected = tensors_of(recorded(style, make=True))
    module = recorded(style)
    fully_shard(module, mesh=mesh)
    with CommDebugMode() as communication:
        fit.init_module_(module, seed=SEED)
    assert communication.get_total_counts() == 0, style
    for name, tensor in tensors_of(module).items():
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        assert torch.equal(whole, expected[name]), (style, name)


def check_columns(style: str, mesh: DeviceMesh) -> None:
    """Matrices sharded on their last axis, as by tensor parallelism."""

    def shard(_: str, module: nn.Module, mesh: DeviceMesh) -> None:
        for name, p in list(module.named_parameters(recurse=False)):
            if p.ndim >= 2:
                sharded = distribute_tensor(p, mesh, [Shard(p.ndim - 1)])
                setattr(module, name, nn.Parameter(sharded, requires_grad=p.requires_grad))

    expected = tensors_of(recorded(style, make=True))
    module = distribute_module(recorded(style), mesh, shard)
    fit.init_module_(module, seed=SEED)
    for name, tensor in tensors_of(module).items():
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        assert torch.equal(whole, expected[name]), (style, name)


def recorded(style: str, *, make: bool = False) -> nn.Module:
    with fit.record():
        module = CASES[style].build()
    return fit.init_module_(module, seed=SEED) if make else module


def main(rank: int, world: int, file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    for style in [*STYLES, *WHOLE]:
        check_fsdp(style, mesh)
    for style in STYLES:
        check_columns(style, mesh)
    dist.destroy_process_group()


if __name__ == "__main__":
    world, file = int(sys.argv[1]), sys.argv[2]
    torch.multiprocessing.spawn(main, (world, file), nprocs=world)
