"""Where a module has its parameters and buffers, and their names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from fastinit.choices import AxesName

#: What torch.compile and activation checkpoints put into the paths of the modules that they wrap.
WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module"}


@dataclass(frozen=True)
class Slot:
    """A place of a parameter, or of a buffer."""

    owner: nn.Module
    leaf: str
    name: str  # that of the tensor's first place
    alias: bool  # not its first place

    @property
    def tensor(self) -> Tensor:
        return getattr(self.owner, self.leaf)

    def put(self, tensor: Any) -> None:
        """Make another tensor the parameter or the buffer."""
        (self.owner._buffers if self.is_buffer else self.owner._parameters)[self.leaf] = tensor

    @property
    def is_buffer(self) -> bool:
        return self.leaf in self.owner._buffers

    @property
    def is_stored(self) -> bool:
        """Whether a ``state_dict`` has it."""
        return self.leaf not in self.owner._non_persistent_buffers_set and self.leaf not in vars(
            self.owner
        )

    @property
    def padding_row(self) -> int | None:
        """The row that is zero in an embedding."""
        row = getattr(self.owner, "padding_idx", None)
        return row if self.leaf == "weight" and isinstance(row, int) else None


def clean(path: str) -> str:
    """A path as it would be without wrappers."""
    return ".".join(part for part in path.split(".") if part not in WRAPPERS)


def find_slots(module: nn.Module) -> list[Slot]:
    """All places of parameters, in the order of ``named_parameters``."""
    slots = _slots((path, owner, owner._parameters) for path, owner in module.named_modules())
    for slot in slots:
        if isinstance(slot.tensor, UninitializedParameter):
            raise ValueError(f"{slot.name!r} has no shape yet: run the lazy module once before")
    return slots


def find_buffers(module: nn.Module) -> list[Slot]:
    """All places of buffers, in the order of ``named_buffers``."""
    return _slots((path, owner, owner._buffers) for path, owner in module.named_modules())


def _slots(spaces: Iterable[tuple[str, nn.Module, dict[str, Tensor | None]]]) -> list[Slot]:
    slots: list[Slot] = []
    names: dict[int, str] = {}
    for path, owner, space in spaces:
        for leaf, tensor in space.items():
            if tensor is not None:
                alias = id(tensor) in names
                name = names.setdefault(id(tensor), clean(f"{path}.{leaf}".lstrip(".")))
                slots.append(Slot(owner, leaf, name, alias))
    return slots


def find_attributes(module: nn.Module) -> list[Slot]:
    """All places of tensors that are neither parameters nor buffers."""
    return _slots(
        (path, owner, {leaf: x for leaf, x in vars(owner).items() if isinstance(x, Tensor)})
        for path, owner in module.named_modules()
    )


def listed(names: Iterable[str]) -> str:
    """Names for an error: the first eight, and how many more there are."""
    first = sorted(names)
    more = f" and {len(first) - 8} more" if len(first) > 8 else ""
    return f"{', '.join(first[:8])}{more}"


def axes_of(owner: nn.Module) -> AxesName:
    """Where the weights of a module have inputs and outputs."""
    loaded = sys.modules.get("transformers.pytorch_utils")
    return "in_out" if loaded is not None and isinstance(owner, loaded.Conv1D) else "out_in"
