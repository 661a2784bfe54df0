"""Recordings as expressions, which need no PyTorch, and as values."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastinit.computed import Evaluation, as_slice, forget_wholes
from fastinit.expressions import Cast, Draw, Known, Norm, Parts, apply_op, is_drawn
from fastinit.fill import c_strides
from fastinit.initializers import Constant, Distribution, Initializer, integer_limits, prepare
from fastinit.parts import limits_of
from fastinit.streams import numbered
from fastinit.torch.memory import (
    DTYPES,
    STORED_DTYPES,
    copy_whole,
    fill_tensor,
    is_dtensor,
    is_plain,
)
from fastinit.torch.recording import (
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
    Source,
    Undrawable,
    Write,
    chain,
    entry_of,
    named_arguments,
    reads_in,
    reads_of,
    recorded_entries,
    watch,
    watch_module,
)
from fastinit.torch.slots import Slot, find_attributes, find_buffers, find_slots, listed
from fastinit.torch.views import (
    Access,
    NotExpressibleError,
    across_axes,
    all_set,
    index_at,
    overlap,
    whole_access,
)

#: Writes of which a tensor has elements, the last one first, and which ones: ranges of its axes, or None for all.
Surviving = list[tuple[Write, "list[range] | None"]]


class UnsetError(ValueError):
    """Nothing has set some elements."""


class Streams:
    """The stream of each draw: the name of the first entry that depends on it, and a number."""

    def __init__(self, entries: Iterable[tuple[str, Entry]]) -> None:
        self._known: dict[int, tuple[str, int]] = {}
        self._shapes: dict[tuple[str, int], tuple[int, ...]] = {}
        found = [(name, entry.memory, _epochs(entry.read)) for name, entry in entries]
        numbers = dict.fromkeys((name for name, _, _ in found), 0)
        for own_memory in (True, False):  # what was drawn into a tensor itself has its name
            for name, memory, epochs in found:
                for epoch in epochs:
                    is_own = epoch.memory is memory or not own_memory
                    if is_own and id(epoch) not in self._known:
                        numbers[name] += 1
                        self._known[id(epoch)] = name, numbers[name]
                        self._shapes[name, numbers[name]] = epoch.memory.shape

    def draw(self, of: Distribution, epoch: Epoch, access: Access, name: str) -> Draw:
        """The elements of an access to a memory that was drawn into, for the tensor of a name."""
        stream, number = self._known[id(epoch)]
        steps = tuple(
            own if n == 1 else step
            for n, step, own in zip(access.size, access.stride, c_strides(access.size), strict=True)
        )
        relative = None if stream == name else stream
        if not is_drawn(of):
            return Draw(of, number, stream=relative)
        in_order = steps == tuple(c_strides(access.size))
        return Draw(of, number, access.offset, None if in_order else steps, relative)

    def has(self, epoch: Epoch) -> bool:
        """Whether any tensor depends on a draw."""
        return id(epoch) in self._known

    def shape(self, stream: str, number: int) -> tuple[int, ...]:
        """The shape of what was drawn into with a stream."""
        return self._shapes[stream, number]

    def name(self, epoch: Epoch) -> str:
        """The name of the stream of a draw."""
        return f"{numbered(*self._known[id(epoch)])}"


def _sources(read: Read) -> Iterator[Source]:
    """All that the drawn values of a tensor depend on."""
    seen: set[tuple[int, Access]] = set()
    waiting = [read]
    while waiting:
        one = waiting.pop()
        if one.written is None or not one.is_random or (id(one.written), one.access) in seen:
            continue
        seen.add((id(one.written), one.access))
        for written in _writes(one, _told(one)):
            yield written.source
            waiting += reads_of(written.source)


def _told(read: Read) -> Surviving | None:
    """What `_surviving` says; None where it cannot be told, as of a view whose elements are none of the memory."""
    if read.dtype.itemsize == read.memory.dtype.itemsize:
        with suppress(NotExpressibleError):
            return _surviving(read)
    return None


def _writes(read: Read, told: Surviving | None) -> list[Write]:
    """The writes of which a tensor has elements; all of its memory, where that cannot be told."""
    return list(chain(read.written)) if told is None else [written for written, _ in told]


def _surviving(read: Read) -> Surviving:
    """The writes of which a tensor has elements, the last one first, and which ones: ranges of its axes, or None for all.

    NotExpressibleError where that cannot be told.
    """
    found: Surviving = []
    size, count = read.access.size, 0
    for written in chain(read.written):
        ranges = overlap(written.access, read.access, read.memory.shape, read.memory.numel)
        if ranges is not None:
            if all(len(r) == n for r, n in zip(ranges, size, strict=True)):
                return [*found, (written, None)]
            found.append((written, ranges))
            count += math.prod(map(len, ranges))
            if count >= read.access.numel and _cover([r for _, r in found if r is not None], size):
                return found
    return found


def check_set(read: Read) -> None:
    """Raise UnsetError where nothing has set an element of a tensor, or of one of which it is a copy or computed."""
    seen: set[tuple[int, Access]] = set()
    waiting = [read]
    while waiting:
        one = waiting.pop()
        if (id(one.written), one.access) in seen or not one.access.numel:
            continue
        told = _told(one)
        if not _is_set(one, told):
            raise UnsetError("nothing has set some of its elements")
        seen.add((id(one.written), one.access))
        for written in _writes(one, told):
            source = written.source
            if isinstance(source, Copied):
                waiting.append(source.read)
            elif isinstance(source, Called) and operation(source) in _ELEMENTWISE:
                waiting += reads_in(source.args)  # and not `out`


def _is_set(read: Read, told: Surviving | None) -> bool:
    """Whether writes have set all elements of a tensor; of its memory, where those of a view in another dtype are none."""
    if read.dtype.itemsize != read.memory.dtype.itemsize:
        memory = read.memory
        read = Read(memory, read.written, whole_access(memory.shape), memory.dtype)
        told = _told(read)
    if told is None:
        accesses = (written.access for written in chain(read.written))
        return all_set(accesses, read.access, read.memory.numel)
    is_whole = bool(told) and told[-1][1] is None
    return is_whole or _cover([r for _, r in told if r is not None], read.access.size)


def operation(source: Called) -> str:
    """The name of an operation, which may change its first argument."""
    name: str = source.func._schema.name
    return name.partition("::")[2].removesuffix("_")


def _epochs(read: Read) -> list[Epoch]:
    """The streams of draws that the values of a tensor depend on, in their order."""
    sources = _sources(read)
    found = [one.epoch for one in sources if isinstance(one, (Drawn, Undrawable)) and one.epoch]
    return sorted({id(epoch): epoch for epoch in found}.values(), key=lambda one: one.serial)


# Expressions.


def express(read: Read, streams: Streams, name: str) -> Distribution:
    """The values of a tensor as an expression.

    UnsetError where nothing has set an element, NotExpressibleError where expressions lack an operation.
    """
    check_set(read)
    return _express(read, streams, name)


def _express(read: Read, streams: Streams, name: str) -> Distribution:
    if read.dtype != read.memory.dtype:
        return _known(read)
    parts: list[tuple[tuple[Any, ...], Distribution]] = []
    base: Distribution | None = None
    try:
        surviving = _surviving(read)
    except NotExpressibleError:
        return _known(read)  # an error if any element is drawn
    for written, ranges in surviving:
        if ranges is None:
            base = _of_write(written, read.access, streams, name)
            break
        index, within = _part(ranges, read.access, written.access)
        parts.append((index, _of_write(written, within, streams, name)))
    parts.reverse()
    base = Constant(0.0) if base is None else base
    return Parts(base, tuple(parts)) if parts else base


def _part(
    ranges: Sequence[range], access: Access, written: Access
) -> tuple[tuple[Any, ...], Access]:
    """The index of a part of an access, and its elements: with the axes of the write if it set just these."""
    within = _restricted(access, ranges)
    kept = [axis for axis, r in enumerate(ranges) if len(r) > 1]
    size, stride = (tuple(one[axis] for axis in kept) for one in (within.size, within.stride))
    if Access(within.offset, size, stride) == written != within:
        return tuple(as_slice(r) if len(r) > 1 else r[0] for r in ranges), written
    return tuple(map(as_slice, ranges)), within


def _of_write(written: Write, access: Access, streams: Streams, name: str) -> Distribution:
    """The elements of an access within a write."""
    source, memory = written.source, written.memory
    is_derived = written.is_random and isinstance(source, (Copied, Called))
    if is_derived and (cuts := across_axes(written.access, access)) is not None:
        return _in_cuts(written, access, cuts, streams, name)
    read = Read(memory, written, access, memory.dtype)
    if isinstance(source, Filled):
        value = torch.full((), source.value, dtype=memory.dtype)
        return _known_values(value, access.size)
    if isinstance(source, Drawn):
        if not is_drawn(source.init) and access != written.access:
            raise NotExpressibleError(f"a part of {source.init} has no expression")
        return streams.draw(source.init, source.epoch, access, name)
    if isinstance(source, Made) and access == written.access:
        return source.init
    if isinstance(source, Copied) and written.is_random:
        made = _express(_through(written, access, source.read), streams, name)
        return _as_integers(_cast(made, source.read.dtype, memory.dtype), memory.dtype)
    if not written.is_random:
        constant = _constant(source, written, access, streams, name)
        return _known(read) if constant is None else constant
    if isinstance(source, Called):
        return _as_integers(_of_call(source, written, access, streams, name), memory.dtype)
    what = source.name if isinstance(source, Undrawable) else type(source).__name__
    raise NotExpressibleError(f"{what} has no expression")


def _in_cuts(
    written: Write, access: Access, cuts: list[list[range]], streams: Streams, name: str
) -> Distribution:
    """The elements of an access, each part with an expression of its own."""
    parts = []
    for ranges in cuts:
        made = _of_write(written, _restricted(access, ranges), streams, name)
        parts.append((tuple(map(as_slice, ranges)), made))
    return Parts(Constant(0.0), tuple(parts))


def _constant(
    source: Source, written: Write, access: Access, streams: Streams, name: str
) -> Constant | None:
    """The constant that a copy is of, in the dtype of the copy: no elements are made to find it."""
    if not isinstance(source, Copied):
        return None
    try:
        made = _express(_through(written, access, source.read), streams, name)
    except NotExpressibleError:  # a view across the axes of the copy
        return None
    if not isinstance(made, Constant):
        return None
    return Constant(torch.full((), made.value, dtype=written.memory.dtype).item())


def _cast(made: Distribution, of: torch.dtype, to: torch.dtype) -> Distribution:
    """Drawn values of a tensor in one of another dtype: float64 has draws of its own."""
    if (of == torch.float64) == (to == torch.float64) or isinstance(made, (Constant, Known)):
        return made
    if of not in STORED_DTYPES:
        raise NotExpressibleError(f"drawn values of {of} have no expression")
    return Cast(made, STORED_DTYPES[of])


def _as_integers(made: Distribution, dtype: torch.dtype) -> Distribution:
    """Drawn values of a tensor, which must be integers in the range of its dtype if that is of integers: none is cut off."""
    possible = integer_limits(STORED_DTYPES.get(dtype, ""))
    if possible is not None:
        limits = limits_of(made)
        if limits is None or limits[0] < possible[0] or limits[1] > possible[1]:
            raise NotExpressibleError(f"arithmetic with a result in {dtype} has no expression here")
    return made


#: Operations of one operand, and the steps that they are.
_UNARY = {
    name: (name,)
    for name in ("neg", "exp", "expm1", "log", "log1p", "sqrt", "abs", "reciprocal", "erfinv")
} | {"rsqrt": ("sqrt", "reciprocal")}
_BINARY = {
    "mul": "mul",
    "div": "div",
    "pow": "pow",
    "minimum": "minimum",
    "maximum": "maximum",
    "lt": "less",
}

_ELEMENTWISE = {
    *_UNARY, *_BINARY, "add", "sub", "rsub", "clamp", "clamp_min", "clamp_max", "square", "lerp",
}  # fmt: skip


def _of_call(
    source: Called, written: Write, access: Access, streams: Streams, name: str
) -> Distribution:
    """The expression of an operation element by element, or of a norm."""
    func = source.func
    op = operation(source)

    def operand(value: Any) -> Distribution:
        if isinstance(value, Read):
            made = _express(_through(written, access, value), streams, name)
            return _cast(made, value.dtype, written.memory.dtype)
        return Constant(value)

    if op in ("norm", "linalg_vector_norm"):
        return _norm(source, written, access, streams, name)
    named = named_arguments(func, source.args, source.kwargs)
    if op not in _ELEMENTWISE:
        raise NotExpressibleError(f"{func._schema.name} has no expression")
    first = operand(source.args[0])
    if op in _UNARY:
        for step in _UNARY[op]:
            first = apply_op(step, first)
        return first
    if op in ("add", "sub", "rsub"):
        second = operand(source.args[1])
        if named.get("alpha", 1) != 1:
            second = apply_op("mul", second, named["alpha"])
        pair = (second, first) if op == "rsub" else (first, second)
        return apply_op("add" if op == "add" else "sub", *pair)
    if op in ("clamp", "clamp_min", "clamp_max"):
        for step, key in (("maximum", "min"), ("minimum", "max")):
            if named.get(key) is not None:
                first = apply_op(step, first, operand(named[key]))
        return first
    if op == "square":
        return apply_op("mul", first, first)
    if op == "lerp":
        end, weight = operand(source.args[1]), operand(source.args[2])
        return apply_op("add", first, apply_op("mul", weight, apply_op("sub", end, first)))
    if op in _BINARY and named.get("rounding_mode") is None:
        return apply_op(_BINARY[op], first, operand(source.args[1]))
    raise NotExpressibleError(f"{func._schema.name} has no expression")


def _norm(
    source: Called, written: Write, access: Access, streams: Streams, name: str
) -> Distribution:
    """The 2-norm over some axes, each of which takes the place of an axis along which the result does not change."""
    named = named_arguments(source.func, source.args, source.kwargs)
    read, order = source.args[0], named.get("p", named.get("ord", 2))
    if order not in (2, None):
        raise NotExpressibleError(f"a norm of order {order} has no expression")
    axes = range(len(read.access.size))
    reduced = [axes[axis] for axis in named.get("dim") or axes]
    steps = [0 if axis in reduced else step for axis, step in enumerate(read.access.stride)]
    if not named.get("keepdim"):
        steps = [step for axis, step in enumerate(steps) if axis not in reduced]
    kept = Access(read.access.offset, written.access.size, tuple(steps))
    outer = _through(written, access, Read(read.memory, read.written, kept, read.dtype)).access
    size, stride = list(outer.size), list(outer.stride)
    free = [a for a, (n, step) in enumerate(zip(size, stride, strict=True)) if n == 1 or step == 0]
    if len(free) < len(reduced):
        raise NotExpressibleError("a norm without keepdim has no expression here")
    for axis in free:
        size[axis] = 1
    for place, axis in zip(free, reduced, strict=False):
        size[place], stride[place] = read.access.size[axis], read.access.stride[axis]
    full = Access(outer.offset, tuple(size), tuple(stride))
    of = _express(Read(read.memory, read.written, full, read.dtype), streams, name)
    of = _cast(of, read.dtype, written.memory.dtype)
    return Norm(of, tuple(size), tuple(free[: len(reduced)]))


def _known(read: Read) -> Distribution:
    if read.is_random:
        raise NotExpressibleError(
            "a view in another dtype, or of scattered elements, has no expression"
        )
    return _known_values(realise(read), read.access.size)


def _known_values(tensor: Tensor, size: tuple[int, ...]) -> Distribution:
    """Known elements; a constant if all are one number that a float holds."""
    if tensor.numel() and not tensor.is_complex():
        first = tensor.reshape(-1)[0].item()
        if float(first) == first and math.isfinite(first) and bool((tensor == first).all()):
            return Constant(float(first) + 0.0)
    if tensor.dtype in (torch.bfloat16, torch.float16) or (
        tensor.element_size() == 1 and tensor.is_floating_point()
    ):
        tensor = tensor.float()
    return Known(np.array(tensor.detach().contiguous().numpy()))


# Accesses.


def _through(written: Write, access: Access, read: Read) -> Read:
    """What an access within a write has of a tensor that is broadcast to the write's shape."""
    size = written.access.size
    missing = len(size) - len(read.access.size)
    steps = (0,) * missing + tuple(
        0 if n == 1 else step for n, step in zip(read.access.size, read.access.stride, strict=True)
    )
    if access == written.access:
        return Read(read.memory, read.written, Access(read.access.offset, size, steps), read.dtype)
    first, moves = _coordinates(written.access, access)
    offset = read.access.offset + sum(f * s for f, s in zip(first, steps, strict=True))
    stride = tuple(sum(m * s for m, s in zip(move, steps, strict=True)) for move in moves)
    return Read(read.memory, read.written, Access(offset, access.size, stride), read.dtype)


