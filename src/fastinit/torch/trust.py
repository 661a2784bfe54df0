"""Whether the init methods of layers have the last word, or a class around them may set other values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from torch import nn

from fastinit.checks import listed
from fastinit.torch.hooks import model_class, reset_of
from fastinit.torch.slots import Slot

#: Where PyTorch defines classes that wrap a module or replace its class, and set no values: the class behind counts.
WRAPPING = ("torch.distributed.", "torch.nn.utils.parametrize", "torch._dynamo.")


def check_trusted(module: nn.Module, slots: Sequence[Slot]) -> None:
    """Refuse parameters and buffers that a class of their own or around them may set otherwise than init methods do.

    `slots` are the module entries whose values are to come from init methods, the further ones
    of tied tensors among them. An init method is trusted if its class is in ``torch.nn`` or
    defines the method itself, and if only modules of ``torch.nn`` stand above. Within a model of
    ``transformers``, modules of its package and of ``transformers`` may stand there too, because
    its ``_init_weights`` comes last. A buffer is also what an init method above it makes of it.

    Raises
    ------
    ValueError
        An entry that is not trusted, with the classes that may set it and what to do.
    """
    doubted: dict[str, type] = {}
    overriding = {kind: _overriding(module, of_buffers=kind) for kind in (False, True)}
    for slot in slots:
        cls = overriding[slot.is_buffer].get(id(slot.owner))
        if cls is not None:
            doubted.setdefault(slot.name, cls)
    if not doubted:
        return
    described = list(dict.fromkeys(f"{c.__name__} (of {c.__module__})" for c in doubted.values()))
    classes, its, them = (
        ("class", "its", "itself") if len(described) == 1 else ("classes", "their", "themselves")
    )
    raise ValueError(
        f"the {classes} {', '.join(described[:3])} may initialise {listed(list(doubted))} {them}, and "
        f"{its} construction was not recorded: record it (with fastinit.torch.record(): ...), give "
        "rules for them (None where the values are right already), or accept the defaults of the "
        "layers by unrecorded='layer_defaults'"
    )


def _overriding(root: nn.Module, of_buffers: bool) -> dict[int, type]:
    """The classes that may set what modules own otherwise, by the ids of these modules; the outermost counts."""
    found: dict[int, type] = {}
    seen = set()
    todo: list[tuple[nn.Module, type | None, type | None]] = [(root, None, None)]
    while (
        todo
    ):  # each module with the class above it that may set it, and the class of the model around
        part, above, model = todo.pop()
        if (id(part), above, model) in seen:
            continue
        seen.add((id(part), above, model))
        cls = class_behind(part)
        model = cls if _is_model(cls) else model
        is_known = _is_in(cls, "torch.nn") or (model is not None and _is_governed(cls, model))
        resets = _defines_reset(part, cls)
        here = above or (None if is_known or resets else cls)
        if here is not None:
            found.setdefault(id(part), here)
        if of_buffers and resets and here is None:
            continue
        below = here if is_known else above or cls
        todo += [(child, below, model) for child in reversed(list(part.children()))]
    return found


def class_behind(part: nn.Module) -> type:
    """The class of a module without those that PyTorch puts before it, as ``fully_shard`` does."""
    return next(
        cls
        for cls in type(part).__mro__
        if issubclass(cls, nn.Module) and not cls.__module__.startswith(WRAPPING)
    )


def _is_in(cls: type, package: str) -> bool:
    return f"{cls.__module__}.".startswith(f"{package}.")


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _is_model(cls: type) -> bool:
    """Whether it is a model of transformers whose own package has written its ``_init_weights``."""
    base = model_class()
    if base is None or not issubclass(cls, base):
        return False
    author = next(c for c in cls.__mro__ if "_init_weights" in vars(c))
    return _package(author) == _package(cls)


def _is_governed(cls: type, model: type) -> bool:
    """Whether the ``_init_weights`` of a model was written for modules of a class."""
    base = model_class()
    is_other_model = base is not None and issubclass(cls, base) and not _is_model(cls)
    return _package(cls) in ("transformers", _package(model)) and not is_other_model


def _defines_reset(part: nn.Module, cls: type) -> bool:
    names = {"reset_parameters", "_reset_parameters"}
    return not names.isdisjoint({*vars(part), *vars(cls)}) and reset_of(part) is not None


def check_reachable(module: nn.Module) -> None:
    """Refuse modules whose values are not in parameters and buffers of their own.

    Raises
    ------
    ValueError
        FSDP1, whose parameters are views of flat ones, or a quantised module, which keeps its weights packed.
    """
    fsdp: Any = sys.modules.get("torch.distributed.fsdp.fully_sharded_data_parallel")
    for path, part in module.named_modules():
        if fsdp is not None and isinstance(part, fsdp.FullyShardedDataParallel):
            raise ValueError(
                f"{path!r} is a FullyShardedDataParallel, whose parameters are parts of flat ones: "
                "initialise the module before wrapping it, or use fully_shard"
            )
        if hasattr(part, "_packed_params") and _is_in(type(part), "torch.ao"):
            raise ValueError(
                f"{path!r} is a quantised {type(part).__name__}, which keeps its weights packed and not "
                "in parameters: initialise the module before it is quantised"
            )
