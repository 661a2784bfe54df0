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
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from fastinit.distributions import Exponential, Identity, Orthogonal, RandomIntegers
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
    known_normal,
    known_uniform,
    memory_of,
    named_arguments,
    new_memory,
    reads_of,
    set_memory,
    tensors_in,
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
_CPU, _META = torch.device("cpu"), torch.device("meta")


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
    with recorded_by(recorder), recorder, recorder.values:
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
#: Views that only mark a tensor as the conjugate or the negative of its memory, and the functions that compute it.
MARKS = {"_conj": aten._conj_physical.default, "_neg_view": aten.neg.default}
#: Functions whose results have the elements of several tensors one after the other.
JOINS = {"cat", "stack", "concat"}


def _by_itself(method: Any) -> Any:
    """Let a method of a recorder run what it needs without being recorded."""

    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            return method(*args, **kwargs)

    return run


class Recorder(TorchDispatchMode):
    """Keeps what operations do to memories without values, and does none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: dict[int, nn.Module] = {}
        self.changed: dict[int, Memory] = {}
        self.values = _Values()
        self.results: dict[Any, list[tuple[torch.Size, torch.dtype]]] = {}
        self.drawn_before: dict[tuple[Any, ...], Distribution] = {}
        self.before = Generators()
        self.last = Generators()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave out a wrapper whose first call imports torch._dynamo, which takes two seconds."""
        return False

    @property
    def is_innermost(self) -> bool:
        """Whether no mode of others sees operations before."""
        return _get_current_dispatch_mode() is self and _get_current_function_mode() is self.values

    # Operations.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for cls in types:
            if not (is_plain(cls) or issubclass(cls, _LAZY)):
                return NotImplemented
        with torch._C.DisableTorchFunction():
            return self._record(func, args, dict(kwargs or {}))

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        plan = plan_of(func)
        if plan.draws:
            return self._draw(plan, func, args, kwargs)
        tensors = tensors_in((*args, *kwargs.values()))
        if not tensors:
            return self._make(plan, func, args, kwargs)
        if plan.name.endswith("_like") or plan.name.startswith(("new_", "empty")):
            return self._make_like(plan, func, args, kwargs)
        if plan.name == "resize_" and math.prod(args[1]) > args[0].numel():
            raise RuntimeError(f"{plan.name} to more elements cannot be recorded{_where()}")
        if all(_is_known(tensor) for tensor in tensors):
            if plan.name == "_to_copy" and kwargs.get("device") == _META:
                return self._compute(plan, func, args, kwargs)  # autograd moves known gradients
            made = func(*args, **kwargs)
            if isinstance(made, Tensor) and any(map(is_foreign, tensors)):
                mark(made)
            return made
        if plan.name == "native_batch_norm" and args[3] is not None and args[5]:
            func = (
                aten._native_batch_norm_legit.default
            )  # which says that it changes its statistics
            plan = plan_of(func)
        if plan.changes_view or plan.name == "set_":
            if plan.name == "resize_" and tuple(args[1]) != tuple(args[0].shape):
                raise RuntimeError(f"{plan.name} cannot be recorded{_where()}")
            return func(*args, **kwargs)
        if plan.name in ("fill_", "zero_") and len(tensors) == 1:
            return self._fill(args[0], 0 if plan.name == "zero_" else args[1])
        if plan.changes or plan.changed_keywords:
            return self._change(plan, func, args, kwargs)
        if plan.name in MARKS:
            func = MARKS[plan.name]
            return self._compute(plan_of(func), func, args, kwargs)
        if plan.is_view:  # of a tensor on the CPU as well, if it was known before it was drawn
            return func(*args, **kwargs)
        return self._compute(plan, func, args, kwargs)

    def _make(self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A new tensor that depends on no other."""
        if "device" in kwargs:
            device = kwargs["device"]
            if device is not None and torch.device(device).type == "meta" and _is_default_device():
                _refuse_meta()
            kwargs["device"] = _CPU
            kwargs.pop("pin_memory", None)
        if plan.name in ("empty", "empty_strided") and math.prod(args[0]):
            made = func(*args, **{**kwargs, "device": _META})
            self._memory(made)
            return made
        if plan.name in FILLS and math.prod(args[0]) > MOST_REAL:
            made = func(*args, **{**kwargs, "device": _META})
            value = FILLS[plan.name]
            self._write(made, Filled(args[1] if value is None else value))
            return made
        if plan.name == "eye":
            made = func(*args, **{**kwargs, "device": _META})
            if made.numel() > MOST_REAL and made.is_floating_point():
                self._write(made, Made(Identity()))
                return made
        return func(*args, **kwargs)

    def _make_like(
        self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A new tensor with the shape or the dtype of another."""
        kwargs["device"] = _META
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
        if plan.changes or plan.changed_keywords:
            made = kwargs[plan.changed_keywords[0]] if plan.changed_keywords else args[0]
            self._note_outside(made)
        else:
            made = _without_values(plan.name, func, args, kwargs, named)
        if not isinstance(made, Tensor):
            for one in tensors_in(made):
                self._write(one, Undrawable(plan.name))
            return made
        if made.is_complex():
            self._draw_complex(plan.name, named, made)
        elif plan.name in DRAWS:
            self._draw_into(made, DRAWS[plan.name](named, made))
        elif plan.name in ARITHMETIC:
            drawn = ARITHMETIC[plan.name](self, named, made)
            self._write(made, Copied(self._read(drawn)))
        else:
            self._write(made, Undrawable(plan.name))
        return made

    def _draw_complex(self, name: str, named: Mapping[str, Any], made: Tensor) -> None:
        """Draw real and imaginary parts, as PyTorch does."""
        match DRAWS[name](named, made) if name in DRAWS else None:
            case Normal(0.0, stddev):
                self._draw_into(torch.view_as_real(made), Normal(0.0, stddev / math.sqrt(2)))
            case Uniform() as uniform:
                self._draw_into(torch.view_as_real(made), uniform)
            case _:
                self._write(made, Undrawable(name))

    def __call__(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Record an operation of the recorder's own."""
        return self._record(func, args, kwargs)

    def drawn(self, like: Tensor, init: Distribution, dtype: torch.dtype | None = None) -> Tensor:
        """A new tensor of a distribution, with the shape of another."""
        made = torch.empty(like.shape, dtype=dtype or like.dtype, device=_META)
        self._draw_into(made, init)
        return made

    @_by_itself
    def draw(self, tensor: Tensor, init: Distribution) -> Tensor:
        """Draw a distribution into a tensor: what a function of ``torch.nn.init`` does."""
        self._note_outside(tensor)
        self._draw_into(tensor, init)
        return tensor

    @_by_itself
    def empty(self, *args: Any, **kwargs: Any) -> Tensor:
        """A new tensor that nothing has set."""
        made = torch.empty(*args, **{**kwargs, "device": _META})
        if not made.numel():  # which has no values to record
            return torch.empty(*args, **{**kwargs, "device": _CPU})
        self._memory(made)
        return made

    @_by_itself
    def fill(self, tensor: Tensor, value: float) -> Tensor:
        """Set a tensor to one number, as the functions of ``torch.nn.init`` for constants do."""
        return self._fill(tensor, value)

    @_by_itself
    def last_drawn(self, tensor: Tensor) -> Distribution | None:
        """The distribution of the last write, where it is one."""
        written = self._memory(tensor).written
        return written.source.init if written and isinstance(written.source, Drawn) else None

    @_by_itself
    def make(self, tensor: Tensor, init: Distribution) -> Tensor:
        """Give a tensor the known values of an initializer."""
        self._note_outside(tensor)
        self._write(tensor, Made(init))
        return tensor

    @_by_itself
    def run(
        self, tensor: Tensor, name: str, function: Callable[[Tensor, int, str], object]
    ) -> Tensor:
        """Let a function set a tensor, as a whole, from a seed and a stream."""
        self._note_outside(tensor)
        epoch = self._epoch(self._typed_memory(tensor), access_of(tensor), alone=True)
        self._write(tensor, Undrawable(name, function, epoch))
        return tensor

    def _fill(self, tensor: Tensor, value: Any) -> Tensor:
        """Set a tensor to one number."""
        self._note_outside(tensor)
        self._write(tensor, Filled(value))
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
            for t in tensors_in((*args, *kwargs.values()))
            if not any(t is target for _, target in targets)
        ]
        for _, target in targets:
            self._note_outside(target)
        known = not any(self._is_random(t) for t in others)
        if known and all(_is_known(t) for _, t in targets):
            return func(*_map(args, self._real), **_map(kwargs, self._real))
        if plan.name in ("copy_", "fill_"):
            self._write(args[0], Copied(self._read(args[1])))
        else:
            reads = _map(args, self._read), _map(kwargs, self._read)
            for path, target in targets:
                self._write(target, Called(func, *reads, path))
            if any(one.alias_info is None for one in func._schema.returns):
                made = func(*_map(args, _as_meta), **_map(kwargs, _as_meta))
                return self._called(func, reads, made)
        if plan.changed_keywords:
            return targets[0][1] if len(targets) == 1 else tuple(t for _, t in targets)
        return args[0] if func._schema.returns else None

    def _called(self, func: Any, reads: tuple[Any, Any], made: Any) -> Any:
        """What an operation has made of its arguments, as they were read; not what it changed or viewed."""
        for i, one in enumerate(made if isinstance(made, (tuple, list)) else [made]):
            if isinstance(one, Tensor) and memory_of(one) is None:
                self._write(one, Called(func, *reads, i))
        return made

    def _compute(self, plan: Plan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that returns new tensors, or views."""
        if kwargs.get("device") is not None:
            kwargs["device"] = _META
        if not plan.returns_tensors:
            return self._look(func, args, kwargs)
        try:
            made = self._result(func, args, kwargs)
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
        return self._called(func, (_map(args, self._read), _map(kwargs, self._read)), made)

    def _result(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What an operation returns, on the meta device, where PyTorch takes long to tell: once for each signature."""
        key = (func, _signature(args), _signature((*kwargs, *kwargs.values())))
        known = self.results.get(key)
        if known is None:
            made = func(*_map(args, _as_meta), **_map(kwargs, _as_meta))
            results = made if isinstance(made, tuple) else (made,)
            if all(_is_new(one) for one in results):
                self.results[key] = [(one.shape, one.dtype) for one in results]
            return made
        results = tuple(torch.empty(size, dtype=dtype, device=_META) for size, dtype in known)
        return results if len(func._schema.returns) > 1 else results[0]

    def _look(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that needs the values of its arguments: an error where one is drawn."""
        if "device" in kwargs:
            kwargs["device"] = _CPU
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
        if not isinstance(value, Tensor) or _is_known(value):
            return value
        read = self._read(value)
        if read.is_random:
            raise LookedAtError(self._looked_at(value))
        return realise(read)

    @_by_itself
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
        made = torch.empty_like(tensor, device=_META if other.is_meta else "cpu")
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
        memory = new_memory(tensor)
        if not tensor.is_meta:
            numel, storage = memory.numel, tensor.untyped_storage()
            with torch._C._DisableTorchDispatch():  # within which empty has memory
                known = torch.empty(0, dtype=tensor.dtype).set_(storage, 0, (numel,), (1,))
            memory.written = Write(memory, None, Access(0, (numel,), (1,)), Real(known), False)
        set_memory(tensor, memory)
        return memory

    def _typed_memory(self, tensor: Tensor) -> Memory:
        """The memory of a tensor that is about to be set: in elements of its dtype, as in views of complex tensors."""
        memory = self._memory(tensor)
        if memory.dtype == tensor.dtype:
            return memory
        made = new_memory(tensor)
        if memory.written is not None and tensor.numel() != made.numel:
            raise RuntimeError(
                f"a tensor of {memory.dtype} cannot be changed through a view of a part of it in {tensor.dtype}"
                f" while recorded{_where()}"
            )
        made.entries, memory.entries = memory.entries, []
        made.from_outside, memory.from_outside = memory.from_outside, False
        for entry in made.entries:
            entry.memory = made
        set_memory(tensor, made)
        return made

    def _note_outside(self, target: Tensor) -> None:
        """Note that an operation changes a tensor without values that was made when nothing recorded."""
        if target.is_meta and memory_of(target) is None:
            self._memory(target).from_outside = True

    def _write(self, tensor: Tensor, source: Source) -> None:
        """Add a write to the memory of a tensor."""
        self._add(self._typed_memory(tensor), access_of(tensor), source)

    def _draw_into(self, tensor: Tensor, init: Distribution) -> None:
        """Add a write of drawn elements."""
        memory, access = self._typed_memory(tensor), access_of(tensor)
        epoch = self._epoch(memory, access, alone=isinstance(init, Orthogonal))
        self._add(memory, access, Drawn(init, epoch))

    def _add(self, memory: Memory, access: Access, source: Source) -> None:
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

    def _epoch(self, memory: Memory, access: Access, alone: bool = False) -> Epoch:
        """The stream of a draw: that of the last draws into the memory, if they left these elements, or one `alone`."""
        covers = access.numel == memory.numel
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
            for _, tensor in _tensors_of(one):
                watch(tensor, False)
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
        parts = list(_with_parts(self.modules.values()))
        if any(t.is_inference() for one in parts for _, t in _tensors_of(one)):
            _refuse_inference()
        _refuse_shards(parts)
        for one in parts:
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
        watch(tensor, True)

    def _enter(self, module: nn.Module, leaf: str, tensor: Tensor) -> None:
        memory = self._memory(tensor)
        entry = Entry.of(tensor, memory)
        memory.entries.append(entry)
        module.__dict__.setdefault(KEY, {})[leaf] = entry


def _refuse_shards(modules: Iterable[nn.Module]) -> None:
    """An error for modules that were sharded already, whose operations are not recorded."""
    for module in modules:
        for leaf, tensor in module._parameters.items():
            if tensor is not None and is_dtensor(tensor):
                raise RuntimeError(
                    f"modules must be sharded after record(), got a DTensor for {leaf!r} of a "
                    f"{type(module).__name__}"
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


def _with_parts(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Modules and all modules in them, each once."""
    seen: set[int] = set()
    waiting = [*modules]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [part for part in one._modules.values() if part is not None]


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and recorded tensors among the attributes of a module."""
    for leaf, tensor in itertools.chain(module._parameters.items(), module._buffers.items()):
        if tensor is not None and _is_plain(tensor):
            yield leaf, tensor
    for leaf, value in list(vars(module).items()):
        if isinstance(value, Tensor) and _is_plain(value) and memory_of(value) is not None:
            yield leaf, value


def _is_known(tensor: Tensor) -> bool:
    """Whether a tensor has its values, and nothing is recorded of it."""
    return not tensor.is_meta and memory_of(tensor) is None


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


def _is_new(value: Any) -> bool:
    """Whether a result of an operation is all of a memory of its own."""
    return isinstance(value, Tensor) and memory_of(value) is None and value.is_contiguous()


def _signature(value: Any) -> Any:
    """What the shape and the dtype of a result depend on, to be compared."""
    if isinstance(value, Tensor):
        return value.dtype, tuple(value.shape), value.stride()
    if isinstance(value, (list, tuple)):
        return tuple(map(_signature, value))
    return type(value), value


def _like(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor on the meta device with the shape of another; PyTorch's empty_like takes ten times as long there."""
    if tensor.is_contiguous():
        return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=_META)
    return torch.empty_like(tensor, dtype=dtype, device=_META)


def _as_meta(value: Any) -> Any:
    """A tensor without values that is like another; other arguments as they are."""
    if not isinstance(value, Tensor) or value.is_meta:
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=_META)


def _without_values(
    name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], named: Mapping[str, Any]
) -> Any:
    """What an operation that draws returns, on the meta device."""
    dtype = kwargs.get("dtype")
    if name.endswith("_like"):
        return _like(args[0], dtype)
    if name == "randperm":
        return torch.empty(named["n"], dtype=dtype or torch.int64, device=_META)
    if "size" in named:
        dtype = dtype or (torch.int64 if name == "randint" else None)
        return torch.empty(tuple(named["size"]), dtype=dtype, device=_META)
    try:
        return func(*_map(args, _as_meta), **_map(kwargs, _as_meta))
    except NotImplementedError:
        raise RuntimeError(f"{name} cannot be recorded{_where()}") from None


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
    "normal_": lambda named, _: known_normal(named.get("mean", 0.0), named.get("std", 1.0)),
    "rand": lambda *_: known_uniform(0.0, 1.0),
    "rand_like": lambda *_: known_uniform(0.0, 1.0),
    "randint": _integers,
    "randint_like": _integers,
    "randn": lambda *_: known_normal(0.0, 1.0),
    "randn_like": lambda *_: known_normal(0.0, 1.0),
    "random_": _integers,
    "uniform_": lambda named, _: known_uniform(named.get("from", 0.0), named.get("to", 1.0)),
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
        answer = _ANSWERS.get(func)
        if answer is not None:
            return answer(func, *args, **(kwargs or {}))
        try:
            return func(*args, **kwargs) if kwargs else func(*args)
        except RuntimeError as error:
            if "data is not allocated yet" in str(error):  # of a function without a meta version
                name = getattr(func, "__name__", func)
                raise RuntimeError(f"{name} cannot be recorded{_where()}") from None
            raise