def _coordinates(outer: Access, inner: Access) -> tuple[list[int], list[list[int]]]:
    """The index in `outer` of the first element of `inner`, and the change of it along each axis of that."""
    first = index_at(outer, inner.offset - outer.offset)
    moves = []
    for n, step in zip(inner.size, inner.stride, strict=True):
        move = index_at(outer, step) if n > 1 and step else [0] * len(outer.size)
        moves.append(move)
    last = [
        f + sum(m[a] * (n - 1) for m, n in zip(moves, inner.size, strict=True))
        for a, f in enumerate(first)
    ]
    if any(not 0 <= index < n for index, n in zip([*first, *last], outer.size * 2, strict=True)):
        raise NotExpressibleError("a view across the axes of a result has no expression")
    return first, moves


def _restricted(access: Access, ranges: Sequence[range]) -> Access:
    """The part of an access at these indices."""
    offset = access.offset + sum(r.start * s for r, s in zip(ranges, access.stride, strict=True))
    stride = tuple(s * r.step for r, s in zip(ranges, access.stride, strict=True))
    return Access(offset, tuple(map(len, ranges)), stride)


def _cover(parts: Sequence[list[range]], size: tuple[int, ...]) -> bool:
    """Whether some parts of a tensor are all of it."""
    if 0 in size:
        return True
    axes = [a for a, n in enumerate(size) if any(len(part[a]) < n for part in parts)]
    is_set = np.zeros([size[a] for a in axes], bool)
    for part in parts:
        is_set[tuple(as_slice(part[a]) for a in axes)] = True
    return bool(parts) and bool(is_set.all())


