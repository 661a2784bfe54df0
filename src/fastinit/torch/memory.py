"""Tensors of PyTorch as memory: which are filled here, as which array, and which part of a DTensor is local."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version
from torch.overrides import has_torch_function_variadic

from fastinit import dtypes
from fastinit._kernel import DTYPE_SIZES
from fastinit.computed import Tiles, as_slice
from fastinit.fill import Array, fill_array, may_overlap, select_box, zero_row
from fastinit.initializers import Initializer, prepare
from fastinit.streams import Stream

DTYPES = {getattr(torch, name): name for name in DTYPE_SIZES}
#: Bytes of the staging buffer for other devices: enough for the threads of a fill.
STAGING = 2**26
#: Also of the dtypes that only constants, known values and integers fill.
STORED_DTYPES = {getattr(torch, name): name for name in dtypes.DTYPES if hasattr(torch, name)}


def is_dtensor(tensor: Tensor) -> bool:
    """Whether it is a DTensor, whose module is imported if there is any."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


@lru_cache(maxsize=256)
def is_plain(cls: Any) -> bool:
    """Whether a class of tensors leaves operations as they are, as Parameter does and FakeTensor does not."""
    if not issubclass(cls, Tensor):
        return False
    function = getattr(cls.__torch_function__, "__func__", cls.__torch_function__)
    usual = (Tensor.__torch_function__.__func__, torch.nn.Parameter.__torch_function__)
    return function in usual and cls.__torch_dispatch__ is Tensor.__torch_dispatch__


def is_fake(tensor: Tensor) -> bool:
    """Whether it is one of ``FakeTensorMode``, which has a shape, a dtype and no values."""
    module = sys.modules.get("torch._subclasses.fake_tensor")
    return module is not None and isinstance(local_part(tensor), module.FakeTensor)


def is_local_plain(tensor: Tensor) -> bool:
    """Whether a tensor, or the local part of a DTensor, leaves operations as they are."""
    cls: Any = type(local_part(tensor))
    return is_plain(cls)


def local_part(tensor: Any) -> Tensor:
    """What a DTensor wraps, of whatever type; other tensors as they are."""
    return tensor._local_tensor if is_dtensor(tensor) else tensor


def is_filled_here(tensor: Tensor, anywhere: bool) -> bool:
    """Whether this library fills a tensor, rather than PyTorch: `anywhere`, or in CPU memory alone.

    An error for tensors whose elements have no memory of their own, and for a tensor to be filled
    `anywhere` while a tracer follows it, which would not see it change.
    """
    if not isinstance(tensor, Tensor):
        if not anywhere and has_torch_function_variadic(tensor):  # that of torch.fx
            return False
        raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
    if not is_local_plain(tensor):
        return False
    if tensor.is_nested or tensor.is_quantized or tensor.layout is not torch.strided:
        kind = (
            "nested" if tensor.is_nested else "quantised" if tensor.is_quantized else tensor.layout
        )
        raise TypeError(f"tensor must be dense and not quantised, got one that is {kind}")
    if _is_traced(tensor):
        if not anywhere:
            return False
        raise RuntimeError(
            "tensor must not be filled from a seed while torch.jit.trace, make_fx, torch.func (vmap, "
            "grad) or forward-mode differentiation follow it, which would miss it: initialise before"
        )
    if tensor.is_meta or tensor.numel() == 0 or tensor.dtype not in DTYPES:
        return False
    return anywhere or tensor.device.type == "cpu"


def _is_traced(tensor: Tensor) -> bool:
    return (
        torch.jit.is_tracing()
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
        or (forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None)
    )


def is_memory(tensor: Tensor) -> bool:
    """Whether `as_bits` can show a tensor, which has elements."""
    cls: Any = type(tensor)
    return (
        is_plain(cls)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.element_size() in _UNSIGNED
        and tensor.numel() > 0
        and tensor.data_ptr() != 0
    )


def fill_tensor(tensor: Tensor, initializer: Initializer, seed: int, stream: Stream) -> None:
    """Fill a tensor, and of a DTensor what is local. Fake tensors have nothing to fill.

    Values for other devices go through a staging buffer of at most `STAGING` bytes, chunk by chunk.
    Dtypes that are not in `DTYPES` take a `Computed` of their values.
    """
    if is_fake(tensor):
        return
    shape, dtype = tuple(tensor.shape), STORED_DTYPES[tensor.dtype]
    local = local_tensor(tensor)
    if local.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError("tensor must not be one of inference mode outside of it: clone it")
    if local.numel() and not local.data_ptr():
        raise RuntimeError("tensor must have memory, got one that has none, or whose is freed")
    prepared = partial(prepare, initializer, shape)
    if local.device.type != "cpu" or local.is_neg():
        for out, target, box in _staged(local, pieces(tensor), shape):
            fill_array(as_bits(out), dtype, prepared, seed, stream, shape, box, None)
            with torch.no_grad():
                target.copy_(out)
        return
    memory = as_bits(local)
    if may_overlap(memory):
        raise RuntimeError(
            "tensor must not have elements that share memory, clone it; "
            f"got shape {tuple(local.shape)} and strides {local.stride()}"
        )
    for place, index in pieces(tensor):
        fill_array(memory[place], dtype, prepared, seed, stream, shape, index, None)
    increment_version(tensor)  # autograd then knows that what it has saved is gone