def _where_values_will_be(func: Any, tensor: Tensor) -> Any:
    """What code asks before it computes: recorded tensors are where their values will be."""
    return func(tensor) if memory_of(tensor) is None else _ON_CPU[func]


_ON_CPU: dict[Any, Any] = {
    Tensor.device.__get__: _CPU,
    Tensor.is_meta.__get__: False,
    Tensor.is_cpu.__get__: True,
    Tensor.get_device: -1,
}


def _empty(func: Any, *args: Any, **kwargs: Any) -> Tensor:
    """The most frequent factory, past the dispatcher, where no other mode is to see it."""
    recorder = current_recorder.get()
    is_usual = kwargs.keys() <= _USUAL and kwargs.get("device") in (None, _CPU, "cpu")
    if recorder is None or not is_usual or torch._C._len_torch_dispatch_stack() != 1:
        made: Tensor = func(*args, **kwargs)
        return made
    return recorder.empty(*args, **kwargs)


_USUAL = {"dtype", "device", "requires_grad"}


def _set_data(func: Any, tensor: Tensor, other: Tensor) -> None:
    recorder = current_recorder.get()
    func(tensor, other if recorder is None else recorder.alike(other, tensor))


def _deep_copy(func: Any, tensor: Tensor, memo: dict[int, Any]) -> Any:
    return func(tensor, memo) if tensor.is_meta else copied(tensor, memo)


