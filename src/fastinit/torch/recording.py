"""What a recording consists of: memories, and the writes that gave them their values."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from fastinit.initializers import Distribution, Normal, Uniform
from fastinit.torch.memory import is_dtensor, local_part
from fastinit.torch.views import Access, NotExpressibleError, access_of, overlap


class Recording(Protocol):
    """What records functions that look at values, or that stand for an initializer."""

    drawn_before: dict[tuple[Any, ...], Distribution]

    @property
    def is_innermost(self) -> bool: ...
    def empty(self, *args: Any, **kwargs: Any) -> Tensor: ...
    def fill(self, tensor: Tensor, value: float) -> Tensor: ...
    def last_drawn(self, tensor: Tensor) -> Distribution | None: ...
    def draw(self, tensor: Tensor, init: Distribution) -> Tensor: ...
    def make(self, tensor: Tensor, init: Distribution) -> Tensor: ...
    def run(
        self, tensor: Tensor, name: str, function: Callable[[Tensor, int, str], object]
    ) -> Tensor: ...
    def seen(self, module: nn.Module) -> None: ...
    def value(self, tensor: Tensor) -> Tensor: ...
    def convert(self, made: Tensor) -> None: ...
    def alike(self, tensor: Tensor, other: Tensor) -> Tensor: ...


#: What records the calls of this thread.
current_recorder: ContextVar[Recording | None] = ContextVar("current_recorder", default=None)


#: The most frequent distributions, whose arguments are checked once.
known_normal = lru_cache(Normal)
known_uniform = lru_cache(Uniform)


#: Where a module keeps its recorded entries, among its attributes.
KEY = "_fastinit_recorded"


@dataclass(eq=False, slots=True)
class Memory:
    """The memory of one or more tensors, as a chain of writes that starts with the last."""

    dtype: torch.dtype
    numel: int
    shape: tuple[int, ...]  # C-ordered: the tensor for which it was allocated
    written: Write | None = None
    entries: list[Entry] = field(default_factory=list)
    from_outside: bool = False  # on the meta device, and made when nothing recorded
    serial: int = field(default_factory=itertools.count().__next__)

    @property
    def address(self) -> int:
        """What stands for the address of a memory that is not there: its own, and none that a process can have."""
        return 2**62 + (self.serial << 40)


@dataclass(eq=False, slots=True)
class Epoch:
    """Draws into one memory that share a stream: no element is drawn twice."""

    memory: Memory
    serial: int
    is_alone: bool = False  # of one draw only, which needs the stream from its beginning
    accesses: list[Access] = field(default_factory=list)

    def leaves(self, access: Access) -> bool:
        """Whether none of some elements is drawn yet; False where that cannot be told."""
        first, last = access.span
        near = [one for one in self.accesses if one.span[0] < last and first < one.span[1]]
        try:
            return all(
                overlap(one, access, self.memory.shape, self.memory.numel) is None for one in near
            )
        except NotExpressibleError:
            return False


@dataclass(eq=False, slots=True)
class Write:
    """One write, and what the memory held before where the write leaves some of it."""

    memory: Memory
    before: Write | None
    access: Access
    source: Source
    is_random: bool  # whether any element of the memory depends on a draw
    realised: Tensor | None = None  # all of the memory, if deterministic values were asked for


@dataclass(frozen=True, eq=False, slots=True)
class Read:
    """A tensor as an operation found it."""

    memory: Memory
    written: Write | None
    access: Access
    dtype: torch.dtype

    @property
    def is_random(self) -> bool:
        return self.written is not None and self.written.is_random


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """Elements of a distribution, from the stream of an epoch."""

    init: Distribution
    epoch: Epoch


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """Known elements that an initializer makes from the shape of the write, such as those of `Identity`."""

    init: Distribution


@dataclass(frozen=True, eq=False, slots=True)
class Undrawable:
    """Elements of an operation that draws, and that no initializer does."""

    name: str
    run: Callable[[Tensor, int, str], object] | None = (
        None  # fills a whole tensor from seed and stream
    )
    epoch: Epoch | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Filled:
    """One number everywhere."""

    value: Any


@dataclass(frozen=True, eq=False, slots=True)
class Real:
    """Known elements."""

    tensor: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Copied:
    """The elements of another tensor, broadcast and converted."""

    read: Read


@dataclass(frozen=True, eq=False, slots=True)
class Called:
    """A result of an operation."""

    func: Any
    args: tuple[Any, ...]  # with Reads in place of tensors
    kwargs: Mapping[str, Any]
    result: int | tuple[Any, ...]  # of several results; or the path of an argument that was changed


Source = Drawn | Made | Undrawable | Filled | Real | Copied | Called


def tensors_in(args: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments of an operation, or among its results."""
    found = []
    for one in args:
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, (list, tuple)):
            found += tensors_in(one)
    return found