# Values.


def realise(
    read: Read,
    draw: Callable[[Write, Tensor], None] | None = None,
    made: dict[int, Tensor] | None = None,
) -> Tensor:
    """The values of a tensor, by PyTorch; `draw` gives those of a write that draws."""
    with torch.no_grad():
        flat = _values(read.written, read.memory, draw, {} if made is None else made)
        return _as_read(flat, read)


def _as_read(flat: Tensor, read: Read) -> Tensor:
    flat = flat if read.dtype == read.memory.dtype else flat.view(read.dtype)
    return flat.as_strided(*read.access[1:], read.access.offset)


def _values(
    written: Write | None,
    memory: Memory,
    draw: Callable[[Write, Tensor], None] | None,
    made: dict[int, Tensor],
) -> Tensor:
    """All elements of a memory after a write."""
    chain: list[Write] = []
    at = written
    flat: Tensor | None = None
    while at is not None:
        flat = at.realised if at.realised is not None else made.get(id(at))
        if flat is not None:
            break
        chain.append(at)
        at = at.before
    if not chain and flat is not None:
        return flat
    flat = torch.zeros(memory.numel, dtype=memory.dtype) if flat is None else flat.clone()
    for one in reversed(chain):
        _apply(one, flat, draw, made)
    if written is not None and draw is None:
        written.realised = flat
    elif written is not None:
        made[id(written)] = flat
    return flat


