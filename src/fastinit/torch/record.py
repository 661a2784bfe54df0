"""Construct modules without memory, and record every operation that sets their parameters and buffers."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from fastinit.distributions import Exponential, Orthogonal, RandomIntegers
from fastinit.initializers import Distribution, Normal, Uniform
from fastinit.torch.foreign import Generators, is_foreign, mark
from fastinit.torch.memory import is_dtensor, is_plain
from fastinit.torch.patch import recorded_by
from fastinit.torch.recording import (
    KEY,
    Called,
    Copied,
    Drawn,
    Entry,
    Epoch,
    Filled,
    Made,
    Memory,
    Read,
    Real,
    RecordedParameter,
    RecordedTensor,
    Source,
    Undrawable,
    Write,
    chain,
    copied,
    current_recorder,
    instances,
    memory_of,
    named_arguments,
    reads_of,
    set_memory,
    watch,
    watch_module,
)
from fastinit.torch.replay import find_recorded, realise, restore_ties
from fastinit.torch.slots import listed
from fastinit.torch.views import Access, access_of

aten = torch.ops.aten

#: Known tensors up to this many elements have memory, so that code can look at their values at no cost.
MOST_REAL = 2**16

_serial = itertools.count()


@contextmanager
def record(module: nn.Module | None = None) -> Iterator[None]:
    """Construct modules without memory, and record what sets their parameters and buffers.

    `init_module_` then makes the values that the code asks for, each tensor from the stream of its
    name. Nothing is drawn while the context is open, and PyTorch's generators are left alone.

    Parameters
    ----------
    module : torch.nn.Module, optional
        A module that exists and has no values yet, for example on the meta device, whose methods
        the context runs.

    Raises
    ------
    RuntimeError
        The context is opened inside another, or used together with ``torch.device("meta")``, where
        models skip their initialisation. Within the context: an operation looks at drawn values, or cannot be
        recorded.

    Notes
    -----
    Parameters and buffers are on the meta device, but for small ones whose values are known.
    Operations on them after the context must not change them before `init_module_`, which
    refuses tensors that were changed or replaced; conversions such as ``.to(torch.bfloat16)``, and
    what shards or wraps modules, are allowed. What a module copies within the context stays equal
    to its source.

    Examples
    --------
    >>> import fastinit.torch as fit
    >>> with fit.record():
    ...     model = nn.Sequential(nn.Embedding(1000, 64), nn.Linear(64, 64))
    ...     _ = nn.init.normal_(model[0].weight, std=0.02)
    >>> model = fit.init_module_(model, seed=0)
    """
    if current_recorder.get() is not None:
        raise RuntimeError("record() must not be opened inside another record()")
    if torch.get_default_device().type == "meta":
        _refuse_meta()
    if torch.is_inference_mode_enabled():
        _refuse_inference()
    _watch_modules()
    recorder = Recorder()
    if module is not None:
        recorder.resume(module)
    with recorded_by(recorder), recorder, _Values():
        yield
    recorder.keep()


def _refuse_meta() -> None:
    raise RuntimeError(
        'record() must not be used together with torch.device("meta"), where models skip their '
        "initialisation: leave torch.device out, record() needs no memory either"
    )


def _refuse_inference() -> None:
    raise RuntimeError(
        "record() must not be used together with torch.inference_mode(), whose tensors do not count "
        "their changes: leave it out, or use torch.no_grad()"
    )


def _is_default_device() -> bool:
    """Whether the device of a factory comes from a context such as ``torch.device``, which is not told otherwise."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not DeviceContext.__torch_function__.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


class Plan(NamedTuple):
    """What the recorder must know of an operation."""

    name: str  # without namespace and overload
    changes: tuple[int, ...]  # positions of the arguments that it changes
    changed_keywords: tuple[str, ...]
    draws: bool
    changes_view: bool  # shape or strides of its argument
    is_view: bool
    returns_tensors: bool


