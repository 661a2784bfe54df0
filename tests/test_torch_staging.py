"""Values for other devices: made on the CPU, and copied in chunks of bounded size through one staging buffer.

A view that negates its memory stands for a tensor of another device: it cannot be filled in place either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

dist = pytest.importorskip("torch.distributed", reason="needs torch")

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.utils._python_dispatch import TorchDispatchMode

import fastinit as fi
import fastinit.torch as fit
from fastinit.torch import memory

STAGING = 4096


class Watching(TorchDispatchMode):
    """Notes the bytes of new memory, and of what is copied."""

    def __init__(self) -> None:
        super().__init__()
        self.allocated: list[int] = []
        self.copied: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.copy_.default:
            self.copied.append(args[1].nbytes)
        elif isinstance(made, Tensor) and not func.is_view and not func._schema.is_mutable:
            self.allocated.append(made.nbytes)
        return made


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    monkeypatch.setattr(memory, "STAGING", STAGING)
    with Watching() as mode:
        yield mode


def elsewhere(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch._neg_view(torch.zeros(shape, dtype=dtype))


SHAPES = [(), (0, 3), (1,), (5000,), (3000, 7), (2, 3000), (3, 40, 50), (40, 1, 60)]
DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.float16: "float16"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_are_those_of_the_whole(
    watching: Watching, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    tensor = elsewhere(shape, dtype)
    watching.allocated.clear()
    fit.normal_(tensor, std=0.5, seed=3, stream="w")
    assert sum(watching.allocated) <= STAGING
    assert sum(watching.copied) == tensor.nbytes
    assert max(watching.copied, default=0) <= STAGING
    expected = fi.Normal(0, 0.5)(shape, seed=3, stream="w", dtype=DTYPES[dtype])
    assert torch.equal(tensor, torch.from_numpy(expected))


def test_strided_targets(watching: Watching) -> None:
    tensor = elsewhere((60, 50), torch.float32).T
    watching.allocated.clear()
    fit.normal_(tensor, seed=3, stream="w")
    assert sum(watching.allocated) <= STAGING
    assert torch.equal(tensor, torch.from_numpy(fi.Normal()((50, 60), seed=3, stream="w")))


def test_what_needs_the_whole_is_cut(watching: Watching) -> None:
    tensor = elsewhere((60, 50), torch.float32)
    fit.orthogonal_(tensor, seed=3, stream="w")
    assert max(watching.copied) <= STAGING
    torch.testing.assert_close(tensor.T @ tensor, torch.eye(50), rtol=0, atol=1e-5)


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """Two processes, of which this one is the second: no communication is needed."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


@pytest.mark.parametrize("axis", [0, 1])
def test_shards_are_staged_too(
    mesh: DeviceMesh, monkeypatch: pytest.MonkeyPatch, axis: int
) -> None:
    monkeypatch.setattr(memory, "STAGING", STAGING)
    whole = torch.from_numpy(fi.Normal()((90, 70), seed=3, stream="w"))
    expected = whole.chunk(2, axis)[1]
    local = elsewhere(tuple(expected.shape), torch.float32)
    sharded = DTensor.from_local(
        local, mesh, [Shard(axis)], run_check=False, shape=whole.shape, stride=whole.stride()
    )
    fit.normal_(sharded, seed=3, stream="w")
    assert torch.equal(sharded.to_local(), expected)


def test_recorded_integers_of_a_shard_are_made_alone(mesh: DeviceMesh) -> None:
    """They were computed as a whole, and cut."""
    with fit.record():
        module = torch.nn.Module()
        codes = torch.randint(-4, 5, (90, 70), dtype=torch.int8)
        module.codes = torch.nn.Parameter(codes, requires_grad=False)
    whole = fi.Model(fit.recorded_tensors(module)).make("codes", seed=3)
    torch.distributed.fsdp.fully_shard(module, mesh=mesh)
    made: Any = fit.init_module_(module, seed=3)
    assert torch.equal(made.codes.to_local(), torch.from_numpy(whole).chunk(2)[1])
