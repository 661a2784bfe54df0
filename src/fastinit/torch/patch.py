"""The functions of ``torch.nn.init`` run this library's code for a while: they sample from it, or are recorded."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import has_torch_function_variadic

from fastinit.distributions import Dirac, Identity, Orthogonal
from fastinit.initializers import Distribution
from fastinit.torch import init
from fastinit.torch.init import ORIGINAL, PUBLIC, SAMPLING, initializer_of
from fastinit.torch.memory import is_plain
from fastinit.torch.recording import (
    Recording,
    current_recorder,
    known_normal,
    known_uniform,
    memory_of,
)

_lock = threading.Lock()
_depth = 0  # of contexts in which the functions have other code
_sampling = 0  # of those in which they sample from this library


@contextmanager
def patched() -> Iterator[None]:
    """Let ``torch.nn.init`` sample from this library while the context is open.

    The functions that sample are the same objects, with other code: whoever has imported them,
    keeps them in a ``functools.partial``, a dict or an attribute, or compares them with those of
    ``torch.nn.init`` has them still, and what is made meanwhile can be pickled, copied and loaded
    without this library. Their own code is back when the last of nested contexts is left, by an
    exception too. Other threads see the replacement.

    What it cannot reach: code that samples otherwise, such as ``tensor.normal_()``,
    ``torch.randn`` or ``timm``'s truncated normal.

    Examples
    --------
    >>> import torch
    >>> with patched():
    ...     layer = torch.nn.Linear(1024, 1024)
    """
    with _replaced(samples=True):
        yield


@contextmanager
def recorded_by(recorder: Recording) -> Iterator[None]:
    """Let the calls of this thread be recorded; those of others run PyTorch's code."""
    with _replaced(samples=False):
        token = current_recorder.set(recorder)
        try:
            yield
        finally:
            current_recorder.reset(token)


@contextmanager
def _replaced(samples: bool) -> Iterator[None]:
    try:
        _change_depth(1, samples)
        yield
    finally:
        _change_depth(-1, samples)


def _change_depth(change: int, samples: bool) -> None:
    global _depth, _sampling
    with _lock:
        _sampling += change * samples
        was_open, _depth = _depth > 0, _depth + change
        if (_depth > 0) != was_open:
            _set_code(_OURS if _depth else _THEIRS)


def _set_code(codes: dict[str, CodeType]) -> None:
    # Another function in its place would be another key of tables of overrides, and would not
    # pickle by its name. References to it, in modules and partial objects, would also be missed.
    for name, code in codes.items():
        PUBLIC[name].__code__ = code


_FILLS = {"constant_": None, "ones_": 1.0, "zeros_": 0.0}
_DRAWS: dict[str, Callable[..., Distribution]] = {
    "normal_": known_normal,
    "uniform_": known_uniform,
}
#: Those that PyTorch lets modes and subclasses take.
_TAKEN = {"kaiming_uniform_", "normal_", "uniform_"}


def fastinit_call(name: str, arguments: dict[str, Any]) -> Tensor:
    """What a function of ``torch.nn.init`` does in a context."""
    recorder = current_recorder.get()
    if recorder is not None:
        return _record(recorder, name, arguments)
    _refuse_recorded(arguments["tensor"])
    if not _sampling or name not in SAMPLING:
        return ORIGINAL[name](**arguments)
    if name in _TAKEN and has_torch_function_variadic(arguments["tensor"]):
        return ORIGINAL[name](**arguments)
    face: Any = getattr(init, name)
    made: Tensor = face(**arguments)
    return made


def _refuse_recorded(tensor: Any) -> None:
    """Refuse a tensor that is recorded elsewhere: nothing would come of it."""
    if isinstance(tensor, Tensor) and tensor.is_meta and memory_of(tensor) is not None:
        raise RuntimeError(
            "a recorded tensor must be initialised in the thread that records it, within record()"
        )


def _record(recorder: Recording, name: str, arguments: dict[str, Any]) -> Tensor:
    """Record what PyTorch's code would loop over or look at, and what is frequent; else the calls of that code."""
    tensor = arguments["tensor"]
    cls: Any = type(tensor)
    with torch._C.DisableTorchFunction():  # a tensor answers for itself
        made = _record_whole(recorder, name, arguments, tensor)
        if made is None and recorder.is_innermost and tensor.is_meta and is_plain(cls):
            made = _record_plain(recorder, name, arguments, tensor)
    return ORIGINAL[name](**arguments) if made is None else made


def _record_whole(
    recorder: Recording, name: str, arguments: dict[str, Any], tensor: Tensor
) -> Tensor | None:
    """Record what looks at values, or sets each element by itself; None for other functions."""
    if name == "trunc_normal_":
        bounds = (arguments[key] for key in ("mean", "std", "a", "b"))
        return recorder.draw(tensor, initializer_of(name, *bounds).resolve(tensor.shape))
    if name == "orthogonal_" and tensor.dim() > 1:
        return recorder.draw(tensor, Orthogonal(arguments["gain"]))
    if name == "sparse_" and tensor.dim() == 2:
        sparsity, std = arguments["sparsity"], arguments["std"]

        def run(whole: Tensor, seed: int, stream: str) -> Tensor:
            return init.sparse_(whole, sparsity, std, seed=seed, stream=stream)

        return recorder.run(tensor, name, run)
    if name == "eye_" and tensor.dim() == 2:
        return recorder.make(tensor, Identity())
    if name == "dirac_" and tensor.dim() in (3, 4, 5):
        return recorder.make(tensor, Dirac(arguments["groups"]))
    return None


def _record_plain(
    recorder: Recording, name: str, arguments: dict[str, Any], tensor: Tensor
) -> Tensor | None:
    """Record without PyTorch's code, which takes three times as long; None where it has to decide."""
    options = [value for key, value in arguments.items() if key not in ("tensor", "generator")]
    if not all(type(value) in (int, float, str) for value in options):
        return None
    if name in _FILLS:
        return recorder.fill(tensor, *(options or [_FILLS[name]]))
    if not tensor.is_floating_point():
        return None
    if name in _DRAWS:
        return recorder.draw(tensor, _DRAWS[name](*options))
    if not name.startswith(("kaiming", "xavier")):
        return None
    # What these draw depends on the shape and the options alone: PyTorch's code runs once for each.
    key = (name, tuple(tensor.shape), *options)
    known = recorder.drawn_before.get(key)
    if known is not None:
        return recorder.draw(tensor, known)
    made = ORIGINAL[name](**arguments)
    drawn = recorder.last_drawn(tensor)
    if drawn is not None:
        recorder.drawn_before[key] = drawn
    return made


def _template() -> Tensor:
    return fastinit_call("", locals())


def _our_code(name: str) -> CodeType:
    """The code of a function with the parameters of PyTorch's, which calls `fastinit_call`."""
    parameters = tuple(inspect.signature(ORIGINAL[name]).parameters)
    code, theirs = _template.__code__, ORIGINAL[name].__code__
    return code.replace(
        co_filename=theirs.co_filename,  # what reads the source, as torch.jit.script does, finds theirs
        co_firstlineno=theirs.co_firstlineno,
        co_name=name,
        co_qualname=name,
        co_argcount=len(parameters),
        co_nlocals=len(parameters),
        co_varnames=parameters,
        co_consts=tuple(name if value == "" else value for value in code.co_consts),
    )


# The code of a function finds the globals of the function's module.
vars(torch.nn.init)[fastinit_call.__name__] = fastinit_call
_OURS = {name: _our_code(name) for name in ORIGINAL}
_THEIRS = {name: original.__code__ for name, original in ORIGINAL.items()}