@cache
def plan_of(func: Any) -> Plan:
    schema = func._schema
    written = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
    return Plan(
        schema.name.partition("::")[2],
        tuple(
            i
            for i, (a, w) in enumerate(zip(schema.arguments, written, strict=True))
            if w and not a.kwarg_only
        ),
        tuple(a.name for a, w in zip(schema.arguments, written, strict=True) if w and a.kwarg_only),
        torch.Tag.nondeterministic_seeded in func.tags,
        torch.Tag.inplace_view in func.tags,
        any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns),
        all("Tensor" in str(r.type) for r in schema.returns),
    )


#: Factories of one number, by their names: the value, or None where it is an argument.
FILLS = {"zeros": 0, "ones": 1, "full": None}
#: The classes of the parameters and buffers of lazy modules.
_LAZY = UninitializedParameter, UninitializedBuffer
#: Functions that copy one tensor.
COPIES = {
    "clone",
    "_to_copy",
    "contiguous",
    "lift_fresh_copy",
    "alias_copy",
    "detach_copy",
    "view_copy",
}
#: Functions whose results have the elements of several tensors one after the other.
JOINS = {"cat", "stack", "concat"}


def _by_itself(method: Any) -> Any:
    """Let a method of a recorder run what it needs without being recorded."""

    @wraps(method)
    def run(*args: Any) -> Any:
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            return method(*args)

    return run


