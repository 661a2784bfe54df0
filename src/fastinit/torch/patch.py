"""``torch.nn.init`` replaced for a while, wherever its functions are bound."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

from fastinit.torch import init

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
    _open()
    try:
        yield
    finally:
        _close()


def _open() -> None:
    global _depth
    with _lock:
        if not _depth:
            _known.update(sys.modules)
            _replaced.extend(_swap(_tables(sys.modules), _REPLACEMENTS))
        _depth += 1


def _close() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if not _depth:
            new = {"__main__", *sys.modules} - (_known - {"__main__"})
            originals = {new: old for old, new in _REPLACEMENTS.items()}
            _swap([*_replaced, *_tables(new)], originals)
            _replaced.clear()
            _known.clear()


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


def _tables(names: Iterable[str]) -> Iterator[Table]:
    """The globals of modules, and of those that have to do with PyTorch the small dicts among these."""
    for name in list(names):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and not name.startswith("fastinit."):
            space = vars(module)
            yield space
            if "torch" in space:
                values = list(space.values())
                yield from (v for v in values if type(v) is dict and len(v) <= SMALL)


def _swap(tables: Iterable[Table], functions: Mapping[Any, Any]) -> list[Table]:
    """Replace functions in dicts; returns those where there were some."""
    new_of = {id(old): new for old, new in functions.items()}
    found = [t for t in tables if not new_of.keys().isdisjoint(map(id, list(t.values())))]
    for table in found:
        table.update({k: new_of[id(v)] for k, v in table.items() if id(v) in new_of})
    return found
