"""The parameters of a whole module, each from the stream of its name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor, nn

from fastinit.initializers import Initializer, VarianceScaling, prepare
from fastinit.streams import Seed, seed_value, stream_key
from fastinit.torch.init import current_naming
from fastinit.torch.memory import DTYPES, expected_dtypes, fill_tensor, local_tensor, zero_row_
from fastinit.torch.patch import patched

Rules = Mapping[str | type, Initializer | None]


def init_module_(module: nn.Module, *, seed: Seed, rules: Rules | None = None) -> nn.Module:
    """Initialise the parameters of a module, each from the stream of its qualified name.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, or on the meta device: what is there gets memory on the CPU first. Parameters
        may be DTensors (``fully_shard``, ``distribute_tensor``, tensor parallelism), of which
        each process fills its own part without communication; they get the values that one
        process would.
    seed : int, numpy.random.SeedSequence or numpy.random.Generator
        The same in all processes.
    rules : mapping from str or type to Initializer or None, optional
        What parameters are. A text is a pattern (``fnmatch``) of qualified names; a type of
        modules stands for all of their own parameters but those with "bias" in their name. The
        first that matches counts, None leaves the parameter as it is. Fans are counted for
        PyTorch's layout (out, in, spatial...) where the axes of a `VarianceScaling` are its
        defaults. Rows of `padding_idx` are zero.

    Returns
    -------
    torch.nn.Module
        `module` itself.

    Raises
    ------
    ValueError, TypeError
        A parameter without a rule, or a buffer on the meta device, in a module that cannot
        initialise itself; an initializer that a parameter cannot have; a seed that is not given.
        Nothing is written then.

    Notes
    -----
    Parameters without a rule get what their module says: ``_init_weights`` of the enclosing model
    of ``transformers``, otherwise the ``reset_parameters`` or ``_reset_parameters`` of the module
    that owns them, in which ``torch.nn.init`` samples from the parameter's stream. What else such
    a method draws from PyTorch is seeded from the seed and the module's name.

    A parameter of several names is that of the first. What moves from the meta device is a new
    ``Parameter``, as after ``Module.to_empty``, but remains shared; its floating buffers are NaN
    until their module sets them.

    Examples
    --------
    >>> import fastinit as fi
    >>> with torch.device("meta"):
    ...     model = nn.Sequential(nn.Embedding(1000, 64), nn.Linear(64, 64), nn.ReLU())
    >>> rules = {nn.Embedding: fi.Normal(0, 0.02), "*.bias": fi.zeros}
    >>> model = init_module_(model, seed=0, rules=rules)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if seed is None:
        raise TypeError("seed must be given, got None")
    value = seed_value(seed)
    slots = _slots(module)
    ruled = _ruled(slots, rules or {})
    hooks = _hooks(module, slots, ruled)
    _materialise(module, slots)
    with torch.no_grad(), patched(), _named(slots, value), _hidden(slots, ruled):
        for path, hook in hooks:
            with _torch_seed(stream_key(value, path)):
                hook()
    for slot in slots:
        initializer = ruled.get(slot.name)
        if slot.name in ruled and initializer is None:
            continue
        if initializer is not None and not slot.alias:
            fill_tensor(slot.parameter, initializer, value, slot.name)
        if slot.padding_row is not None:
            zero_row_(slot.parameter, slot.padding_row)
    return module


@dataclass(frozen=True)
class _Slot:
    """Where a module has a parameter."""

    owner: nn.Module
    leaf: str
    name: str  # the parameter's, which is that of its first slot
    alias: bool  # not its first slot

    @property
    def parameter(self) -> Tensor:
        return self.owner._parameters[self.leaf]

    @property
    def padding_row(self) -> int | None:
        """The row that is zero in an embedding."""
        row = getattr(self.owner, "padding_idx", None)
        return row if self.leaf == "weight" and isinstance(row, int) else None


def _slots(module: nn.Module) -> list[_Slot]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    slots, seen = [], set()
    for owner in module.modules():
        for leaf, parameter in owner._parameters.items():
            if parameter is not None:
                name = names[id(parameter)]
                slots.append(_Slot(owner, leaf, name, name in seen))
                seen.add(name)
    return slots


def _ruled(slots: Sequence[_Slot], rules: Rules) -> dict[str, Initializer | None]:
    """The names of parameters that a rule matches, and what it says."""
    for key in rules:
        if not isinstance(key, (str, type)):
            raise TypeError(f"rules must be of names or types of modules, got {key!r}")
    ruled = {}
    for slot in slots:
        for key, initializer in rules.items():
            if isinstance(key, str):
                matches = fnmatchcase(slot.name, key)
            else:
                matches = isinstance(slot.owner, key) and "bias" not in slot.leaf
            if matches and not slot.alias:
                ruled[slot.name] = _checked(slot, initializer)
                break
    return ruled