def _apply(
    one: Write, flat: Tensor, draw: Callable[[Write, Tensor], None] | None, made: dict[int, Tensor]
) -> None:
    """Do one write."""
    source, target = one.source, flat.as_strided(*one.access[1:], one.access.offset)
    changes = isinstance(source, Called) and source.func._schema.is_mutable

    def value(arg: Any) -> Any:
        if isinstance(arg, Read):
            if arg.memory is one.memory and arg.written is one.before:
                return _as_read(flat, arg).clone()
            values = _as_read(_values(arg.written, arg.memory, draw, made), arg)
            return values.clone() if changes else values
        if isinstance(arg, (list, tuple)) and not isinstance(arg, torch.Size):
            return type(arg)(map(value, arg))
        return torch.device("cpu") if isinstance(arg, torch.device) else arg

    if isinstance(source, Filled):
        target.fill_(source.value)
    elif isinstance(source, Real):
        target.copy_(source.tensor.reshape(target.shape))
    elif isinstance(source, Copied):
        target.copy_(value(source.read))
    elif isinstance(source, Called):
        args = [value(arg) for arg in source.args]
        kwargs = {key: value(arg) for key, arg in source.kwargs.items()}
        result = source.func(*args, **kwargs)
        if isinstance(source.result, tuple):
            result = (
                kwargs[source.result[0]]
                if isinstance(source.result[0], str)
                else args[source.result[0]]
            )
            for i in source.result[1:]:
                result = result[i]
        elif isinstance(result, (tuple, list)):
            result = result[source.result]
        target.copy_(result)
    elif isinstance(source, Made):
        shape = one.access.size
        target.copy_(computed(source.init, shape, Evaluation(0, "", "float32")))
    elif draw is not None:
        draw(one, target)
    else:
        raise NotExpressibleError("drawn values have no seed yet")


