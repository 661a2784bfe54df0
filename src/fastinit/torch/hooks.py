"""What modules do to initialise themselves, done so that each parameter draws from its own stream."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fastinit.streams import stream_key
from fastinit.torch.init import current_naming
from fastinit.torch.memory import (
    as_bits,
    copy_whole,
    is_dtensor,
    is_local_plain,
    is_memory,
    local_tensor,
)
from fastinit.torch.patch import patched
from fastinit.torch.slots import Slot, clean, listed

Hook = tuple[str, nn.Module, Callable[[], object]]  # a path, its module, and what sets its tensors

#: Number of sentinels that reveal a tensor that nothing has set.
SENTINELS = 64

#: Set by transformers on what has been loaded, which its models do not initialise.
FLAG = "_is_hf_initialized"

#: What a hook may do with a DTensor and numbers, beside calling ``torch.nn.init``: none of it depends on the shards.
ON_DTENSORS = {
    "__get__", "__len__", "add_", "clamp_", "detach", "dim", "div_", "element_size", "fill_", "is_complex",
    "is_contiguous", "is_floating_point", "mul_", "ndimension", "numel", "requires_grad_", "size", "stride",
    "sub_", "zero_",
}  # fmt: skip


def find_hooks(
    module: nn.Module, slots: Sequence[Slot], settled: Collection[str], required: Sequence[Slot]
) -> list[Hook]:
    """The methods of modules that set what is not `settled`, children first.

    An error where there is none for what is `required`. Buffers may also be set by the methods of
    modules around their own.
    """
    unset = {id(slot.owner) for slot in slots if not slot.alias and slot.name not in settled}
    concerned: set[int] = set()  # ids of modules with something unset in or below them
    resets: list[Hook] = []
    model_hooks: list[Hook] = []
    modules = dict(module.named_modules())
    for path, part in reversed(modules.items()):
        if id(part) not in unset and concerned.isdisjoint(map(id, part.children())):
            continue
        concerned.add(id(part))
        reset, model = reset_of(part), _model_around(path, modules)
        if reset is not None:
            resets.append((clean(path), part, reset))
        if model is not None:
            model_hooks.append((clean(path), part, partial(model._init_weights, part)))
    hooks = resets + model_hooks
    owners, paths = {id(part) for _, part, _ in hooks}, {path for path, _, _ in hooks}
    _refuse([slot.name for slot in required if not _may_be_set(slot, owners, paths)])
    return hooks


def _may_be_set(slot: Slot, owners: Collection[int], paths: Collection[str]) -> bool:
    """Whether a method is there to set a tensor, of those modules by their ids and paths."""
    if not slot.is_buffer:
        return id(slot.owner) in owners
    names = slot.name.split(".")
    return any(".".join(names[:i]) in paths for i in range(len(names)))


def reset_of(part: nn.Module) -> Any:
    """The method that sets a module's own parameters, or None."""
    method = getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))
    if not callable(method):
        return None
    try:
        inspect.signature(method).bind()
    except TypeError:  # it wants arguments
        return None
    return method


def _model_around(path: str, modules: dict[str, nn.Module]) -> Any:
    """The innermost model of transformers that a module is a part of."""
    base = model_class()
    while base is not None:
        if isinstance(modules[path], base):
            return modules[path]
        if not path:
            break
        path = path.rpartition(".")[0]
    return None


def model_class() -> Any:
    """The class of the models of transformers, or None if nothing has imported them."""
    return getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)


def _refuse(names: Sequence[str]) -> None:
    if names:
        raise ValueError(
            f"neither rules nor their modules set {listed(names)}: record the construction "
            "(with fastinit.torch.record(): ...), give a parameter a rule, give a buffer's module a "
            "reset_parameters that computes it, or give None by a rule where the values are right "
            "already (never on the meta device or after to_empty)"
        )


def run_hooks(
    hooks: Sequence[Hook],
    slots: Sequence[Slot],
    settled: Collection[str],
    required: Sequence[Slot],
    seed: int,
) -> None:
    """Let modules set what is not `settled`; an error for what they leave, which gets its values back."""
    dtypes = {slot.name: slot.tensor.dtype for slot in slots}
    sentinels = {slot.name: _put_sentinels(slot) for slot in required}
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(patched())
            stack.enter_context(_named(slots, seed))
            stack.enter_context(_hidden(slots, settled))
            if any(is_dtensor(slot.tensor) for slot in slots):
                stack.enter_context(_WholeDTensors())
            for path, part, hook in hooks:
                with _torch_seed(stream_key(seed, path)), _defaults(part), _noted(path):
                    hook()
            for slot in slots:
                if slot.tensor is not None and slot.tensor.dtype != dtypes[slot.name]:
                    slot.tensor.data = slot.tensor.data.to(dtypes[slot.name])
    finally:
        left = [name for name, is_left in sentinels.items() if is_left()]
    _refuse(left)


@contextmanager
def _noted(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"while the module {path!r} initialised itself")
        raise