def reads_in(value: Any) -> Iterator[Read]:
    """The reads among the arguments of a recorded operation."""
    if isinstance(value, Read):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from reads_in(one)


def named_arguments(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an operation that are given, by their names."""
    return dict(zip(_names_of(func), args, strict=False)) | dict(kwargs)


@cache
def _names_of(func: Any) -> tuple[str, ...]:
    return tuple(argument.name for argument in func._schema.arguments)


def chain(written: Write | None) -> Iterator[Write]:
    """The writes to a memory, the last one first."""
    while written is not None:
        yield written
        written = written.before


def reads_of(source: Source) -> list[Read]:
    """What a source depends on."""
    if isinstance(source, Copied):
        return [source.read]
    if isinstance(source, Called):
        return [*reads_in(source.args), *reads_in(tuple(source.kwargs.values()))]
    return []


@dataclass(eq=False, slots=True)
class Entry:
    """A recorded parameter, buffer or other tensor of a module."""

    tensor: Tensor  # the one that was recorded
    memory: Memory
    access: Access
    dtype: torch.dtype
    current: Tensor  # what stands in its place now, such as a shard of it
    #: What counts the changes of `current`; None if there was one before it took its place.
    noted: Noted | None
    used: bool = False

    @classmethod
    def of(cls, tensor: Tensor, memory: Memory) -> Entry:
        return cls(tensor, memory, access_of(tensor), tensor.dtype, tensor, Noted.of(tensor))

    @property
    def is_changed(self) -> bool:
        """Whether an operation has changed the tensor since it was recorded."""
        return self.noted is None or self.noted.is_changed(self.current)

    def note(self) -> None:
        """Take the tensor as it is for unchanged."""
        self.noted = Noted.of(self.current)

    def follow(self, tensor: Tensor) -> None:
        """Let a conversion or a shard take the place of the tensor; what was changed remains so."""
        is_changed = self.is_changed
        self.current, self.noted = tensor, None if is_changed else Noted.of(tensor)
        watch(tensor, True)

    def release(self) -> None:
        """Forget the recording, whose values the tensor has."""
        set_memory(self.tensor, None)
        watch(self.tensor, False)
        watch(self.current, False)
        self.used, self.memory, self.noted = True, Memory(self.dtype, 0, (0,)), None

    @property
    def read(self) -> Read:
        return Read(self.memory, self.memory.written, self.access, self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Entry:
        tensor = copy.deepcopy(self.tensor, memo)
        current = copy.deepcopy(self.current, memo)
        noted = None if self.is_changed else Noted.of(current)
        return Entry(tensor, self.memory, self.access, self.dtype, current, noted, self.used)

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()  # a pickled module is not a recorded one


class Noted(NamedTuple):
    """The versions of a tensor at some time."""

    counter: Tensor  # shares the version of the tensor
    version: int
    local: Tensor  # of a DTensor, which counts versions of its own
    local_version: int

    @classmethod
    def of(cls, tensor: Tensor) -> Noted:
        local = local_part(tensor)
        # A conversion of a DTensor's module gives the object another tensor, and what was detached remains.
        counter = tensor if local is tensor else tensor.detach()
        return cls(counter, _version(counter), local, _version(local))

    def is_changed(self, tensor: Tensor) -> bool:
        """Whether an operation has changed the tensor since."""
        noted = _version(self.counter), _version(self.local)
        is_converted = local_part(tensor) is not self.local
        return noted != (self.version, self.local_version) or (
            is_converted and _version(tensor) != 0
        )


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # which those do not count


def _forgotten() -> None:
    return None


#: Packages of PyTorch that shard modules.
_SHARDING = ("torch.distributed.fsdp", "torch.distributed.tensor", "torch.distributed._composable")


def _keeps_recording() -> bool:
    """Whether what calls the caller converts, moves or shards a module, rather than give it other values."""
    frame = sys._getframe(2)
    if frame.f_code is nn.Module._apply.__code__:
        return True
    while frame is not None:
        if f"{frame.f_globals.get('__name__', '')}.".startswith(_SHARDING):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _set_data(tensor: Tensor, data: Tensor) -> None:
    """Set the ``data`` of a recorded tensor: a change, unless a conversion of its module does it."""
    _SET(tensor, data)
    if current_recorder.get() is None and not _keeps_recording():
        increment_version(tensor)


_SET: Any = Tensor.data.__set__
# Changes of ``tensor.data`` would not count as new versions of a tensor, those of ``tensor.detach()`` do.
_DATA: Any = property(Tensor.detach, _set_data)


class Watched(dict[str, Any]):
    """The parameters or the buffers of a recorded module: entries follow what PyTorch puts in their places.

    ``fully_shard`` and ``Module.to_empty`` write to the dict, which calls no hook.
    """

    def __init__(self, tensors: Mapping[str, Any], entries: Mapping[str, Entry]) -> None:
        super().__init__(tensors)
        self.entries = entries

    def __setitem__(self, leaf: str, tensor: Any) -> None:
        entry = self.entries.get(leaf)
        if entry is not None and isinstance(tensor, Tensor) and _keeps_recording():
            entry.follow(tensor)
        super().__setitem__(leaf, tensor)

    def __deepcopy__(self, memo: dict[int, Any]) -> Watched:
        return Watched(copy.deepcopy(dict(self), memo), copy.deepcopy(self.entries, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def watch_module(module: nn.Module, yes: bool) -> None:
    """Notice what takes the places of recorded parameters and buffers, or no more."""
    for name in ("_parameters", "_buffers"):
        space = vars(module)[name]
        if yes and type(space) is dict:
            vars(module)[name] = Watched(space, vars(module)[KEY])
        elif not yes and isinstance(space, Watched):
            vars(module)[name] = dict(space)


def _detached(tensor: Tensor) -> Tensor:
    """The same elements in a tensor of its own, of which no other parameter is made before they have values."""
    if sys._getframe(1).f_code is nn.Parameter.__new__.__code__:
        raise RuntimeError(
            "a parameter was made of a recorded one, as weight_norm does: do that within record(module), "
            "or after init_module_"
        )
    return Tensor.detach(tensor)


class RecordedParameter(nn.Parameter):
    """A parameter from its recording to its initialisation: changes of its ``data`` are noticed."""

    data = _DATA
    detach = _detached


class RecordedTensor(Tensor):
    """The same for a buffer, or another tensor of a module."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    data = _DATA

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return copied(self, memo, RecordedTensor)


def copied(tensor: Tensor, memo: dict[int, Any], cls: type[Tensor] = Tensor) -> Tensor:
    """A deep copy of a tensor by operations, which a recorder sees."""
    if id(tensor) not in memo:
        made = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        made.__class__ = cls
        memo[id(tensor)] = made
    known: Tensor = memo[id(tensor)]
    return known


#: The class of a tensor, and that of the recorded one.
_WATCHED: dict[type, type] = {nn.Parameter: RecordedParameter, Tensor: RecordedTensor}


@cache
def _watched_dtensor(cls: Any) -> type:
    """The same for a DTensor, whose class may not be imported."""
    methods = {"data": _DATA, "detach": _detached_dtensor, "__deepcopy__": _copied_dtensor}
    return type(f"Recorded{cls.__name__}", (cls,), methods)


def _detached_dtensor(tensor: Tensor) -> Tensor:
    made = Tensor.detach(tensor)
    watch(made, True)  # a Parameter takes only what detaches to its own class
    return made


def _copied_dtensor(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    watch(tensor, False)  # DTensor's operations return no other class
    try:
        made = copy.deepcopy(tensor, memo)
    finally:
        watch(tensor, True)
    watch(made, True)
    return made


def unwatched(cls: Any) -> Any:
    """The class that a tensor had before it was recorded."""
    return cls.__base__ if vars(cls).get("data") is _DATA else cls


def watch(tensor: Tensor, yes: bool) -> None:
    """Notice changes of the ``data`` of a tensor, or no more."""
    cls = unwatched(type(tensor))
    if yes:
        cls = _watched_dtensor(cls) if is_dtensor(tensor) else _WATCHED.get(cls, cls)
    if type(tensor) is not cls:
        tensor.__class__ = cls


#: Where a storage keeps its memory, among its attributes.
_MEMORY = "_fastinit_memory"


def memory_of(tensor: Tensor) -> Memory | None:
    """The memory of a recorded tensor."""
    try:
        return getattr(tensor.untyped_storage(), _MEMORY, None)
    except (NotImplementedError, RuntimeError, ValueError):  # sparse, lazy: without a storage
        return None


def new_memory(tensor: Tensor) -> Memory:
    """A memory for all of a tensor's storage, which nothing has written."""
    numel = tensor.untyped_storage().nbytes() // tensor.element_size()
    is_whole = tensor.numel() == numel and tensor.is_contiguous()
    return Memory(tensor.dtype, numel, tuple(tensor.shape) if is_whole else (numel,))


def set_memory(tensor: Tensor, memory: Memory | None) -> None:
    """Record the memory of a tensor from now on, or no more."""
    setattr(tensor.untyped_storage(), _MEMORY, memory)


def recorded_entries(owner: nn.Module) -> dict[str, Entry]:
    """The recorded entries of a module by the names of its attributes."""
    entries: dict[str, Entry] = owner.__dict__.get(KEY, {})
    return {leaf: entry for leaf, entry in entries.items() if entry is not None}


def entry_of(owner: nn.Module, leaf: str, tensor: Tensor) -> Entry | None:
    """The entry of a tensor: the module's, or a new one for a tensor whose memory is recorded, as in copies of modules."""
    entry = recorded_entries(owner).get(leaf)
    if entry is None and (memory := memory_of(tensor)) is not None:
        entry = Entry.of(tensor, memory)
    return entry