def computed(init: Initializer, shape: tuple[int, ...], evaluation: Evaluation) -> Tensor:
    """All elements of an initializer."""
    values = init.resolve(shape).compute(shape, tuple(map(range, shape)), evaluation)
    return torch.from_numpy(np.array(np.broadcast_to(values, shape)))


# Modules.


class Replay:
    """The recorded tensors of a module, ready to be made: errors come before anything is written.

    `ruled` are the names of tensors that rules set instead.
    """

    def __init__(self, module: nn.Module, ruled: Collection[str]) -> None:
        self.module = module
        found = list(find_recorded(module))
        self.streams = Streams((slot.name, entry) for slot, entry in found)
        self.made: list[tuple[Slot, Entry, Distribution | None]] = []
        self.ruled = [entry for slot, entry in found if slot.name in ruled]
        unset = []
        for slot, entry in found:
            if slot.name in ruled:
                continue
            _check_entry(slot, entry)
            try:
                self.made.append((slot, entry, self._expression(slot, entry)))
            except UnsetError:
                unset.append(slot.name)
        if unset:
            raise ValueError(
                f"the recorded code sets no values of {listed(unset)}: give each a rule, or set it within record()"
            )
        self.names = {slot.name for slot, _, _ in self.made}

    def _expression(self, slot: Slot, entry: Entry) -> Distribution | None:
        """The expression of an entry; None where PyTorch has to compute it."""
        try:
            return express(entry.read, self.streams, slot.name)
        except NotExpressibleError:
            for source in _sources(entry.read):
                if isinstance(source, Undrawable) and source.run is None:
                    raise ValueError(
                        f"{slot.name!r} depends on {source.name}, whose draws have no distribution here: "
                        "give it a rule"
                    ) from None
            return None

    def fill(self, seed: int) -> None:
        """Give all tensors their values."""
        values: dict[int, Tensor] = {}
        for ruled in self.ruled:
            watch(ruled.tensor, False)
            watch(ruled.current, False)
        self._share()
        for slot, entry, expression in self.made:
            tensor, read = slot.tensor, entry.read
            if tensor.is_meta:  # an attribute, which Module.to_empty leaves
                tensor = torch.empty(tensor.shape, dtype=tensor.dtype)
                setattr(slot.owner, slot.leaf, tensor)
            if expression is None:
                draw = partial(_draw, self.streams, seed)
                copy_whole(tensor, realise(read, draw, values))
            elif tensor.dtype in DTYPES or _is_filled(expression, read, tensor.dtype):
                fill_tensor(tensor, expression, seed, slot.name)
            elif read.is_random:
                evaluation = Evaluation(seed, slot.name, "float32")
                copy_whole(tensor, computed(expression, tuple(tensor.shape), evaluation))
            else:
                copy_whole(tensor, realise(read))
            entry.release()
        for part in self.module.modules():
            watch_module(part, False)
        forget_wholes()

    def _share(self) -> None:
        """Give tensors that were views of one memory such memory: what materialises modules gives each its own.

        Tensors that were converted, sharded or moved meanwhile are copies in PyTorch, too.
        """
        groups: dict[int, list[tuple[Slot, Entry]]] = {}
        for slot, entry, _ in self.made:
            if _is_unconverted(slot.tensor, entry):
                storage = (
                    entry.tensor.untyped_storage()._cdata
                )  # that of a copied module is its own
                groups.setdefault(storage, []).append((slot, entry))
        for group in groups.values():
            storages = {slot.tensor.untyped_storage()._cdata for slot, _ in group}
            if len(storages) > 1:
                memory = group[0][1].memory
                flat = torch.empty(memory.numel, dtype=memory.dtype)
                for slot, entry in group:
                    view = flat.as_strided(*entry.access[1:], entry.access.offset)
                    if slot.tensor.is_meta:
                        setattr(slot.owner, slot.leaf, view)
                    else:
                        slot.tensor.data = view