def _staged(
    local: Tensor, parts: Sequence[tuple[Box, Box | None]], shape: tuple[int, ...]
) -> Iterator[tuple[Tensor, Tensor, Box]]:
    """Chunks of a tensor that is not in memory of the CPU: a part of one staging buffer, its target, its index in the whole."""
    count = min(max(1, STAGING // local.element_size()), local.numel())
    buffer = torch.empty(count, dtype=local.dtype, device="cpu")
    for place, index in parts:
        part: Any = local.detach()[place]
        ranges = select_box(shape, ... if index is None else index).ranges
        tiles = Tiles(part.shape, count) if part.numel() else ()
        for i in range(len(tiles)):
            target = part[tiles[i]]
            chosen = (as_slice(r[item]) for r, item in zip(ranges, tiles[i], strict=True))
            yield buffer[: target.numel()].view(target.shape), target, tuple(chosen)


def copy_whole(tensor: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor; into a DTensor what is local."""
    local = local_tensor(tensor).detach()
    with torch.no_grad():
        for place, index in pieces(tensor):
            local[place].copy_(whole[... if index is None else index])


def zero_row_(tensor: Tensor, row: int) -> None:
    """Zero a row of the first axis, of a DTensor where it is local."""
    local: Any = local_tensor(tensor).detach()  # which takes assignments as an array does
    for place, index in pieces(tensor):
        zero_row(local[place], row, tuple(tensor.shape), index)


def local_tensor(tensor: Any) -> Tensor:
    """What a DTensor has here; other tensors as they are."""
    if not is_dtensor(tensor):
        return tensor
    with torch.no_grad():
        return tensor.to_local()


_UNSIGNED = {size: np.dtype(f"u{size}").str for size in (1, 2, 4, 8)}


class _Interface:
    """What NumPy asks for to make an array of memory that is another's."""

    def __init__(self, tensor: Tensor) -> None:
        size = tensor.element_size()
        contiguous = tensor.is_contiguous()
        self.__array_interface__ = {
            "version": 3,
            "data": (tensor.data_ptr(), False),
            "shape": tuple(tensor.shape),
            "strides": None if contiguous else tuple(size * step for step in tensor.stride()),
            "typestr": _UNSIGNED[size],
        }


def as_bits(tensor: Tensor) -> Array:
    """The elements of a tensor in CPU memory as unsigned integers of their size.

    Not by ``Tensor.numpy()``, after which PyTorch refuses for ever to resize the storage (as FSDP
    does). The caller keeps the tensor.
    """
    return np.asarray(_Interface(tensor))


Span = tuple[int, int]  # of indices of one axis: start, stop
Box = tuple[Any, ...]  # an index of all axes


def pieces(tensor: Any) -> list[tuple[Box, Box | None]]:
    """The boxes of a tensor that this process has: where they are in its memory, and in the whole."""
    if not is_dtensor(tensor):
        return [((...,), None)]
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:  # a process that is not in the mesh has nothing
        return []
    spans = [[(0, n)] for n in tensor.shape]
    for place, count, placement in zip(
        coordinate, tensor.device_mesh.shape, tensor.placements, strict=True
    ):
        if placement.is_replicate():
            continue
        axis = getattr(placement, "dim", None)
        if axis is None:
            raise ValueError(
                f"tensor must have placements Shard or Replicate, got {tensor.placements}: "
                "redistribute it first"
            )
        groups = getattr(placement, "split_factor", 1)  # of a tensor that FSDP sharded after TP
        spans[axis] = [
            span
            for group in range(groups)
            for span in _chunk(_chunk(spans[axis], groups, group), count, place)
        ]
    shape = tuple(sum(stop - start for start, stop in axis) for axis in spans)
    local_shape = tuple(local_tensor(tensor).shape)
    if shape != local_shape:
        raise ValueError(
            f"tensor must be sharded as torch.chunk does; {tensor.placements} of {tuple(tensor.shape)} "
            f"would have the local shape {shape} here, got {local_shape}"
        )
    return [
        ((*(slice(*here) for here, _ in box), ...), tuple(slice(*there) for _, there in box))
        for box in itertools.product(*(_placed(axis) for axis in spans))
    ]


def _chunk(spans: Sequence[Span], count: int, i: int) -> list[Span]:
    """Chunk i of `count` of the indices in some spans, as ``torch.chunk`` cuts them."""
    size = -(-sum(stop - start for start, stop in spans) // count)
    first, last = i * size, (i + 1) * size
    cut = []
    for (begin, end), (start, _) in _placed(spans):
        low, high = max(begin, first), min(end, last)
        if low < high:
            cut.append((start + low - begin, start + high - begin))
    return cut


def _placed(spans: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Each span, with where it lies when one follows the other."""
    here = 0
    for start, stop in spans:
        yield (here, here + stop - start), (start, stop)
        here += stop - start