def _take_values(func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    recorder = current_recorder.get()
    if recorder is None or memory_of(tensor) is None:
        return func(tensor, *args, **kwargs)
    made = func(recorder.value(tensor), *args, **kwargs)
    if isinstance(made, np.ndarray):  # whose changes nobody would see
        made.flags.writeable = False
    return made


def _convert(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a tensor of an array or of numbers."""
    made = func(*args, **kwargs)
    if (recorder := current_recorder.get()) is not None:
        recorder.convert(made)
    return made


def _storage(func: Any, tensor: Tensor) -> Any:
    return _take_values(func, tensor) if _is_pickled() else func(tensor)


def _is_pickled() -> bool:
    """Whether a storage is asked for by what pickles a tensor, which would read memory that is not there."""
    frame = sys._getframe(3)
    while frame is not None and frame.f_code.co_filename == torch._tensor.__file__:
        if frame.f_code is _PICKLES:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


_PICKLES = Tensor._reduce_ex_internal.__code__


def _address(func: Any, tensor: Tensor) -> Any:
    memory = memory_of(tensor)
    if memory is None or not tensor.is_meta:
        return func(tensor)
    return memory.address + tensor.storage_offset() * tensor.element_size()


_ANSWERS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(_ON_CPU, _where_values_will_be),
    torch.empty: _empty,
    torch.tensor: _convert,
    torch.as_tensor: _convert,
    Tensor.data.__set__: _set_data,
    Tensor.__deepcopy__: _deep_copy,
    Tensor.untyped_storage: _storage,
    Tensor.data_ptr: _address,
    **dict.fromkeys(
        (Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__, Tensor.__format__),
        _take_values,
    ),
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
