"""What a recording consists of: memories, and the writes that gave them their values."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fastinit.initializers import Distribution, Normal, Uniform
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
    """The tensors among the arguments of a recorded operation."""
    if isinstance(value, Read):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from reads_in(one)


def named_arguments(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an operation that are given, by their names."""
    names = (argument.name for argument in func._schema.arguments)
    return dict(zip(names, args, strict=False)) | dict(kwargs)


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
    """A recorded parameter, buffer or tensor of a module."""

    tensor: Tensor
    memory: Memory
    access: Access
    dtype: torch.dtype
    version: int
    replaced: bool = False
    used: bool = False

    def release(self) -> None:
        """Forget the recording, whose values the tensor has."""
        set_memory(self.tensor, None)
        watch(self.tensor, False)
        self.used, self.memory = True, Memory(self.dtype, 0, (0,))

    @property
    def read(self) -> Read:
        return Read(self.memory, self.memory.written, self.access, self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Entry:
        tensor = copy.deepcopy(self.tensor, memo)
        return Entry(
            tensor,
            self.memory,
            self.access,
            self.dtype,
            version_of(tensor),
            self.replaced,
            self.used,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()  # a pickled module is not a recorded one


def _forgotten() -> None:
    return None


# Changes of ``tensor.data`` would not count as new versions of a tensor, those of ``tensor.detach()`` do.
_DATA: Any = property(Tensor.detach, Tensor.data.__set__)


class RecordedParameter(nn.Parameter):
    """A parameter from its recording to its initialisation: changes of its ``data`` are noticed."""

    data = _DATA


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


def unwatched(cls: type[Any]) -> type[Any]:
    """The class that a tensor had before it was recorded."""
    return next((old for old, new in _WATCHED.items() if new is cls), cls)


def watch(tensor: Tensor, yes: bool) -> None:
    """Notice changes of the ``data`` of a tensor, or no more."""
    cls = type(tensor)
    tensor.__class__ = _WATCHED.get(cls, cls) if yes else unwatched(cls)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed; PyTorch does not count that of tensors made in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


#: Where a storage keeps its memory, among its attributes.
_MEMORY = "_fastinit_memory"


def memory_of(tensor: Tensor) -> Memory | None:
    """The memory of a recorded tensor."""
    try:
        return getattr(tensor.untyped_storage(), _MEMORY, None)
    except (NotImplementedError, RuntimeError):  # sparse and other tensors without a storage
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
        entry = Entry(tensor, memory, access_of(tensor), tensor.dtype, version_of(tensor))
    return entry