def _checked(slot: _Slot, initializer: Initializer | None) -> Initializer | None:
    """The initializer of a parameter, with PyTorch's axes; errors name the parameter."""
    shape, dtype = tuple(slot.parameter.shape), slot.parameter.dtype
    if initializer is None:
        if slot.parameter.is_meta:
            raise ValueError(f"rules must not leave {slot.name!r} as it is on the meta device")
        return None
    if not isinstance(initializer, Initializer):
        raise TypeError(
            f"rules must give initializers or None, got {initializer!r} for {slot.name!r}"
        )
    if dtype not in DTYPES:
        raise TypeError(f"{slot.name!r} must be of {expected_dtypes()} to have a rule, got {dtype}")
    if isinstance(initializer, VarianceScaling):
        if len(shape) < 2:
            raise ValueError(
                f"rules must not scale by fans what has fewer than 2 dimensions, got {initializer!r} "
                f"for {slot.name!r} of shape {shape}"
            )
        if (initializer.in_axis, initializer.out_axis) == ((-2,), (-1,)):
            initializer = replace(initializer, in_axis=1, out_axis=0)
    try:
        prepare(initializer, shape, DTYPES[dtype])
    except ValueError as error:
        raise ValueError(f"{slot.name!r}: {error}") from error
    return initializer


Hook = tuple[str, Callable[[], object]]  # of a module: its path, and what sets its parameters


def _hooks(module: nn.Module, slots: Sequence[_Slot], ruled: Mapping[str, object]) -> list[Hook]:
    """What modules say of parameters without a rule, children first; an error where one says nothing."""
    unset: dict[int, list[str]] = {}  # names of what a module must set, by its id
    for slot in slots:
        if not slot.alias and slot.name not in ruled:
            unset.setdefault(id(slot.owner), []).append(slot.name)
    modules = dict(module.named_modules())
    models = {path for path, part in modules.items() if _is_transformers_model(part)}
    resets: list[Hook] = []
    model_hooks: list[Hook] = []
    lost: list[str] = []
    concerned: set[int] = set()  # ids of modules with something unset below
    for path, part in reversed(modules.items()):
        buffers = [f"{path}.{name}".lstrip(".") for name, b in part._buffers.items() if _is_meta(b)]
        own = unset.get(id(part), []) + buffers
        if not own and concerned.isdisjoint(map(id, part.children())):
            continue
        concerned.add(id(part))
        reset = getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))
        model = next((parent for parent in _parents(path) if parent in models), None)
        if callable(reset):
            resets.append((path, reset))
        if model is not None:
            model_hooks.append((path, partial(modules[model]._init_weights, part)))
        if own and model is None and not callable(reset):
            lost += own
    if lost:
        raise ValueError(
            "rules must cover what no reset_parameters sets, and buffers must not be on the meta "
            f"device then; got none for {', '.join(sorted(lost)[:8])}"
        )
    return resets + model_hooks


def _parents(path: str) -> Iterator[str]:
    """A module's path, and those around it, from the inside."""
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path


def _is_transformers_model(module: nn.Module) -> bool:
    loaded = sys.modules.get("transformers.modeling_utils")
    return loaded is not None and isinstance(module, loaded.PreTrainedModel)


def _materialise(module: nn.Module, slots: Sequence[_Slot]) -> None:
    """Give what is on the meta device memory on the CPU; parameters that are shared remain so."""
    buffers = [
        (owner, leaf)
        for owner in module.modules()
        for leaf, b in owner._buffers.items()
        if _is_meta(b)
    ]
    if not buffers and not any(slot.parameter.is_meta for slot in slots):
        return
    # What Module.to_empty does, but for tensors that have memory; FSDP takes part in it.
    module._apply(lambda t: torch.empty_like(t, device="cpu") if t.is_meta else t)
    first = {slot.name: slot.parameter for slot in slots if not slot.alias}
    for slot in slots:
        slot.owner._parameters[slot.leaf] = first[slot.name]
    for owner, leaf in buffers:
        buffer = owner._buffers[leaf]
        if buffer.is_floating_point():
            buffer.fill_(torch.nan)


def _is_meta(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.is_meta


@contextmanager
def _named(slots: Sequence[_Slot], seed: int) -> Iterator[None]:
    """Calls that sample know the names of the parameters, by where in memory these are."""
    names = {_place(slot.parameter): slot.name for slot in slots if not slot.alias}

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
def _hidden(slots: Sequence[_Slot], ruled: Mapping[str, object]) -> Iterator[None]:
    """Keep modules from setting what has a rule or is another's: stand-ins on the meta device take it.

    Padding rows are hidden too: they are set through views, which DTensors do not have.
    """
    hidden = [(slot, slot.parameter) for slot in slots if slot.alias or slot.name in ruled]
    rows = [(slot.owner, slot.padding_row) for slot in slots if slot.padding_row is not None]
    try:
        for slot, parameter in hidden:
            stand_in = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
            slot.owner._parameters[slot.leaf] = nn.Parameter(stand_in, parameter.requires_grad)
        for owner, _ in rows:
            owner.padding_idx = None
        yield
    finally:
        for slot, parameter in hidden:
            slot.owner._parameters[slot.leaf] = parameter
        for owner, row in rows:
            owner.padding_idx = row


@contextmanager
def _torch_seed(seed: int) -> Iterator[None]:
    """PyTorch's own generator of the CPU has a seed for a while."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