def _is_unconverted(tensor: Tensor, entry: Entry) -> bool:
    cls: Any = type(tensor)
    dtypes = {tensor.dtype, entry.dtype, entry.memory.dtype}
    return is_plain(cls) and len(dtypes) == 1 and tensor.device.type in ("cpu", "meta")


def _is_filled(expression: Distribution, read: Read, dtype: torch.dtype) -> bool:
    """Whether integers are drawn as they are stored, so that a shard needs no more than its own."""
    if not read.is_random or dtype not in STORED_DTYPES or dtype.is_floating_point:
        return False
    try:
        prepare(expression, read.access.size, STORED_DTYPES[dtype])
    except (TypeError, ValueError):  # arithmetic on integers
        return False
    return True


def restore_ties(module: nn.Module) -> None:
    """Tie parameters again that ``Module.to_empty`` or sharding untied; an error where their copies differ."""
    firsts: dict[int, Slot] = {}
    for slot in find_slots(module):
        entry = recorded_entries(slot.owner).get(slot.leaf)
        if entry is None or entry.used or slot.tensor is not entry.current:
            continue
        first = firsts.setdefault(id(entry.tensor), slot)
        if first.tensor is slot.tensor:
            continue
        if not _may_be_tied(first.tensor, slot.tensor, module):
            raise ValueError(
                f"{slot.name!r} was tied to {first.name!r} when it was recorded, and is no more: tie it "
                "again before fully_shard, after other sharding and conversions"
            )
        slot.put(first.tensor)