class Recorder(TorchDispatchMode):
    """Keeps what operations do to memories without values, and does none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: dict[int, nn.Module] = {}
        self.changed: dict[int, Memory] = {}
        self.before = Generators()
        self.last = Generators()

    # Operations.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if any(not (is_plain(cls) or issubclass(cls, _LAZY)) for cls in types):
            return NotImplemented
        with torch._C.DisableTorchFunction():
            return self._record(func, args, dict(kwargs or {}))

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        plan = plan_of(func)
        if plan.draws:
            return self._draw(plan, func, args, kwargs)
        tensors = list(instances(Tensor, (args, kwargs)))
        if not tensors:
            return self._make(plan, func, args, kwargs)
        if plan.name.endswith("_like") or plan.name.startswith(("new_", "empty")):
            return self._make_like(plan, func, args, kwargs)
        if not any(tensor.is_meta or memory_of(tensor) for tensor in tensors):
            made = func(*args, **kwargs)
            if isinstance(made, Tensor) and any(map(is_foreign, tensors)):
                mark(made)
            return made
        if plan.changes_view or plan.name == "set_":
            if plan.name == "resize_":
                raise RuntimeError(f"{plan.name} cannot be recorded{_where()}")
            return func(*args, **kwargs)
        if plan.changes or plan.changed_keywords:
            return self._change(plan, func, args, kwargs)
        if plan.is_view:  # of a tensor on the CPU as well, if it was known before it was drawn
            return func(*args, **kwargs)
        return self._compute(plan, func, args, kwargs)

    def _make(self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A new tensor that depends on no other."""
        if "device" in kwargs:
            device = kwargs["device"]
            if device is not None and torch.device(device).type == "meta" and _is_default_device():
                _refuse_meta()
            kwargs["device"] = torch.device("cpu")
            kwargs.pop("pin_memory", None)
        if plan.name in ("empty", "empty_strided"):
            made = func(*args, **{**kwargs, "device": torch.device("meta")})
            self._memory(made)
            return made
        if plan.name in FILLS and math.prod(args[0]) > MOST_REAL:
            made = func(*args, **{**kwargs, "device": torch.device("meta")})
            value = FILLS[plan.name]
            self._write(made, Filled(args[1] if value is None else value))
            return made
        return func(*args, **kwargs)

    def _make_like(
        self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A new tensor with the shape or the dtype of another."""
        kwargs["device"] = torch.device("meta")
        kwargs.pop("pin_memory", None)
        made = func(*args, **kwargs)
        kind = plan.name.removesuffix("_like").removeprefix("new_")
        if kind in FILLS:
            value = FILLS[kind]
            value = args[-1] if value is None else value
            if made.numel() <= MOST_REAL:
                return torch.full(made.shape, value, dtype=made.dtype).as_strided(
                    made.shape, made.stride()
                )
            self._write(made, Filled(value))
        else:
            self._memory(made)
        return made

    def _draw(self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that draws: one distribution, arithmetic after one, or what cannot be drawn."""
        kwargs.pop("generator", None)
        named = named_arguments(func, args, kwargs)
        if plan.changes:
            made = args[0]
            self._note_outside(made)
        else:
            made = _without_values(plan.name, func, args, kwargs, named)
        if not isinstance(made, Tensor):
            for one in instances(Tensor, made):
                self._write(one, Undrawable(plan.name))
            return made
        if plan.name in DRAWS and not made.is_complex():
            self._write(made, Drawn(DRAWS[plan.name](named, made), self._epoch(made)))
        elif plan.name in ARITHMETIC and not made.is_complex():
            drawn = ARITHMETIC[plan.name](self, named, made)
            self._write(made, Copied(self._read(drawn)))
        else:
            self._write(made, Undrawable(plan.name))
        return made

    def __call__(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Record an operation of the recorder's own."""
        return self._record(func, args, kwargs)

    def drawn(self, like: Tensor, init: Distribution, dtype: torch.dtype | None = None) -> Tensor:
        """A new tensor of a distribution, with the shape of another."""
        made = torch.empty(like.shape, dtype=dtype or like.dtype, device="meta")
        self._write(made, Drawn(init, self._epoch(made)))
        return made

    @_by_itself
    def draw(self, tensor: Tensor, init: Distribution) -> Tensor:
        """Draw a distribution into a tensor: what a function of ``torch.nn.init`` does."""
        self._write(tensor, Drawn(init, self._epoch(tensor, alone=isinstance(init, Orthogonal))))
        return tensor

    @_by_itself
    def make(self, tensor: Tensor, init: Distribution) -> Tensor:
        """Give a tensor the known values of an initializer."""
        self._write(tensor, Made(init))
        return tensor

    @_by_itself
    def run(
        self, tensor: Tensor, name: str, function: Callable[[Tensor, int, str], object]
    ) -> Tensor:
        """Let a function set a tensor, as a whole, from a seed and a stream."""
        self._write(tensor, Undrawable(name, function, self._epoch(tensor, alone=True)))
        return tensor

    def _change(self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that changes one of its arguments, or several."""
        targets: list[tuple[tuple[Any, ...], Tensor]] = []
        for i in plan.changes:
            targets += _paths(args[i], (i,)) if i < len(args) else []
        for name in plan.changed_keywords:
            targets += _paths(kwargs.get(name), (name,))
        others = [
            t
            for t in instances(Tensor, (args, kwargs))
            if not any(t is target for _, target in targets)
        ]
        for _, target in targets:
            self._note_outside(target)
        known = not any(self._is_random(t) for t in others)
        if known and all(not t.is_meta and memory_of(t) is None for _, t in targets):
            return func(*_map(args, self._real), **_map(kwargs, self._real))
        if plan.name in ("fill_", "zero_") and not others:
            self._write(args[0], Filled(args[1] if plan.name == "fill_" else 0))
        elif plan.name in ("copy_", "fill_"):
            self._write(args[0], Copied(self._read(args[1])))
        else:
            reads = _map(args, self._read), _map(kwargs, self._read)
            for path, target in targets:
                self._write(target, Called(func, *reads, path))
        if plan.changed_keywords:
            return targets[0][1] if len(targets) == 1 else tuple(t for _, t in targets)
        return args[0] if func._schema.returns else None

    def _compute(self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that returns new tensors, or views."""
        if plan.name.endswith("batch_norm"):
            _check_statistics(plan.name, named_arguments(func, args, kwargs))
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("meta")
        if not plan.returns_tensors:
            return self._look(func, args, kwargs)
        try:
            made = _elementwise(plan.name, args, kwargs)
            if made is None:
                made = func(*_map(args, _as_meta), **_map(kwargs, _as_meta))
        except (NotImplementedError, RuntimeError) as error:
            if isinstance(error, NotImplementedError) or "meta" in str(error).lower():
                return self._look(func, args, kwargs)
            raise
        if isinstance(made, Tensor) and memory_of(made) is None:
            if plan.name in COPIES:
                self._write(made, Copied(self._read(args[0])))
                return made
            if plan.name in JOINS:
                self._join(plan.name, made, *args, **kwargs)
                return made
            if plan.name == "repeat":
                self._repeat(made, *args)
                return made
        results = made if isinstance(made, (tuple, list)) else [made]
        reads = None
        for i, one in enumerate(results):
            if isinstance(one, Tensor) and memory_of(one) is None:
                reads = reads or (_map(args, self._read), _map(kwargs, self._read))
                self._write(one, Called(func, *reads, i))
        return made

    def _look(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that needs the values of its arguments: an error where one is drawn."""
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        return func(*_map(args, self._real), **_map(kwargs, self._real))

    def _join(self, name: str, made: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> None:
        """The tensors one after the other, as writes to one memory."""
        self._memory(made)  # of its shape, before a part of it is written
        dim, at = dim % made.dim(), 0
        for tensor in tensors:
            if name == "stack":
                part = made.select(dim, at)
                at += 1
            else:
                if (
                    tensor.dim() == 1 and tensor.numel() == 0 and made.dim() != 1
                ):  # which cat ignores
                    continue
                part = made.narrow(dim, at, tensor.shape[dim])
                at += tensor.shape[dim]
            if part.numel():
                self._write(part, Copied(self._read(tensor)))

    def _repeat(self, made: Tensor, tensor: Tensor, repeats: Sequence[int]) -> None:
        sizes = (1,) * (len(repeats) - tensor.dim()) + tuple(tensor.shape)
        read = self._read(tensor)
        steps = (0,) * (len(repeats) - tensor.dim()) + tuple(read.access.stride)
        split = [size for pair in zip(repeats, sizes, strict=True) for size in pair]
        source = Access(
            read.access.offset, tuple(split), tuple(s for step in steps for s in (0, step))
        )
        self._write(made.view(split), Copied(Read(read.memory, read.written, source, read.dtype)))

    # Values.

    def _real(self, value: Any) -> Any:
        """A tensor with the values that a recorded one has; an error if they depend on draws."""
        if not isinstance(value, Tensor) or (memory_of(value) is None and not value.is_meta):
            return value
        read = self._read(value)
        if read.is_random:
            raise LookedAtError(self._looked_at(value))
        return realise(read)

    def value(self, tensor: Tensor) -> Tensor:
        """The same for what asks a tensor for its memory."""
        made: Tensor = self._real(tensor)
        return made

    def convert(self, made: Tensor) -> None:
        """Note whether a tensor was made of numbers when other generators were just used."""
        mark(made, bool(self.last.moved()))

    @_by_itself
    def alike(self, tensor: Tensor, other: Tensor) -> Tensor:
        """A tensor that can become the data of another: with memory if that has some."""
        if tensor.is_meta == other.is_meta:
            if isinstance(other, (RecordedParameter, RecordedTensor)):
                self._memory(tensor)  # by which it is known that the entry has another
            return tensor
        made = torch.empty_like(tensor, device="meta" if other.is_meta else "cpu")
        self._write(made, Copied(self._read(tensor)))
        return made

    def _looked_at(self, tensor: Tensor) -> str:
        """What the error of `_real` says."""
        own = {
            id(memory): f"{leaf!r} of a {type(module).__name__}"
            for module in self.modules.values()
            for leaf, one in itertools.chain(module._parameters.items(), module._buffers.items())
            if one is not None and (memory := memory_of(one)) is not None
        }
        read = self._read(tensor)
        found = next((own[id(m)] for m in _memories(read) if id(m) in own), None)
        what = f"a tensor of shape {tuple(tensor.shape)}"
        if found is not None:
            what = found if id(read.memory) in own else f"{what} that depends on {found}"
        return f"the values of {what} are drawn later, and cannot be looked at{_where()}"

    def _is_random(self, tensor: Tensor) -> bool:
        memory = memory_of(tensor)
        return memory is not None and memory.written is not None and memory.written.is_random

    def _read(self, value: Any) -> Any:
        """A tensor as it is now; other arguments as they are."""
        if not isinstance(value, Tensor):
            return value
        memory = memory_of(value)
        if memory is None and not value.is_meta:
            copy = value.detach().clone()
            if is_foreign(value):
                mark(copy)
            memory = Memory(copy.dtype, copy.numel(), tuple(copy.shape))
            memory.written = Write(memory, None, access_of(copy), Real(copy), False)
            return Read(memory, memory.written, access_of(copy), copy.dtype)
        memory = memory or self._memory(value)
        return Read(memory, memory.written, access_of(value), value.dtype)

    def _memory(self, tensor: Tensor) -> Memory:
        """The memory of a tensor, which is recorded from now on."""
        memory = memory_of(tensor)
        if memory is not None:
            return memory
        storage = tensor.untyped_storage()
        numel = storage.nbytes() // tensor.element_size()
        shape = (
            tuple(tensor.shape) if tensor.numel() == numel and tensor.is_contiguous() else (numel,)
        )
        memory = Memory(tensor.dtype, numel, shape)
        if not tensor.is_meta:
            with _disable_current_modes():  # in which empty has no memory
                known = torch.empty(0, dtype=tensor.dtype).set_(storage, 0, (numel,), (1,))
            memory.written = Write(memory, None, Access(0, (numel,), (1,)), Real(known), False)
        set_memory(tensor, memory)
        return memory

    def _note_outside(self, target: Tensor) -> None:
        """Note that an operation changes a tensor without values that was made when nothing recorded."""
        if target.is_meta and memory_of(target) is None:
            self._memory(target).from_outside = True

    def _write(self, tensor: Tensor, source: Source) -> None:
        """Add a write to the memory of a tensor."""
        memory = self._memory(tensor)
        access = access_of(tensor)
        covers = access.numel == memory.numel and 0 not in access.stride
        before = None if covers else memory.written
        is_random = (
            isinstance(source, (Drawn, Undrawable))
            or any(read.is_random for read in reads_of(source))
            or (before is not None and before.is_random)
        )
        if before is not None or any(read.memory is memory for read in reads_of(source)):
            self._check_unchanged(memory)
        memory.written = Write(memory, before, access, source, is_random)
        self.changed[id(memory)] = memory

    def _check_unchanged(self, memory: Memory) -> None:
        """Refuse to go on from values that were changed since an earlier recording."""
        if id(memory) not in self.changed and any(entry.is_changed for entry in memory.entries):
            raise RuntimeError(
                "a recorded tensor was changed after it was recorded: do that within record()"
                f"{_where()}"
            )

    def _epoch(self, tensor: Tensor, alone: bool = False) -> Epoch:
        """The stream of a draw: that of the last draws into the memory, if they left these elements, or one `alone`."""
        memory, access = self._memory(tensor), access_of(tensor)
        covers = tensor.numel() == memory.numel
        epoch = None if covers or alone else _last_epoch(memory)
        if epoch is None or not epoch.leaves(access):
            epoch = Epoch(memory, next(_serial), alone)
        epoch.accesses.append(access)
        return epoch

    # Modules.

    def seen(self, module: nn.Module) -> None:
        self.modules[id(module)] = module

    def resume(self, module: nn.Module) -> None:
        """Go on from an earlier recording, also after conversions, which give tensors other memory."""
        restore_ties(module)
        for one in module.modules():
            self.seen(one)
        _refuse_shards(self.modules.values())
        for slot, entry in find_recorded(module):
            tensor = slot.tensor
            if entry.used or tensor is not entry.current or memory_of(tensor) is entry.memory:
                continue
            if entry.is_changed:
                raise RuntimeError(
                    f"{slot.name!r} was changed after it was recorded: do that within record()"
                )
            self._write(tensor, Copied(entry.read))
            self._enter(slot.owner, slot.leaf, tensor)

    def keep(self) -> None:
        """Give modules their entries."""
        for memory in self.changed.values():
            for entry in memory.entries:
                entry.note()
        moved, foreign = self.before.moved(), list[str]()
        parts = {id(part): part for one in self.modules.values() for part in one.modules()}
        if any(t.is_inference() for one in parts.values() for _, t in _tensors_of(one)):
            _refuse_inference()
        _refuse_shards(parts.values())
        for one in parts.values():
            for leaf, tensor in _tensors_of(one):
                self._keep_entry(one, leaf, tensor)
                if moved and any(map(is_foreign, _known_tensors(vars(one)[KEY][leaf].read))):
                    foreign.append(f"{leaf!r} of a {type(one).__name__}")
            if KEY in vars(one):
                watch_module(one, True)
        if foreign:
            warnings.warn(
                f"{listed(foreign)} may be drawn by the global generator of {' and '.join(moved)}, which "
                "was used within record(): the values are constants of the recording, whatever the seed of "
                "init_module_; draw them by PyTorch",
                UserWarning,
                stacklevel=4,
            )
        if any(memory.from_outside and not memory.entries for memory in self.changed.values()):
            raise RuntimeError(
                "a tensor on the meta device, which was made outside of record(), was set within: "
                "construct it within, or give its module to record()"
            )

    def _keep_entry(self, module: nn.Module, leaf: str, tensor: Tensor) -> None:
        known = vars(module).get(KEY, {}).get(leaf)
        is_known = known is not None and known.current is tensor and not known.used
        if not is_known or memory_of(tensor) not in (None, known.memory):  # None after a conversion
            self._enter(module, leaf, tensor)

    def _enter(self, module: nn.Module, leaf: str, tensor: Tensor) -> None:
        memory = self._memory(tensor)
        entry = Entry.of(tensor, memory)
        memory.entries.append(entry)
        module.__dict__.setdefault(KEY, {})[leaf] = entry
        watch(tensor, True)


def _refuse_shards(modules: Iterable[nn.Module]) -> None:
    """An error for modules that were sharded already, whose operations are not recorded."""
    for module in modules:
        for leaf, tensor in module._parameters.items():
            if tensor is not None and is_dtensor(tensor):
                raise RuntimeError(
                    f"modules must be sharded after record(), got a DTensor for {leaf!r} of a "
                    f"{type(module).__name__}"
                )


def _check_statistics(name: str, named: Mapping[str, Any]) -> None:
    """Refuse what changes running statistics, which its schema does not say."""
    if named.get("training") and named.get("running_mean") is not None:
        raise RuntimeError(
            f"{name} would change running statistics by values that are drawn later, which cannot be "
            f"recorded: call eval() before the module runs, and train() after it{_where()}"
        )


class LookedAtError(RuntimeError):
    """Code asked for values that are drawn later."""


def _memories(read: Read) -> Iterator[Memory]:
    """The memories on which a tensor depends, its own first."""
    return (one.memory for one in _reads(read))


def _reads(read: Read) -> Iterator[Read]:
    """What a tensor depends on, itself first."""
    waiting, seen = [read], set()
    for one in waiting:
        yield one
        for written in chain(one.written):
            if id(written) in seen:
                break
            seen.add(id(written))
            waiting += reads_of(written.source)


def _known_tensors(read: Read) -> Iterator[Tensor]:
    """The known values on which a tensor depends."""
    for one in _reads(read):
        sources = (written.source for written in chain(one.written))
        yield from (source.tensor for source in sources if isinstance(source, Real))


def _last_epoch(memory: Memory) -> Epoch | None:
    """The stream of the last draw into a memory that still has some of its elements."""
    sources = (written.source for written in chain(memory.written))
    epochs = (source.epoch for source in sources if isinstance(source, Drawn))
    return next((epoch for epoch in epochs if not epoch.is_alone), None)


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and recorded tensors among the attributes of a module."""
    for leaf, tensor in itertools.chain(module._parameters.items(), module._buffers.items()):
        if tensor is not None and _is_plain(tensor):
            yield leaf, tensor
    for leaf, value in list(vars(module).items()):
        if isinstance(value, Tensor) and _is_plain(value) and memory_of(value) is not None:
            yield leaf, value


def _is_plain(tensor: Tensor) -> bool:
    cls: Any = type(tensor)
    return is_plain(cls)


def _paths(value: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Tensor]]:
    """The tensors in an argument, and how to find each among the arguments."""
    if isinstance(value, Tensor):
        return [(path, value)]
    if isinstance(value, (list, tuple)):
        return [found for i, one in enumerate(value) for found in _paths(one, (*path, i))]
    return []


def _map(value: Any, function: Callable[[Any], Any]) -> Any:
    """A function of each tensor in lists, tuples and dicts of arguments."""
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(_map(one, function) for one in value)
    if isinstance(value, dict):
        return {key: _map(one, function) for key, one in value.items()}
    return function(value)


#: Operations whose result is like their first argument, where that is of floats and others are numbers or like it.
_ALIKE = {
    "add", "sub", "rsub", "mul", "div", "pow", "neg", "abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt",
    "reciprocal", "clamp", "clamp_min", "clamp_max", "erfinv",
}  # fmt: skip


def _elementwise(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The result of the most frequent operations: PyTorch's own meta functions take ten times as long."""
    first = args[0]
    if name not in _ALIKE or not isinstance(first, Tensor) or not first.is_floating_point():
        return None
    for other in (*args[1:], *kwargs.values()):
        if isinstance(other, Tensor):
            if other.shape != first.shape or other.dtype != first.dtype:
                return None
        elif not isinstance(other, (int, float, type(None))):
            return None
    return torch.empty_like(first, device="meta")


def _as_meta(value: Any) -> Any:
    """A tensor without values that is like another; other arguments as they are."""
    if not isinstance(value, Tensor) or value.is_meta:
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _without_values(
    name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], named: Mapping[str, Any]
) -> Any:
    """What an operation that draws returns, on the meta device."""
    dtype = kwargs.get("dtype")
    if name.endswith("_like"):
        return torch.empty_like(_as_meta(args[0]), dtype=dtype, device="meta")
    if name == "randperm":
        return torch.empty(named["n"], dtype=dtype or torch.int64, device="meta")
    if "size" in named:
        dtype = dtype or (torch.int64 if name == "randint" else None)
        return torch.empty(tuple(named["size"]), dtype=dtype, device="meta")
    return func(*_map(args, _as_meta), **_map(kwargs, _as_meta))


def _where() -> str:
    """The line of the caller's own code, for errors."""
    frame = sys._getframe(1)
    inside = (__name__.rpartition(".")[0], "torch")
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not any(module == one or module.startswith(f"{one}.") for one in inside):
            owner = frame.f_locals.get("self")
            what = f" (in a {type(owner).__name__})" if isinstance(owner, nn.Module) else ""
            return f": {frame.f_code.co_filename}, line {frame.f_lineno}{what}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _integers(named: Mapping[str, Any], target: Tensor) -> Distribution:
    """What ``random_`` and ``randint`` draw."""
    low, high = named.get("from", named.get("low")) or 0, named.get("to", named.get("high"))
    if high is None and target.is_floating_point():
        # PyTorch draws the integers that the dtype holds without rounding.
        high = int(2 / torch.finfo(target.dtype).eps) + 1
    if high is None:
        high = 2 if target.dtype == torch.bool else torch.iinfo(target.dtype).max + 1
    return RandomIntegers(int(low), int(high))


#: The distributions of operations, from their arguments by name and the tensor that they fill.
DRAWS: dict[str, Callable[[Mapping[str, Any], Tensor], Distribution]] = {
    "exponential_": lambda named, _: Exponential(1 / named.get("lambd", 1.0)),
    "normal_": lambda named, _: Normal(named.get("mean", 0.0), named.get("std", 1.0)),
    "rand": lambda *_: Uniform(0.0, 1.0),
    "rand_like": lambda *_: Uniform(0.0, 1.0),
    "randint": _integers,
    "randint_like": _integers,
    "randn": lambda *_: Normal(0.0, 1.0),
    "randn_like": lambda *_: Normal(0.0, 1.0),
    "random_": _integers,
    "uniform_": lambda named, _: Uniform(named.get("from", 0.0), named.get("to", 1.0)),
}


def _log_normal(recorder: Recorder, named: Mapping[str, Any], target: Tensor) -> Tensor:
    normal = Normal(named.get("mean", 1.0), named.get("std", 2.0))
    made: Tensor = recorder(aten.exp.default, recorder.drawn(target, normal))
    return made


def _bernoulli(recorder: Recorder, named: Mapping[str, Any], target: Tensor) -> Tensor:
    p = named.get("p", 0.5 if "p" in named or target is named["self"] else named["self"])
    uniform = recorder.drawn(target, Uniform(0.0, 1.0), torch.float32)
    less = aten.lt.Tensor if isinstance(p, Tensor) else aten.lt.Scalar
    made: Tensor = recorder(less, uniform, p)
    return made


def _normal(recorder: Recorder, named: Mapping[str, Any], target: Tensor) -> Tensor:
    mean, std = named.get("mean", 0.0), named.get("std", 1.0)
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        return recorder.drawn(target, Normal(mean, std))
    made = recorder.drawn(target, Normal(0.0, 1.0))
    for op, value in ((aten.mul, std), (aten.add, mean)):
        made = recorder(op.Tensor if isinstance(value, Tensor) else op.Scalar, made, value)
    return made


#: Operations that are arithmetic after a draw: they return a tensor with the values.
ARITHMETIC: dict[str, Callable[[Recorder, Mapping[str, Any], Tensor], Tensor]] = {
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli,
    "log_normal_": _log_normal,
    "normal": _normal,
}


class _Values(TorchFunctionMode):
    """Answers for what takes the values of a tensor past the dispatcher."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _LOOKS_LIKE_CPU and memory_of(args[0]) is not None:
            return _LOOKS_LIKE_CPU[func]
        if func == _SET_DATA and (recorder := current_recorder.get()) is not None:
            args = (args[0], recorder.alike(args[1], args[0]))
        if func is Tensor.__deepcopy__ and not args[0].is_meta:
            return copied(*args)
        if func in _CONVERTS and (current := current_recorder.get()) is not None:
            made = func(*args, **(kwargs or {}))
            current.convert(made)
            return made
        if func in _TAKES_VALUES and memory_of(args[0]) is not None:
            recorder = current_recorder.get()
            if recorder is not None:
                real = recorder.value(args[0])
                made = func(real, *args[1:], **(kwargs or {}))
                if isinstance(made, np.ndarray):  # whose changes nobody would see
                    made.flags.writeable = False
                return made
        return func(*args, **(kwargs or {}))


_SET_DATA: Any = Tensor.data.__set__
#: What code asks before it computes: recorded tensors are where their values will be.
_LOOKS_LIKE_CPU: dict[Any, Any] = {
    Tensor.device.__get__: torch.device("cpu"),
    Tensor.is_meta.__get__: False,
    Tensor.is_cpu.__get__: True,
    Tensor.get_device: -1,
}
#: What makes tensors of arrays and numbers.
_CONVERTS = {torch.tensor, torch.as_tensor}
_TAKES_VALUES = {
    Tensor.numpy,
    Tensor.tolist,
    Tensor.__array__,
    Tensor.__dlpack__,
    Tensor.__format__,
}


_watching = False


def _watch_modules() -> None:
    """See which modules get parameters, buffers and parts, from the first recording on."""
    global _watching
    if not _watching:
        register_module_parameter_registration_hook(_registered)
        register_module_buffer_registration_hook(_registered)
        register_module_module_registration_hook(_joined)
        _watching = True


def _joined(module: nn.Module, leaf: str, part: nn.Module | None) -> None:
    """Note a module of the recording that may have parameters in copied parts alone."""
    recorder = current_recorder.get()
    if recorder is not None:
        recorder.seen(module)


def _registered(module: nn.Module, leaf: str, tensor: Tensor | None) -> None:
    """Note a module of the recording."""
    recorder = current_recorder.get()
    if recorder is not None:
        recorder.seen(module)
