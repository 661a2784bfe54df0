"""``torch.nn.init`` replaced for a while, wherever its functions are bound."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

from torch.overrides import handle_torch_function, has_torch_function_variadic

from fastinit.torch import init
from fastinit.torch.memory import is_plain

#: Dicts of functions are smaller; most entries are in larger ones, of data.
SMALL = 64

Table = dict[Any, Any]

_lock = threading.Lock()
_depth = 0
_known: set[str] = set()  # names of the modules that were loaded when the outermost context opened
_replaced: list[Table] = []  # where it replaced something


@contextmanager
def patched() -> Iterator[None]:
    """Let ``torch.nn.init`` sample from this library while the context is open.

    The functions that sample are replaced in ``torch.nn.init`` and in all modules that are
    loaded, under whatever name they import them (``torch.nn.modules``, ``transformers``, one's
    own), also where a module has them in a dict. All are back when the last of nested contexts
    is left, by an exception too; modules that are loaded meanwhile get PyTorch's functions then.
    Other threads see the replacement.

    What it cannot reach: ``functools.partial`` objects made before, and code that samples
    otherwise, such as ``tensor.normal_()``, ``torch.randn`` or ``timm``'s truncated normal.

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
            _known.update(sys.modules)
            _replaced.extend(_tables_with(_REPLACEMENTS, sys.modules))
            _swap(_replaced, _REPLACEMENTS)


def _close() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if not _depth:
            originals = {new: old for old, new in _REPLACEMENTS.items()}
            late = [name for name in sys.modules if name not in _known or name == "__main__"]
            _swap([*_replaced, *_tables_with(originals, late)], originals)
            _replaced.clear()
            _known.clear()


#: Those that PyTorch lets modes take.
_TAKEN_BY_MODES = {"kaiming_uniform_", "normal_", "uniform_"}


def _replacement(original: Callable[..., Any], face: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def replacement(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        if not _depth:  # who keeps it, in a partial for one, has PyTorch's function again
            return original(tensor, *args, **kwargs)
        cls: Any = type(tensor)
        taken = face.__name__ in _TAKEN_BY_MODES and is_plain(cls)
        if taken and has_torch_function_variadic(tensor):
            bound = inspect.signature(original).bind(tensor, *args, **kwargs)
            bound.apply_defaults()
            return handle_torch_function(replacement, (tensor,), **bound.arguments)
        return face(tensor, *args, **kwargs)

    return replacement


_REPLACEMENTS = {
    original: _replacement(original, getattr(init, name))
    for name, original in init.ORIGINAL.items()
}


def _tables_with(functions: Mapping[Any, Any], names: Iterable[str]) -> list[Table]:
    """The globals of modules that have any of some functions, and the small dicts among them that do."""
    ids = set(map(id, functions))
    return [t for t in _tables(names) if not ids.isdisjoint(map(id, list(t.values())))]


def _tables(names: Iterable[str]) -> Iterator[Table]:
    """The globals of modules, and where these have to do with PyTorch the small dicts among them."""
    for name in list(names):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and not name.startswith("fastinit."):
            space = vars(module)
            yield space
            if "torch" in space:
                values = list(space.values())
                yield from (v for v in values if type(v) is dict and len(v) <= SMALL)


def _swap(tables: Iterable[Table], functions: Mapping[Any, Any]) -> None:
    new_of = {id(old): new for old, new in functions.items()}
    for table in tables:
        table.update({k: new_of[id(v)] for k, v in table.items() if id(v) in new_of})
