"""The parameters of a whole module, each from the stream of its name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from fastinit.checks import check_choice
from fastinit.choices import UNRECORDED, Unrecorded
from fastinit.fill import expected_dtypes
from fastinit.initializers import Initializer, prepare
from fastinit.rules import check_fans, check_matches
from fastinit.streams import Seed, seed_value
from fastinit.torch.hooks import find_hooks, reset_of, run_hooks
from fastinit.torch.memory import DTYPES, fill_tensor, is_fake, local_part, zero_row_
from fastinit.torch.recording import current_recorder, unwatched
from fastinit.torch.replay import Replay
from fastinit.torch.slots import Slot, axes_of, clean, find_buffers, find_slots
from fastinit.torch.trust import check_reachable, check_trusted

Rules = Mapping[str | type, Initializer | None]


def init_module_(
    module: nn.Module,
    *,
    seed: Seed,
    rules: Rules | None = None,
    strict: bool = True,
    unrecorded: Unrecorded = "error",
) -> nn.Module:
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
        first that matches counts, None leaves the parameter as it is. Rules of None are also for
        buffers that have their values. Where a `VarianceScaling` names no axes, fans are counted
        as ``torch.nn.init`` counts them, for PyTorch's layout (out, in, spatial...), and for
        in x out in transformers' ``Conv1D``; axes that it names hold. Rows of `padding_idx` are zero.
    strict : bool
        Refuse patterns of initializers that match no parameter. False accepts them, for rules
        that several modules share. Types and rules of None may always match nothing.
    unrecorded : {"error", "layer_defaults"}
        What to do about parameters without a rule that a class may set itself, in its constructor
        or afterwards, when its construction was not recorded. ``"error"`` refuses them, because
        nothing tells what that class asks for. ``"layer_defaults"`` gives them what their layers
        say of themselves.

    Returns
    -------
    torch.nn.Module
        `module` itself.

    Raises
    ------
    ValueError, TypeError
        A parameter without a rule, or a buffer that init methods set, for which a class of its own
        or above may ask for other values (see Notes), unless `unrecorded` accepts that. FSDP1 and
        quantised modules, whose values are not in parameters of their own.

        In a module that cannot initialise itself: a parameter without a rule, a buffer on the meta
        device, or a buffer that no ``state_dict`` keeps and that has no rule of None. An
        initializer that a parameter cannot have, such as one that scales by fans for a vector. A
        pattern that matches no parameter, with the names near it, or only a further name of a
        tied one, with the name to use. A seed that is not given. Nothing is written in these cases.

        After other parameters are set: parameters and such buffers that their module leaves as
        they were, and sharded ones that it takes apart or draws in a way that depends on the shards.

    Notes
    -----
    Parameters without a rule get what modules say: ``reset_parameters`` or ``_reset_parameters``
    of the module that owns them, and then ``_init_weights`` of the model of ``transformers`` around
    it, in which ``torch.nn.init`` samples from the parameter's stream. What else such
    a method draws comes from PyTorch's generator of the CPU, seeded from the seed and the module's
    name; other threads must not use that meanwhile. What it computes is computed in float32, or in
    float64 for modules with such tensors, whatever PyTorch's default dtype, default device and
    autocast are. Tensors keep their dtypes.

    Such methods are relied on only where nothing is known to override them. Their class is in
    ``torch.nn``, and no subclass, or it defines ``reset_parameters`` itself. Above it stand only
    modules of ``torch.nn``, or a model of ``transformers`` with modules of the same package; a
    subclass of a model counts if its package has an ``_init_weights`` of its own. Any other class
    above may set the parameters otherwise, as a GPT does by ``self.apply(self._init_weights)``.

    Such methods set buffers too, those of rotary embeddings and of batch normalisation for example,
    whose memory holds no values after ``Module.to_empty``. Buffers that a ``state_dict`` keeps stay
    as they are where no method sets them, where a rule of None matches them, and where such rules
    keep all parameters of their module.

    A parameter of several names is that of the first. Names leave out what wrappers add: those of
    ``torch.compile``, of activation checkpoints, and of data parallelism around the module. What
    moves from the meta device is a new ``Parameter``, as after ``Module.to_empty``, but remains
    shared.

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
    if current_recorder.get() is not None:
        raise RuntimeError("init_module_ must not be called within record(): call it afterwards")
    check_choice("unrecorded", unrecorded, UNRECORDED)
    value = seed_value(seed)
    check_reachable(module)
    inner = module
    while isinstance(inner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = inner.module
    parameters = find_slots(inner)
    ruled = _ruled(parameters, rules or {})
    if strict:
        names = [slot.name for slot in parameters]  # buffers take no initializers
        check_matches(rules or {}, names, _tied(inner, parameters), "parameter")
    _check_memory(slot for slot in parameters if ruled.get(slot.name) is not None)
    replay = Replay(inner, {*ruled, *_kept_buffers(find_buffers(inner), rules or {})})
    _run_own_code(inner, parameters, ruled, replay.names, rules or {}, value, unrecorded)
    replay.fill(value)
    for slot in parameters:
        initializer = ruled.get(slot.name)
        if slot.name in replay.names or (slot.name in ruled and initializer is None):
            continue
        if initializer is not None and not slot.alias:
            fill_tensor(slot.tensor, initializer, value, slot.name)
        if slot.padding_row is not None:
            zero_row_(slot.tensor, slot.padding_row)
    return module


def _ruled(slots: Sequence[Slot], rules: Rules) -> dict[str, Initializer | None]:
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


def _tied(module: nn.Module, slots: Sequence[Slot]) -> dict[str, str]:
    """The names of parameters by which they are not known, and those by which they are."""
    known = {id(slot.tensor): slot.name for slot in slots}
    every = module.named_parameters(remove_duplicate=False)
    return {clean(name): known[id(tensor)] for name, tensor in every if id(tensor) in known}


def _checked(slot: Slot, initializer: Initializer | None) -> Initializer | None:
    """The initializer of a parameter, with PyTorch's axes; errors name the parameter."""
    shape, dtype = tuple(slot.tensor.shape), slot.tensor.dtype
    if initializer is None:
        if slot.tensor.is_meta:
            raise ValueError(f"rules must not leave {slot.name!r} as it is on the meta device")
        return None
    if not isinstance(initializer, Initializer):
        raise TypeError(
            f"rules must give initializers or None, got {initializer!r} for {slot.name!r}"
        )
    if dtype not in DTYPES:
        raise TypeError(f"{slot.name!r} must be of {expected_dtypes()} to have a rule, got {dtype}")
    advice = "put another rule for it first, such as fi.zeros for a bias or fi.ones for a norm"
    check_fans(slot.name, initializer, shape, advice)
    try:
        initializer = initializer.with_default_axes(axes_of(slot.owner))
        prepare(initializer, shape, DTYPES[dtype])
    except ValueError as error:
        raise ValueError(f"{slot.name!r}: {error}") from error
    return initializer