def _put_sentinels(slot: Slot) -> Callable[[], bool]:
    """Overwrite some elements by sentinels; what is returned tells whether they are left, and takes these back.

    Sentinels are NaN where the dtype has it: one that is left counts, also within what was computed
    from it. For other dtypes they are bits that look random, and all must be left, because
    elements of 8 bits often have the same by chance.
    """
    local = local_tensor(slot.tensor).detach()  # which keeps the memory, if the module takes other
    if local.is_complex():
        local = torch.view_as_real(local.resolve_conj())
    if not is_memory(local):
        return lambda: False
    bits = np.atleast_1d(as_bits(local))
    flat = np.linspace(0, bits.size - 1, min(bits.size, SENTINELS)).astype(np.int64)
    positions = np.unravel_index(flat, bits.shape)
    before, nan = bits[positions].copy(), _nan_code(local.dtype)
    sentinels = _random_bits(flat, bits.dtype) if nan is None else np.full_like(before, nan)
    bits[positions] = sentinels

    def is_left() -> bool:
        if nan is None:
            left = np.full(before.shape, bool((bits[positions] == sentinels).all()))
        else:
            left = np.array(torch.atleast_1d(local)[positions].float().isnan().tolist())
        bits[positions] = np.where(left, before, bits[positions])
        if slot.tensor is None:  # a buffer that the module has given up
            return False
        return local_tensor(slot.tensor).data_ptr() == local.data_ptr() and bool(left.any())

    return is_left


@lru_cache
def _nan_code(dtype: torch.dtype) -> int | None:
    """The bits of a NaN, as PyTorch converts it; None for a dtype that has none."""
    if not dtype.is_floating_point:
        return None
    try:
        nan = torch.full((1,), torch.nan, device="cpu").to(dtype)
        return int(as_bits(nan)[0]) if nan.float().isnan() else None
    except RuntimeError:  # PyTorch stores numbers of 4 bits and converts none
        return None


def _random_bits(offsets: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Bits that differ from element to element (Weyl's sequence), so that no constant and no range has them."""
    words = (offsets.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (words >> np.uint64(64 - 8 * dtype.itemsize)).astype(dtype)


@contextmanager
def _named(slots: Sequence[Slot], seed: int) -> Iterator[None]:
    """Calls that sample know the names of the parameters, by where in memory these are."""
    named = [slot for slot in slots if not (slot.alias or slot.is_buffer)]
    names = {_place(slot.tensor): slot.name for slot in named}

    def seed_and_name(tensor: Tensor) -> tuple[int, str] | None:
        name = names.get(_place(tensor))
        return None if name is None else (seed, name)

    token = current_naming.set(seed_and_name)
    try:
        yield
    finally:
        current_naming.reset(token)


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return local_tensor(tensor).data_ptr(), tuple(tensor.shape)


@contextmanager
def _hidden(slots: Sequence[Slot], settled: Collection[str]) -> Iterator[None]:
    """Keep modules from setting what is settled or another's: stand-ins take what they write.

    Those of parameters are on the meta device; those of buffers are copies, which may be read.
    Padding rows of DTensors are hidden too, because they are set through views, which DTensors do
    not have; and what tells transformers that a tensor or a module has been loaded.
    """
    hidden = [slot for slot in slots if slot.name in settled or (slot.alias and not slot.is_buffer)]
    own = [(slot, slot.tensor) for slot in hidden]
    sharded = [slot for slot in slots if is_dtensor(slot.tensor)]
    rows = [(slot.owner, slot.padding_row) for slot in sharded if slot.padding_row is not None]
    flagged = [vars(x) for slot in slots for x in (slot.owner, slot.tensor)]
    flags = [(space, space.pop(FLAG)) for space in flagged if FLAG in space]
    try:
        for slot in hidden:
            slot.put(_stand_in(slot))
        for owner, _ in rows:
            owner.padding_idx = None
        yield
    finally:
        for slot, tensor in own:
            slot.put(tensor)
        for owner, row in rows:
            owner.padding_idx = row
        for space, flag in flags:
            space[FLAG] = flag


def _stand_in(slot: Slot) -> Tensor:
    tensor = slot.tensor
    if slot.is_buffer:
        return tensor.clone()
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return nn.Parameter(empty, tensor.requires_grad)


@contextmanager
def _torch_seed(seed: int) -> Iterator[None]:
    """PyTorch's own generator of the CPU has a seed for a while."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


@contextmanager
def _defaults(part: nn.Module) -> Iterator[None]:
    """What a module computes does not depend on the caller's settings of PyTorch.

    It is computed in float32, or in float64 where the module has such tensors, on the CPU and
    without autocast.
    """
    tensors = itertools.chain(part.parameters(), part.buffers())
    is_double = any(tensor.dtype == torch.float64 for tensor in tensors)
    dtype = torch.get_default_dtype()
    try:
        with ExitStack() as stack:
            torch.set_default_dtype(torch.float64 if is_double else torch.float32)
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        torch.set_default_dtype(dtype)


class _WholeDTensors(TorchFunctionMode):
    """Lets hooks set DTensors as wholes alone.

    PyTorch loses what is written to a part of one, draws other values for other shards, and does
    not copy from a plain tensor.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        values = [*args, *kwargs.values()]
        name = getattr(func, "__name__", "")
        if getattr(func, "__module__", "") == "torch.nn.init" or not any(map(is_dtensor, values)):
            return func(*args, **kwargs)
        tensors = [value for value in values if isinstance(value, Tensor)]
        if func is Tensor.copy_ and len(args) > 1 and not is_dtensor(args[1]):
            copy_whole(args[0], args[1].expand(args[0].shape))
            return args[0]
        if all(map(is_local_plain, tensors)) and (name not in ON_DTENSORS or len(tensors) > 1):
            raise ValueError(
                f"rules must cover sharded parameters that their module sets by {name}, which "
                "depends on the shards"
            )
        return func(*args, **kwargs)
