"""The face of PyTorch: ``torch.nn.init``, much faster, and the initialisation of whole modules.

It offers every function of ``torch.nn.init``; those that sample draw from this library.

>>> import torch
>>> import fastinit.torch as init
>>> weight = init.kaiming_uniform_(torch.empty(4096, 4096))
"""

from __future__ import annotations

from typing import Any

try:
    import torch
except ImportError as error:
    raise ImportError("fastinit.torch needs the package torch: pip install torch") from error

from fastinit.torch.init import (
    calculate_gain,
    constant_,
    dirac_,
    eye_,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    ones_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from fastinit.torch.modules import init_module_
from fastinit.torch.patch import patched

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "init_module_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "patched",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def __getattr__(name: str) -> Any:
    """What only ``torch.nn.init`` has, such as its deprecated names, so that one import can replace the other."""
    try:
        return getattr(torch.nn.init, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