def _run_own_code(
    module: nn.Module,
    parameters: Sequence[Slot],
    ruled: Mapping[str, Initializer | None],
    recorded: Collection[str],
    rules: Rules,
    seed: int,
    unrecorded: Unrecorded,
) -> None:
    """Let modules set their buffers, and the parameters that have no rule."""
    buffers = find_buffers(module)
    kept = _kept_buffers(buffers, rules)
    settled = {*ruled, *recorded, *_stored_buffers(buffers, kept, parameters, ruled)}
    slots = [*parameters, *buffers]
    required = [slot for slot in slots if slot.name not in settled and _is_required(slot, kept)]
    if unrecorded == "error":
        left = [slot for slot in slots if slot.name not in settled]
        check_trusted(module, [s for s in left if _is_required(s, kept) or _is_reset(s)])
    hooks = find_hooks(module, slots, settled, required)
    _materialise(module, parameters, buffers)
    run_hooks(hooks, slots, settled, required, seed)


def _kept_buffers(buffers: Sequence[Slot], rules: Rules) -> set[str]:
    """The names of buffers that have values according to a rule of None."""
    keys = [key for key, initializer in rules.items() if initializer is None]
    return {
        slot.name
        for slot in buffers
        for key in keys
        if (fnmatchcase(slot.name, key) if isinstance(key, str) else isinstance(slot.owner, key))
    }


def _stored_buffers(
    buffers: Sequence[Slot],
    kept: Collection[str],
    parameters: Sequence[Slot],
    ruled: Mapping[str, Initializer | None],
) -> set[str]:
    """The names of buffers of checkpoints that stay as they are, such as the statistics of a trained BatchNorm.

    Those are kept, and those of modules all of whose own parameters are.
    """
    changed = {id(slot.owner) for slot in parameters if ruled.get(slot.name, ...) is not None}
    unchanged = {id(slot.owner) for slot in parameters} - changed
    stored = [slot for slot in buffers if slot.is_stored and not slot.tensor.is_meta]
    return {slot.name for slot in stored if slot.name in kept or id(slot.owner) in unchanged}


def _is_required(slot: Slot, kept: Collection[str]) -> bool:
    """Whether a module's own code must set what has no rule: all but buffers that have values, or no elements."""
    has_values = slot.is_buffer and (
        slot.tensor.numel() == 0
        or (not slot.tensor.is_meta and (slot.is_stored or slot.name in kept))
    )
    return not (slot.alias or has_values)


def _is_reset(slot: Slot) -> bool:
    """Whether init methods may set what they need not: further entries of parameters, and buffers that a ``state_dict`` keeps."""
    return not slot.is_buffer or reset_of(slot.owner) is not None


def _check_memory(slots: Iterable[Slot]) -> None:
    """An error for parameters whose elements are not in memory of their own."""
    for slot in slots:
        local = local_part(slot.tensor)
        if not (local.is_meta or is_fake(local) or local.numel() == 0 or local.data_ptr()):
            raise TypeError(
                f"{slot.name!r} must have memory to have a rule, got a {type(local).__name__} "
                "without: give it none, and its module sets it"
            )


def _materialise(module: nn.Module, parameters: Sequence[Slot], buffers: Sequence[Slot]) -> None:
    """Give what is on the meta device memory on the CPU; what is shared remains so."""
    if not any(slot.tensor.is_meta for slot in [*parameters, *buffers]):
        return
    old = {slot.name: slot.tensor for slot in parameters}
    # What Module.to_empty does, but for tensors that have memory; FSDP takes part in it.
    module._apply(lambda t: torch.empty_like(t, device="cpu") if t.is_meta else t)
    new = {slot.name: slot.tensor for slot in parameters if not slot.alias}
    for name, tensor in new.items():
        vars(tensor).update(vars(old[name]))
        cls = type(old[name])
        if type(tensor) is nn.Parameter and issubclass(cls, nn.Parameter):
            tensor.__class__ = unwatched(cls)
    for slot in parameters:
        slot.owner._parameters[slot.leaf] = new[slot.name]
    first = {slot.name: slot.tensor for slot in buffers if not slot.alias}
    for slot in buffers:
        slot.owner._buffers[slot.leaf] = first[slot.name]
