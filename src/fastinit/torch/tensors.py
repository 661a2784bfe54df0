"""Recorded modules as the tensors of a model, which need no PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from fastinit import Tensor
from fastinit.choices import AxesName, StoredDtypeName
from fastinit.dtypes import stored_dtype
from fastinit.expressions import Draw, Parts
from fastinit.fill import c_strides
from fastinit.initializers import Computed, Constant, Distribution, Initializer
from fastinit.streams import numbered
from fastinit.torch.recording import Read, memory_of
from fastinit.torch.replay import (
    Streams,
    UnsetError,
    express,
    find_recorded,
)
from fastinit.torch.slots import axes_of, clean, listed
from fastinit.torch.views import Access, NotExpressibleError, access_of


class NotRecordedError(ValueError):
    """Tensors of a module that were made when nothing recorded."""


@dataclass(frozen=True)
class Plain:
    """An expression as the arguments of a `Tensor`."""

    init: Initializer
    stream: str | None = None
    whole_shape: tuple[int, ...] | None = None
    index: tuple[Any, ...] | None = None
    axis_order: tuple[int, ...] | None = None
    padding_idx: int | None = None


def recorded_tensors(
    module: nn.Module, *, tensors: Mapping[str, torch.Tensor] | None = None
) -> list[Tensor]:
    """The tensors of a recorded module, as `Model` takes them.

    Parameters
    ----------
    module : torch.nn.Module
        Constructed within `record`, and not initialised yet.
    tensors : mapping from str to torch.Tensor, optional
        Within `record`, tensors that were made from those of the module, by their names in a file:
        views, joined and transposed ones for example. By default all that the module's
        ``state_dict`` has, each tied one once.

    Returns
    -------
    list of fastinit.Tensor
        The stream of each is the qualified name in the module; one that is part of a tensor of the
        module, or transposed, says which part.

    Raises
    ------
    ValueError
        Tensors that were not recorded, that nothing sets, or that depend on operations which
        expressions lack, by name.

    Examples
    --------
    >>> import fastinit as fi, fastinit.torch as fit
    >>> with fit.record():
    ...     layer = nn.Linear(64, 32)
    >>> model = fi.Model(fit.recorded_tensors(layer))
    >>> layer = fit.init_module_(layer, seed=0)
    >>> bool((model.make("weight", seed=0) == layer.weight.detach().numpy()).all())
    True
    """
    found = list(find_recorded(module))
    streams = Streams((slot.name, entry) for slot, entry in found)
    reads = {slot.name: entry.read for slot, entry in found if slot.is_stored}
    if tensors is None:
        state = _unrecorded(module, reads)
    else:
        reads = {name: read for name, one in tensors.items() if (read := _read_of(one)) is not None}
        state = [name for name in tensors if name not in reads]
    if state:
        raise NotRecordedError(
            f"nothing has recorded {listed(state)}: construct the module within record()"
        )
    axes = {slot.name: axes_of(slot.owner) for slot, _ in found}
    made, unset, refused = [], [], {}
    for name, read in reads.items():
        try:
            made.append(_tensor(name, read, streams, axes))
        except UnsetError:
            unset.append(name)
        except (NotExpressibleError, TypeError, ValueError) as error:
            refused[name] = f"{error}"
    if unset:
        raise ValueError(f"the recorded code sets no values of {listed(unset)}")
    if refused:
        name, why = next(iter(refused.items()))
        raise ValueError(f"{listed(refused)} cannot be described without PyTorch: {why} ({name})")
    return made


def _unrecorded(module: nn.Module, reads: Collection[str]) -> list[str]:
    """The names in the ``state_dict`` of what was not recorded, and is not tied to a tensor that was."""
    state = {clean(name): one for name, one in module.state_dict(keep_vars=True).items()}
    recorded = {id(state[name]) for name in reads if name in state}
    tensors = ((name, one) for name, one in state.items() if isinstance(one, torch.Tensor))
    return [name for name, one in tensors if name not in reads and id(one) not in recorded]


def _read_of(tensor: torch.Tensor) -> Read | None:
    memory = memory_of(tensor)
    if memory is None:
        return None
    return Read(memory, memory.written, access_of(tensor), tensor.dtype)


def _tensor(name: str, read: Read, streams: Streams, axes: Mapping[str, AxesName]) -> Tensor:
    """A tensor with its expression, and the axes of the module's tensor whose stream it has."""
    plain = as_plain(express(read, streams, name), read.access.size, streams, name)
    dtype = cast("StoredDtypeName", stored_dtype(str(read.dtype).removeprefix("torch.")).name)
    return Tensor(
        name,
        read.access.size,
        plain.init,
        dtype,
        plain.padding_idx,
        axes.get((plain.stream or name).partition("#")[0], "out_in"),
        stream=plain.stream,
        whole_shape=plain.whole_shape,
        index=plain.index,
        axis_order=plain.axis_order,
    )


