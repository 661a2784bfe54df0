"""What a recording consists of: memories, and the writes that gave them their values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fastinit.initializers import Distribution
from fastinit.torch.views import Access, NotExpressibleError, access_of, overlap

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Memory:
        return self


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

    def __deepcopy__(self, memo: dict[int, Any]) -> Epoch:
        return self


@dataclass(eq=False, slots=True)
class Write:
    """One write, and what the memory held before where the write leaves some of it."""

    memory: Memory
    before: Write | None
    access: Access
    source: Source
    is_random: bool  # whether any element of the memory depends on a draw
    realised: Tensor | None = None  # all of the memory, if deterministic values were asked for

    def __deepcopy__(self, memo: dict[int, Any]) -> Write:
        return self


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


def reads_in(value: Any) -> Iterator[Read]:
    """The reads among the arguments of an operation."""
    if isinstance(value, Read):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from reads_in(one)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from reads_in(one)


def reads_of(source: Source) -> list[Read]:
    """What a source depends on."""
    if isinstance(source, Copied):
        return [source.read]
    if isinstance(source, Called):
        return [*reads_in(source.args), *reads_in(source.kwargs)]
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
        self.used, self.memory = True, Memory(self.dtype, 0, (0,))

    @property
    def read(self) -> Read:
        return Read(self.memory, self.memory.written, self.access, self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Entry:
        tensor = copy.deepcopy(self.tensor, memo)
        return Entry(
            tensor, self.memory, self.access, self.dtype, tensor._version, self.replaced, self.used
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()  # a pickled module is not a recorded one


def _forgotten() -> None:
    return None


#: Where a storage keeps its memory, among its attributes.
_MEMORY = "_fastinit_memory"


def memory_of(tensor: Tensor) -> Memory | None:
    """The memory of a recorded tensor."""
    try:
        return getattr(tensor.untyped_storage(), _MEMORY, None)
    except (NotImplementedError, RuntimeError):  # sparse and other tensors without a storage
        return None


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
        entry = Entry(tensor, memory, access_of(tensor), tensor.dtype, tensor._version)
    return entry
