"""Where a module has its parameters and buffers, and their names."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

#: What torch.compile and activation checkpoints put into the paths of the modules that they wrap.
WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module"}


@dataclass(frozen=True)
class Slot:
    """A place of a parameter, or of a buffer."""

    owner: nn.Module
    leaf: str
    name: str  # of a parameter that of its first place
    alias: bool = False  # not its first place

    @property
    def tensor(self) -> Tensor:
        return getattr(self.owner, self.leaf)

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
    slots: list[Slot] = []
    names: dict[int, str] = {}
    for path, owner in module.named_modules():
        for leaf, parameter in owner._parameters.items():
            if parameter is None:
                continue
            name = clean(f"{path}.{leaf}".lstrip("."))
            if isinstance(parameter, UninitializedParameter):
                raise ValueError(f"{name!r} has no shape yet: run the lazy module once before")
            alias = id(parameter) in names
            slots.append(Slot(owner, leaf, names.setdefault(id(parameter), name), alias))
    return slots


def meta_buffers(module: nn.Module) -> list[Slot]:
    """The buffers on the meta device."""
    return [
        Slot(owner, leaf, clean(f"{path}.{leaf}".lstrip(".")))
        for path, owner in module.named_modules()
        for leaf, buffer in owner._buffers.items()
        if buffer is not None and buffer.is_meta
    ]
