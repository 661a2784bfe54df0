"""``torch.nn.init`` replaced for a while, wherever its functions are bound."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

from fastinit.torch import init

#: Dicts of functions are smaller, and tables of data make up most of what is larger.
SMALL = 64

_lock = threading.Lock()
_depth = 0


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
    global _depth
    with _lock:
        if not _depth:
            _swap(_REPLACEMENTS)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth:
                _swap({new: old for old, new in _REPLACEMENTS.items()})


def _replacement(original: Callable[..., Any], face: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        # Who keeps it, in a partial for one, has PyTorch's function again afterwards.
        return (face if _depth else original)(*args, **kwargs)

    return replacement


_REPLACEMENTS = {
    original: _replacement(original, getattr(init, name))
    for name, original in init.ORIGINAL.items()
}


def _swap(functions: Mapping[Any, Any]) -> None:
    """Replace functions in the globals of all modules, and in small dicts among these."""
    new_of = {id(old): new for old, new in functions.items()}
    for name, module in list(sys.modules.items()):
        if name.startswith("fastinit.") or not isinstance(module, ModuleType):
            continue
        space = vars(module)
        small = [v for v in list(space.values()) if type(v) is dict and len(v) <= SMALL]
        for table in (space, *small):
            if not new_of.keys().isdisjoint(map(id, list(table.values()))):
                table.update({k: new_of[id(v)] for k, v in table.items() if id(v) in new_of})