def as_plain(made: Distribution, shape: tuple[int, ...], streams: Streams, name: str) -> Plain:
    """An expression with as little of it left as the fields of a tensor can say."""
    if isinstance(made, Parts) and (row := _zero_row(made, shape)) is not None:
        base = as_plain(made.base, shape, streams, name)
        if base == Plain(base.init, base.stream) and not isinstance(base.init, Computed):
            return Plain(base.init, base.stream, padding_idx=row)
    if not isinstance(made, Draw):
        return Plain(made)
    stream = made.stream if made.number == 1 else f"{numbered(made.stream or name, made.number)}"
    if made.first == 0 and made.steps is None:
        return Plain(made.of, stream)
    whole = streams.shape(made.stream or name, made.number)
    found = part_of(whole, Access(made.first, shape, made.steps or tuple(c_strides(shape))))
    return Plain(made) if found is None else Plain(made.of, stream, whole, *found)


def _zero_row(made: Parts, shape: tuple[int, ...]) -> int | None:
    """The row of the first axis that is zero, if there is one and nothing else has a distribution of its own."""
    (index, part), *others = made.parts
    if others or part != Constant(0.0) or not isinstance(index, tuple) or not shape:
        return None
    first, *rest = index
    if rest != [slice(0, n) for n in shape[1:]]:
        return None
    if isinstance(first, slice):
        return first.start if first.stop - first.start == 1 else None
    return first if isinstance(first, int) else None


def part_of(
    whole: tuple[int, ...], access: Access
) -> tuple[tuple[Any, ...], tuple[int, ...]] | None:
    """The index and the order of axes by which a tensor is a part of a whole one; None if there are none."""
    strides, offset = c_strides(whole), access.offset
    index: list[Any] = []
    for stride in strides:
        at, offset = divmod(offset, stride) if stride else (0, offset)
        index.append(at)
    axes: list[int] = []  # of the whole, for each axis of the access
    for n, step in zip(access.size, access.stride, strict=True):
        axis = _axis_along(whole, strides, axes, n, step)
        if axis is None:
            return None
        axes.append(axis)
        start = index[axis]
        if isinstance(start, slice):
            return None
        move = step // strides[axis] if n > 1 else 1
        last = start + (n - 1) * move
        if not 0 <= last < whole[axis]:
            return None
        index[axis] = slice(start, last + 1 if move > 0 else (last - 1 if last else None), move)
    kept = sorted(axes)
    return tuple(index), tuple(kept.index(axis) for axis in axes)


def _axis_along(
    whole: tuple[int, ...], strides: list[int], taken: list[int], n: int, step: int
) -> int | None:
    """The axis of a whole tensor along which an axis of a part lies."""
    free = [axis for axis in range(len(whole)) if axis not in taken]
    if n == 1:
        same = [axis for axis in free if whole[axis] == 1]
        return next(iter(same or free), None)
    along = [a for a in free if strides[a] and step % strides[a] == 0 and whole[a] > 1]
    return along[0] if along else None