def _may_be_tied(first: Tensor, second: Tensor, module: nn.Module) -> bool:
    """Whether one tensor can stand for both: FSDP keeps references to its own."""
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    if is_dtensor(first) or is_dtensor(second):
        is_fsdp = fsdp is not None and any(
            isinstance(part, fsdp.FSDPModule) for part in module.modules()
        )
        is_same: bool = getattr(first, "_spec", None) == getattr(second, "_spec", None)
        return is_same and not is_fsdp
    return bool(first.dtype == second.dtype)


def find_recorded(module: nn.Module) -> Iterator[tuple[Slot, Entry]]:
    """The recorded parameters, buffers and other tensors of a module, each at its first place."""
    for slot in [*find_slots(module), *find_buffers(module), *find_attributes(module)]:
        entry = None if slot.alias else entry_of(slot.owner, slot.leaf, slot.tensor)
        if entry is not None:
            yield slot, entry


def _check_entry(slot: Slot, entry: Entry) -> None:
    """Refuse an entry that is no more what was recorded."""
    if entry.used:
        raise ValueError(
            f"{slot.name!r} was initialised from its recording, which is used up: record the construction again"
        )
    is_same = slot.tensor is entry.current and tuple(slot.tensor.shape) == entry.access.size
    if not is_same or entry.is_changed:
        what = "changed" if is_same else "replaced"
        raise ValueError(
            f"{slot.name!r} was {what} after it was recorded: do that within record(), or give it a rule"
        )


def _draw(streams: Streams, seed: int, one: Write, target: Tensor) -> None:
    """Draw the values of a write for an operation of PyTorch."""
    source = one.source
    assert isinstance(source, (Drawn, Undrawable))
    if source.epoch is None or not streams.has(source.epoch):  # later writes leave nothing of it
        target.fill_(math.nan if target.is_floating_point() else 0)
        return
    if isinstance(source, Undrawable):
        assert source.run is not None
        source.run(target, seed, streams.name(source.epoch))
        return
    drawn = streams.draw(source.init, source.epoch, one.access, "")
    made = torch.empty(one.access.size, dtype=target.dtype)
    fill_tensor(made, drawn, seed, "")
    target.copy_(made)
