"""Known values that may be drawn by NumPy's or Python's global generator, which a recording does not hold."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from torch import Tensor

#: Where a storage keeps that its values may be drawn, among its attributes.
_MARK = "_fastinit_foreign"


class Generators:
    """The global generators of NumPy and of Python, as they were when they were last asked for."""

    def __init__(self) -> None:
        self._states = _states()

    def moved(self) -> list[str]:
        """The names of those that were used since."""
        before, self._states = self._states, _states()
        return [name for name, state in self._states.items() if state != before[name]]


def _states() -> dict[str, Any]:
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - of what others draw from
    words = tuple((key, np.asarray(value).tobytes()) for key, value in numpy["state"].items())
    return {"NumPy": (words, numpy["has_gauss"]), "Python": random.getstate()}


def mark(tensor: Tensor, yes: bool = True) -> None:
    """Note whether the values of a tensor may be drawn by another generator."""
    setattr(tensor.untyped_storage(), _MARK, yes)


def is_foreign(tensor: Tensor) -> bool:
    """Whether a tensor was marked, or shares the memory of a NumPy array."""
    try:
        storage = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError, ValueError):  # sparse, lazy: without a storage
        return False
    return getattr(storage, _MARK, False) or not storage.resizable()
