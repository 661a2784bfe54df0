"""The functions of ``torch.nn.init`` run this library's code for a while, whoever holds them."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import has_torch_function_variadic

from fastinit.torch import init
from fastinit.torch.init import ORIGINAL, PUBLIC

_lock = threading.Lock()
_depth = 0


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
    try:
        _open()
        yield
    finally:
        _close()


def _open() -> None:
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _set_code(_OURS)


def _close() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if not _depth:
            _set_code(_THEIRS)


def _set_code(codes: dict[str, CodeType]) -> None:
    # Another function in its place would be another key of tables of overrides, and would not
    # pickle by its name. References to it, in modules and partial objects, would also be missed.
    for name, code in codes.items():
        PUBLIC[name].__code__ = code


#: Those that PyTorch lets modes and subclasses take.
_TAKEN = {"kaiming_uniform_", "normal_", "uniform_"}


def fastinit_call(name: str, arguments: dict[str, Any]) -> Tensor:
    """What a function of ``torch.nn.init`` does in the context."""
    if name in _TAKEN and has_torch_function_variadic(arguments["tensor"]):
        return ORIGINAL[name](**arguments)
    face: Any = getattr(init, name)
    made: Tensor = face(**arguments)
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
